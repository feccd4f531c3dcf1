# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The settings of Redis that a chained member needs, and its role in Redis's replication. Both are restored when
# somebody changes them.

from libc.stdint cimport int64_t
from libc.stdlib cimport strtoll
from libc.string cimport strcmp, strncmp

from modules.bindings.redismodule cimport (
    RedisModuleCallReply, RedisModuleConfigChange, RedisModuleString, RedisModule_Call,
    RedisModule_CallReplyArrayElement, RedisModule_CallReplyLength, RedisModule_CreateStringFromCallReply,
    RedisModule_Log, RedisModule_StringPtrLen,
)
from modules.core.view cimport KIND_ALL, KIND_PUT
from modules.member.keyspace.kind cimport own_kind
from modules.member.keyspace.values cimport let_go, string_length
from modules.member.state.member cimport Member, is_native_replica, the_member
from modules.server.native_replication cimport follow_nobody, follows_another
from modules.server.redis_calls cimport drop_reply, redis_setting


cdef enum:
    BACKLOG_BYTES = 64 * 1024 * 1024    # Redis keeps so much of the stream for a tap that was closed


cdef void set_redis(Member *m, const char *name, const char *value) noexcept nogil:
    """Set a setting of Redis. Errors are ignored."""
    drop_reply(RedisModule_Call(m.ctx, "CONFIG", "ccc", b"SET", name, value))


cdef void settle_redis_settings(Member *m) noexcept nogil:
    """Set what a chained member needs:

    - maxmemory-policy: Redis evicts nothing, since a copy must be complete. In a chain of all commands the head alone
      evicts, and its evictions are effects;
    - proto-max-bulk-len, client-query-buffer-limit: the longest update fits;
    - repl-diskless-sync-delay: a learner's copy begins at once;
    - aof-use-rdb-preamble: a rewritten append-only file begins with an RDB, which holds the position;
    - min-replicas-to-write: writes wait for the chain, not for Redis replicas.
    """
    if own_kind(m) == KIND_PUT:
        set_redis(m, b"maxmemory-policy", b"noeviction")
    else:
        settle_stream_settings(m)
    set_redis(m, b"proto-max-bulk-len", b"512mb")
    set_redis(m, b"client-query-buffer-limit", b"1gb")
    set_redis(m, b"repl-diskless-sync-delay", b"0")
    set_redis(m, b"aof-use-rdb-preamble", b"yes")
    set_redis(m, b"min-replicas-to-write", b"0")
    m.keyspace.settings_touched = False      # the calls above are our own changes


cdef void settle_stream_settings(Member *m) noexcept nogil:
    """Set what a member of a chain of all commands needs besides:

    - client-output-buffer-limit, repl-backlog-size: the tap is never closed for being slow, and can resume;
    - replica-…: a server applies all of the stream whatever its own memory and disk, takes no writes, and answers;
    - propagation-error-behavior: an effect that fails is never acknowledged;
    - repl-backlog-ttl: the stream keeps its identity;
    - repl-rdb-channel, dual-channel-…: a copy ends before a server executes anything of the stream behind it. Servers
      without these settings do nothing else.
    """
    set_redis(m, b"client-output-buffer-limit", b"replica 0 0 0")
    set_redis(m, b"replica-read-only", b"yes")
    set_redis(m, b"replica-ignore-maxmemory", b"yes")
    set_redis(m, b"replica-serve-stale-data", b"yes")
    set_redis(m, b"replica-ignore-disk-write-errors", b"yes")
    set_redis(m, b"repl-backlog-ttl", b"0")
    set_redis(m, b"propagation-error-behavior", b"panic-on-replicas")
    set_redis(m, b"repl-rdb-channel", b"no")
    set_redis(m, b"dual-channel-replication-enabled", b"no")
    if redis_number(m, b"repl-backlog-size") < BACKLOG_BYTES:
        set_redis(m, b"repl-backlog-size", b"64mb")
    if redis_number(m, b"repl-ping-replica-period") >= redis_number(m, b"repl-timeout"):
        set_redis(m, b"repl-ping-replica-period", b"10")
        set_redis(m, b"repl-timeout", b"60")
    m.keyspace.settings_touched = False


cdef int64_t redis_number(Member *m, const char *name) noexcept nogil:
    """Returns the value of a setting of Redis that is a number; -1: there is no such setting."""
    cdef char text[64]
    return strtoll(text, NULL, 10) if redis_setting(m.ctx, name, text, sizeof(text)) else -1


