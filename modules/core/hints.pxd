# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Where values lay in memory when they were last set: hints, for the processor's caches.

To set a value the server walks from the key to the value's object, and on to the object's bytes. With more data than
the caches hold it waits at each step, for longer than all its other work on an update takes. The updates of a batch are
known before the first is applied, so that the last two steps of several can be fetched side by side.

A hint may be wrong: the value may have moved since, or may be gone. So what a hint says is fetched, and never read.

The table is there while many updates come.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from modules.core.memory cimport memory_give, memory_take_zeroed

cdef extern from *:
    """
    /* The empty statement of assembler keeps gcc from leaving out a function that does nothing but fetch. */
    #define fetch_line(address) do { __builtin_prefetch((const void *)(address), 1); __asm__ volatile (""); } while (0)
    """
    void fetch_line(uint64_t address) noexcept nogil


cdef enum:
    HINT_LINES = 32 * 1024      # a power of two. The table takes 2 MiB: enough for some 100,000 keys
    HINT_WAYS = 4               # hints in a line, which is one of the processor's
    ADDRESS_BITS = 48
    AHEAD = 16                  # updates whose values are fetched side by side, a power of two
    FETCHED_BYTES = 56          # of a value: with the byte before it, one line of the cache or two
    WORTHWHILE = 1024           # updates between two ticks: for fewer the table does not pay
    UNUSED_TICKS = 100          # after so many without an update the table is given back


cdef struct Hint:
    uint64_t object             # the address of the value's object; above it, the same bits as of the key's hash
    uint64_t bytes              # the address of the value itself


cdef struct Hints:
    Hint *table                 # HINT_LINES times HINT_WAYS; NULL: there is none
    int64_t updates             # that came since the last tick, and that hints would serve
    int unused                  # ticks since such an update came


cdef inline bint hints_begin(Hints *hints) noexcept nogil:
    """Makes the table. Returns False when memory is exhausted."""
    hints.table = <Hint *>memory_take_zeroed(HINT_LINES * HINT_WAYS * sizeof(Hint))
    return hints.table != NULL


cdef inline void hints_end(Hints *hints) noexcept nogil:
    memory_give(hints.table)
    hints.table = NULL


cdef inline bint hints_serve(Hints *hints, int64_t updates) noexcept nogil:
    """Notes that so many updates come. Returns whether there is a table, which is made when it is worthwhile."""
    hints.updates += updates
    return hints.table != NULL or (hints.updates >= WORTHWHILE and hints_begin(hints))


cdef inline void hints_tick(Hints *hints) noexcept nogil:
    """Gives a table back that nothing has used for long."""
    hints.unused = 0 if hints.updates else hints.unused + 1
    hints.updates = 0
    if hints.unused == UNUSED_TICKS:
        hints_end(hints)
        hints.unused = 0


cdef inline uint64_t hint_hash(const char *key, uint64_t length) noexcept nogil:
    """A quick hash: a client that knows how to make keys collide makes hints useless, and nothing else."""
    cdef uint64_t hash = length
    cdef uint64_t word
    while length >= 8:
        memcpy(&word, key, 8)
        hash = (hash ^ word) * <uint64_t>0xff51afd7ed558ccd
        hash ^= hash >> 32
        key += 8
        length -= 8
    word = 0
    memcpy(&word, key, length)
    hash = (hash ^ word) * <uint64_t>0xc4ceb9fe1a85ec53
    return hash ^ hash >> 29


cdef inline Hint *hint_line(const Hints *hints, uint64_t hash) noexcept nogil:
    return &hints.table[(hash & (HINT_LINES - 1)) * HINT_WAYS]


cdef inline Hint *hint_of(const Hints *hints, uint64_t hash) noexcept nogil:
    """The hint of a key with this hash; NULL: there is none. Rarely it is another key's."""
    cdef Hint *line = hint_line(hints, hash)
    cdef int i
    for i in range(HINT_WAYS):
        if line[i].object >> ADDRESS_BITS == hash >> ADDRESS_BITS:
            return &line[i]
    return NULL


cdef inline Hint *hint_place(const Hints *hints, uint64_t hash) noexcept nogil:
    """A place for a new hint. In a full line it is the same one for each key, so that most hints there stay."""
    cdef Hint *line = hint_line(hints, hash)
    cdef int i
    for i in range(HINT_WAYS):
        if line[i].bytes == 0:
            return &line[i]
    return &line[hash >> 32 & (HINT_WAYS - 1)]


cdef inline void hint_note(const Hints *hints, uint64_t hash, uint64_t object, uint64_t bytes) noexcept nogil:
    """Notes where a value lies. `object` is 0 if only its bytes are known: then what was noted of its object stays."""
    cdef Hint *hint = hint_of(hints, hash)
    if hint == NULL:
        hint = hint_place(hints, hash)
        hint.object = hash >> ADDRESS_BITS << ADDRESS_BITS
    if object:
        hint.object = hash >> ADDRESS_BITS << ADDRESS_BITS | object
    hint.bytes = bytes


cdef inline uint64_t hint_object(const Hint *hint) noexcept nogil:
    return hint.object & ((<uint64_t>1 << ADDRESS_BITS) - 1)


cdef inline void hints_fetch(const Hints *hints, const uint64_t *hashes, int count) noexcept nogil:
    """Fetches the values of the keys with these hashes: first all lines of the table, then what stands there."""
    cdef const Hint *hint
    cdef int i
    for i in range(count):
        fetch_line(<uint64_t>hint_line(hints, hashes[i]))
    for i in range(count):
        hint = hint_of(hints, hashes[i])
        if hint != NULL:
            fetch_line(hint_object(hint))
            fetch_line(hint.bytes - 1)
            fetch_line(hint.bytes + FETCHED_BYTES)
