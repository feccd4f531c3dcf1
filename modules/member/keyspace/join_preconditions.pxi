# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What a server must be like so that its own data may become a chain's data (design.md, section 4).

from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strcmp

from modules.bindings.redismodule cimport (
    REDISMODULE_NO_EXPIRE, RedisModuleCallReply, RedisModuleCtx, RedisModuleKey, RedisModuleScanCursor,
    RedisModuleString, RedisModule_AvoidReplicaTraffic, RedisModule_Call, RedisModule_CallReplyStringPtr,
    RedisModule_GetExpire, RedisModule_Scan, RedisModule_ScanCursorCreate, RedisModule_ScanCursorDestroy,
    RedisModule_StringPtrLen,
)
from modules.core.keyspace_info cimport KeyspaceInfo, keyspace_parse
from modules.core.view cimport KIND_ALL
from modules.member.keyspace.kind cimport own_kind
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member, the_member
from modules.server.native_replication cimport follows_another
from modules.server.own_certificate cimport accepts_itself
from modules.server.redis_calls cimport drop_reply, info_field, is_configured, redis_setting
from modules.server.tls cimport Tls, tls_refresh, tls_replicates

cdef enum:
    SCAN_STEPS = 10000          # bound of the search: some milliseconds


cdef struct Expiring:
    int count
    int length
    char names[ERROR_BYTES - 96]


cdef void note_expiring(
    RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data,
) noexcept nogil:
    cdef Expiring *found = <Expiring *>data
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(name, &length)
    if key == NULL or RedisModule_GetExpire(key) == REDISMODULE_NO_EXPIRE:
        return
    found.count += 1
    if found.length + length + 2 < sizeof(found.names):
        if found.length:
            found.names[found.length] = c" "
            found.length += 1
        memcpy(&found.names[found.length], bytes, length)
        found.length += <int>length


cdef void find_expiring(RedisModuleCtx *ctx, Expiring *found) noexcept nogil:
    """Collect names of keys that expire. The list is for an error text and may be incomplete: a full scan would hold up
    the event loop (rule 8).
    """
    cdef RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate()
    cdef int steps = 0
    found.count = 0
    found.length = 0
    while found.count < 10 and steps < SCAN_STEPS and RedisModule_Scan(ctx, cursor, note_expiring, found):
        steps += 1
    RedisModule_ScanCursorDestroy(cursor)
    found.names[found.length] = 0


cdef void read_keyspace(RedisModuleCtx *ctx, KeyspaceInfo *out) noexcept nogil:
    cdef RedisModuleCallReply *reply
    cdef const char *text
    cdef size_t length
    cdef Member *m = the_member()
    m.keyspace.own_call = True
    reply = RedisModule_Call(ctx, "INFO", "c", b"keyspace")
    m.keyspace.own_call = False
    memset(out, 0, sizeof(KeyspaceInfo))
    text = RedisModule_CallReplyStringPtr(reply, &length) if reply != NULL else NULL
    if text != NULL:
        keyspace_parse(text, length, out)
    drop_reply(reply)


cdef bint holds_keys(RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether any database has keys."""
    cdef KeyspaceInfo keyspace
    read_keyspace(ctx, &keyspace)
    return keyspace.keys != 0


cdef bint is_failing_over(RedisModuleCtx *ctx) noexcept nogil:
    cdef char text[32]
    return (info_field(ctx, "replication", "master_failover_state", text, sizeof(text))
            and strcmp(text, "no-failover") != 0)


cdef bint has_port(RedisModuleCtx *ctx, const char *setting) noexcept nogil:
    cdef char port[16]
    return redis_setting(ctx, setting, port, sizeof(port)) and strcmp(port, "0") != 0


cdef bint reaches_itself(RedisModuleCtx *ctx, char *why) noexcept nogil:
    """Returns whether this server's own module can reach it, as it has to when the server is the head of a chain of all
    commands. If not, writes the reason into `why`, which has room for ERROR_BYTES.
    """
    cdef Tls *tls = &the_member().tls
    if not ((has_port(ctx, "port") or has_port(ctx, "tls-port")) and not is_configured(ctx, "bind", "")
            or not is_configured(ctx, "unixsocket", "")):
        snprintf(why, ERROR_BYTES, "this server has neither a port nor a unix socket, by which its own module could "
                 "reach it: set port or tls-port")
        return False
    if not tls_replicates(ctx) or the_member().chain.me >= 0:
        return True     # a member whose certificate has ended meanwhile is not kept from the next view
    if not tls_refresh(tls, ctx):
        snprintf(why, ERROR_BYTES, "%s", tls.error)
        return False
    return accepts_itself(tls, why, ERROR_BYTES)


cdef bint may_become_chain(RedisModuleCtx *ctx, char *why) noexcept nogil:
    """Returns whether this server's own data may become the data of a chain. If not, writes the reason into `why`,
    which has room for ERROR_BYTES.
    """
    cdef KeyspaceInfo keyspace
    cdef Expiring found
    if follows_another(ctx):
        snprintf(why, ERROR_BYTES, "this server is a replica of another: REPLICAOF NO ONE first")
        return False
    if is_failing_over(ctx):
        snprintf(why, ERROR_BYTES, "this server is handing over to a replica of it: FAILOVER ABORT first")
        return False
    if RedisModule_AvoidReplicaTraffic():
        snprintf(why, ERROR_BYTES, "the clients of this server are paused: CLIENT UNPAUSE first")
        return False
    if own_kind(the_member()) == KIND_ALL:
        return reaches_itself(ctx, why)     # databases and times to live are copied as they are
    read_keyspace(ctx, &keyspace)
    if keyspace.others:
        snprintf(why, ERROR_BYTES, "a chain has database 0 only, and other databases of this server hold keys")
        return False
    if keyspace.expiring:
        find_expiring(ctx, &found)
        snprintf(why, ERROR_BYTES,
                 "keys with a time to live cannot enter a chain: PERSIST or delete them first (TTL finds them): %s",
                 found.names)
        return False
    if keyspace.expiring_fields:
        snprintf(why, ERROR_BYTES, "hashes whose fields have a time to live cannot enter a chain: HPERSIST the fields "
                 "or delete them first (HTTL finds them)")
        return False
    return True
