# cython: language_level=3
"""Which keys are newer than the checkpoint: told of every update, and asked before a key may leave memory."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf

from modules.bindings.redismodule cimport RedisModuleString, RedisModule_StringPtrLen
from modules.core.checkpoint.memtable cimport (
    DIRTY_DELETED, DIRTY_LACKING, DIRTY_OVERHEAD, DIRTY_VALUE, Dirty, DirtyEntry, DirtyKind, dirty_at, dirty_find,
    dirty_free, dirty_new, dirty_put, dirty_set,
)
from modules.core.checkpoint.record_format cimport NOTHING
from modules.member.keyspace.values cimport keep, let_go, string_length
from modules.member.state.checkpoint cimport Checkpoint, TEXT_BYTES

cdef enum:
    FREED_AT_ONCE = 64          # entries between two looks at the clock


cdef inline void track_failed(Checkpoint *c) noexcept nogil:
    """What is newer than the checkpoint is not known any more: so says INFO, and nothing is written or flushed."""
    c.tracking = False
    snprintf(c.error, TEXT_BYTES, "out of memory while following updates: this member needs a copy")


cdef inline void entry_assign(
    Dirty *table, DirtyEntry *entry, int64_t sn, DirtyKind kind, RedisModuleString *value,
) noexcept nogil:
    """Takes over the caller's reference to the value."""
    cdef RedisModuleString *old = <RedisModuleString *>entry.value
    dirty_set(table, entry, kind, string_length(old) if old != NULL else 0,
              string_length(value) if value != NULL else 0)
    let_go(old)
    entry.value = value
    entry.sn = sn


cdef inline DirtyEntry *entry_of(Dirty *table, RedisModuleString *key) noexcept nogil:
    """The key's entry, with the key in it; NULL when memory is exhausted."""
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(key, &length)
    cdef DirtyEntry *entry = dirty_put(table, bytes, length)
    if entry != NULL and entry.key == NULL:
        entry.key = keep(key)
    return entry


cdef inline void track(Checkpoint *c, int64_t sn, RedisModuleString *key, RedisModuleString *value) noexcept nogil:
    """This update has just been applied; without a value it deletes. Value and key are shared, not copied."""
    cdef DirtyEntry *entry = entry_of(c.dirty, key)
    if entry == NULL:
        track_failed(c)
        return
    entry_assign(c.dirty, entry, sn, DIRTY_DELETED if value == NULL else DIRTY_VALUE,
                 keep(value) if value != NULL else NULL)


cdef inline void track_loaded(Checkpoint *c, RedisModuleString *key, int64_t sn, bint deleted) noexcept nogil:
    """This key was newer than the checkpoint when the data was saved that is just being loaded, or is listed now."""
    cdef DirtyEntry *entry = entry_of(c.dirty, key)
    if entry == NULL:
        track_failed(c)
    else:
        entry_assign(c.dirty, entry, sn, DIRTY_DELETED if deleted else DIRTY_LACKING, NULL)


cdef inline const DirtyEntry *newest_update(const Checkpoint *c, RedisModuleString *key) noexcept nogil:
    """The key's newest update that the checkpoint lacks; NULL: it has everything of this key."""
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(key, &length)
    cdef const DirtyEntry *entry = dirty_find(c.dirty, bytes, length)
    if entry == NULL and c.frozen != NULL:
        entry = dirty_find(c.frozen, bytes, length)
    return entry


cdef inline bint may_be_flushed(const Checkpoint *c, RedisModuleString *key) noexcept nogil:
    """Of a key that is not in memory: may the checkpoint have it?"""
    return c.tracking and c.watermark != NOTHING and newest_update(c, key) == NULL


# --------------------------------------------------------------------------------------------------- letting go

cdef inline void track_spend(Checkpoint *c, Dirty *table) noexcept nogil:
    """No longer of use: its handles are given back, a slice a pass."""
    cdef Dirty **place = &c.spent
    if table == NULL:
        return
    while place[0] != NULL:
        place = &place[0].next
    table.next = NULL
    place[0] = table


cdef inline bint track_release(Checkpoint *c) noexcept nogil:
    """Give back a few handles of spent tables; False: none is left."""
    cdef Dirty *table = c.spent
    cdef DirtyEntry *entry
    cdef uint64_t end = min(table.count, c.spent_to + FREED_AT_ONCE)
    while c.spent_to < end:
        entry = dirty_at(table, c.spent_to)
        let_go(<RedisModuleString *>entry.key)
        let_go(<RedisModuleString *>entry.value)
        c.spent_to += 1
    if c.spent_to == table.count:
        c.spent = table.next
        c.spent_to = 0
        dirty_free(table)
    return c.spent != NULL


cdef inline void forget_written(Checkpoint *c) noexcept nogil:
    """The checkpoint turns out to have more than was known: what is not newer than it is left out."""
    cdef Dirty *old = c.dirty
    cdef DirtyEntry *entry
    cdef DirtyEntry *kept
    cdef RedisModuleString *value
    cdef uint64_t i
    c.dirty = dirty_new(c.seed, 0)
    if c.dirty == NULL:
        c.dirty = old
        track_failed(c)
        return
    for i in range(old.count):
        entry = dirty_at(old, i)
        kept = dirty_put(c.dirty, entry.bytes, entry.length) if entry.sn > c.watermark else NULL
        if kept != NULL:
            value = <RedisModuleString *>entry.value
            dirty_set(c.dirty, kept, entry.kind, 0, string_length(value) if value != NULL else 0)
            kept.key, kept.value, kept.sn = entry.key, entry.value, entry.sn
        else:
            let_go(<RedisModuleString *>entry.key)
            let_go(<RedisModuleString *>entry.value)
    dirty_free(old)


cdef inline void take_both(Checkpoint *c, int64_t watermark) noexcept nogil:
    c.watermark = c.since = watermark
    forget_written(c)


cdef inline uint64_t dirty_keys(const Checkpoint *c) noexcept nogil:
    """A key of both tables counts twice."""
    return (c.dirty.count if c.dirty != NULL else 0) + (c.frozen.count if c.frozen != NULL else 0)


cdef inline uint64_t table_bytes(const Dirty *table) noexcept nogil:
    """Of names and values, and what it costs to follow them."""
    return table.bytes + table.count * DIRTY_OVERHEAD if table != NULL else 0


cdef inline uint64_t dirty_bytes(const Checkpoint *c) noexcept nogil:
    return table_bytes(c.dirty) + table_bytes(c.frozen)


cdef inline int64_t shown_watermark(const Checkpoint *c) noexcept nogil:
    """-1 is where a chain begins, and what a member without any checkpoint says."""
    return max(c.watermark, -1) if c.tracking else -1
