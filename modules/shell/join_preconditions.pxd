# cython: language_level=3
"""What a server must be like so that its own data may become a chain's (DESIGN.md, section 4)."""

from libc.stdio cimport snprintf
from libc.string cimport memcpy, strcmp, strncmp, strstr

from modules.redis_calls cimport info_field
from modules.redismodule cimport (
    REDISMODULE_NO_EXPIRE, RedisModule_AvoidReplicaTraffic, RedisModule_DbSize, RedisModule_FreeServerInfo,
    RedisModule_GetExpire, RedisModule_GetServerInfo, RedisModule_Scan, RedisModule_ScanCursorCreate,
    RedisModule_ScanCursorDestroy, RedisModule_SelectDb, RedisModule_ServerInfoGetFieldC, RedisModule_StringPtrLen,
    RedisModuleCtx, RedisModuleKey, RedisModuleScanCursor, RedisModuleServerInfoData, RedisModuleString,
)
from modules.shell.state cimport ERROR_BYTES

cdef enum:
    SCAN_STEPS = 10000          # some milliseconds
    MAX_DATABASES = 256         # how many are looked at when a server enters a chain


cdef struct Expiring:
    int count
    int length
    char names[ERROR_BYTES - 96]


cdef inline void note_expiring(
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


cdef inline void find_expiring(RedisModuleCtx *ctx, Expiring *found) noexcept nogil:
    """Some of their names: it is for people, and must not hold up the event loop (rule 8)."""
    cdef RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate()
    cdef int steps = 0
    found.count = 0
    found.length = 0
    while found.count < 10 and steps < SCAN_STEPS and RedisModule_Scan(ctx, cursor, note_expiring, found):
        steps += 1
    RedisModule_ScanCursorDestroy(cursor)
    found.names[found.length] = 0


cdef inline bint other_databases(RedisModuleCtx *ctx) noexcept nogil:
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(ctx, "keyspace")
    cdef char field[16]
    cdef bint found = False
    cdef int i
    for i in range(1, MAX_DATABASES):
        snprintf(field, sizeof(field), "db%d", i)
        if RedisModule_ServerInfoGetFieldC(info, field) != NULL:
            found = True
    RedisModule_FreeServerInfo(ctx, info)
    return found


cdef inline bint holds_keys(RedisModuleCtx *ctx) noexcept nogil:
    """In any database."""
    RedisModule_SelectDb(ctx, 0)
    return RedisModule_DbSize(ctx) != 0 or other_databases(ctx)


cdef inline bint may_become_chain(RedisModuleCtx *ctx, char *why) noexcept nogil:
    """May this server's own data become a chain's? False with the reason in `why`, ERROR_BYTES long."""
    cdef char text[ERROR_BYTES]
    cdef Expiring found
    cdef const char *expires
    if RedisModule_AvoidReplicaTraffic():
        snprintf(why, ERROR_BYTES, "the clients of this server are paused: CLIENT UNPAUSE first")
        return False
    if info_field(ctx, "replication", "role", text, sizeof(text)) and strcmp(text, "master") != 0:
        snprintf(why, ERROR_BYTES, "this server is a replica of another: REPLICAOF NO ONE first")
        return False
    if not info_field(ctx, "keyspace", "db0", text, sizeof(text)):
        text[0] = 0
    if other_databases(ctx):
        snprintf(why, ERROR_BYTES, "a chain has database 0 only, and other databases of this server hold keys")
        return False
    expires = strstr(text, "expires=")
    if expires != NULL and strncmp(expires, "expires=0", 9) != 0:
        find_expiring(ctx, &found)
        snprintf(why, ERROR_BYTES,
                 "keys with a time to live cannot enter a chain: PERSIST or delete them first (TTL finds them): %s",
                 found.names)
        return False
    return True
