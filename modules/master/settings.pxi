# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The module configurations of a master. Names, units, ranges and defaults must be those of docs/configuration.md.

from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.bindings.redismodule cimport (
    REDISMODULE_CONFIG_DEFAULT, REDISMODULE_CONFIG_IMMUTABLE, REDISMODULE_OK, RedisModuleCtx, RedisModuleString,
    RedisModule_FreeString, RedisModule_LoadConfigs, RedisModule_RegisterBoolConfig, RedisModule_RegisterNumericConfig,
    RedisModule_RegisterStringConfig, RedisModule_RetainString,
)
from modules.master.state cimport OwnSetting
from modules.server.passwords cimport passwords_init, register_password, the_passwords


cdef RedisModuleString *get_string(const char *name, void *setting) noexcept nogil:
    return (<RedisModuleString **>setting)[0]


cdef int set_string(const char *name, RedisModuleString *value, void *setting, RedisModuleString **why) noexcept nogil:
    cdef RedisModuleString **place = <RedisModuleString **>setting
    cdef RedisModuleString *old = place[0]
    RedisModule_RetainString(NULL, value)
    pthread_mutex_lock(&the_passwords().mutex)
    place[0] = value
    if old != NULL:
        RedisModule_FreeString(NULL, old)
    pthread_mutex_unlock(&the_passwords().mutex)
    return REDISMODULE_OK


cdef long long get_number(const char *name, void *setting) noexcept nogil:
    return (<long long *>setting)[0]


cdef int set_number(const char *name, long long value, void *setting, RedisModuleString **why) noexcept nogil:
    (<long long *>setting)[0] = value
    return REDISMODULE_OK


cdef int get_switch(const char *name, void *setting) noexcept nogil:
    return (<int *>setting)[0]


cdef int set_switch(const char *name, int value, void *setting, RedisModuleString **why) noexcept nogil:
    (<int *>setting)[0] = value
    return REDISMODULE_OK


cdef bint register_setting(
    RedisModuleCtx *ctx, const char *name, const char *default, RedisModuleString **place, int flags,
) noexcept nogil:
    """default: NULL for an empty one."""
    if default == NULL:
        default = b""
    return RedisModule_RegisterStringConfig(
        ctx, name, default, flags, get_string, set_string, NULL, place) == REDISMODULE_OK


cdef bint register_number(
    RedisModuleCtx *ctx, const char *name, long long default, long long least, long long most, long long *place,
) noexcept nogil:
    return RedisModule_RegisterNumericConfig(
        ctx, name, default, REDISMODULE_CONFIG_DEFAULT, least, most, get_number, set_number, NULL, place,
    ) == REDISMODULE_OK


cdef bint load_settings(RedisModuleCtx *ctx) noexcept nogil:
    """Register all settings and read redis.conf. Returns False if Redis refuses one."""
    return (
        passwords_init()
        and register_number(ctx, b"heartbeat-interval", 3000, 10, 3600000, &master.heartbeat_interval_ms)
        and register_number(ctx, b"heartbeat-timeout", 15000, 200, 86400000, &master.heartbeat_timeout_ms)
        and register_number(ctx, b"lease", 2000, 100, 86400000, &master.lease_ms)
        and register_number(ctx, b"clock-drift-percent", 1, 0, 50, &master.clock_drift_percent)
        and RedisModule_RegisterBoolConfig(
            ctx, b"trust-refused", 1, REDISMODULE_CONFIG_DEFAULT, get_switch, set_switch, NULL, &master.trust_refused,
        ) == REDISMODULE_OK
        and RedisModule_RegisterBoolConfig(
            ctx, b"auto-return", 1, REDISMODULE_CONFIG_DEFAULT, get_switch, set_switch, NULL, &master.auto_return,
        ) == REDISMODULE_OK
        and register_setting(ctx, b"auth-user", NULL, &master.auth_user, REDISMODULE_CONFIG_DEFAULT)
        and register_password(ctx, b"auth-password", REDISMODULE_CONFIG_DEFAULT, &master.auth_password)
        and register_own_settings(ctx)
        and RedisModule_LoadConfigs(ctx) == REDISMODULE_OK
    )


cdef bint register_own_settings(RedisModuleCtx *ctx) noexcept nogil:
    """Register the settings of this kind of master, which cannot change after the server's start."""
    cdef int flags = REDISMODULE_CONFIG_IMMUTABLE
    cdef OwnSetting *own
    cdef bint registered = True
    cdef int i
    for i in range(master.kind.setting_count):
        own = &master.kind.settings[i]
        if own.password != NULL:
            registered = registered and register_password(ctx, own.name, flags, own.password)
        elif not own.given:
            registered = registered and register_setting(ctx, own.name, own.default, &own.text, flags)
    return registered
