# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The right to answer linearizable reads (rule 4).

A tail answers while it holds a lease of the present epoch. Without one it asks the others: a question, a number that
grows, goes up the chain with the acknowledgements; when the head has seen it, the answer comes down with the batches.
Every member that passes either on does so in this epoch, so no newer view was in force when the question left.

In a chain of all commands every member answers reads. So the tail asks again and again, and never asks anew before its
last question is answered. A member that has seen question `a` and no newer one at time t, and hears later that `a + 2`
is answered, knows that every member was in this epoch after t: `a + 1` passed this member after t, and was answered
before the tail asked `a + 2`, which has passed every member since. To the tail itself `a + 1` proves the same.
"""

from libc.stdint cimport INT64_MAX, int64_t

from modules.core.chain cimport Chain, SEEN_KEPT, chain_fenced, chain_is_tail, chain_judge_epoch, chain_serves_reads
from modules.core.invariant cimport INVARIANT
from modules.core.messages cimport ACCEPTED, NONSENSE, Verdict

cdef enum:
    MAX_LEASE_MS = 24 * 3600 * 1000
    PROOF_MS = 1000             # how long a member without a lease lives on its last proof; one takes some 200 ms


cdef inline Verdict read_lease_grant(
    Chain *c, int64_t epoch, int64_t stamp_ms, int64_t length_ms, int64_t now_ms,
) noexcept nogil:
    """A lease from the master. The lease counts from `stamp_ms`, a time of this member's clock before the grant."""
    cdef Verdict verdict = chain_judge_epoch(c, epoch)
    if verdict != ACCEPTED:
        return verdict
    if stamp_ms < 0 or stamp_ms > now_ms or length_ms < 0 or length_ms > MAX_LEASE_MS:
        return NONSENSE
    c.lease_until = max(c.lease_until, stamp_ms + length_ms)
    c.longest_lease_ms = max(c.longest_lease_ms, length_ms)
    return ACCEPTED


cdef inline bint read_lease_is_held(const Chain *c, int64_t now_ms) noexcept nogil:
    """A sole member needs no lease: it is never removed because a lease ran out."""
    return not c.has_history or c.view.count == 1 or now_ms < c.lease_until


cdef inline int64_t read_lease_until(const Chain *c) noexcept nogil:
    """Up to when replies of this member are known to be of the newest view, in a chain of all commands."""
    if c.has_history and (c.me < 0 or chain_fenced(c)):
        return 0
    return INT64_MAX if not c.has_history or c.view.count == 1 else c.lease_until


cdef inline bint read_lease_may_read(const Chain *c, int64_t now_ms) noexcept nogil:
    """May a READ that has arrived be answered at `now_ms` without asking the other members?"""
    return chain_serves_reads(c) and read_lease_is_held(c, now_ms)


cdef inline void read_lease_doubt(Chain *c) noexcept nogil:
    """A member without a lease may have been removed unheard. Its next message makes a neighbour say so."""
    if c.me == 0:
        c.confirm = True
    else:
        c.in_doubt = True


cdef inline int64_t read_lease_ask(Chain *c) noexcept nogil:
    """For a READ at a tail without a lease: the number of a question not sent yet, which has to be answered first."""
    if c.asked <= c.asked_ever:
        c.asked = c.asked_ever + 1
    return c.asked


cdef inline bint read_lease_is_answered(const Chain *c, int64_t epoch, int64_t question) noexcept nogil:
    """Is the question of `epoch` answered? One of an older epoch never is: the caller asks again, or redirects."""
    INVARIANT(question > 0, "rule 4: a READ waits for the answer to a question that was asked")
    return c.view.epoch == epoch and chain_serves_reads(c) and c.answered >= question


# ---------------------------------------------------------------------- for replies of any member of a chain of all

cdef inline void read_lease_tick(Chain *c, int64_t now_ms) noexcept nogil:
    """Called by the clock. The tail asks for the others, who may lack a lease when it has one, and in haste for itself.
    """
    if not c.log.streams or not chain_is_tail(c) or c.me == 0:
        return
    c.in_haste = not read_lease_is_held(c, now_ms)
    read_lease_ask(c)


cdef inline int64_t read_lease_proven_ms(Chain *c, int64_t now_ms) noexcept nogil:
    """Replies whose bytes were read before the returned time need no lease. Called in each pass of the event loop.

    now_ms: of this member's clock, and not later than the call. The time that is returned never falls.
    """
    cdef bint tail = chain_is_tail(c)
    cdef int64_t seen = c.asked_ever if tail else c.asked
    cdef int64_t proven = c.answered - (1 if tail else 2)
    if not c.log.streams or c.me < 0:
        return c.proven_ms
    c.seen_at[seen & (SEEN_KEPT - 1)] = now_ms
    if seen - SEEN_KEPT < proven <= seen and proven >= 0:
        c.proven_ms = max(c.proven_ms, c.seen_at[proven & (SEEN_KEPT - 1)])
    return c.proven_ms


cdef inline bint read_lease_hears_all(const Chain *c, int64_t now_ms) noexcept nogil:
    """Does this member hear of each write before a client hears that it is written? Otherwise a newer view may be in
    force without it. What such a member has told its clients before is of no worth from then on.
    """
    if c.has_history and (c.me < 0 or chain_fenced(c)):
        return False
    return now_ms < read_lease_until(c) or now_ms < c.proven_ms + PROOF_MS
