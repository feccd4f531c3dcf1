# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""libetcd_master.so: a master that keeps the view in etcd, where members send their heartbeats. There may be several.

    loadmodule libetcd_master.so ETCD_HOST:ETCD_PORT[,HOST:PORT…]/CHAIN_NAME
"""

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString, RedisModule_Log, RedisModule_RetainString
from modules.master.embedded cimport master_load, master_unload
from modules.master.state cimport Kind, OwnSetting
from modules.server.passwords cimport PasswordSetting

cdef enum:
    URL = 0
    PASSWORD = 1
    SETTINGS = 7

cdef Kind kind
cdef OwnSetting settings[SETTINGS]
cdef PasswordSetting password


cdef bint take_arguments(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc != 1:
        RedisModule_Log(ctx, b"warning", b"libetcd_master.so takes one argument, host:port[,host:port...]/chain_name, "
                        b"such as 127.0.0.1:12379/my_cool_chain")
        return False
    RedisModule_RetainString(NULL, argv[0])
    settings[URL].text = argv[0]
    return True


cdef public int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    settings[URL].name, settings[URL].given = b"url", True
    settings[PASSWORD].name = b"etcd-password"
    settings[PASSWORD].password = &password
    settings[2].name = b"announce-host"
    settings[3].name = b"etcd-user"
    settings[4].name = b"etcd-ca"
    settings[5].name = b"etcd-cert"
    settings[6].name = b"etcd-key"
    kind.library = b"libetcd_master.so"
    kind.python = b"chainredis.etcd.master"
    kind.take_arguments = take_arguments
    kind.settings, kind.setting_count = settings, SETTINGS
    return master_load(ctx, argv, argc, &kind)


cdef public int RedisModule_OnUnload(RedisModuleCtx *ctx) noexcept nogil:
    return master_unload(ctx)
