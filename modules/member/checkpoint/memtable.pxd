# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The keys that are newer than the checkpoint: every update is entered, and eviction asks before it drops a key."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf

from modules.bindings.redismodule cimport RedisModuleString, RedisModule_StringPtrLen
from modules.core.checkpoint.candidates cimport candidates_add
from modules.core.checkpoint.memtable cimport (
    MEMTABLE_DELETED, MEMTABLE_LACKING, MEMTABLE_OVERHEAD, MEMTABLE_VALUE, Memtable, MemtableEntry, MemtableKind,
    memtable_at, memtable_fetch, memtable_find, memtable_free, memtable_hash, memtable_new, memtable_put, memtable_set,
)
from modules.core.checkpoint.record_format cimport NOTHING
from modules.core.hints cimport fetch_line
from modules.member.keyspace.values cimport keep, let_go, string_length
from modules.member.state.checkpoint cimport Checkpoint, TEXT_BYTES

cdef enum:
    FREED_AT_ONCE = 64          # entries released between two looks at the clock
    FETCHED_BEFORE = 8          # entries between the one that is released and the one whose value is fetched


cdef inline void track_failed(Checkpoint *c) noexcept nogil:
    """Stop tracking, without memory to go on. It is then unknown which keys are newer than the checkpoint, so nothing
    is written or evicted. INFO shows the error.
    """
    c.tracking = False
    snprintf(c.error, TEXT_BYTES, "out of memory while following updates: this member needs a copy")


cdef inline void entry_assign(
    Memtable *table, MemtableEntry *entry, int64_t sn, MemtableKind kind, RedisModuleString *value,
) noexcept nogil:
    """Set the entry's update. Takes over the caller's reference to `value`."""
    cdef RedisModuleString *old = <RedisModuleString *>entry.value
    memtable_set(table, entry, kind, string_length(old) if old != NULL else 0,
                 string_length(value) if value != NULL else 0)
    let_go(old)
    entry.value = value
    entry.sn = sn


cdef inline MemtableEntry *entry_of(Memtable *table, RedisModuleString *key, uint32_t hash) noexcept nogil:
    """Returns the key's entry. NULL: no memory."""
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(key, &length)
    return memtable_put(table, bytes, length, hash)


cdef inline uint32_t key_hash_of(const Checkpoint *c, RedisModuleString *key) noexcept nogil:
    """Returns the key's hash in the tables."""
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(key, &length)
    return memtable_hash(bytes, length, c.seed)


cdef inline uint32_t track_ahead(const Checkpoint *c, const char *key, size_t length) noexcept nogil:
    """Fetch the key's place in the memtable into the processor's cache while the update is applied. Returns what
    `track` has to get.
    """
    cdef uint32_t hash
    if not c.tracking:
        return 0
    hash = memtable_hash(key, length, c.seed)
    memtable_fetch(c.memtable, hash)
    return hash


cdef inline void track(
    Checkpoint *c, int64_t sn, RedisModuleString *key, RedisModuleString *value, uint32_t hash,
) noexcept nogil:
    """Enter an update that was just applied; without a value it is a deletion. The table shares the value.

    hash: what `track_ahead` has returned for this key.
    """
    cdef MemtableEntry *entry = entry_of(c.memtable, key, hash)
    if entry == NULL:
        track_failed(c)
        return
    entry_assign(c.memtable, entry, sn, MEMTABLE_DELETED if value == NULL else MEMTABLE_VALUE,
                 keep(value) if value != NULL else NULL)


cdef inline void track_loaded(Checkpoint *c, RedisModuleString *key, int64_t sn, bint deleted) noexcept nogil:
    """Enter a key that is newer than the checkpoint: one of the data that is being loaded, or one that is being listed.
    """
    cdef MemtableEntry *entry = entry_of(c.memtable, key, key_hash_of(c, key))
    if entry == NULL:
        track_failed(c)
    else:
        entry_assign(c.memtable, entry, sn, MEMTABLE_DELETED if deleted else MEMTABLE_LACKING, NULL)


cdef inline const MemtableEntry *newest_by_hash(
    const Checkpoint *c, const char *bytes, size_t length, uint32_t hash,
) noexcept nogil:
    """The same as `newest_update`, of a key whose hash in the tables is known."""
    cdef const MemtableEntry *entry = memtable_find(c.memtable, bytes, length, hash)
    if entry == NULL and c.frozen != NULL:
        entry = memtable_find(c.frozen, bytes, length, hash)
    return entry


cdef inline void fetch_newest(const Checkpoint *c, uint32_t hash) noexcept nogil:
    """Fetch what `newest_by_hash` reads first into the processor's cache."""
    if c.memtable != NULL:
        memtable_fetch(c.memtable, hash)
    if c.frozen != NULL:
        memtable_fetch(c.frozen, hash)


