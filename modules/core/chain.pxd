# cython: language_level=3
"""The member's side of the protocol: messages and time in, state and due messages out. No I/O, no clock.

Chain replication after van Renesse and Schneider (OSDI 2004); the names of the state follow their section 3 where
they have one: the uncommitted part of the log is *Sent*. Epochs, the handshake and cumulative acknowledgement are
design.md's (sections 3 and 5).

A caller feeds events (`chain_adopt`, `chain_assign`, `chain_on_…`), sends what `chain_next_batch`, `chain_ack_due` and
`chain_head_ack_due` say is due to other members, and drains what is due to itself (`due.pxd`).
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset, strcmp

from modules.core.invariant cimport INVARIANT
from modules.core.log cimport (
    Entry, Log, entry_cost, log_append, log_at, log_epoch_of, log_note_epoch, log_reserve,
    log_restart, log_shrink,
)
from modules.core.messages cimport (
    ACCEPTED, Ack, BEHIND, Batch, CONFLICT, DIVERGED, GAP, Greeting, Limits, NONSENSE, NOT_GREETED, OTHER_HISTORY,
    ROLE_ALONE, ROLE_HEAD, ROLE_LEARNER, ROLE_MIDDLE, ROLE_REMOVED, ROLE_SINGLETON, ROLE_TAIL, Role, STALE, STRANGER,
    TOO_FAR_BEHIND, Verdict,
)
from modules.core.view cimport HISTORY_BYTES, Node, View, same_history, same_process, view_equal, view_index


cdef extern from *:
    """
    #define CHAIN_SAFE INT64_MAX
    """
    const int64_t SAFE "CHAIN_SAFE"


cdef struct Chain:
    # ---- which chain, and our place in it. Only `chain_adopt`, `chain_learn`, `chain_restore` and
    # `chain_branch` assign these.
    bint has_history
    uint8_t history[HISTORY_BYTES]
    View view                   # epoch 0: none yet
    int me                      # our index in the view; -1: not in it
    bint learner
    int64_t newest_epoch        # the newest we have heard of; above view.epoch we serve nothing (rule 2)
    # ---- how far. settled <= committed <= applied = log.end - 1
    int64_t applied
    int64_t committed
    int64_t settled             # publications made and waiters answered up to here
    Log log
    uint64_t unsettled_bytes    # cost of (settled, applied]
    int64_t expiry              # waiters below this sn have been told already
    int64_t on_disk             # nothing about an update above it leaves this process; SAFE: disks do not matter
    int64_t recorded            # the append-only file lacks those above it, so the log keeps them; SAFE: there is none
    int64_t published           # a tail acknowledges up to here: publications go first; SAFE: none is under way
    Limits limits
    # ---- towards the predecessor
    int64_t greeted             # the connection on which it greeted us in this epoch; -1: none
    bint in_step                # the handshake with it is complete in this epoch
    int64_t serve_from          # all that it had applied then: we serve when we have it too
    int64_t sent_up             # the highest ack really sent to it in this epoch
    int64_t relied_up           # the highest ack spared till the next tick: the predecessor knows it, or will soon
    int64_t sent_head           # the tail's highest ack sent to the head
    # ---- the right to answer reads (lease.pxd), all of this epoch
    int64_t lease_until         # on this member's clock
    bint in_doubt               # the predecessor is to be told again, so that it can say that we are out
    int64_t asked               # the newest question: of our own as tail, else of those after us; from 1
    int64_t asked_ever          # the newest that ever went to the predecessor, and ...
    int64_t asked_up            # ... that went on its present connection
    int64_t answered            # the newest that all members before us have seen
    int64_t answered_down       # the newest that the successor knows to be answered
    # ---- towards the successor, or the learner that we feed as tail
    bint feeding
    Node learner_node
    bint streaming              # the handshake is complete: batches may go
    bint confirm                # it has not been told yet that the handshake is complete
    int64_t next_sn             # the next update to go to it
    int64_t sent_sn             # one past the highest that ever went: below it, sending again is a resend
    int64_t pinned              # the lowest sn that the learner may lack; -1: nothing is kept for one
    bint pin_broken             # the join went over its limit
    # ---- counters for INFO
    uint64_t view_changes
    uint64_t resent
    uint64_t refused_stale


# ------------------------------------------------------------------------------------------------ state

cdef inline void chain_init(Chain *c, const Limits *limits) noexcept nogil:
    memset(c, 0, sizeof(Chain))
    c.limits = limits[0]
    c.me = -1
    c.applied = c.committed = c.settled = -1
    c.greeted = c.pinned = -1
    c.sent_up = c.relied_up = c.sent_head = -1
    c.on_disk = c.published = c.recorded = SAFE


cdef inline Role chain_role(const Chain *c) noexcept nogil:
    if not c.has_history:
        return ROLE_ALONE
    if c.me < 0:
        return ROLE_LEARNER if c.learner else ROLE_REMOVED
    if c.view.count == 1:
        return ROLE_SINGLETON
    if c.me == 0:
        return ROLE_HEAD
    return ROLE_TAIL if c.me == c.view.count - 1 else ROLE_MIDDLE


cdef inline bint chain_is_tail(const Chain *c) noexcept nogil:
    return c.me >= 0 and c.me == c.view.count - 1


cdef inline bint chain_fenced(const Chain *c) noexcept nogil:
    """A newer view than ours exists (rule 2)."""
    return c.newest_epoch > c.view.epoch


cdef inline const Node *chain_successor(const Chain *c) noexcept nogil:
    """Whom we forward to; NULL: nobody."""
    if 0 <= c.me < c.view.count - 1:
        return &c.view.members[c.me + 1]
    return &c.learner_node if c.feeding else NULL


cdef inline const Node *chain_predecessor(const Chain *c) noexcept nogil:
    """Who forwards to us; NULL: nobody."""
    if c.learner:
        return &c.view.members[c.view.count - 1]
    if c.me > 0:
        return &c.view.members[c.me - 1]
    return NULL


cdef inline const Node *chain_told_head(const Chain *c) noexcept nogil:
    """The head, when we are a tail that tells it directly what is committed; NULL: no such short cut."""
    if chain_is_tail(c) and c.me > 1:
        return &c.view.members[0]
    return NULL


cdef inline bint chain_takes_writes(const Chain *c) noexcept nogil:
    return not c.has_history or (c.me == 0 and not chain_fenced(c))


cdef inline bint chain_serves_reads(const Chain *c) noexcept nogil:
    """As tail: in step with its predecessor in this epoch, and with all that this had applied (rule 4)."""
    if not c.has_history:
        return True
    return chain_is_tail(c) and c.in_step and c.applied >= c.serve_from and not chain_fenced(c)


cdef inline void chain_position(const Chain *c, Greeting *out) noexcept nogil:
    out.epoch = c.view.epoch
    memcpy(out.history, c.history, HISTORY_BYTES)
    out.applied = c.applied
    out.assigned = log_epoch_of(&c.log, c.applied)


# ------------------------------------------------------------------------------------------------ views

cdef inline Verdict chain_judge_epoch(Chain *c, int64_t epoch) noexcept nogil:
    """Rule 2, for every message between members."""
    if not c.has_history:
        return OTHER_HISTORY
    if epoch < c.view.epoch:
        c.refused_stale += 1
        return STALE
    if epoch > c.view.epoch:
        if epoch > c.newest_epoch:
            c.newest_epoch = epoch
        return BEHIND
    return ACCEPTED


cdef inline void chain_enter(Chain *c, const View *view) noexcept nogil:
    """A new view: every handshake is to be made anew."""
    # Rule 2: nobody goes back to an older view of the same history.
    INVARIANT(not c.has_history or not same_history(c.history, view.history) or view.epoch >= c.view.epoch)
    INVARIANT(c.me < view.count and (c.me < 0 or not c.learner))
    c.view = view[0]
    c.has_history = True
    memcpy(c.history, view.history, HISTORY_BYTES)
    if c.newest_epoch < view.epoch:
        c.newest_epoch = view.epoch
    c.greeted = -1
    c.in_step = c.me == 0           # a head has nobody to be in step with
    c.serve_from = -1
    c.sent_up = c.relied_up = c.sent_head = -1
    c.lease_until = 0
    c.in_doubt = False
    c.asked = c.asked_ever = c.asked_up = c.answered = c.answered_down = 0
    c.streaming = False
    c.view_changes += 1


cdef inline bint chain_can_feed(const Chain *c, const View *view, int place) noexcept nogil:
    """Do we, a tail, have all that our successor in `view` lacks? If not, that pending view can never be in force, and
    its master has to withdraw it (design.md, "Joining"); until then we serve nothing (rule 2).
    """
    if place < 0 or place == view.count - 1 or view_index(&c.view, view.members[place + 1].run_id) >= 0:
        return True
    return c.feeding and same_process(&c.learner_node, &view.members[place + 1])


cdef inline Verdict chain_adopt(Chain *c, const View *view, const char *run_id) noexcept nogil:
    """Take over `view`, which names us or not by `run_id`."""
    cdef bint fed
    cdef const Node *successor
    if c.has_history and not same_history(c.history, view.history):
        return OTHER_HISTORY
    if view.epoch < c.view.epoch:
        return STALE
    if view.epoch == c.view.epoch:
        return ACCEPTED if view_equal(view, &c.view) else CONFLICT
    if chain_is_tail(c) and not chain_can_feed(c, view, view_index(view, run_id)):
        c.newest_epoch = max(c.newest_epoch, view.epoch)
        return TOO_FAR_BEHIND
    c.me = view_index(view, run_id)
    c.learner = False
    chain_enter(c, view)
    # The learner has become our successor: what is pinned for it stays until it acknowledges. Else the join is over.
    successor = chain_successor(c) if c.me < view.count - 1 else NULL
    fed = c.feeding and successor != NULL and same_process(successor, &c.learner_node)
    c.feeding = False
    if not fed:
        c.pinned = -1
    chain_commit_own(c)
    return ACCEPTED


cdef inline void chain_learn(Chain *c, const View *view) noexcept nogil:
    """Become a learner of this chain, with nothing of our own (the caller has drained log and waiters)."""
    chain_forget(c)
    c.learner = True
    chain_enter(c, view)


cdef inline Verdict chain_relearn(Chain *c, const View *view) noexcept nogil:
    """Become a learner again with what we have, which the tail has found to be a prefix of its own."""
    if not c.has_history or not same_history(c.history, view.history):
        return OTHER_HISTORY
    if view.epoch < c.view.epoch:
        return STALE
    c.me = -1
    c.learner = True
    c.feeding = False
    c.pinned = -1
    chain_enter(c, view)
    return ACCEPTED


cdef inline void chain_forget(Chain *c) noexcept nogil:
    """Back to a member without a history. The caller has drained log and waiters."""
    c.has_history = False
    c.view.epoch = 0
    c.view.count = 0
    c.newest_epoch = 0
    c.me = -1
    c.learner = c.feeding = c.in_step = c.streaming = False
    c.greeted = c.pinned = -1
    c.log.boundary_count = 0
    chain_jump(c, -1)


cdef inline void chain_jump(Chain *c, int64_t applied) noexcept nogil:
    log_restart(&c.log, applied + 1)
    c.applied = c.committed = c.settled = applied
    if c.recorded != SAFE:
        c.recorded = applied
    c.expiry = applied + 1
    c.unsettled_bytes = 0
    c.sent_sn = 0


# ----------------------------------------------------------------------------------- updates at the head

cdef inline bint chain_fits(const Chain *c, uint64_t bytes) noexcept nogil:
    """False: an update of this size is refused for ever."""
    return bytes <= c.limits.log_bytes


cdef inline bint chain_has_room(const Chain *c, uint64_t bytes) noexcept nogil:
    """False: the writer is to be held back until updates commit (rule 9). An empty log takes any that fits."""
    return c.unsettled_bytes == 0 or c.unsettled_bytes + bytes <= c.limits.log_bytes


cdef inline bint chain_append(Chain *c, const Entry *entry, int64_t assigned) noexcept nogil:
    if not log_reserve(&c.log):
        return False
    log_note_epoch(&c.log, c.log.end, assigned)
    log_append(&c.log, entry)
    c.applied += 1
    c.unsettled_bytes += entry_cost(entry)
    return True


cdef inline int64_t chain_assign(Chain *c, const Entry *entry) noexcept nogil:
    """The head's next sn for this update; -1 when memory is exhausted. The caller asked `chain_takes_writes`."""
    INVARIANT(chain_takes_writes(c))        # rule 2: a head that is fenced assigns nothing
    if not chain_append(c, entry, c.view.epoch):
        return -1
    chain_commit_own(c)
    return c.applied


