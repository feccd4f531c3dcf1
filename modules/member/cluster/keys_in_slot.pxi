# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT. A server that is no node of Redis's own cluster keeps no index of slots, so
# each of them looks at every key.

from modules.bindings.redismodule cimport (
    REDISMODULE_POSTPONED_LEN, RedisModuleCtx, RedisModuleKey, RedisModuleScanCursor, RedisModuleString,
    RedisModule_DbSize, RedisModule_ReplySetArrayLength, RedisModule_ReplyWithArray, RedisModule_ReplyWithError,
    RedisModule_ReplyWithLongLong, RedisModule_ReplyWithString, RedisModule_Scan, RedisModule_ScanCursorCreate,
    RedisModule_ScanCursorDestroy, RedisModule_StringPtrLen,
)
from modules.core.key_slot cimport key_slot

cdef enum:
    KEYS_MOST = 100000      # in the database: to look at more of them would keep others waiting


cdef struct Slot:
    int number
    long long found
    long long most          # keys to reply with
    bint shows


cdef void on_scanned(RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data) noexcept nogil:
    cdef Slot *slot = <Slot *>data
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(name, &length)
    if slot.found < slot.most and key_slot(bytes, length) == slot.number:
        slot.found += 1
        if slot.shows:
            RedisModule_ReplyWithString(ctx, name)


cdef int reply_keys(RedisModuleCtx *ctx, Slot *slot) noexcept nogil:
    """Reply with the keys in the slot, or with their number."""
    cdef RedisModuleScanCursor *cursor
    if RedisModule_DbSize(ctx) > <unsigned long long>KEYS_MOST:
        return RedisModule_ReplyWithError(
            ctx, "ERR this database has too many keys for that: a chain has no index of slots")
    if slot.shows:
        RedisModule_ReplyWithArray(ctx, REDISMODULE_POSTPONED_LEN)
    cursor = RedisModule_ScanCursorCreate()
    while slot.found < slot.most and RedisModule_Scan(ctx, cursor, on_scanned, slot):
        pass
    RedisModule_ScanCursorDestroy(cursor)
    if slot.shows:
        RedisModule_ReplySetArrayLength(ctx, slot.found)
        return 0
    return RedisModule_ReplyWithLongLong(ctx, slot.found)
