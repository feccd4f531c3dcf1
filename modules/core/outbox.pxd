# cython: language_level=3
"""What an event has made due to the caller. The caller takes it out after every event, until nothing is left.

    outbox_pop_settled          updates newly committed: to be published, their waiters answered
    outbox_pop_expired          waiters whose time is over: the outcome is unknown
    outbox_pop_orphan           waiters of a head that is no head any more: the outcome is unknown
    outbox_pop_trimmed          entries that leave the log: the caller releases their payload

What is due to other members is in `replication.pxd`, with the messages.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from modules.core.chain cimport Chain
from modules.core.invariant cimport INVARIANT
from modules.core.learner cimport learner_unpin
from modules.core.log cimport Entry, entry_cost, log_at, log_take_first


cdef inline Entry *outbox_pop_settled(Chain *c, int64_t *sn) noexcept nogil:
    """The next committed update to be published and answered for; NULL: no more."""
    cdef Entry *entry
    if c.settled >= c.committed:
        return NULL
    c.settled += 1
    sn[0] = c.settled
    entry = log_at(&c.log, c.settled)
    INVARIANT(c.unsettled_bytes >= entry_cost(entry))
    c.unsettled_bytes -= entry_cost(entry)
    return entry


cdef inline void *outbox_pop_waiter(Chain *c, int64_t came_by_ms) noexcept nogil:
    cdef Entry *entry
    cdef void *waiter
    c.expiry = max(c.expiry, c.settled + 1)
    while c.expiry <= c.applied:
        entry = log_at(&c.log, c.expiry)
        if entry.waiter != NULL:
            if entry.since_ms > came_by_ms:
                return NULL
            waiter = entry.waiter
            entry.waiter = NULL
            return waiter
        c.expiry += 1
    return NULL


cdef inline void *outbox_pop_expired(Chain *c, int64_t came_by_ms) noexcept nogil:
    """A waiter who came by then, and whose update is not known to be committed: unknown (rule 6). NULL: no more.

    For how long waiters may wait is the caller's to say anew each time. They came in the order of their updates, so
    none waits behind one that may wait longer.
    """
    return outbox_pop_waiter(c, came_by_ms)


cdef inline void *outbox_pop_orphan(Chain *c) noexcept nogil:
    """A waiter of a head that is head no more: unknown (rule 6). NULL: no more."""
    if not c.has_history or c.me == 0:
        return NULL
    return outbox_pop_waiter(c, INT64_MAX)


cdef inline bint outbox_pop_trimmed(Chain *c, Entry *out) noexcept nogil:
    """The next entry that the limits push out of the backlog; False: no more."""
    cdef uint64_t backlog = c.log.bytes - c.unsettled_bytes
    if c.log.first > min(c.settled, c.recorded) or backlog <= c.limits.backlog_bytes:
        return False
    if c.pinned >= 0 and c.log.first >= c.pinned:
        if backlog <= c.limits.join_bytes:
            return False
        learner_unpin(c)
        c.pin_broken = True
    # Rule 3: what is uncommitted, or not recorded yet, stays.
    INVARIANT(c.log.first <= c.settled and c.log.first <= c.recorded)
    out[0] = log_take_first(&c.log)
    INVARIANT(out.waiter == NULL)           # rule 6: whoever waits is answered before the update goes
    c.next_sn = max(c.next_sn, c.log.first)     # never send what is gone: a successor that lacks it will say so
    return True


cdef inline bint outbox_pop_any(Chain *c, Entry *out) noexcept nogil:
    """The oldest entry; False: the log is empty. Before the chain learns, forgets or restores, all of them go out."""
    if c.log.first >= c.log.end:
        return False
    out[0] = log_take_first(&c.log)
    c.recorded = max(c.recorded, c.log.first - 1)       # what is gone cannot be recorded any more
    return True
