# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The right to answer linearizable reads (rule 4).

A tail answers while it holds a lease of the present epoch. Without one it asks the others: a question, a number that
grows, goes up the chain with the acknowledgements; when the head has seen it, the answer comes down with the batches.
Every member that passes either on does so in this epoch, so no newer view was in force when the question left.
"""

from libc.stdint cimport int64_t

from modules.core.chain cimport Chain, chain_judge_epoch, chain_serves_reads
from modules.core.invariant cimport INVARIANT
from modules.core.messages cimport ACCEPTED, NONSENSE, Verdict

cdef enum:
    MAX_LEASE_MS = 24 * 3600 * 1000


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
    return ACCEPTED


cdef inline bint read_lease_is_held(const Chain *c, int64_t now_ms) noexcept nogil:
    """A sole member needs no lease: it is never removed because a lease ran out."""
    return not c.has_history or c.view.count == 1 or now_ms < c.lease_until


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
