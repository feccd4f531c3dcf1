# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Settings: the module configurations `member.*` and the positional arguments of `libmember.so`.

from libc.string cimport strlen

from modules.bindings.redismodule cimport (
    REDISMODULE_CONFIG_DEFAULT, REDISMODULE_CONFIG_IMMUTABLE, REDISMODULE_CONFIG_MEMORY, REDISMODULE_ERR,
    REDISMODULE_OK, RedisModuleCtx, RedisModuleString, RedisModule_CreateString, RedisModule_LoadConfigs,
    RedisModule_Log, RedisModule_RegisterBoolConfig, RedisModule_RegisterEnumConfig, RedisModule_RegisterNumericConfig,
    RedisModule_RegisterStringConfig, RedisModule_StringToLongLong,
)
from modules.core.view cimport kind_name
from modules.member.gate cimport gate_set_hold_timeout
from modules.member.keyspace.kind cimport is_bound_to_all, names_kind, own_kind
from modules.member.keyspace.values cimport keep, let_go
from modules.member.state.checkpoint cimport MODE_NORMAL
from modules.member.state.direct cimport MAX_DIRECT
from modules.member.state.heartbeat cimport MASTER_IN_ETCD, MASTER_PLAIN
from modules.member.state.member cimport Member, the_member
from modules.member.state.persistence cimport Marker
from modules.member.state.settings cimport COMMANDS_ALL, COMMANDS_AUTO, COMMANDS_PUT
from modules.server.passwords cimport passwords_init, register_password

cdef extern from *:
    const char *ONLY_NORMAL "\"checkpoints and flushes are only in a chain of kind put (member.commands)\""

cdef enum:
    MIB = 1024 * 1024
    HEARTBEAT_TIMEOUT_S = 15        # the default


cdef long long get_number(const char *name, void *setting) noexcept nogil:
    return (<long long *>setting)[0]


cdef int set_number(const char *name, long long value, void *setting, RedisModuleString **error) noexcept nogil:
    (<long long *>setting)[0] = value
    return REDISMODULE_OK


cdef int set_timeout(const char *name, long long value, void *setting, RedisModuleString **error) noexcept nogil:
    """Note whether the operator has given the timeout.

    Redis sets the default in the same way as a value of redis.conf. A value counts as given if it differs from the
    default, or is set after the module was loaded.
    """
    cdef Member *m = the_member()
    if value != HEARTBEAT_TIMEOUT_S or m.settings.loaded:
        m.settings.heartbeat_timeout_given = True
    m.settings.heartbeat_timeout = value
    return REDISMODULE_OK


cdef int set_limit(const char *name, long long value, void *setting, RedisModuleString **error) noexcept nogil:
    """Set a limit here and in the chain core."""
    cdef Member *m = the_member()
    (<long long *>setting)[0] = value
    m.chain.limits.log_bytes = m.settings.log_limit
    m.chain.limits.backlog_bytes = m.settings.backlog_limit
    m.chain.limits.join_bytes = m.settings.join_limit
    return REDISMODULE_OK


cdef int set_hold_timeout(const char *name, long long value, void *setting, RedisModuleString **error) noexcept nogil:
    gate_set_hold_timeout(the_member(), value)
    return set_number(name, value, setting, error)


cdef RedisModuleString *get_text(const char *name, void *setting) noexcept nogil:
    return (<RedisModuleString **>setting)[0]


cdef int set_text(
    const char *name, RedisModuleString *value, void *setting, RedisModuleString **error,
) noexcept nogil:
    let_go((<RedisModuleString **>setting)[0])
    (<RedisModuleString **>setting)[0] = keep(value)
    return REDISMODULE_OK


cdef bint register_limit(
    RedisModuleCtx *ctx, const char *name, long long default, long long least, long long *setting,
) noexcept nogil:
    setting[0] = default
    return RedisModule_RegisterNumericConfig(
        ctx, name, default, REDISMODULE_CONFIG_MEMORY, least, 1099511627776LL, get_number, set_limit, NULL, setting,
    ) == REDISMODULE_OK


