# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The log: the updates that a member still keeps, looked up by sn.

    first .............. committed ............ end - 1 = applied
    |---- backlog -----|----- uncommitted -----|

In a chain of PUTs each sn has an entry. Entries lie in blocks, which come as the log grows and go as it is trimmed:
none is ever moved. Payloads are opaque handles here: the server puts retained strings in, the simulator small
integers. Whoever takes an entry out (`log_take_first`) owns its handles.

In a chain of all commands each sn is one byte of the stream of effects (`effect_stream.pxd`), and there are no entries.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove

from modules.core.effect_stream cimport EffectStream, stream_drop, stream_free, stream_restart
from modules.core.invariant cimport INVARIANT
from modules.core.memory cimport memory_give, memory_take, memory_take_zeroed

cdef enum:
    BLOCK_BITS = 10
    BLOCK_ENTRIES = 1 << BLOCK_BITS
    FIRST_SLOTS = 16        # blocks; doubled when all are taken
    MAX_BOUNDARIES = 1024
    # Bytes that count for an entry beside its payload: more than its place in a block, the header of the payload, and
    # what the string of a long value adds.
    ENTRY_OVERHEAD = 144


cdef struct Entry:
    void *key
    void *value             # NULL: the update deletes the key
    void *client            # channel of the client that wants a publication; NULL: none does
    void *waiter            # head only: the blocked client that waits for the commit; NULL: no client waits
    int64_t since_ms        # when the waiter came; waiters of higher sns came later
    uint64_t bytes          # of key, value and client together


cdef struct Boundary:
    int64_t first_sn        # the first sn that was assigned in ...
    int64_t epoch


cdef struct Log:
    Entry **blocks          # a ring of `slots` places for blocks; NULL there: no block
    uint64_t slots          # a power of two, or 0 before the first entry
    int64_t first           # sn of the oldest entry kept
    int64_t end             # one past the newest: first == end means empty
    uint64_t bytes          # of all entries kept, overhead included
    bint streams            # each sn is a byte in `stream`
    EffectStream stream
    Boundary boundaries[MAX_BOUNDARIES]     # ascending in both fields; the oldest fall out
    int boundary_count


cdef inline uint64_t entry_cost(const Entry *entry) noexcept nogil:
    return entry.bytes + ENTRY_OVERHEAD


cdef inline uint64_t block_number(int64_t sn) noexcept nogil:
    return <uint64_t>sn >> BLOCK_BITS


cdef inline Entry **block_place(const Log *log, int64_t sn) noexcept nogil:
    """Where the block of `sn` is noted. The log has slots."""
    return &log.blocks[block_number(sn) & (log.slots - 1)]


cdef inline Entry *entry_place(const Log *log, int64_t sn) noexcept nogil:
    """The block is there."""
    return &block_place(log, sn)[0][<uint64_t>sn & (BLOCK_ENTRIES - 1)]


cdef inline Entry *log_at(Log *log, int64_t sn) noexcept nogil:
    """The entry of `sn`. The log has it."""
    INVARIANT(log.first <= sn < log.end, "rule 1: the log has the update that is looked up")
    return entry_place(log, sn)


cdef inline void log_give_block(Log *log, int64_t sn) noexcept nogil:
    """Gives the block of `sn` back, if there is one."""
    cdef Entry **place
    if log.slots:
        place = block_place(log, sn)
        memory_give(place[0])
        place[0] = NULL


cdef inline void log_restart(Log *log, int64_t first) noexcept nogil:
    """The log, from which the caller has taken all entries out, goes on with `first`."""
    INVARIANT(log.first == log.end, "rule 9: a log that begins anew has given its entries back")
    log_give_block(log, log.first)
    log.first = first
    log.end = first
    log.bytes = 0
    stream_restart(&log.stream, first)


cdef inline bint log_add_slots(Log *log) noexcept nogil:
    """Doubles the slots. Returns False when memory is exhausted."""
    cdef uint64_t slots = 2 * log.slots if log.slots else FIRST_SLOTS
    cdef Entry **blocks = <Entry **>memory_take_zeroed(slots * sizeof(Entry *))
    cdef uint64_t i
    if blocks == NULL:
        return False
    for i in range(log.slots):      # all are taken, from that of the first entry on
        blocks[block_number(log.first) + i & (slots - 1)] = log.blocks[block_number(log.first) + i & (log.slots - 1)]
    memory_give(log.blocks)
    log.blocks = blocks
    log.slots = slots
    return True


cdef inline bint log_has_slot(const Log *log) noexcept nogil:
    """Returns whether the next entry's block has a slot of its own."""
    return block_number(log.end) - block_number(log.first) < log.slots