cdef inline const MemtableEntry *newest_update(const Checkpoint *c, RedisModuleString *key) noexcept nogil:
    """Returns the key's newest update that the checkpoint lacks. NULL: the checkpoint is up to date for this key."""
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(key, &length)
    return newest_by_hash(c, bytes, length, memtable_hash(bytes, length, c.seed))


cdef inline bint may_be_flushed(const Checkpoint *c, RedisModuleString *key) noexcept nogil:
    """Returns whether a key that is not in memory may be in the checkpoint."""
    return c.tracking and c.watermark != NOTHING and newest_update(c, key) == NULL


# ---------------------------------------------------------------------------------------------------- release

cdef inline void track_spend(Checkpoint *c, Memtable *table) noexcept nogil:
    """Queue a table that is not needed any more. `track_release` gives its values back, one slice in each pass."""
    cdef Memtable **place = &c.spent
    if table == NULL:
        return
    while place[0] != NULL:
        place = &place[0].next
    table.next = NULL
    place[0] = table


cdef inline void release_entry(
    Checkpoint *c, const MemtableEntry *entry, int64_t now_ms, uint64_t room,
) noexcept nogil:
    """Give back the entry's value. If its key has a value, the key becomes a candidate for evictions."""
    if entry.kind == MEMTABLE_VALUE:
        candidates_add(&c.candidates, entry.bytes, entry.length, now_ms, room)
    let_go(<RedisModuleString *>entry.value)


cdef inline void fetch_value_of(const Memtable *table, uint64_t index) noexcept nogil:
    """Fetch the value that an entry shares into the processor's cache: it was written long ago."""
    if index < table.count:
        fetch_line(<uint64_t>memtable_at(table, index).value)


cdef inline bint track_release(Checkpoint *c, int64_t now_ms, uint64_t room) noexcept nogil:
    """Give back some values of the queued tables. Returns whether there are more.

    room: bytes that all candidates for evictions may take.
    """
    cdef Memtable *table = c.spent
    cdef uint64_t end = min(table.count, c.spent_to + FREED_AT_ONCE)
    while c.spent_to < end:
        fetch_value_of(table, c.spent_to + FETCHED_BEFORE)
        release_entry(c, memtable_at(table, c.spent_to), now_ms, room)
        c.spent_to += 1
    if c.spent_to == table.count:
        c.spent = table.next
        c.spent_to = 0
        memtable_free(table)
    return c.spent != NULL


cdef inline void forget_written(Checkpoint *c) noexcept nogil:
    """Remove the entries that are not newer than the checkpoint, whose watermark has turned out to be higher than
    known.
    """
    cdef Memtable *old = c.memtable
    cdef MemtableEntry *entry
    cdef MemtableEntry *kept
    cdef RedisModuleString *value
    cdef uint64_t i
    c.memtable = memtable_new(c.seed, 0)
    if c.memtable == NULL:
        c.memtable = old
        track_failed(c)
        return
    for i in range(old.count):
        entry = memtable_at(old, i)
        kept = memtable_put(c.memtable, entry.bytes, entry.length, entry.hash) if entry.sn > c.watermark else NULL
        if kept != NULL:
            value = <RedisModuleString *>entry.value
            memtable_set(c.memtable, kept, entry.kind, 0, string_length(value) if value != NULL else 0)
            kept.value, kept.sn = entry.value, entry.sn
        else:
            if entry.sn > c.watermark:
                track_failed(c)
            let_go(<RedisModuleString *>entry.value)
    memtable_free(old)


cdef inline void take_both(Checkpoint *c, int64_t watermark) noexcept nogil:
    c.watermark = c.since = watermark
    forget_written(c)


cdef inline uint64_t memtable_keys(const Checkpoint *c) noexcept nogil:
    """Returns the number of entries. A key in both tables counts twice."""
    return (c.memtable.count if c.memtable != NULL else 0) + (c.frozen.count if c.frozen != NULL else 0)


cdef inline uint64_t table_bytes(const Memtable *table) noexcept nogil:
    """Returns the bytes of keys and values, and the overhead of their entries."""
    return table.bytes + table.count * MEMTABLE_OVERHEAD if table != NULL else 0


cdef inline uint64_t memtable_bytes(const Checkpoint *c) noexcept nogil:
    return table_bytes(c.memtable) + table_bytes(c.frozen)


cdef inline int64_t shown_watermark(const Checkpoint *c) noexcept nogil:
    """Returns the watermark for INFO and replies: -1, the beginning of a chain, if there is no checkpoint."""
    return max(c.watermark, -1) if c.tracking else -1