cdef bint register_number(
    RedisModuleCtx *ctx, const char *name, long long default, long long least, long long most, long long *setting,
) noexcept nogil:
    setting[0] = default
    return RedisModule_RegisterNumericConfig(
        ctx, name, default, REDISMODULE_CONFIG_DEFAULT, least, most, get_number, set_number, NULL, setting,
    ) == REDISMODULE_OK


cdef bint register_bytes(
    RedisModuleCtx *ctx, const char *name, long long default, long long least, long long *setting,
) noexcept nogil:
    setting[0] = default
    return RedisModule_RegisterNumericConfig(
        ctx, name, default, REDISMODULE_CONFIG_MEMORY, least, 1LL << 40, get_number, set_number, NULL, setting,
    ) == REDISMODULE_OK


cdef bint register_timeout(RedisModuleCtx *ctx, long long *setting) noexcept nogil:
    setting[0] = HEARTBEAT_TIMEOUT_S
    return RedisModule_RegisterNumericConfig(
        ctx, "heartbeat-timeout", HEARTBEAT_TIMEOUT_S, REDISMODULE_CONFIG_DEFAULT, 1, 86400, get_number, set_timeout,
        NULL, setting) == REDISMODULE_OK


cdef bint register_hold_timeout(RedisModuleCtx *ctx, long long *setting) noexcept nogil:
    """0: what is held is held for ever."""
    setting[0] = 0
    return RedisModule_RegisterNumericConfig(
        ctx, "hold-timeout", 0, REDISMODULE_CONFIG_DEFAULT, 0, 86400000, get_number, set_hold_timeout, NULL, setting,
    ) == REDISMODULE_OK


cdef bint register_port(RedisModuleCtx *ctx, long long *setting) noexcept nogil:
    """Register the port of lifelines. It cannot change, because its socket stays open as long as the server lives."""
    setting[0] = 0
    return RedisModule_RegisterNumericConfig(
        ctx, "lifeline-port", 0, REDISMODULE_CONFIG_IMMUTABLE, -1, 65535, get_number, set_number, NULL, setting,
    ) == REDISMODULE_OK


cdef bint register_memory(RedisModuleCtx *ctx, const char *name, long long *setting) noexcept nogil:
    """Register a number of bytes; 0 means no limit."""
    setting[0] = 0
    return RedisModule_RegisterNumericConfig(
        ctx, name, 0, REDISMODULE_CONFIG_MEMORY, 0, 1LL << 50, get_number, set_number, NULL, setting) == REDISMODULE_OK


cdef int get_choice(const char *name, void *setting) noexcept nogil:
    return (<int *>setting)[0]


cdef int set_choice(const char *name, int value, void *setting, RedisModuleString **error) noexcept nogil:
    (<int *>setting)[0] = value
    return REDISMODULE_OK


cdef int set_mode(const char *name, int value, void *setting, RedisModuleString **error) noexcept nogil:
    """Set member.gcs-mode. While redis.conf is read the kind of chain is not known yet: see `kind_is_possible`."""
    cdef Member *m = the_member()
    if value != MODE_NORMAL and m.settings.loaded and is_bound_to_all(m):
        error[0] = RedisModule_CreateString(NULL, ONLY_NORMAL, strlen(ONLY_NORMAL))
        return REDISMODULE_ERR
    m.settings.gcs_mode = value
    return REDISMODULE_OK


cdef bint register_switch(
    RedisModuleCtx *ctx, const char *name, int default, unsigned int flags, int *setting,
) noexcept nogil:
    """Register a setting that is yes or no."""
    setting[0] = default
    return RedisModule_RegisterBoolConfig(
        ctx, name, default, flags, get_choice, set_choice, NULL, setting) == REDISMODULE_OK


