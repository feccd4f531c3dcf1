# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# ROLE and INFO replication, as a chain's member must answer them.
#
# To Redis, every member is a master without replicas. Software that believes this would write to any of them. So the
# command filter replaces ROLE and INFO with the commands of this file, which name the head, and no other member, as the
# master.
#
# Who may ask: modules/server/logins.pxd. Where the default user has a password, a user also needs the rights to
# CHAIN.ROLE and CHAIN.INFO.

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport strlen, strstr

from modules.bindings.redismodule cimport (
    REDISMODULE_REPLY_STRING, RedisModuleCallReply, RedisModuleCtx, RedisModuleString, RedisModule_Call,
    RedisModule_CallReplyStringPtr, RedisModule_CallReplyType, RedisModule_CreateString, RedisModule_FreeString,
    RedisModule_GetClientId, RedisModule_ReplyWithArray, RedisModule_ReplyWithCString, RedisModule_ReplyWithError,
    RedisModule_ReplyWithLongLong, RedisModule_ReplyWithVerbatimString, RedisModule_StringAppendBuffer,
    RedisModule_StringPtrLen, RedisModule_WrongArity,
)
from modules.core.hex cimport to_hex
from modules.core.view cimport HISTORY_BYTES, HOST_BYTES, Node
from modules.member.keyspace.client_ports cimport client_port
from modules.member.keyspace.serving cimport may_write, serves_in_role
from modules.member.state.member cimport Member, the_member
from modules.server.logins cimport ENTRANCE_OPEN, Entrance, entrance, has_name, may_ask
from modules.server.redis_calls cimport drop_reply

cdef enum:
    LINE_BYTES = HOST_BYTES + 128


# ------------------------------------------------------------------------------------------------- who may ask

cdef Entrance who_enters(Member *m) noexcept nogil:
    """Who enters without a login, as the users are now. The server says it, at the price of fifty commands."""
    if not m.keyspace.entrance_known:
        m.keyspace.own_call = True
        m.keyspace.entrance = entrance(m.ctx)
        m.keyspace.own_call = False
        m.keyspace.entrance_known = True
    return m.keyspace.entrance