cdef inline void chain_commit_own(Chain *c) noexcept nogil:
    """What the tail has applied is committed: all before it have it (rule 1). Outside a chain that is us alone."""
    if not c.has_history or (chain_is_tail(c) and c.in_step):
        c.committed = max(c.committed, chain_safe(c))
    INVARIANT(c.settled <= c.committed <= c.applied)


cdef inline int64_t chain_safe(const Chain *c) noexcept nogil:
    """What this member has applied and will not lose: all that others may hear of."""
    return min(c.applied, c.on_disk)


cdef inline void chain_saved(Chain *c, int64_t on_disk) noexcept nogil:
    """Everything up to `on_disk` is there (design.md, "Restart"); SAFE: no write waits for its disk."""
    c.on_disk = on_disk
    chain_commit_own(c)


# ------------------------------------------------------------------------------ towards the successor

cdef inline bint chain_agrees(const Chain *c, int64_t applied, int64_t assigned) noexcept nogil:
    """Is a history that ends with `applied`, assigned in epoch `assigned`, a prefix of ours?"""
    if applied < 0:
        return applied == -1
    return applied <= c.applied and assigned >= 0 and log_epoch_of(&c.log, applied) == assigned


cdef inline Verdict chain_on_welcome(Chain *c, const Greeting *welcome, const char *sender) noexcept nogil:
    """The successor's half of the handshake: from here on it is sent what it lacks, oldest first."""
    cdef const Node *successor = chain_successor(c)
    cdef Verdict verdict = chain_judge_epoch(c, welcome.epoch)
    if verdict != ACCEPTED:
        return verdict
    if successor == NULL or strcmp(successor.run_id, sender) != 0:
        return STRANGER
    if not same_history(welcome.history, c.history):
        return OTHER_HISTORY
    # Rule 1: it may only have what we have, assigned in the same epochs.
    if not chain_agrees(c, welcome.applied, welcome.assigned):
        return DIVERGED
    if c.streaming:
        return ACCEPTED         # of several greetings in a row the first welcome counts: batches have gone since
    if welcome.applied + 1 < c.log.first:
        return TOO_FAR_BEHIND
    c.next_sn = welcome.applied + 1
    c.answered_down = 0
    c.streaming = True
    c.confirm = True
    return ACCEPTED