cdef bint register_commands(RedisModuleCtx *ctx, int *setting) noexcept nogil:
    """Register member.commands. It cannot change, because clients that are connected would not pass the gate."""
    cdef const char *names[3]
    cdef int values[3]
    names[0], names[1], names[2] = b"put", b"all", b"auto"
    values[0], values[1], values[2] = COMMANDS_PUT, COMMANDS_ALL, COMMANDS_AUTO
    setting[0] = COMMANDS_AUTO
    return RedisModule_RegisterEnumConfig(
        ctx, "commands", COMMANDS_AUTO, REDISMODULE_CONFIG_IMMUTABLE, names, values, 3, get_choice, set_choice, NULL,
        setting) == REDISMODULE_OK


cdef bint register_mode(RedisModuleCtx *ctx, int *setting) noexcept nogil:
    """Register member.gcs-mode, which takes a mode's name or its number."""
    cdef const char *names[8]
    cdef int values[8]
    cdef int i
    names[0], names[1], names[2], names[3] = b"normal", b"checkpoint", b"checkpoint-flush", b"flush-unsafe"
    names[4], names[5], names[6], names[7] = b"0", b"1", b"2", b"3"
    for i in range(8):
        values[i] = i % 4
    setting[0] = MODE_NORMAL
    return RedisModule_RegisterEnumConfig(
        ctx, "gcs-mode", MODE_NORMAL, REDISMODULE_CONFIG_DEFAULT, names, values, 8, get_choice, set_mode, NULL,
        setting) == REDISMODULE_OK


cdef bint register_text(
    RedisModuleCtx *ctx, const char *name, unsigned int flags, RedisModuleString **setting,
) noexcept nogil:
    setting[0] = RedisModule_CreateString(NULL, "", 0)
    return RedisModule_RegisterStringConfig(ctx, name, "", flags, get_text, set_text, NULL, setting) == REDISMODULE_OK


