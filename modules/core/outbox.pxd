# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Work that an event has made due to the caller. The caller takes the work out after every event, until none is left.

    outbox_pop_settled          updates newly committed: to be published, their waiters answered
    outbox_pop_expired          waiters whose time is over: the outcome is unknown
    outbox_pop_orphan           waiters of a head that is no head any more: the outcome is unknown
    outbox_pop_trimmed          entries that leave the log: the caller releases their payload
    outbox_settle_stream        the same for the bytes of a chain of all commands, which belong to nobody

What is due to other members is in `replication.pxd`, with the messages.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from modules.core.chain cimport Chain, NO_LIMIT, chain_written
from modules.core.invariant cimport INVARIANT
from modules.core.learner cimport learner_unpin
from modules.core.log cimport Entry, entry_cost, log_at, log_drop, log_take_first


cdef inline Entry *outbox_pop_settled(Chain *c, int64_t *sn) noexcept nogil:
    """The next committed update, whose publication and answers are due. Returns NULL if there is none."""
    cdef Entry *entry
    if c.settled >= c.committed or c.log.streams:
        return NULL
    c.settled += 1
    sn[0] = c.settled
    entry = log_at(&c.log, c.settled)
    INVARIANT(c.unsettled_bytes >= entry_cost(entry), "rule 9: the bytes of uncommitted updates are counted")
    c.unsettled_bytes -= entry_cost(entry)
    return entry


cdef inline void *outbox_pop_waiter(Chain *c, int64_t came_by_ms) noexcept nogil:
    cdef Entry *entry
    cdef void *waiter
    if c.log.streams:
        return NULL
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
    """A waiter who came at `came_by_ms` or before: its update's outcome is unknown (rule 6). NULL if there is none.

    The caller says each time how long waiters may wait. Waiters came in the order of their updates, so no waiter is
    behind one that may wait longer.
    """
    return outbox_pop_waiter(c, came_by_ms)


cdef inline void *outbox_pop_orphan(Chain *c) noexcept nogil:
    """A waiter of a former head: the outcome of its update is unknown (rule 6). Returns NULL if there is none."""
    if not c.has_history or c.me == 0:
        return NULL
    return outbox_pop_waiter(c, INT64_MAX)


cdef inline bint outbox_is_pinned(const Chain *c) noexcept nogil:
    """Is the oldest entry kept for a learner, and not only for members that were away?"""
    return c.pinned >= 0 and c.log.first >= c.pinned


cdef inline bint outbox_is_trim_due(const Chain *c) noexcept nogil:
    """Do the limits push the oldest entry out of the backlog (rule 9)?"""
    cdef uint64_t limit = c.limits.join_bytes if outbox_is_pinned(c) else c.limits.backlog_bytes
    cdef uint64_t backlog = c.log.bytes - c.unsettled_bytes
    if c.log.first > min(c.settled, c.recorded, c.executed):
        return False
    return backlog > max(limit, c.limits.backlog_bytes)


cdef inline bint outbox_pop_trimmed(Chain *c, Entry *out) noexcept nogil:
    """The next entry that the limits push out of the backlog. Returns False if there is none."""
    if c.log.streams or not outbox_is_trim_due(c):
        return False
    if outbox_is_pinned(c):
        learner_unpin(c)
        c.pin_broken = True
    out[0] = log_take_first(&c.log)
    INVARIANT(out.waiter == NULL, "rule 6: a waiter is answered before its update leaves the log")
    c.next_sn = max(c.next_sn, c.log.first)     # what is gone is not sent: a successor that lacks it says so
    return True


cdef inline void outbox_trim_stream(Chain *c) noexcept nogil:
    cdef uint64_t limit
    cdef int64_t surplus
    while outbox_is_trim_due(c):
        limit = c.limits.backlog_bytes
        surplus = min(c.settled, c.recorded, c.executed) + 1 - c.log.first
        if outbox_is_pinned(c):
            learner_unpin(c)
            c.pin_broken = True
        elif c.pinned >= 0:
            surplus = min(surplus, c.pinned - c.log.first)
        surplus = min(surplus, <int64_t>(c.log.bytes - c.unsettled_bytes - limit))
        log_drop(&c.log, surplus)
        c.next_sn = max(c.next_sn, c.log.first)


cdef inline void outbox_settle_stream(Chain *c) noexcept nogil:
    """Committed bytes are settled: no answer or publication depends on single ones. What the limits push out goes."""
    if not c.log.streams:
        return
    INVARIANT(
        c.unsettled_bytes == <uint64_t>(c.applied - c.settled), "rule 9: the bytes of uncommitted updates are counted")
    c.settled = c.committed
    c.unsettled_bytes = <uint64_t>(c.applied - c.settled)
    outbox_trim_stream(c)


cdef inline bint outbox_pop_any(Chain *c, Entry *out) noexcept nogil:
    """Takes out the oldest entry. Returns False if the log is empty, as it must be to learn, forget or restore."""
    if c.log.first >= c.log.end:
        return False
    if c.log.streams:
        log_drop(&c.log, c.log.end - c.log.first)
        return False
    out[0] = log_take_first(&c.log)
    c.recorded = max(c.recorded, c.log.first - 1)       # entries that are gone cannot be recorded
    return True


cdef inline void outbox_check_sleep(const Chain *c, bint saves, int64_t flushed, bint wakes) noexcept nogil:
    """The last call before the event loop sleeps. Everything due has gone out, or another pass follows at once.

    saves: updates wait for this member's disk. flushed: the newest sn on it. wakes: another pass follows at once.
    """
    INVARIANT(c.settled == c.committed, "rule 3: committed updates are settled before the loop sleeps")
    INVARIANT(not outbox_is_trim_due(c), "rule 9: the log is within its limits before the loop sleeps")
    INVARIANT(wakes or c.published == NO_LIMIT, "rule 8: acknowledgements that are kept back go out in another pass")
    INVARIANT(
        wakes or not saves or chain_written(c) <= flushed,
        "rule 8: what is recorded is on the disk, or another pass follows")