cdef inline void chain_successor_lost(Chain *c) noexcept nogil:
    """The link is gone: nothing more goes out before the next handshake."""
    c.streaming = False


cdef inline int64_t chain_epoch_end(const Log *log, int64_t sn) noexcept nogil:
    """One past the last sn that was assigned in the same epoch as `sn`."""
    cdef int i
    cdef int64_t end = INT64_MAX
    for i in range(log.boundary_count - 1, -1, -1):
        if log.boundaries[i].first_sn <= sn:
            break
        end = log.boundaries[i].first_sn
    return end


cdef inline void chain_bundle(Chain *c, int64_t first, int64_t last, uint64_t max_bytes, Batch *out) noexcept nogil:
    """The updates from `first` to `last` that go together: of one assigning epoch, at least one, else `max_bytes`."""
    cdef int64_t end = min(last + 1, chain_epoch_end(&c.log, first))
    cdef int64_t sn = first
    out.bytes = 0
    while sn < end and (out.bytes == 0 or out.bytes + log_at(&c.log, sn).bytes <= max_bytes):
        out.bytes += entry_cost(log_at(&c.log, sn))
        sn += 1
    out.first = first
    out.count = sn - first
    out.assigned = log_epoch_of(&c.log, first) if out.count else c.view.epoch


