# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The settings of Redis that a chained member needs, and its role in Redis's replication. Both are restored when
# somebody changes them.

from libc.string cimport strcmp

from modules.bindings.redismodule cimport (
    RedisModuleCallReply, RedisModuleConfigChange, RedisModuleString, RedisModule_Call,
    RedisModule_CallReplyArrayElement, RedisModule_CallReplyLength, RedisModule_CreateStringFromCallReply,
    RedisModule_Log, RedisModule_StringPtrLen,
)
from modules.member.keyspace.values cimport let_go, string_length
from modules.member.state.member cimport Member, is_native_replica
from modules.server.native_replication cimport follow_nobody, follows_another
from modules.server.redis_calls cimport drop_reply


cdef void set_redis(Member *m, const char *name, const char *value) noexcept nogil:
    """Set a setting of Redis. Errors are ignored."""
    drop_reply(RedisModule_Call(m.ctx, "CONFIG", "ccc", b"SET", name, value))


cdef void settle_redis_settings(Member *m) noexcept nogil:
    """Set what a chained member needs:

    - maxmemory-policy: Redis evicts nothing, since a copy must be complete;
    - proto-max-bulk-len, client-query-buffer-limit: the longest update fits;
    - repl-diskless-sync-delay: a learner's copy begins at once;
    - aof-use-rdb-preamble: a rewritten append-only file begins with an RDB, which holds the position;
    - min-replicas-to-write: writes wait for the chain, not for Redis replicas.
    """
    set_redis(m, b"maxmemory-policy", b"noeviction")
    set_redis(m, b"proto-max-bulk-len", b"512mb")
    set_redis(m, b"client-query-buffer-limit", b"1gb")
    set_redis(m, b"repl-diskless-sync-delay", b"0")
    set_redis(m, b"aof-use-rdb-preamble", b"yes")
    set_redis(m, b"min-replicas-to-write", b"0")
    m.keyspace.settings_touched = False      # the calls above are our own changes


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


cdef bint settings_care(const RedisModuleConfigChange *change) noexcept nogil:
    """Returns whether a setting that `settle_redis_settings` sets has changed."""
    cdef unsigned int i
    for i in range(change.num_changes):
        if (strcmp(change.config_names[i], "maxmemory-policy") == 0
                or strcmp(change.config_names[i], "proto-max-bulk-len") == 0
                or strcmp(change.config_names[i], "client-query-buffer-limit") == 0
                or strcmp(change.config_names[i], "aof-use-rdb-preamble") == 0
                or strcmp(change.config_names[i], "min-replicas-to-write") == 0
                or strcmp(change.config_names[i], "min-slaves-to-write") == 0):
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
        RedisModule_Log(m.ctx, "warning", "a chained member evicts nothing, takes long updates, saves its position and "
                        "has no replicas of Redis's own: set back again: maxmemory-policy, proto-max-bulk-len, "
                        "client-query-buffer-limit, aof-use-rdb-preamble, min-replicas-to-write")
        settle_redis_settings(m)
    if m.keyspace.role_touched:
        settle_native_role(m)
    if m.keyspace.subscribers_misled:
        drop_reply(RedisModule_Call(m.ctx, "CLIENT", "ccc", b"KILL", b"TYPE", b"pubsub"))
        end_waiting_commands(m, m.ctx)
        m.keyspace.subscribers_misled = False
