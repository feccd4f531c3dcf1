# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Updates are applied to Redis's keyspace. The log and the keyspace share long values, without copies."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from modules.bindings.redismodule cimport (
    REDISMODULE_KEYTYPE_EMPTY, REDISMODULE_NOTIFY_GENERIC, REDISMODULE_NOTIFY_STRING, REDISMODULE_NO_EXPIRE,
    REDISMODULE_WRITE, RedisModuleCtx, RedisModuleKey, RedisModuleString, RedisModule_CloseKey,
    RedisModule_CreateString, RedisModule_FreeString, RedisModule_GetExpire, RedisModule_GetNotifyKeyspaceEvents,
    RedisModule_KeyType, RedisModule_NotifyKeyspaceEvent, RedisModule_OpenKey, RedisModule_RetainString,
    RedisModule_StringDMA, RedisModule_StringPtrLen, RedisModule_StringSet, RedisModule_TrimStringAllocation,
    RedisModule_UnlinkKey, RedisModule_ValueLength,
)
from modules.core.hints cimport Hints, hint_note
from modules.member.state.member cimport the_member

cdef enum:
    COPIED_STRING = 1024        # bytes; a longer value is shared between log and keyspace
    # bytes; from this length on Redis makes its query buffer the argument, unused space included
    LONG_STRING = 32 * 1024


cdef inline char *overwrite_in_place(RedisModuleKey *handle, const char *bytes, size_t length) noexcept nogil:
    """Copy a short value over a value of the same length. Returns its place; NULL: the key needs another way.

    The copy costs less than a new value, which frees, allocates and looks the key up three more times. If something
    shares the old value, Redis first gives the key a value of its own. The key then keeps that value for later copies.
    """
    cdef size_t room
    cdef char *place
    if length == 0 or length > COPIED_STRING:
        return NULL
    if RedisModule_ValueLength(handle) != length or RedisModule_GetExpire(handle) != REDISMODULE_NO_EXPIRE:
        return NULL
    place = RedisModule_StringDMA(handle, &room, REDISMODULE_WRITE)
    if place == NULL or room != length:
        return NULL         # a list of as many elements, for example
    memcpy(place, bytes, length)
    return place


cdef inline void set_value(
    RedisModuleKey *handle, RedisModuleString *value, const char *bytes, size_t length,
    const Hints *hints, uint64_t hash,
) noexcept nogil:
    """Give the key a new value: the string, or one with these bytes if it is NULL."""
    cdef RedisModuleString *object = value if value != NULL else RedisModule_CreateString(NULL, bytes, length)
    RedisModule_StringSet(handle, object)
    if hints != NULL:
        hint_note(hints, hash, <uint64_t>object, <uint64_t>RedisModule_StringPtrLen(object, NULL))
    if value == NULL:
        RedisModule_FreeString(NULL, object)


cdef inline void notify(RedisModuleCtx *ctx, int kind, const char *event, RedisModuleString *key) noexcept nogil:
    """Notify subscribers of keyspace events, if there may be any: clients with notify-keyspace-events, or modules."""
    if RedisModule_GetNotifyKeyspaceEvents() or not the_member().keyspace.alone:
        RedisModule_NotifyKeyspaceEvent(ctx, kind, event, key)


cdef inline void keyspace_apply(
    RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, const char *bytes, size_t length,
    bint shared, bint flushed, const Hints *hints, uint64_t hash,
) noexcept nogil:
    """Set the key, or delete it if `bytes` is NULL, in the database that `ctx` has selected.

    value: a string that has the bytes; NULL: there is none.
    shared: something keeps the value for long, so the keyspace must share it, not copy it.
    flushed: a key that is not in memory may be in the checkpoint, so its deletion is an event in any case.
    hints: where the value's place is noted, under the key's hash; NULL: nowhere.

    Subscribers of keyspace events are notified as of a native SET or DEL.
    """
    cdef RedisModuleKey *handle = RedisModule_OpenKey(ctx, key, REDISMODULE_WRITE)
    cdef char *place = NULL
    cdef bint existed = flushed or (bytes == NULL and RedisModule_KeyType(handle) != REDISMODULE_KEYTYPE_EMPTY)
    if bytes == NULL:
        RedisModule_UnlinkKey(handle)
    else:
        if not shared:
            place = overwrite_in_place(handle, bytes, length)
        if place == NULL:
            set_value(handle, value, bytes, length, hints, hash)
        elif hints != NULL:
            hint_note(hints, hash, 0, <uint64_t>place)
    RedisModule_CloseKey(handle)
    if bytes != NULL:
        notify(ctx, REDISMODULE_NOTIFY_STRING, "set", key)
    elif existed:
        notify(ctx, REDISMODULE_NOTIFY_GENERIC, "del", key)


cdef inline void keyspace_apply_strings(
    RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value,
) noexcept nogil:
    """The same for strings that nothing keeps for long."""
    cdef size_t length = 0
    cdef const char *bytes = NULL
    if value != NULL:
        bytes = RedisModule_StringPtrLen(value, &length)
    keyspace_apply(ctx, key, value, bytes, length, False, False, NULL, 0)


cdef inline size_t string_length(const RedisModuleString *string) noexcept nogil:
    cdef size_t length
    RedisModule_StringPtrLen(string, &length)
    return length


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
