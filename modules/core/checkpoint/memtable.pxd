# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A hash table of the keys that have updates newer than the checkpoint, each with its newest update.

The table grows by linear hashing, a bucket with each few insertions, so that no single write pays for the whole table.
A bucket is a line of the processor's cache, and has its entries' hashes: an update of a new key waits for that line and
for no other entry, also when a bucket is split.

Entries are in blocks, in the order in which they came. They do not move, and none is removed before the table is freed.
The table has copies of the keys, side by side in the same order. Values are opaque handles that the caller puts in and
takes out again.
"""

from libc.stdint cimport UINT32_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from modules.core.hints cimport fetch_line
from modules.core.invariant cimport INVARIANT
from modules.core.memory cimport memory_give, memory_grow, memory_take, memory_take_zeroed
from modules.core.payloads cimport Payloads, payloads_drop_page, payloads_take

cdef enum:
    SLOTS = 7                   # of a bucket
    LOAD = 3                    # entries for each bucket, on the average, from which on there is another one
    SEGMENT_BITS = 7
    SEGMENT_BUCKETS = 128       # buckets come in segments of so many, 2 to the power of the bits
    BLOCK_BITS = 9
    BLOCK_ENTRIES = 512         # and entries in blocks, likewise
    MOST_EXPECTED = 96 * 1024   # entries to begin with: making more buckets takes too long at once
    MEMTABLE_OVERHEAD = 100     # bytes that an entry costs beside its payload: itself, its bucket, the value's string


cdef enum MemtableKind:
    MEMTABLE_VALUE
    MEMTABLE_DELETED
    MEMTABLE_LACKING            # the value is in memory under the key, and has no handle here yet


cdef struct MemtableEntry:
    MemtableEntry *next         # among those that have no slot in their bucket
    const char *bytes           # of the key, in the table's copy
    uint32_t length
    uint32_t hash
    uint32_t place              # it came as the `place`th, from 1 on
    MemtableKind kind
    void *value
    int64_t sn


cdef struct Bucket:
    uint32_t hashes[SLOTS]
    uint32_t places[SLOTS]      # of the entries; 0: this slot and those behind it are free
    MemtableEntry *more         # entries for which there was no slot


cdef struct Memtable:
    Memtable *next                 # for lists of tables
    Bucket **segments
    uint64_t segment_count
    uint64_t segment_room
    uint64_t base               # buckets there were when the present doubling began; a power of two
    uint64_t split              # of which so many have been split
    uint64_t seed
    MemtableEntry **blocks
    uint64_t block_count
    uint64_t block_room
    Payloads keys               # the bytes of all keys
    uint64_t count              # of entries
    uint64_t lacking            # entries of that kind
    uint64_t bytes              # of keys and values


cdef inline uint64_t memtable_mix(uint64_t hash) noexcept nogil:
    hash ^= hash >> 32
    hash *= <uint64_t>0xd6e8feb86659fd93
    return hash ^ (hash >> 32)


cdef inline uint64_t key_hash(const char *bytes, size_t length, uint64_t seed) noexcept nogil:
    cdef uint64_t hash = seed ^ <uint64_t>length
    cdef uint64_t word
    while length >= 8:
        memcpy(&word, bytes, 8)
        hash = memtable_mix(hash ^ word)
        bytes += 8
        length -= 8
    word = 0
    memcpy(&word, bytes, length)
    return memtable_mix(hash ^ word)


cdef inline uint32_t memtable_hash(const char *bytes, size_t length, uint64_t seed) noexcept nogil:
    return <uint32_t>key_hash(bytes, length, seed)


# --------------------------------------------------------------------------------------------------- buckets

cdef inline uint64_t memtable_buckets(const Memtable *table) noexcept nogil:
    return table.base + table.split


cdef inline Bucket *memtable_bucket(const Memtable *table, uint64_t index) noexcept nogil:
    return &table.segments[index >> SEGMENT_BITS][index & (SEGMENT_BUCKETS - 1)]


cdef inline Bucket *memtable_bucket_of(const Memtable *table, uint32_t hash) noexcept nogil:
    cdef uint64_t index = hash & (table.base - 1)
    if index < table.split:
        index = hash & (2 * table.base - 1)
    return memtable_bucket(table, index)


cdef inline void memtable_fetch(const Memtable *table, uint32_t hash) noexcept nogil:
    """Fetches the bucket into the processor's cache, some time before it is needed."""
    fetch_line(<uint64_t>memtable_bucket_of(table, hash))