cdef bint is_logged_in(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether the client has logged in; needed for commands that Redis runs without a login. If it has not,
    replies the error that Redis gives.
    """
    if has_name(ctx) or who_enters(m) == ENTRANCE_OPEN:
        return True
    RedisModule_ReplyWithError(ctx, "NOAUTH Authentication required.")
    return False


# ------------------------------------------------------------------------------------------------- what it is

cdef bint is_head(const Member *m) noexcept nogil:
    """Returns whether this member says that it is a master. A head that knows of a newer view does not (rule 2)."""
    return m.disk.started and may_write(m)


cdef bint knows_head(const Member *m) noexcept nogil:
    return m.chain.view.count != 0 and m.chain.me != 0


cdef const char *head_host(const Member *m) noexcept nogil:
    """Returns the host to write to. Empty: this member does not know the head."""
    if knows_head(m):
        return &m.chain.view.members[0].host[0]
    return ""


cdef int head_port(const Member *m, uint64_t asker) noexcept nogil:
    if knows_head(m):
        return client_port(m, asker, &m.chain.view.members[0])
    return 0


cdef bint is_up(const Member *m) noexcept nogil:
    return m.disk.started and serves_in_role(m)


cdef int64_t updates(int64_t sn) noexcept nogil:
    """Returns the number of updates up to `sn`. Replication offsets in ROLE and INFO count from 0."""
    return sn + 1


# ------------------------------------------------------------------------------------------------------- ROLE

cdef int reply_replica(RedisModuleCtx *ctx, const Node *node, int port, int64_t offset) noexcept nogil:
    cdef char number[24]
    RedisModule_ReplyWithArray(ctx, 3)
    RedisModule_ReplyWithCString(ctx, &node.host[0])
    snprintf(number, sizeof(number), "%d", port)
    RedisModule_ReplyWithCString(ctx, number)
    snprintf(number, sizeof(number), "%lld", <long long>offset)
    return RedisModule_ReplyWithCString(ctx, number)


cdef int reply_head_role(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    cdef const Node *node
    cdef int i
    RedisModule_ReplyWithArray(ctx, 3)
    RedisModule_ReplyWithCString(ctx, "master")
    RedisModule_ReplyWithLongLong(ctx, updates(m.chain.applied))
    RedisModule_ReplyWithArray(ctx, max(0, m.chain.view.count - 1))
    for i in range(1, m.chain.view.count):
        node = &m.chain.view.members[i]
        reply_replica(ctx, node, client_port(m, RedisModule_GetClientId(ctx), node), updates(m.chain.committed))
    return 0


cdef int role_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """ROLE -> [master, updates, [[host, port, updates], …]] | [slave, host, port, state, updates], as Redis's own ROLE
    """
    cdef const char *state = "connect"
    if not may_ask(ctx, b"role"):
        return 0
    if is_head(m):
        return reply_head_role(m, ctx)
    if is_up(m):
        state = "connected"
    elif m.chain.learner:
        state = "sync"
    RedisModule_ReplyWithArray(ctx, 5)
    RedisModule_ReplyWithCString(ctx, "slave")
    RedisModule_ReplyWithCString(ctx, head_host(m))
    RedisModule_ReplyWithLongLong(ctx, head_port(m, RedisModule_GetClientId(ctx)))
    RedisModule_ReplyWithCString(ctx, state)
    return RedisModule_ReplyWithLongLong(ctx, updates(m.chain.applied))


# ------------------------------------------------------------------------------------------------------- INFO

cdef void add(RedisModuleString *out, const char *text) noexcept nogil:
    RedisModule_StringAppendBuffer(NULL, out, text, strlen(text))


cdef void add_number(RedisModuleString *out, const char *name, int64_t number) noexcept nogil:
    cdef char line[LINE_BYTES]
    snprintf(line, LINE_BYTES, "%s:%lld\r\n", name, <long long>number)
    add(out, line)


cdef void add_replicas(const Member *m, uint64_t asker, RedisModuleString *out) noexcept nogil:
    """Add the fields of a head. Every member has the committed updates, so `committed` is the offset of each."""
    cdef char line[LINE_BYTES]
    cdef const Node *node
    cdef int i
    add(out, "role:master\r\n")
    add_number(out, "connected_slaves", max(0, m.chain.view.count - 1))
    for i in range(1, m.chain.view.count):
        node = &m.chain.view.members[i]
        snprintf(line, LINE_BYTES, "slave%d:ip=%s,port=%d,state=online,offset=%lld,lag=0\r\n", i - 1, &node.host[0],
                 client_port(m, asker, node), <long long>updates(m.chain.committed))
        add(out, line)


cdef void add_head(const Member *m, uint64_t asker, RedisModuleString *out) noexcept nogil:
    cdef char line[LINE_BYTES]
    snprintf(line, LINE_BYTES, "role:slave\r\nmaster_host:%s\r\nmaster_port:%d\r\n", head_host(m),
             head_port(m, asker))
    add(out, line)
    add(out, "master_link_status:up\r\n" if is_up(m) else "master_link_status:down\r\n")
    add_number(out, "master_last_io_seconds_ago", 0 if is_up(m) else -1)
    add_number(out, "master_sync_in_progress", m.chain.learner)
    add_number(out, "slave_read_repl_offset", updates(m.chain.applied))
    add_number(out, "slave_repl_offset", updates(m.chain.applied))
    # Only the chain's master appoints a head. Sentinel never promotes a replica of priority 0.
    add(out, "slave_priority:0\r\nslave_read_only:1\r\nreplica_announced:1\r\nconnected_slaves:0\r\n")


cdef void add_section(const Member *m, uint64_t asker, RedisModuleString *out) noexcept nogil:
    cdef char history[2 * HISTORY_BYTES + 1]
    add(out, "# Replication\r\n")
    if is_head(m):
        add_replicas(m, asker, out)
    else:
        add_head(m, asker, out)
    to_hex(m.chain.history, HISTORY_BYTES, history)
    add(out, "master_failover_state:no-failover\r\nmaster_replid:00000000")
    add(out, history)
    add(out, "\r\nmaster_replid2:0000000000000000000000000000000000000000\r\n")
    add_number(out, "master_repl_offset", updates(m.chain.applied))
    add(out, "second_repl_offset:-1\r\nrepl_backlog_active:0\r\n")


cdef RedisModuleString *with_section(
    const Member *m, uint64_t asker, const char *text, size_t length,
) noexcept nogil:
    """Returns the native text of INFO with its replication section replaced. The text must contain no NUL byte.

    A server that is a Redis replica, such as a learner that copies, keeps the native section, which shows the progress
    of the copy.
    """
    cdef const char *begin = strstr(text, "# Replication\r\n")
    cdef const char *end
    cdef RedisModuleString *out
    if begin == NULL or (m.chain.me < 0 and strstr(begin, "\r\nrole:slave\r\n") != NULL):
        return RedisModule_CreateString(NULL, text, length)
    end = strstr(begin, "\r\n\r\n")
    end = text + length if end == NULL else end + 2
    out = RedisModule_CreateString(NULL, text, begin - text)
    add_section(m, asker, out)
    RedisModule_StringAppendBuffer(NULL, out, end, length - (end - text))
    return out


cdef void announce_cluster(RedisModuleString *native) noexcept nogil:
    """Let the text say that this server is a node of a cluster. The text is nobody else's, and keeps its length."""
    cdef const char *line = "cluster_enabled:0\r\n"
    cdef char *found = strstr(<char *>RedisModule_StringPtrLen(native, NULL), line)
    if found != NULL:
        found[strlen(line) - 3] = c"1"


cdef int info_command(
    Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc,
) noexcept nogil:
    """INFO [section …] -> as Redis's own INFO, with the replication section of a chain's member"""
    cdef RedisModuleCallReply *reply
    cdef RedisModuleString *native
    cdef RedisModuleString *text
    cdef const char *bytes
    cdef size_t length
    if not may_ask(ctx, b"info"):
        return 0
    m.keyspace.own_call = True
    reply = RedisModule_Call(ctx, "INFO", "v", &argv[1], <size_t>(argc - 1))
    m.keyspace.own_call = False
    if reply == NULL or RedisModule_CallReplyType(reply) != REDISMODULE_REPLY_STRING:
        RedisModule_ReplyWithError(ctx, "ERR this server has no command INFO")
        drop_reply(reply)
        return 0
    bytes = RedisModule_CallReplyStringPtr(reply, &length)
    native = RedisModule_CreateString(NULL, bytes, length)      # a module string ends with a zero byte
    drop_reply(reply)
    if m.settings.cluster_announce:
        announce_cluster(native)
    text = with_section(m, RedisModule_GetClientId(ctx), RedisModule_StringPtrLen(native, &length), length)
    bytes = RedisModule_StringPtrLen(text, &length)
    RedisModule_ReplyWithVerbatimString(ctx, bytes, length)
    RedisModule_FreeString(NULL, text)
    RedisModule_FreeString(NULL, native)
    return 0


# ------------------------------------------------------------------------------------------------- the handlers

cdef int on_role(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.ROLE, in place of ROLE -> the reply of Redis's ROLE"""
    return role_command(the_member(), ctx) if argc == 1 else RedisModule_WrongArity(ctx)


cdef int on_role_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return on_role(ctx, argv, argc) if is_logged_in(the_member(), ctx) else 0


cdef int on_info_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.INFO, in place of INFO -> the reply of Redis's INFO"""
    return info_command(the_member(), ctx, argv, argc)


cdef int on_info_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return on_info_command(ctx, argv, argc) if is_logged_in(the_member(), ctx) else 0
