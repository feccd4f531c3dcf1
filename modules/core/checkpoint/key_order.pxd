# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The entries of a memtable in the order of their keys, which is the order of their records in a checkpoint.

A database that gets its records in order finds each one's place next to that of the one before, which the processor's
cache still has.
"""

from libc.stdint cimport uint64_t, uint8_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp, memset

from modules.core.checkpoint.memtable cimport Memtable, MemtableEntry, memtable_at
from modules.core.hints cimport fetch_line

cdef enum:
    KEYS_AHEAD = 16             # keys that are fetched into the processor's cache before they are looked at
    DIGIT_BITS = 8
    DIGIT_VALUES = 256          # 2 to the power of the bits
    DIGITS = 8                  # of `distinct`


cdef struct Ordered:
    # Most keys differ in `distinct`, which is at hand; a key has to be fetched from memory.
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
    return compare_keys((<const Ordered *>one).entry, (<const Ordered *>other).entry)


cdef inline uint64_t digit_of(const Ordered *ordered, int digit) noexcept nogil:
    return ordered.distinct >> (DIGIT_BITS * digit) & (DIGIT_VALUES - 1)


cdef inline bint order_by_digit(const Ordered *given, uint64_t count, int digit, Ordered *out) noexcept nogil:
    """Writes all to `out` in the order of one digit of `distinct`; those with the same one stay in the given order.
    Returns False, and has written nothing, if the digit is the same in all.
    """
    cdef uint64_t places[DIGIT_VALUES + 1]      # of each value of the digit, where the next one with it goes
    cdef uint64_t i
    cdef int value
    memset(places, 0, sizeof(places))
    for i in range(count):
        places[digit_of(&given[i], digit) + 1] += 1
    if count == 0 or places[digit_of(&given[0], digit) + 1] == count:
        return False
    for value in range(DIGIT_VALUES):
        places[value + 1] += places[value]
    for i in range(count):
        out[places[digit_of(&given[i], digit)]] = given[i]
        places[digit_of(&given[i], digit)] += 1
    return True


cdef inline Ordered *order_by_distinct(Ordered *given, uint64_t count, Ordered *spare) noexcept nogil:
    """Orders all by `distinct`, from its last digit to its first. Returns where they are then: `given` or `spare`."""
    cdef Ordered *other
    cdef int digit
    for digit in range(DIGITS):
        if order_by_digit(given, count, digit, spare):
            other = given
            given = spare
            spare = other
    return given


cdef inline void order_equals(Ordered *given, uint64_t count) noexcept nogil:
    """Orders those with the same `distinct`, which lie side by side, by their keys."""
    cdef uint64_t begin = 0
    cdef uint64_t i
    for i in range(1, count + 1):
        if i == count or given[i].distinct != given[begin].distinct:
            if i - begin > 1:
                qsort(&given[begin], i - begin, sizeof(Ordered), compare_ordered)
            begin = i


cdef inline void find_distinct(const Memtable *table, Ordered *out) noexcept nogil:
    """Writes all entries of the table with their `distinct`, in the order in which they came."""
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


cdef inline const Ordered *memtable_in_order(const Memtable *table, Ordered *room) noexcept nogil:
    """Puts all entries of the table in the order of their keys. Returns where they are.

    room: for twice as many as the table has.
    """
    cdef Ordered *ordered
    find_distinct(table, room)
    ordered = order_by_distinct(room, table.count, &room[table.count])
    order_equals(ordered, table.count)
    return ordered
