# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/master that libmaster.so and libetcd_master.so call. Each is linked with this unit."""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.master.state cimport Kind

cdef extern int master_load(
    RedisModuleCtx *ctx, RedisModuleString **argv, int argc, const Kind *kind) noexcept nogil
cdef extern int master_unload(RedisModuleCtx *ctx) noexcept nogil