cdef inline bint chain_next_batch(Chain *c, uint64_t max_bytes, Batch *out) noexcept nogil:
    """The next message for the successor; False: nothing is due."""
    cdef int64_t sn = c.next_sn
    if not c.streaming or (sn > chain_safe(c) and not c.confirm and c.answered <= c.answered_down):
        return False
    INVARIANT(chain_successor(c) != NULL and sn >= c.log.first)
    chain_bundle(c, sn, chain_safe(c), max_bytes, out)
    sn += out.count
    INVARIANT(sn - 1 <= chain_safe(c))      # rule 3: nothing that this member may lose leaves it
    out.epoch = c.view.epoch
    out.committed = c.committed
    out.upto = max(chain_safe(c), sn - 1)
    out.answer = c.answered
    c.answered_down = c.answered
    if c.sent_sn > c.next_sn:
        c.resent += <uint64_t>(min(c.sent_sn, sn) - c.next_sn)
    c.sent_sn = max(c.sent_sn, sn)
    c.next_sn = sn
    c.confirm = False
    return True


cdef inline Verdict chain_on_ack(Chain *c, const Ack *ack, const char *sender) noexcept nogil:
    """Everything up to `ack.committed` is committed, says a member after us; or applied, says the learner."""
    cdef int place
    cdef Verdict verdict = chain_judge_epoch(c, ack.epoch)
    if verdict != ACCEPTED:
        return verdict
    if ack.committed < -1 or ack.committed > c.applied:
        return NONSENSE
    if c.feeding and strcmp(c.learner_node.run_id, sender) == 0:
        if c.pinned >= 0:
            c.pinned = max(c.pinned, ack.committed + 1)
        return ACCEPTED
    place = view_index(&c.view, sender)
    if c.me < 0 or place <= c.me:
        return STRANGER
    INVARIANT(ack.committed <= c.applied)   # rule 1: whoever is after us has a prefix of what is here
    c.committed = max(c.committed, ack.committed)
    if ack.head_told and c.me == 1:
        c.relied_up = max(c.relied_up, ack.committed)
    if place == c.me + 1:
        c.asked = max(c.asked, ack.question)
        if c.me == 0:
            c.answered = c.asked
    if c.pinned >= 0:
        c.pinned = max(c.pinned, ack.committed + 1)
        if c.pinned > c.committed:
            c.pinned = -1       # the former learner has all that was committed without it
    return ACCEPTED