cdef RedisModuleString *get_redis(Member *m, const char *name) noexcept nogil:
    """Returns the value of a setting of Redis, which the caller frees. NULL: there is no such setting."""
    cdef RedisModuleCallReply *reply = RedisModule_Call(m.ctx, "CONFIG", "cc", b"GET", name)
    cdef RedisModuleString *value = NULL
    if reply != NULL and RedisModule_CallReplyLength(reply) == 2:
        value = RedisModule_CreateStringFromCallReply(RedisModule_CallReplyArrayElement(reply, 1))
    drop_reply(reply)
    return value


cdef void lend_credentials(Member *m) noexcept nogil:
    """Let Redis's replication log in with the credentials of our links while a copy runs. CONFIG GET shows the password
    meanwhile.
    """
    if string_length(m.settings.auth_password.value.text) == 0 or m.keyspace.masterauth != NULL:
        return
    m.keyspace.masteruser = get_redis(m, b"masteruser")
    m.keyspace.masterauth = get_redis(m, b"masterauth")
    set_redis(m, b"masteruser", RedisModule_StringPtrLen(m.settings.auth_user, NULL))
    set_redis(m, b"masterauth", RedisModule_StringPtrLen(m.settings.auth_password.value.text, NULL))


cdef void take_back_credentials(Member *m) noexcept nogil:
    """Restore the credentials of Redis's replication that `lend_credentials` has replaced."""
    if m.keyspace.masterauth == NULL:
        return
    set_redis(m, b"masteruser", RedisModule_StringPtrLen(m.keyspace.masteruser, NULL))
    set_redis(m, b"masterauth", RedisModule_StringPtrLen(m.keyspace.masterauth, NULL))
    let_go(m.keyspace.masteruser)
    let_go(m.keyspace.masterauth)
    m.keyspace.masteruser = m.keyspace.masterauth = NULL


cdef bint is_settled(const char *name, bint streams) noexcept nogil:
    """Returns whether `settle_redis_settings` sets the setting."""
    if (strcmp(name, "proto-max-bulk-len") == 0 or strcmp(name, "client-query-buffer-limit") == 0
            or strcmp(name, "aof-use-rdb-preamble") == 0 or strcmp(name, "min-replicas-to-write") == 0
            or strcmp(name, "min-slaves-to-write") == 0):
        return True
    if not streams:
        return strcmp(name, "maxmemory-policy") == 0
    return (strcmp(name, "client-output-buffer-limit") == 0 or strcmp(name, "propagation-error-behavior") == 0
            or strcmp(name, "repl-backlog-ttl") == 0 or strcmp(name, "repl-backlog-size") == 0
            or strcmp(name, "repl-rdb-channel") == 0 or strcmp(name, "dual-channel-replication-enabled") == 0
            or strcmp(name, "repl-ping-replica-period") == 0 or strcmp(name, "repl-timeout") == 0
            or strncmp(name, "replica-", 8) == 0 or strncmp(name, "slave-", 6) == 0)


cdef bint settings_care(const RedisModuleConfigChange *change) noexcept nogil:
    """Returns whether a setting that `settle_redis_settings` sets has changed."""
    cdef bint streams = own_kind(the_member()) == KIND_ALL
    cdef unsigned int i
    for i in range(change.num_changes):
        if is_settled(change.config_names[i], streams):
            return True
    return False


cdef void settle_native_role(Member *m) noexcept nogil:
    """Undo a REPLICAOF of somebody else. This runs in the same pass, before anything of the other server's data was
    read.
    """
    m.keyspace.role_touched = False
    if m.chain.has_history and not m.chain.log.streams and not is_native_replica(m) and follows_another(m.ctx):
        m.keyspace.own_call = True
        m.keyspace.roles_undone += follow_nobody(m.ctx)
        m.keyspace.own_call = False


cdef void settings_step(Member *m) noexcept nogil:
    """Restore settings and role, in the before-sleep event: the notification that noticed a change cannot call
    commands.
    """
    if m.keyspace.settings_touched and m.chain.has_history:
        RedisModule_Log(m.ctx, "warning", "a chained member evicts nothing of its own, takes long updates, saves its "
                        "position and has no replicas of Redis's own: set back again where it differed: "
                        "maxmemory-policy, proto-max-bulk-len, client-query-buffer-limit, aof-use-rdb-preamble, "
                        "min-replicas-to-write, and in a chain of all commands what replicas of Redis use")
        settle_redis_settings(m)
    if m.keyspace.role_touched:
        settle_native_role(m)
    if m.keyspace.subscribers_misled:
        drop_reply(RedisModule_Call(m.ctx, "CLIENT", "ccc", b"KILL", b"TYPE", b"pubsub"))
        end_waiting_commands(m, m.ctx)
        m.keyspace.subscribers_misled = False
