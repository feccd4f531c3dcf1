# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The entries of a memtable in the order of their keys, which is the order of their records in a checkpoint.

A database that gets its records in order finds each one's place next to that of the one before, which the processor's
cache still has.
"""

from libc.stdint cimport uint64_t, uint8_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp

from modules.core.checkpoint.memtable cimport Memtable, MemtableEntry, memtable_at
from modules.core.hints cimport fetch_line

cdef enum:
    KEYS_AHEAD = 16             # keys that are fetched into the processor's cache before they are looked at


cdef struct Ordered:
    # Most comparisons are of `distinct`, which is at hand; a key has to be fetched from memory.
    uint64_t distinct           # the key's eight bytes after those that all keys have in common
    const MemtableEntry *entry


cdef inline size_t common_bytes(const MemtableEntry *one, const MemtableEntry *other, size_t most) noexcept nogil:
    """Returns how many bytes both keys begin with, at most `most`."""
    cdef size_t end = min(most, min(one.length, other.length))
    cdef size_t at = 0
    while at < end and one.bytes[at] == other.bytes[at]:
        at += 1
    return at


cdef inline uint64_t bytes_from(const MemtableEntry *entry, size_t begin) noexcept nogil:
    """Returns the key's eight bytes from `begin` on as a number, with zeros for those that it does not have."""
    cdef uint64_t number = 0
    cdef size_t at
    for at in range(begin, begin + sizeof(uint64_t)):
        number = number << 8 | (<uint8_t>entry.bytes[at] if at < entry.length else 0)
    return number


cdef inline int compare_keys(const MemtableEntry *one, const MemtableEntry *other) noexcept nogil:
    cdef int differs = memcmp(one.bytes, other.bytes, min(one.length, other.length))
    return differs if differs else (one.length > other.length) - (one.length < other.length)


cdef inline int compare_ordered(const void *one, const void *other) noexcept nogil:
    cdef const Ordered *a = <const Ordered *>one
    cdef const Ordered *b = <const Ordered *>other
    if a.distinct != b.distinct:
        return 1 if a.distinct > b.distinct else -1
    return compare_keys(a.entry, b.entry)


cdef inline void memtable_in_order(const Memtable *table, Ordered *out) noexcept nogil:
    """Writes all entries of the table, `count` of them, in the order of their keys."""
    cdef size_t common = memtable_at(table, 0).length if table.count else 0
    cdef uint64_t i
    for i in range(table.count):
        out[i].entry = memtable_at(table, i)
    for i in range(table.count):
        fetch_line(<uint64_t>out[min(i + KEYS_AHEAD, table.count - 1)].entry.bytes)
        common = common_bytes(out[0].entry, out[i].entry, common)
    for i in range(table.count):
        fetch_line(<uint64_t>out[min(i + KEYS_AHEAD, table.count - 1)].entry.bytes)
        out[i].distinct = bytes_from(out[i].entry, common)
    qsort(out, table.count, sizeof(Ordered), compare_ordered)