# ---------------------------------------------------------------------------- towards the predecessor

cdef inline Verdict chain_on_greet(
    Chain *c, const Greeting *greet, const char *sender, int64_t connection, Greeting *welcome,
) noexcept nogil:
    """The predecessor's half of the handshake, on `connection`: batches count only on the newest that greeted."""
    cdef const Node *predecessor = chain_predecessor(c)
    cdef Verdict verdict = chain_judge_epoch(c, greet.epoch)
    if verdict != ACCEPTED:
        return verdict
    if predecessor == NULL or strcmp(predecessor.run_id, sender) != 0:
        return STRANGER
    if not same_history(greet.history, c.history):
        return OTHER_HISTORY
    # A greeting may come late, from before a newer connection, and then we have more than it says. Whether the
    # histories disagree is for the predecessor to say, who compares our welcome with what it has now.
    c.greeted = connection
    chain_position(c, welcome)
    return ACCEPTED


cdef inline Verdict chain_continues(const Chain *c, const Batch *batch, int64_t *skip) noexcept nogil:
    """Do these updates follow on what is here? The first `skip` of them are here already (each once: rule 1)."""
    if batch.first < 0 or batch.count < 0 or batch.first > INT64_MAX - batch.count or batch.assigned < 0:
        return NONSENSE
    if batch.first > c.applied + 1:
        return GAP
    # Epochs do not go back; but a batch that is here already may be of any.
    if batch.first + batch.count > c.applied + 1 and batch.assigned < log_epoch_of(&c.log, c.applied):
        return NONSENSE
    skip[0] = min(c.applied + 1 - batch.first, batch.count)
    INVARIANT(0 <= skip[0] <= batch.count)  # rule 1: without gap, each once
    return ACCEPTED