cdef bint register_etcd(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Register the settings of heartbeats to etcd. The next MEMBER.CONNECT_TO_MASTER reads them."""
    return (
        register_text(ctx, "announce-host", REDISMODULE_CONFIG_DEFAULT, &m.settings.announce_host)
        and register_text(ctx, "etcd-user", REDISMODULE_CONFIG_DEFAULT, &m.settings.etcd_user)
        and register_text(ctx, "etcd-ca", REDISMODULE_CONFIG_DEFAULT, &m.settings.etcd_ca)
        and register_text(ctx, "etcd-cert", REDISMODULE_CONFIG_DEFAULT, &m.settings.etcd_cert)
        and register_text(ctx, "etcd-key", REDISMODULE_CONFIG_DEFAULT, &m.settings.etcd_key)
        and register_password(ctx, "etcd-password", REDISMODULE_CONFIG_DEFAULT, &m.settings.etcd_password)
    )


cdef bint config_register(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Register all settings and read redis.conf. Returns False if Redis refuses one.

    Names, units, ranges and defaults must be those of docs/configuration.md.
    """
    return (
        passwords_init()
        and register_number(ctx, "heartbeat-interval", 3, 1, 3600, &m.settings.heartbeat_interval)
        and register_timeout(ctx, &m.settings.heartbeat_timeout)
        and register_number(ctx, "write-timeout", 5000, 1, 3600000, &m.settings.write_timeout)
        and register_limit(ctx, "log-limit", 256 * MIB, MIB, &m.settings.log_limit)
        and register_limit(ctx, "backlog-limit", 8 * MIB, 0, &m.settings.backlog_limit)
        and register_limit(ctx, "join-limit", 1024 * MIB, MIB, &m.settings.join_limit)
        and register_number(ctx, "master-type", MASTER_PLAIN, MASTER_PLAIN, MASTER_IN_ETCD, &m.settings.master_type)
        and register_port(ctx, &m.settings.lifeline_port)
        and register_mode(ctx, &m.settings.gcs_mode)
        and register_text(ctx, "checkpoint-dir", REDISMODULE_CONFIG_IMMUTABLE, &m.settings.checkpoint_dir)
        and register_number(ctx, "checkpoint-interval", 0, 0, 86400000, &m.settings.checkpoint_interval)
        and register_memory(ctx, "flush-above", &m.settings.flush_above)
        and register_number(ctx, "direct-clients", 1000, 0, MAX_DIRECT, &m.settings.direct_clients)
        and register_number(ctx, "once-keep", 3600, 1, 2592000, &m.settings.once_keep)
        and register_number(ctx, "once-clients", 100000, 1, 100000000, &m.settings.once_clients)
        and register_bytes(ctx, "once-memory", 64 * MIB, 1024, &m.settings.once_memory)
        and register_switch(ctx, "serve-removed-data", 0, REDISMODULE_CONFIG_DEFAULT, &m.settings.serve_removed_data)
        and register_switch(ctx, "cluster-announce", 0, REDISMODULE_CONFIG_DEFAULT, &m.settings.cluster_announce)
        and register_commands(ctx, &m.settings.commands)
        and register_switch(ctx, "gate", 1, REDISMODULE_CONFIG_IMMUTABLE, &m.settings.gate)
        and register_hold_timeout(ctx, &m.settings.hold_timeout)
        and register_text(ctx, "auth-user", REDISMODULE_CONFIG_DEFAULT, &m.settings.auth_user)
        and register_password(ctx, "auth-password", REDISMODULE_CONFIG_DEFAULT, &m.settings.auth_password)
        and register_etcd(m, ctx)
        and RedisModule_LoadConfigs(ctx) == REDISMODULE_OK
    )


cdef bint kind_is_possible(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether settings and identity file agree on a kind of chain. If not, the reason has been logged."""
    cdef const Marker *marker = &m.disk.marker
    if m.settings.gcs_mode != MODE_NORMAL and is_bound_to_all(m):
        RedisModule_Log(ctx, "warning", "libmember.so: member.gcs-mode is not normal, and %s", ONLY_NORMAL)
        return False
    if not names_kind(marker) or marker.kind == own_kind(m):
        return True
    RedisModule_Log(
        ctx, "warning", "libmember.so: %s says that this server's data are of a chain of kind %s, and member.commands "
        "is %s. Set member.commands %s; or, to use the server for another chain, delete that file and the data",
        &marker.name[0], kind_name(marker.kind), kind_name(own_kind(m)), kind_name(marker.kind))
    return False


# --------------------------------------------------------------------------------------- positional arguments

cdef bint read_argument(
    RedisModuleCtx *ctx, RedisModuleString *argument, const char *what, long long least, long long most, long long *out,
) noexcept nogil:
    """Read an integer between `least` and `most`. Returns False if an error has been logged."""
    cdef long long value
    if RedisModule_StringToLongLong(argument, &value) == REDISMODULE_ERR or value < least or value > most:
        RedisModule_Log(ctx, "warning", "libmember.so: %s must be a number from %lld to %lld", what, least, most)
        return False
    out[0] = value
    return True


cdef bint config_arguments(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Read the arguments of loadmodule: [master type] [heartbeat interval] [heartbeat timeout], the last two in s.

    Arguments take precedence over redis.conf. Returns False if an error has been logged.
    """
    m.settings.loaded = True
    m.settings.heartbeat_timeout_given = m.settings.heartbeat_timeout_given or argc >= 3
    if argc > 3:
        RedisModule_Log(ctx, "warning", "libmember.so takes [master type] [heartbeat interval] [heartbeat timeout]")
        return False
    return (
        (argc < 1 or read_argument(
            ctx, argv[0], "the master type", MASTER_PLAIN, MASTER_IN_ETCD, &m.settings.master_type))
        and (argc < 2 or read_argument(ctx, argv[1], "the heartbeat interval", 1, 3600, &m.settings.heartbeat_interval))
        and (argc < 3 or read_argument(ctx, argv[2], "the heartbeat timeout", 1, 86400, &m.settings.heartbeat_timeout))
    )
