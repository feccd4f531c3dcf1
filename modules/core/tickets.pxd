# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Tickets: what a reply may show, as a number that is known before the effect is.

Replies of a chain of all commands are held until everything that they may show is committed. How far the stream of
effects reaches after a command is known only when the command has run, and a reply may leave the server before that. So
the main thread opens a ticket *before* a command that may write runs, and whoever reads the reply loads the number of
the newest ticket *after* reading. The ticket is closed when the offset after its effects is known: it is then committed
when that offset is.

At a member that is not the head the effects come from its log. A ticket is opened, and closed, before bytes of the log
are given to the server.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from modules.core.invariant cimport INVARIANT
from modules.core.memory cimport memory_give, memory_take

cdef enum:
    FIRST_TICKETS = 256


cdef struct Tickets:
    int64_t newest              # the newest ticket that was opened; from 1
    bint open                   # it is not closed yet
    int64_t closed              # the newest that is closed ...
    int64_t covered             # ... and the last byte that belongs to it
    int64_t committed           # tickets up to it are committed ...
    int64_t executed            # ... and the own server's data has them
    # `ends[ticket & (capacity - 1)]` is the last byte that belongs to it, for tickets above min(committed, executed)
    int64_t *ends
    uint64_t capacity


cdef inline void tickets_init(Tickets *t) noexcept nogil:
    memset(t, 0, sizeof(Tickets))
    t.covered = -1


cdef inline void tickets_free(Tickets *t) noexcept nogil:
    memory_give(t.ends)
    t.ends = NULL
    t.capacity = 0


cdef inline int64_t tickets_kept(const Tickets *t) noexcept nogil:
    """The newest ticket whose end is not needed any more."""
    return min(t.committed, t.executed)


cdef inline bint tickets_grow(Tickets *t) noexcept nogil:
    cdef uint64_t capacity = 2 * t.capacity if t.capacity else FIRST_TICKETS
    cdef int64_t *ends = <int64_t *>memory_take(capacity * sizeof(int64_t))
    cdef int64_t ticket
    if ends == NULL:
        return False
    for ticket in range(tickets_kept(t) + 1, t.closed + 1):
        ends[<uint64_t>ticket & (capacity - 1)] = t.ends[<uint64_t>ticket & (t.capacity - 1)]
    memory_give(t.ends)
    t.ends = ends
    t.capacity = capacity
    return True


cdef inline bint tickets_open(Tickets *t) noexcept nogil:
    """Something may change the data from here on. Returns whether a new ticket was opened."""
    if t.open:
        return False
    t.newest += 1
    t.open = True
    return True


cdef inline void tickets_close(Tickets *t, int64_t end) noexcept nogil:
    """The effects of the open ticket, if there is one, end with byte `end` of the stream.

    Without memory the ticket stays open, and replies that show it stay held.
    """
    if not t.open:
        return
    if t.covered > end:
        INVARIANT(False, "rule 1: the stream of effects does not go back")
        return
    if <uint64_t>(t.newest - tickets_kept(t)) >= t.capacity and not tickets_grow(t):
        return
    t.ends[<uint64_t>t.newest & (t.capacity - 1)] = end
    t.closed = t.newest
    t.covered = end
    t.open = False


cdef inline bint tickets_lack(const Tickets *t, int64_t end) noexcept nogil:
    """At a member that is not the head: is a ticket missing for what its log has up to byte `end`?

    A request that came later must not be answered from data that lack these bytes, so its ticket has to cover them
    whether the server gets them now or only when its connection is back.
    """
    return t.open or t.covered < end


cdef inline int64_t tickets_up_to(const Tickets *t, int64_t ticket, int64_t sn) noexcept nogil:
    """The newest closed ticket above `ticket` whose effects end by `sn`, else `ticket`."""
    while ticket < t.closed and t.ends[<uint64_t>(ticket + 1) & (t.capacity - 1)] <= sn:
        ticket += 1
    return ticket


cdef inline bint tickets_commit(Tickets *t, int64_t committed, int64_t executed) noexcept nogil:
    """The chain has committed up to `committed`, and the own server's data reaches to `executed`.

    Returns whether a ticket was committed or executed by that.
    """
    cdef int64_t committed_before = t.committed
    cdef int64_t executed_before = t.executed
    t.committed = tickets_up_to(t, t.committed, committed)
    t.executed = tickets_up_to(t, t.executed, executed)
    return t.committed != committed_before or t.executed != executed_before


cdef inline void tickets_begin_anew(Tickets *t) noexcept nogil:
    """The data is another's, or a chain begins: whatever a ticket was opened for is not waited for any more."""
    t.open = False
    t.closed = t.committed = t.executed = t.newest
    t.covered = -1