cdef inline bint bucket_put(Bucket *bucket, uint32_t hash, uint32_t place) noexcept nogil:
    """Puts an entry into a free slot. Returns False if there is none."""
    cdef int i
    for i in range(SLOTS):
        if bucket.places[i] == 0:
            bucket.hashes[i] = hash
            bucket.places[i] = place
            return True
    return False


cdef inline void bucket_add(Bucket *bucket, MemtableEntry *entry) noexcept nogil:
    if not bucket_put(bucket, entry.hash, entry.place):
        entry.next = bucket.more
        bucket.more = entry


cdef inline bint memtable_extend(Memtable *table) noexcept nogil:
    """Adds a segment of empty buckets. Returns False when memory is exhausted."""
    cdef uint64_t room = 2 * table.segment_room if table.segment_room else 16
    cdef Bucket **segments
    if table.segment_count == table.segment_room:
        segments = <Bucket **>memory_grow(
            table.segments, table.segment_room * sizeof(Bucket *), room * sizeof(Bucket *))
        if segments == NULL:
            return False
        table.segments = segments
        table.segment_room = room
    table.segments[table.segment_count] = <Bucket *>memory_take_zeroed(SEGMENT_BUCKETS * sizeof(Bucket))
    if table.segments[table.segment_count] == NULL:
        return False
    table.segment_count += 1
    return True


cdef inline void memtable_divide(const Memtable *table, const Bucket *old) noexcept nogil:
    """Puts the entries of a bucket that has been split where they belong now."""
    cdef MemtableEntry *entry = old.more
    cdef MemtableEntry *next
    cdef int i
    for i in range(SLOTS):
        if old.places[i]:
            bucket_put(memtable_bucket_of(table, old.hashes[i]), old.hashes[i], old.places[i])
    while entry != NULL:
        next = entry.next
        bucket_add(memtable_bucket_of(table, entry.hash), entry)
        entry = next


cdef inline void memtable_split(Memtable *table) noexcept nogil:
    """Adds a bucket, which takes entries of another one. When memory is exhausted the buckets just get fuller."""
    cdef Bucket *place
    cdef Bucket old
    if memtable_buckets(table) == table.segment_count * SEGMENT_BUCKETS and not memtable_extend(table):
        return
    place = memtable_bucket(table, table.split)
    old = place[0]
    memset(place, 0, sizeof(Bucket))
    table.split += 1
    if table.split == table.base:
        table.base *= 2
        table.split = 0
    memtable_divide(table, &old)


# ------------------------------------------------------------------------------------------------- the table

cdef inline Memtable *memtable_new(uint64_t seed, uint64_t expected) noexcept nogil:
    """A table with buckets for about `expected` entries. Returns NULL when memory is exhausted."""
    cdef Memtable *table = <Memtable *>memory_take_zeroed(sizeof(Memtable))
    if table == NULL:
        return NULL
    table.seed = seed
    table.base = SEGMENT_BUCKETS
    while 2 * LOAD * table.base <= min(expected, <uint64_t>MOST_EXPECTED):
        table.base *= 2
    while table.segment_count << SEGMENT_BITS < table.base:
        if not memtable_extend(table):
            memtable_free(table)
            return NULL
    return table


cdef inline void memtable_free(Memtable *table) noexcept nogil:
    """The caller has taken all handles out."""
    cdef uint64_t i
    for i in range(table.segment_count):
        memory_give(table.segments[i])
    for i in range(table.block_count):
        memory_give(table.blocks[i])
    while table.keys.oldest != NULL:
        payloads_drop_page(&table.keys)
    memory_give(table.segments)
    memory_give(table.blocks)
    memory_give(table)


