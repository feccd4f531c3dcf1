# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A member and its views: which view it adopts, and what begins anew with a view (rules 2, 4 and 5)."""

from libc.string cimport memcpy, memset

from modules.core.chain cimport Chain, NO_LIMIT, chain_is_tail, chain_jump, chain_successor
from modules.core.invariant cimport INVARIANT
from modules.core.learner cimport learner_unpin
from modules.core.log cimport log_drop, log_note_epoch
from modules.core.messages cimport ACCEPTED, CONFLICT, DIVERGED, OTHER_HISTORY, STALE, TOO_FAR_BEHIND, Verdict
from modules.core.replication cimport replication_commit_own
from modules.core.view cimport (
    HISTORY_BYTES, KIND_ALL, KIND_PUT, Node, View, same_history, same_process, view_equal, view_index,
)


cdef inline bint is_of_other_kind(const Chain *c, const View *view) noexcept nogil:
    """Has `view`, of this member's history, another kind than the views before it? All have that of the first one."""
    return c.view.epoch > 0 and view.kind != c.view.kind


cdef inline void membership_enter(Chain *c, const View *view) noexcept nogil:
    """The member is in `view` now. Every handshake, lease and question begins anew."""
    INVARIANT(
        not c.has_history or not same_history(c.history, view.history) or view.epoch >= c.view.epoch,
        "rule 2: no member goes back to an older view of its history")
    INVARIANT(
        not c.has_history or view.epoch != c.view.epoch or view_equal(view, &c.view),
        "rule 5: an epoch names one view")
    INVARIANT(
        not c.has_history or not same_history(c.history, view.history) or not is_of_other_kind(c, view),
        "rule 5: a history has one kind")
    INVARIANT(
        c.me < view.count and (c.me < 0 or not c.learner),
        "rule 2: a member has one place in its view, and a learner has none")
    INVARIANT(
        c.log.streams == (view.kind == KIND_ALL) or c.log.first == c.log.end,
        "rule 1: what the log has is of the chain's kind")
    c.log.streams = view.kind == KIND_ALL
    if c.log.streams and c.executed == NO_LIMIT:
        c.executed = c.applied      # loaded data are what was executed
    c.view = view[0]
    c.has_history = True
    memcpy(c.history, view.history, HISTORY_BYTES)
    if c.newest_epoch < view.epoch:
        c.newest_epoch = view.epoch
    c.greeted = -1
    c.in_step = c.me == 0           # a head has no predecessor
    c.serve_from = c.saved_above = c.saved_told = -1
    c.sent_up = c.relied_up = c.sent_head = -1
    c.synced_below = c.synced_up = -1
    c.predecessor_listens = False
    c.lease_until = 0
    c.in_doubt = False
    c.asked = c.asked_ever = c.asked_up = c.answered = c.answered_down = 0
    c.in_haste = False
    memset(c.seen_at, 0, sizeof(c.seen_at))
    c.streaming = c.heeds_saved = False
    c.view_changes += 1


cdef inline bint membership_can_feed(const Chain *c, const View *view, int place) noexcept nogil:
    """Does this tail have all that its successor in `view` lacks?

    If not, that pending view can never be in force, and the master has to withdraw it (design.md, "Joining"). Until
    then this member serves nothing (rule 2).
    """
    if place < 0 or place == view.count - 1 or view_index(&c.view, view.members[place + 1].run_id) >= 0:
        return True
    return c.feeding and same_process(&c.learner_node, &view.members[place + 1])


cdef inline Verdict membership_adopt(Chain *c, const View *view, const char *run_id) noexcept nogil:
    """Adopts `view`, in which this member, of `run_id`, has a place or none.

    STALE: the view is older. CONFLICT: another view of the present epoch, or one of another kind. TOO_FAR_BEHIND: see
    `membership_can_feed`.
    """
    cdef bint fed
    cdef const Node *successor
    if c.has_history and not same_history(c.history, view.history):
        return OTHER_HISTORY
    if view.epoch < c.view.epoch:
        return STALE
    if view.epoch == c.view.epoch:
        return ACCEPTED if view_equal(view, &c.view) else CONFLICT
    if is_of_other_kind(c, view):
        return CONFLICT
    if chain_is_tail(c) and not membership_can_feed(c, view, view_index(view, run_id)):
        c.newest_epoch = max(c.newest_epoch, view.epoch)
        return TOO_FAR_BEHIND
    c.me = view_index(view, run_id)
    c.learner = False
    membership_enter(c, view)
    # If the learner is the successor now, the log stays pinned for it until it acknowledges. Otherwise the join ends.
    successor = chain_successor(c) if c.me < view.count - 1 else NULL
    fed = c.feeding and successor != NULL and same_process(successor, &c.learner_node)
    c.feeding = False
    if not fed:
        c.pinned = -1
    replication_commit_own(c)
    return ACCEPTED


cdef inline void membership_learn(Chain *c, const View *view) noexcept nogil:
    """This member becomes a learner of a chain, without data of its own. The caller has emptied the log."""
    membership_forget(c)
    c.learner = True
    membership_enter(c, view)


cdef inline Verdict membership_relearn(Chain *c, const View *view) noexcept nogil:
    """This member becomes a learner again and keeps its data, which the tail has found to be a prefix of its own."""
    if not c.has_history or not same_history(c.history, view.history):
        return OTHER_HISTORY
    if view.epoch < c.view.epoch:
        return STALE
    if view.epoch == c.view.epoch and not view_equal(view, &c.view) or is_of_other_kind(c, view):
        return CONFLICT
    if view.kind == KIND_ALL and c.executed != NO_LIMIT and c.executed > c.applied:
        return DIVERGED         # a former head's server has effects that its log does not have
    c.me = -1
    c.learner = True
    c.feeding = False
    c.pinned = -1
    membership_enter(c, view)
    return ACCEPTED


cdef inline bint membership_lacks_own(const Chain *c) noexcept nogil:
    """Has the only member's server executed, and on its disk, what its log lacks and will never get?

    Asked while the member has no tap: it was a head, and was removed or lost its tap before the tap had read all.
    """
    return c.log.streams and c.me == 0 and c.view.count == 1 and c.applied < c.executed <= c.on_disk


cdef inline void membership_continue_alone(Chain *c) noexcept nogil:
    """The log goes on behind all that the only member's server has executed.

    Nobody was answered because of what the log lacks. It counts as of the present epoch: members of former views may
    have other updates in its place, and are copied when they come back.
    """
    INVARIANT(c.me == 0 and c.view.count == 1, "rule 1: only a member that is alone has what its log lacks")
    if c.pinned >= 0:
        learner_unpin(c)
        c.pin_broken = True
    log_note_epoch(&c.log, c.log.end, c.view.epoch)
    log_drop(&c.log, c.log.end - c.log.first)
    chain_jump(c, c.executed)


cdef inline void membership_forget(Chain *c) noexcept nogil:
    """This member has no history any more. The caller has emptied the log."""
    c.has_history = False
    c.view.epoch = 0
    c.view.kind = KIND_PUT
    c.view.count = 0
    c.newest_epoch = 0
    c.me = -1
    c.learner = c.feeding = c.in_step = c.streaming = False
    c.greeted = c.pinned = -1
    c.log.boundary_count = 0
    c.log.streams = False
    c.executed = NO_LIMIT
    chain_jump(c, -1)