cdef inline bint log_reserve(Log *log) noexcept nogil:
    """Makes room for one more entry. Returns False when memory is exhausted."""
    cdef Entry **place
    if not log_has_slot(log) and not log_add_slots(log):
        return False
    place = block_place(log, log.end)
    if place[0] == NULL:
        place[0] = <Entry *>memory_take(BLOCK_ENTRIES * sizeof(Entry))
    return place[0] != NULL


cdef inline void log_append(Log *log, const Entry *entry) noexcept nogil:
    """The caller has reserved room by `log_reserve`."""
    INVARIANT(log_has_slot(log), "rule 9: the caller has reserved room for the entry")
    entry_place(log, log.end)[0] = entry[0]
    log.end += 1
    log.bytes += entry_cost(entry)


cdef inline Entry log_take_first(Log *log) noexcept nogil:
    cdef Entry entry = log_at(log, log.first)[0]
    INVARIANT(log.bytes >= entry_cost(&entry), "rule 9: the bytes of the log are counted")
    log.first += 1
    log.bytes -= entry_cost(&entry)
    if <uint64_t>log.first & (BLOCK_ENTRIES - 1) == 0:
        log_give_block(log, log.first - 1)
    return entry


cdef inline void log_drop(Log *log, int64_t count) noexcept nogil:
    """Drops the oldest `count` bytes of a log that streams."""
    INVARIANT(count <= log.end - log.first, "rule 9: a log drops only bytes that it has")
    log.first += count
    log.bytes -= <uint64_t>count
    stream_drop(&log.stream, log.first)


cdef inline void log_free(Log *log) noexcept nogil:
    cdef uint64_t i
    stream_free(&log.stream)
    for i in range(log.slots):
        memory_give(log.blocks[i])
    memory_give(log.blocks)
    log.blocks = NULL
    log.slots = 0


cdef inline int64_t boundary_epoch_of(const Boundary *boundaries, int count, int64_t sn) noexcept nogil:
    """The epoch in which `sn` was assigned. -1 for a negative sn, and for one that is older than the table reaches."""
    cdef int i
    if sn < 0:
        return -1
    for i in range(count - 1, -1, -1):
        if boundaries[i].first_sn <= sn:
            return boundaries[i].epoch
    return -1


cdef inline int boundaries_up_to(const Boundary *boundaries, int count, int64_t sn) noexcept nogil:
    """How many of them begin by `sn`: the boundaries of a history that ends there."""
    while count and boundaries[count - 1].first_sn > sn:
        count -= 1
    return count


cdef inline int log_boundaries(const Log *log, int64_t sn, int64_t epoch, Boundary *out) noexcept nogil:
    """The boundaries of data that ends with `sn`; returns their number. `out` has room for MAX_BOUNDARIES.

    What a head has executed and its log does not have yet is of `epoch`.
    """
    cdef int count = boundaries_up_to(log.boundaries, log.boundary_count, sn)
    memcpy(out, &log.boundaries[0], <size_t>count * sizeof(Boundary))
    if sn >= log.end and (count == 0 or out[count - 1].epoch < epoch):
        if count == MAX_BOUNDARIES:
            memmove(out, &out[1], (MAX_BOUNDARIES - 1) * sizeof(Boundary))
            count -= 1
        out[count].first_sn = log.end
        out[count].epoch = epoch
        count += 1
    return count


cdef inline int64_t log_epoch_of(const Log *log, int64_t sn) noexcept nogil:
    return boundary_epoch_of(log.boundaries, log.boundary_count, sn)


cdef inline void boundary_append(Boundary *table, int *count, int room, int64_t sn, int64_t epoch) noexcept nogil:
    """`sn` is the first that was assigned in `epoch`. The oldest entry of a full table falls out."""
    if count[0] == room:
        memmove(&table[0], &table[1], <size_t>(room - 1) * sizeof(Boundary))
        count[0] -= 1
    table[count[0]].first_sn = sn
    table[count[0]].epoch = epoch
    count[0] += 1


cdef inline void log_note_epoch(Log *log, int64_t sn, int64_t epoch) noexcept nogil:
    """Notes that `sn`, the next one, was assigned in `epoch`."""
    cdef int count = log.boundary_count
    if count and log.boundaries[count - 1].epoch == epoch:
        return
    INVARIANT(
        count == 0 or (log.boundaries[count - 1].epoch < epoch and log.boundaries[count - 1].first_sn < sn),
        "rule 1: epochs do not go back, and each begins with an update of its own")
    boundary_append(log.boundaries, &log.boundary_count, MAX_BOUNDARIES, sn, epoch)
