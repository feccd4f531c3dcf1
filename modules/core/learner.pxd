# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A tail and a learner: the tail keeps its log from some update on, and forwards to the learner.

See docs/design.md, "Joining". The master has the tail pin and then feed. At last the view is adopted in which the
learner is the new tail. `learner_unpin` takes all of it back.
"""

from libc.stdint cimport int64_t

from modules.core.chain cimport Chain, chain_executed, chain_is_tail
from modules.core.invariant cimport INVARIANT
from modules.core.messages cimport ACCEPTED, DIVERGED, STRANGER, TOO_FAR_BEHIND, Verdict
from modules.core.replication cimport replication_agrees
from modules.core.view cimport Node


cdef inline bint learner_pin(Chain *c) noexcept nogil:
    """Keeps the log from here on for a learner that is about to take a snapshot. Returns False if this is no tail."""
    if not chain_is_tail(c) or not c.in_step:
        return False
    c.pinned = chain_executed(c) + 1
    c.pin_broken = False
    return True


cdef inline Verdict learner_pin_from(Chain *c, int64_t applied, int64_t assigned) noexcept nogil:
    """Keeps the log for a server that was away. Its history ends with `applied`, and it needs no snapshot."""
    if not chain_is_tail(c) or not c.in_step:
        return STRANGER
    if applied < 0:
        return TOO_FAR_BEHIND   # data from before the chain began is in no log
    if not replication_agrees(c, applied, assigned):
        return DIVERGED
    if applied + 1 < c.log.first:
        return TOO_FAR_BEHIND
    c.pinned = applied + 1
    c.pin_broken = False
    return ACCEPTED


cdef inline bint learner_feed(Chain *c, const Node *learner) noexcept nogil:
    """Forwards to `learner`, which has its snapshot. Returns False if nothing is pinned."""
    if not chain_is_tail(c) or c.pinned < 0:
        return False
    INVARIANT(c.pinned >= c.log.first, "rule 3: the log has what it is pinned for")
    c.learner_node = learner[0]
    c.feeding = True
    c.streaming = False
    return True


cdef inline void learner_unpin(Chain *c) noexcept nogil:
    """The join is over: nothing is kept for the learner, and nothing forwarded."""
    if c.feeding:
        c.streaming = False
    c.feeding = False
    c.pinned = -1
