# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""libmaster.so: a master, which decides who is in the chain and keeps the view in a file."""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString, RedisModule_Log
from modules.master.embedded cimport master_load, master_unload
from modules.master.state cimport Kind, OwnSetting

cdef Kind kind
cdef OwnSetting name


cdef bint take_arguments(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc:
        RedisModule_Log(ctx, b"warning", b"libmaster.so takes no arguments; for a master in etcd: libetcd_master.so")
    return argc == 0


cdef public int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    kind.library = b"libmaster.so"
    kind.python = b"chainredis.coordinator.commands"
    kind.take_arguments = take_arguments
    name.name, name.default = b"name", b"mymaster"
    kind.settings, kind.setting_count = &name, 1
    return master_load(ctx, argv, argc, &kind)


cdef public int RedisModule_OnUnload(RedisModuleCtx *ctx) noexcept nogil:
    return master_unload(ctx)