cdef inline Verdict chain_on_batch(
    Chain *c, const Batch *batch, int64_t connection, int64_t *skip,
) noexcept nogil:
    """May this batch be applied? If so without its first `skip` updates."""
    cdef Verdict verdict = chain_judge_epoch(c, batch.epoch)
    if verdict != ACCEPTED:
        return verdict
    if c.greeted < 0 or c.greeted != connection:
        return NOT_GREETED
    verdict = chain_continues(c, batch, skip)
    if verdict != ACCEPTED:
        return verdict
    if batch.upto < batch.first + batch.count - 1 or batch.assigned > batch.epoch:
        return NONSENSE
    if not c.in_step:
        c.in_step = True
        c.serve_from = batch.upto
    return ACCEPTED


cdef inline void chain_batch_applied(Chain *c, const Batch *batch) noexcept nogil:
    """The caller has appended what `chain_on_batch` left of the batch."""
    c.committed = max(c.committed, min(batch.committed, c.applied))
    c.answered = max(c.answered, min(batch.answer, c.asked))
    if not c.learner:
        c.relied_up = max(c.relied_up, batch.committed)     # no news to where it came from
    chain_commit_own(c)
    INVARIANT(c.log.end == c.applied + 1)
    INVARIANT(c.answered <= c.asked)        # rule 4: nobody answers what was not asked in this epoch


cdef inline int64_t chain_told(const Chain *c) noexcept nogil:
    if c.learner:
        return chain_safe(c)
    return min(c.committed, c.published) if chain_is_tail(c) else c.committed


cdef inline bint chain_ack_due(const Chain *c) noexcept nogil:
    """The predecessor has not heard yet how far we are, or what is asked."""
    if not c.in_step or (c.me <= 0 and not c.learner):
        return False
    return c.in_doubt or chain_told(c) > max(c.sent_up, c.relied_up) or c.asked > max(c.asked_up, c.answered)


cdef inline void chain_take_ack(Chain *c, Ack *out) noexcept nogil:
    """The acknowledgement for the predecessor. A tail with a link to the head has sent it that one first."""
    INVARIANT(c.learner or c.me > 0)
    out.epoch = c.view.epoch
    out.committed = chain_told(c)
    INVARIANT(out.committed <= c.applied)
    out.head_told = chain_told_head(c) != NULL and c.sent_head >= out.committed
    out.question = c.asked
    c.sent_up = out.committed
    c.in_doubt = False
    c.asked_up = c.asked
    c.asked_ever = max(c.asked_ever, c.asked)


cdef inline bint chain_head_ack_due(const Chain *c) noexcept nogil:
    return c.in_step and chain_told_head(c) != NULL and chain_told(c) > c.sent_head


cdef inline void chain_take_head_ack(Chain *c, Ack *out) noexcept nogil:
    INVARIANT(chain_is_tail(c))
    out.epoch = c.view.epoch
    out.committed = chain_told(c)
    INVARIANT(out.committed <= c.applied)
    out.head_told = True
    out.question = 0                # it must pass everybody
    c.sent_head = out.committed
    c.relied_up = out.committed     # the members between learn it from the head's next batch


cdef inline void chain_predecessor_lost(Chain *c) noexcept nogil:
    """The link up is gone: whatever was sent on it may not have arrived."""
    c.sent_up = c.relied_up = -1
    c.asked_up = 0


cdef inline void chain_head_lost(Chain *c) noexcept nogil:
    """The tail's link to the head is gone: the predecessor is told again, without the promise that the head knows."""
    c.sent_up = c.relied_up = c.sent_head = -1


cdef inline void chain_tick(Chain *c) noexcept nogil:
    """Now and then: acknowledgements that were spared go out after all, and memory that a full log took goes back."""
    c.relied_up = -1
    log_shrink(&c.log)