cdef inline MemtableEntry *memtable_at(const Memtable *table, uint64_t index) noexcept nogil:
    """The entry that came as the `index`th, from 0 to `count` - 1."""
    INVARIANT(index < table.block_count << BLOCK_BITS, "rule 7: the table has the entry that is looked up")
    return &table.blocks[index >> BLOCK_BITS][index & (BLOCK_ENTRIES - 1)]


cdef inline bint memtable_add_block(Memtable *table) noexcept nogil:
    """Makes room for more entries. Returns False when memory is exhausted, or when a place has not enough bits."""
    cdef uint64_t room = 2 * table.block_room if table.block_room else 16
    cdef MemtableEntry **blocks
    if (table.block_count + 1) << BLOCK_BITS > UINT32_MAX:
        return False
    if table.block_count == table.block_room:
        blocks = <MemtableEntry **>memory_grow(
            table.blocks, table.block_room * sizeof(MemtableEntry *), room * sizeof(MemtableEntry *))
        if blocks == NULL:
            return False
        table.blocks = blocks
        table.block_room = room
    table.blocks[table.block_count] = <MemtableEntry *>memory_take(BLOCK_ENTRIES * sizeof(MemtableEntry))
    if table.blocks[table.block_count] == NULL:
        return False
    table.block_count += 1
    return True


cdef inline bint is_key(const MemtableEntry *entry, const char *bytes, size_t length) noexcept nogil:
    return entry.length == length and memcmp(entry.bytes, bytes, length) == 0


cdef inline MemtableEntry *memtable_find(
    const Memtable *table, const char *bytes, size_t length, uint32_t hash,
) noexcept nogil:
    """The entry of the key, whose hash is `memtable_hash` of the table's seed. Returns NULL if there is no such key."""
    cdef const Bucket *bucket = memtable_bucket_of(table, hash)
    cdef MemtableEntry *entry
    cdef int i
    for i in range(SLOTS):
        if bucket.places[i] == 0:
            return NULL
        if bucket.hashes[i] == hash:
            entry = memtable_at(table, bucket.places[i] - 1)
            if is_key(entry, bytes, length):
                return entry
    entry = bucket.more
    while entry != NULL and not is_key(entry, bytes, length):
        entry = entry.next
    return entry


cdef inline MemtableEntry *memtable_put(
    Memtable *table, const char *bytes, size_t length, uint32_t hash,
) noexcept nogil:
    """The key's entry, as of `memtable_find`, or a new one without a value. Returns NULL when memory is exhausted."""
    cdef MemtableEntry *entry = memtable_find(table, bytes, length, hash)
    cdef char *copy
    if entry != NULL:
        return entry
    if table.count == table.block_count << BLOCK_BITS and not memtable_add_block(table):
        return NULL
    copy = payloads_take(&table.keys, length)
    if copy == NULL:
        return NULL
    memcpy(copy, bytes, length)
    if table.count >= LOAD * memtable_buckets(table):
        memtable_split(table)
    entry = memtable_at(table, table.count)
    entry.hash = hash
    entry.bytes = copy
    entry.length = <uint32_t>length
    entry.place = <uint32_t>table.count + 1
    entry.value = NULL
    entry.kind = MEMTABLE_DELETED
    entry.sn = -1
    bucket_add(memtable_bucket_of(table, hash), entry)
    table.count += 1
    table.bytes += length
    return entry


cdef inline void memtable_set(
    Memtable *table, MemtableEntry *entry, MemtableKind kind, uint64_t old_bytes, uint64_t new_bytes,
) noexcept nogil:
    """Updates the table's sums. The entry's value had `old_bytes` bytes and has `new_bytes` now."""
    table.lacking += kind == MEMTABLE_LACKING
    table.lacking -= entry.kind == MEMTABLE_LACKING
    table.bytes += new_bytes
    INVARIANT(table.bytes >= old_bytes, "rule 9: the bytes of the table are counted")
    table.bytes -= old_bytes
    entry.kind = kind
