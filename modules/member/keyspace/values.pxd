# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Updates are applied to Redis's keyspace. The log and the keyspace share keys and values, without copies."""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from modules.bindings.redismodule cimport (
    REDISMODULE_KEYTYPE_EMPTY, REDISMODULE_KEYTYPE_STRING, REDISMODULE_NOTIFY_GENERIC, REDISMODULE_NOTIFY_STRING,
    REDISMODULE_NO_EXPIRE, REDISMODULE_WRITE, RedisModuleCtx, RedisModuleKey, RedisModuleString, RedisModule_CloseKey,
    RedisModule_FreeString, RedisModule_GetExpire, RedisModule_KeyType, RedisModule_NotifyKeyspaceEvent,
    RedisModule_OpenKey, RedisModule_RetainString, RedisModule_StringDMA, RedisModule_StringPtrLen,
    RedisModule_StringSet, RedisModule_TrimStringAllocation, RedisModule_UnlinkKey, RedisModule_ValueLength,
)
from modules.core.log cimport Entry

cdef enum:
    COPIED_STRING = 1024        # bytes; a longer value is always shared between log and keyspace
    # bytes; from this length on Redis makes its query buffer the argument, unused space included
    LONG_STRING = 32 * 1024


cdef inline bint overwrite_in_place(RedisModuleKey *handle, const RedisModuleString *value) noexcept nogil:
    """Copy a short value over a value of the same length. Returns False if the key needs another way.

    The copy costs less than sharing, which frees, allocates and looks the key up three more times. If the log shares
    the old value, Redis first gives the key a value of its own. The key then keeps that value for later copies.
    """
    cdef size_t length
    cdef size_t room
    cdef const char *bytes = RedisModule_StringPtrLen(value, &length)
    cdef char *place
    if length == 0 or length > COPIED_STRING or RedisModule_KeyType(handle) != REDISMODULE_KEYTYPE_STRING:
        return False
    if RedisModule_ValueLength(handle) != length or RedisModule_GetExpire(handle) != REDISMODULE_NO_EXPIRE:
        return False
    place = RedisModule_StringDMA(handle, &room, REDISMODULE_WRITE)
    if place == NULL or room != length:
        return False
    memcpy(place, bytes, length)
    return True


cdef inline void keyspace_apply(
    RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, bint shared, bint flushed,
) noexcept nogil:
    """Set the key, or delete it if `value` is NULL, in the database that `ctx` has selected.

    shared: something keeps the value for long, so the keyspace must share it, not copy it.
    flushed: a key that is not in memory may be in the checkpoint, so its deletion is an event in any case.

    Subscribers of keyspace events are notified as of a native SET or DEL.
    """
    cdef RedisModuleKey *handle = RedisModule_OpenKey(ctx, key, REDISMODULE_WRITE)
    cdef bint existed = flushed or RedisModule_KeyType(handle) != REDISMODULE_KEYTYPE_EMPTY
    if value == NULL:
        RedisModule_UnlinkKey(handle)
    elif shared or not overwrite_in_place(handle, value):
        RedisModule_StringSet(handle, value)
    RedisModule_CloseKey(handle)
    if value != NULL:
        RedisModule_NotifyKeyspaceEvent(ctx, REDISMODULE_NOTIFY_STRING, "set", key)
    elif existed:
        RedisModule_NotifyKeyspaceEvent(ctx, REDISMODULE_NOTIFY_GENERIC, "del", key)


cdef inline size_t string_length(const RedisModuleString *string) noexcept nogil:
    cdef size_t length
    RedisModule_StringPtrLen(string, &length)
    return length


cdef inline bint strings_equal(const RedisModuleString *a, const RedisModuleString *b) noexcept nogil:
    cdef size_t a_length
    cdef size_t b_length
    cdef const char *a_bytes = RedisModule_StringPtrLen(a, &a_length)
    cdef const char *b_bytes = RedisModule_StringPtrLen(b, &b_length)
    return a_length == b_length and memcmp(a_bytes, b_bytes, a_length) == 0


cdef inline RedisModuleString *keep(RedisModuleString *argument) noexcept nogil:
    """Take a reference to the string, for the caller."""
    RedisModule_RetainString(NULL, argument)
    return argument


cdef inline RedisModuleString *keep_value(RedisModuleString *argument, uint64_t bytes) noexcept nogil:
    """Take a reference to a value of at most `bytes` bytes. A long value is first freed of unused space."""
    if bytes >= LONG_STRING:
        RedisModule_TrimStringAllocation(argument)
    return keep(argument)


cdef inline void let_go(RedisModuleString *string) noexcept nogil:
    if string != NULL:
        RedisModule_FreeString(NULL, string)


cdef inline void release_entry(Entry *entry) noexcept nogil:
    """Give back the references of an entry that was taken out of the log."""
    let_go(<RedisModuleString *>entry.key)
    let_go(<RedisModuleString *>entry.value)
    let_go(<RedisModuleString *>entry.client)
