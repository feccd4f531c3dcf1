# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The log: the updates that a member still keeps, in a ring indexed by sn.

    first .............. committed ............ end - 1 = applied
    |---- backlog -----|----- uncommitted -----|

In a chain of PUTs each sn has an entry. Payloads are opaque handles here: the server puts retained strings in, the
simulator small integers. Whoever takes an entry out (`log_take_first`) owns its handles.

In a chain of all commands each sn is one byte of the stream of effects (`effect_stream.pxd`), and there are no entries.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove

from modules.core.effect_stream cimport EffectStream, stream_drop, stream_free, stream_restart
from modules.core.invariant cimport INVARIANT
from modules.core.memory cimport memory_give, memory_take

cdef enum:
    FIRST_CAPACITY = 1024
    MAX_BOUNDARIES = 1024
    # Bytes that count for an entry beside its payload: its place in the ring, which may be half empty, the header of
    # the payload, and what the string of a long value adds.
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
    Entry *ring
    uint64_t capacity       # a power of two, or 0 before the first entry
    int64_t first           # sn of the oldest entry kept
    int64_t end             # one past the newest: first == end means empty
    uint64_t bytes          # of all entries kept, overhead included
    bint streams            # each sn is a byte in `stream`
    EffectStream stream
    Boundary boundaries[MAX_BOUNDARIES]     # ascending in both fields; the oldest fall out
    int boundary_count


cdef inline uint64_t entry_cost(const Entry *entry) noexcept nogil:
    return entry.bytes + ENTRY_OVERHEAD


cdef inline Entry *log_at(Log *log, int64_t sn) noexcept nogil:
    """The entry of `sn`. The log has it."""
    INVARIANT(log.first <= sn < log.end, "rule 1: the log has the update that is looked up")
    return &log.ring[<uint64_t>sn & (log.capacity - 1)]


cdef inline void log_restart(Log *log, int64_t first) noexcept nogil:
    """The log, from which the caller has taken all entries out, goes on with `first`."""
    INVARIANT(log.first == log.end, "rule 9: a log that begins anew has given its entries back")
    log.first = first
    log.end = first
    log.bytes = 0
    stream_restart(&log.stream, first)


cdef inline bint log_resize(Log *log, uint64_t capacity) noexcept nogil:
    """Moves the entries to a ring of `capacity`, a power of two with room for them. False when memory is exhausted."""
    cdef Entry *ring = <Entry *>memory_take(capacity * sizeof(Entry))
    cdef int64_t sn
    if ring == NULL:
        return False
    for sn in range(log.first, log.end):
        ring[<uint64_t>sn & (capacity - 1)] = log_at(log, sn)[0]
    memory_give(log.ring)
    log.ring = ring
    log.capacity = capacity
    return True


cdef inline bint log_reserve(Log *log) noexcept nogil:
    """Makes room for one more entry. Returns False when memory is exhausted."""
    if <uint64_t>(log.end - log.first) < log.capacity:
        return True
    return log_resize(log, 2 * log.capacity if log.capacity else FIRST_CAPACITY)


cdef inline void log_shrink(Log *log) noexcept nogil:
    """Halves a ring that is mostly empty. It is halved once a call, because the need for room may come back."""
    cdef uint64_t half = log.capacity // 2
    if half >= FIRST_CAPACITY and <uint64_t>(log.end - log.first) <= half // 2:
        log_resize(log, half)


cdef inline void log_append(Log *log, const Entry *entry) noexcept nogil:
    """The caller has reserved room by `log_reserve`."""
    INVARIANT(<uint64_t>(log.end - log.first) < log.capacity, "rule 9: the caller has reserved room for the entry")
    log.ring[<uint64_t>log.end & (log.capacity - 1)] = entry[0]
    log.end += 1
    log.bytes += entry_cost(entry)


cdef inline Entry log_take_first(Log *log) noexcept nogil:
    cdef Entry entry = log_at(log, log.first)[0]
    INVARIANT(log.bytes >= entry_cost(&entry), "rule 9: the bytes of the log are counted")
    log.first += 1
    log.bytes -= entry_cost(&entry)
    return entry


cdef inline void log_drop(Log *log, int64_t count) noexcept nogil:
    """Drops the oldest `count` bytes of a log that streams."""
    INVARIANT(count <= log.end - log.first, "rule 9: a log drops only bytes that it has")
    log.first += count
    log.bytes -= <uint64_t>count
    stream_drop(&log.stream, log.first)


cdef inline void log_free(Log *log) noexcept nogil:
    stream_free(&log.stream)
    memory_give(log.ring)
    log.ring = NULL
    log.capacity = 0


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
