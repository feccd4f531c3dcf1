# cython: language_level=3
"""Updates meet Redis's keyspace. Keys and values are shared with it, not copied."""

from modules.core.chain cimport Entry
from modules.redismodule cimport (
    REDISMODULE_WRITE, RedisModule_CloseKey, RedisModule_FreeString, RedisModule_OpenKey, RedisModule_RetainString,
    RedisModule_StringPtrLen, RedisModule_StringSet, RedisModule_TrimStringAllocation, RedisModule_UnlinkKey,
    RedisModuleCtx, RedisModuleKey, RedisModuleString,
)

cdef enum:
    LONG_STRING = 32 * 1024     # from here on Redis hands over its query buffer as the argument, slack included


cdef inline void keyspace_apply(
    RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value,
) noexcept nogil:
    """Set the key, or delete it when `value` is NULL, in the database that `ctx` has selected."""
    cdef RedisModuleKey *handle = RedisModule_OpenKey(ctx, key, REDISMODULE_WRITE)
    if value != NULL:
        RedisModule_StringSet(handle, value)
    else:
        RedisModule_UnlinkKey(handle)
    RedisModule_CloseKey(handle)


cdef inline size_t string_length(const RedisModuleString *string) noexcept nogil:
    cdef size_t length
    RedisModule_StringPtrLen(string, &length)
    return length


cdef inline RedisModuleString *keep(RedisModuleString *argument) noexcept nogil:
    """A reference of our own to an argument of a command."""
    RedisModule_RetainString(NULL, argument)
    if string_length(argument) >= LONG_STRING:
        RedisModule_TrimStringAllocation(argument)
    return argument


cdef inline void let_go(RedisModuleString *string) noexcept nogil:
    if string != NULL:
        RedisModule_FreeString(NULL, string)


cdef inline void release_entry(Entry *entry) noexcept nogil:
    """Give back what an entry taken out of the log holds."""
    let_go(<RedisModuleString *>entry.key)
    let_go(<RedisModuleString *>entry.value)
    let_go(<RedisModuleString *>entry.client)
