# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Updates and neighbours: assign, forward, acknowledge, commit (rules 1 and 3)."""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport strcmp

from modules.core.chain cimport (
    Chain, chain_durable, chain_head_shortcut, chain_is_tail, chain_judge_epoch, chain_position, chain_predecessor,
    chain_saved, chain_sendable, chain_successor, chain_takes_writes,
)
from modules.core.effect_stream cimport stream_cut, stream_mark, stream_shrink
from modules.core.invariant cimport INVARIANT
from modules.core.log cimport (
    Entry, Log, entry_cost, log_append, log_at, log_epoch_of, log_note_epoch, log_reserve,
)
from modules.core.messages cimport (
    ACCEPTED, Ack, Batch, DIVERGED, GAP, Greeting, NONSENSE, NOT_GREETED, OTHER_HISTORY, STRANGER, TOO_FAR_BEHIND,
    Verdict,
)
from modules.core.synced cimport synced_from_here, synced_hear, synced_is_due
from modules.core.view cimport Node, same_history, view_index


# ----------------------------------------------------------------------------------- updates at the head

cdef inline bint replication_fits(const Chain *c, uint64_t bytes) noexcept nogil:
    """Returns False if an update of this size can never be taken."""
    return bytes <= c.limits.log_bytes


cdef inline bint replication_has_room(const Chain *c, uint64_t bytes) noexcept nogil:
    """Returns False if the writer has to wait until updates commit (rule 9). An empty log takes any that fits."""
    return c.unsettled_bytes == 0 or c.unsettled_bytes + bytes <= c.limits.log_bytes


cdef inline bint replication_append(Chain *c, const Entry *entry, int64_t assigned) noexcept nogil:
    if not log_reserve(&c.log):
        return False
    log_note_epoch(&c.log, c.log.end, assigned)
    log_append(&c.log, entry)
    c.applied += 1
    c.unsettled_bytes += entry_cost(entry)
    return True


cdef inline bint replication_append_bytes(Chain *c, uint64_t count, int64_t assigned) noexcept nogil:
    """The log ends `count` bytes later, which are in the stream already. False when memory is exhausted.

    Only in a chain of all commands. The bytes end a command or a transaction.
    """
    if not stream_mark(&c.log.stream, c.log.end + <int64_t>count):
        return False
    log_note_epoch(&c.log, c.log.end, assigned)
    c.log.end += <int64_t>count
    c.log.bytes += count
    c.applied += <int64_t>count
    c.unsettled_bytes += count
    return True


cdef inline bint replication_append_own(Chain *c, uint64_t count) noexcept nogil:
    """The same at the head, whose server has executed what its tap reads. Returns False also if this is no head.

    A head that has just been removed has not closed its tap yet. What its tap still reads is not the chain's, and least
    of all of the epoch in which the head was removed.
    """
    if c.me != 0 or not replication_append_bytes(c, count, c.view.epoch):
        return False
    c.executed = max(c.executed, c.applied)
    replication_commit_own(c)
    return True


cdef inline int64_t replication_assign(Chain *c, const Entry *entry) noexcept nogil:
    """Gives the update the next sn. Returns -1 when memory is exhausted. The caller has asked `chain_takes_writes`."""
    INVARIANT(chain_takes_writes(c), "rule 2: a head that is fenced assigns nothing")
    if not replication_append(c, entry, c.view.epoch):
        return -1
    replication_commit_own(c)
    return c.applied


cdef inline void replication_commit_own(Chain *c) noexcept nogil:
    """What a tail has applied is committed when it is saved: every member before it has it (rule 1), on its disk, too.
    """
    if not c.has_history or (chain_is_tail(c) and c.in_step):
        c.committed = max(c.committed, min(chain_saved(c), c.executed))
    INVARIANT(
        c.settled <= c.committed <= c.applied,
        "rule 3: settled updates are committed, and committed updates are applied")


# ------------------------------------------------------------------------------ towards the successor

cdef inline bint replication_agrees(const Chain *c, int64_t applied, int64_t assigned) noexcept nogil:
    """Is a history that ends with `applied`, assigned in epoch `assigned`, a prefix of this member's?"""
    if applied < 0:
        return applied == -1
    return applied <= c.applied and assigned >= 0 and log_epoch_of(&c.log, applied) == assigned


cdef inline Verdict replication_on_welcome(Chain *c, const Greeting *welcome, const char *sender) noexcept nogil:
    """The successor's half of the handshake. The successor is sent what it lacks from here on, oldest first."""
    cdef const Node *successor = chain_successor(c)
    cdef Verdict verdict = chain_judge_epoch(c, welcome.epoch)
    if verdict != ACCEPTED:
        return verdict
    if successor == NULL or strcmp(successor.run_id, sender) != 0:
        return STRANGER
    if not same_history(welcome.history, c.history):
        return OTHER_HISTORY
    # Rule 1: the successor may only have updates that this member has, assigned in the same epochs.
    if not replication_agrees(c, welcome.applied, welcome.assigned):
        return DIVERGED
    if c.streaming:
        return ACCEPTED         # of several welcomes the first counts: batches have gone out since
    if welcome.applied + 1 < c.log.first:
        return TOO_FAR_BEHIND
    c.next_sn = welcome.applied + 1
    c.answered_down = 0
    c.heeds_saved = welcome.heeds_saved
    c.saved_told = -1
    c.streaming = True
    c.confirm = True
    return ACCEPTED


cdef inline void replication_successor_lost(Chain *c) noexcept nogil:
    """The link to the successor is lost. Nothing more is sent before the next handshake."""
    c.streaming = False


cdef inline int64_t replication_epoch_end(const Log *log, int64_t sn) noexcept nogil:
    """One past the last sn that was assigned in the same epoch as `sn`."""
    cdef int i
    cdef int64_t end = INT64_MAX
    for i in range(log.boundary_count - 1, -1, -1):
        if log.boundaries[i].first_sn <= sn:
            break
        end = log.boundaries[i].first_sn
    return end


cdef inline void replication_bundle(
    Chain *c, int64_t first, int64_t last, uint64_t max_bytes, Batch *out,
) noexcept nogil:
    """The updates from `first` on that go together: of one assigning epoch, up to `max_bytes`, but at least one."""
    cdef int64_t end = min(last + 1, replication_epoch_end(&c.log, first))
    cdef int64_t sn = first
    out.bytes = 0
    if c.log.streams:
        sn = stream_cut(&c.log.stream, first, end, max_bytes) if first < end else first
        out.bytes = <uint64_t>(sn - first)
        end = sn
    while sn < end and (out.bytes == 0 or out.bytes + log_at(&c.log, sn).bytes <= max_bytes):
        out.bytes += entry_cost(log_at(&c.log, sn))
        sn += 1
    out.first = first
    out.count = sn - first
    out.assigned = log_epoch_of(&c.log, first) if out.count else c.view.epoch


cdef inline bint replication_listens(const Chain *c) noexcept nogil:
    """Is this member to hear from its successor at once what is committed?

    Not if nobody waits for that, since it comes with the next batch, too. A head hears it as the tail's own message.
    """
    return c.log.streams and c.me > 0 and (c.has_clients or c.predecessor_listens)


cdef inline bint replication_is_batch_due(const Chain *c) noexcept nogil:
    """Does the successor lack an update, the end of the handshake, what is saved, an answer, or that this member
    listens?
    """
    return c.streaming and (c.next_sn <= chain_sendable(c) or c.confirm or c.answered > c.answered_down
                            or (c.heeds_saved and chain_saved(c) > c.saved_told)
                            or replication_listens(c) != c.listens_told)


cdef inline bint replication_next_batch(Chain *c, uint64_t max_bytes, Batch *out) noexcept nogil:
    """The next message for the successor. Returns False if nothing is due."""
    cdef int64_t sn = c.next_sn
    cdef int64_t newest = chain_sendable(c)
    if not replication_is_batch_due(c):
        return False
    INVARIANT(
        chain_successor(c) != NULL and sn >= c.log.first,
        "rule 1: the successor is sent what the log has, without a gap")
    replication_bundle(c, sn, newest, max_bytes, out)
    sn += out.count
    # A learner may have got more than this by a copy of this member's data.
    INVARIANT(
        sn - 1 <= (newest if out.count else c.applied),
        "rule 3: a successor that heeds nothing gets nothing that a member may lose")
    out.epoch = c.view.epoch
    out.committed = c.committed
    out.upto = max(newest, sn - 1)
    out.saved = c.saved_told = chain_saved(c) if c.heeds_saved else out.upto
    out.answer = c.answered
    out.listens = c.listens_told = replication_listens(c)
    c.answered_down = c.answered
    if c.sent_sn > c.next_sn:
        c.resent += <uint64_t>(min(c.sent_sn, sn) - c.next_sn)
    c.sent_sn = max(c.sent_sn, sn)
    c.next_sn = sn
    c.confirm = False
    return True


cdef inline Verdict replication_on_ack(Chain *c, const Ack *ack, const char *sender) noexcept nogil:
    """An acknowledgement: a member after this one says what is committed, or a learner what it has applied."""
    cdef int place
    cdef Verdict verdict = chain_judge_epoch(c, ack.epoch)
    if verdict != ACCEPTED:
        return verdict
    if ack.committed < -1 or ack.committed > c.applied or ack.synced < -1:
        return NONSENSE
    if c.feeding and strcmp(c.learner_node.run_id, sender) == 0:
        if c.pinned >= 0:
            c.pinned = max(c.pinned, ack.committed + 1)
        return ACCEPTED
    place = view_index(&c.view, sender)
    if c.me < 0 or place <= c.me:
        return STRANGER
    c.committed = max(c.committed, ack.committed)
    if ack.head_told and c.me == 1:
        c.relied_up = max(c.relied_up, ack.committed)
    if place == c.me + 1:
        synced_hear(c, ack.synced)
        c.asked = max(c.asked, ack.question)
        if c.me == 0:
            c.answered = c.asked
    if c.pinned >= 0:
        c.pinned = max(c.pinned, ack.committed + 1)
        if c.pinned > c.committed:
            c.pinned = -1       # the former learner has every update that was committed without it
    return ACCEPTED


# ---------------------------------------------------------------------------- towards the predecessor

cdef inline Verdict replication_on_greet(
    Chain *c, const Greeting *greet, const char *sender, int64_t connection, Greeting *welcome,
) noexcept nogil:
    """The predecessor's half of the handshake. Batches count only on the newest connection that greeted."""
    cdef const Node *predecessor = chain_predecessor(c)
    cdef Verdict verdict = chain_judge_epoch(c, greet.epoch)
    if verdict != ACCEPTED:
        return verdict
    if predecessor == NULL or strcmp(predecessor.run_id, sender) != 0:
        return STRANGER
    if not same_history(greet.history, c.history):
        return OTHER_HISTORY
    # A greeting of an older connection may come late, and this member then has more than the greeting says. So the
    # predecessor decides whether the histories disagree: it compares the welcome with what it has by then.
    c.greeted = connection
    chain_position(c, welcome)
    welcome.heeds_saved = True
    return ACCEPTED


cdef inline Verdict replication_continues(const Chain *c, const Batch *batch, int64_t *skip) noexcept nogil:
    """Do these updates follow on those of this member (rule 1)? Their first `skip` are applied already."""
    if batch.first < 0 or batch.count < 0 or batch.first > INT64_MAX - batch.count or batch.assigned < 0:
        return NONSENSE
    if batch.first > c.applied + 1:
        return GAP
    # Epochs do not go back. A batch that is applied already may be of any epoch.
    if batch.first + batch.count > c.applied + 1 and batch.assigned < log_epoch_of(&c.log, c.applied):
        return NONSENSE
    skip[0] = min(c.applied + 1 - batch.first, batch.count)
    return ACCEPTED


cdef inline Verdict replication_on_batch(
    Chain *c, const Batch *batch, int64_t connection, int64_t *skip,
) noexcept nogil:
    """Judges a batch. ACCEPTED: the caller applies it without its first `skip` updates."""
    cdef Verdict verdict = chain_judge_epoch(c, batch.epoch)
    if verdict != ACCEPTED:
        return verdict
    if c.greeted < 0 or c.greeted != connection:
        return NOT_GREETED
    verdict = replication_continues(c, batch, skip)
    if verdict != ACCEPTED:
        return verdict
    if not batch.first + batch.count - 1 <= batch.upto >= batch.saved >= -1 or batch.assigned > batch.epoch:
        return NONSENSE
    if not c.in_step:
        c.in_step = True
        c.serve_from = batch.upto
    return ACCEPTED


cdef inline void replication_batch_applied(Chain *c, const Batch *batch) noexcept nogil:
    """The caller has appended the updates of the batch, but for those that `replication_on_batch` skipped."""
    c.committed = max(c.committed, min(batch.committed, c.applied))
    c.saved_above = max(c.saved_above, batch.saved)
    c.answered = max(c.answered, min(batch.answer, c.asked))
    if batch.listens and not c.predecessor_listens:
        c.relied_up = -1        # what was not sent for its sake goes out now
    c.predecessor_listens = batch.listens
    if not c.learner:
        c.relied_up = max(c.relied_up, batch.committed)     # the predecessor has told this member
    replication_commit_own(c)
    INVARIANT(c.log.end == c.applied + 1, "rule 1: the log ends with the newest update that is applied")
    INVARIANT(c.answered <= c.asked, "rule 4: only what was asked in this epoch is answered")


cdef inline int64_t replication_told(const Chain *c) noexcept nogil:
    if c.learner:
        return min(chain_durable(c), c.executed)
    return min(c.committed, c.published) if chain_is_tail(c) else c.committed


cdef inline int64_t replication_question(const Chain *c) noexcept nogil:
    """The question that an acknowledgement carries: the newest that this member has seen, or has to ask.

    The tail of a chain of all commands asks nothing new before its last question is answered (`read_lease.pxd`).
    """
    if c.log.streams and chain_is_tail(c) and c.answered < c.asked_ever:
        return c.asked_ever
    return c.asked


cdef inline bint replication_ack_due(const Chain *c) noexcept nogil:
    """Has the predecessor not heard yet what is committed, or what is asked?"""
    if not c.in_step or (c.me <= 0 and not c.learner):
        return False
    return (c.in_doubt or replication_told(c) > max(c.sent_up, c.relied_up)
            or replication_question(c) > max(c.asked_up, c.answered) or synced_is_due(c))


cdef inline void replication_take_ack(Chain *c, Ack *out) noexcept nogil:
    """The acknowledgement for the predecessor. A tail with a link to the head has taken the head's first."""
    INVARIANT(c.learner or c.me > 0, "rule 1: a member with a predecessor acknowledges, and no other")
    out.epoch = c.view.epoch
    out.committed = replication_told(c)
    INVARIANT(out.committed <= c.applied, "rule 3: only what is applied is acknowledged")
    # A tail publishes before it acknowledges: a new tail publishes again what the old one has not acknowledged.
    INVARIANT(
        c.learner or not chain_is_tail(c) or out.committed <= c.settled,
        "rule 3: a tail acknowledges only what it has settled")
    out.head_told = chain_head_shortcut(c) != NULL and c.sent_head >= out.committed
    if c.in_haste and c.asked <= c.asked_ever:
        c.asked = c.asked_ever + 1
    out.question = replication_question(c)
    out.synced = synced_from_here(c)
    c.synced_up = max(c.synced_up, out.synced)
    c.sent_up = out.committed
    c.in_doubt = False
    c.asked_up = out.question
    c.asked_ever = max(c.asked_ever, out.question)


cdef inline bint replication_head_ack_due(const Chain *c) noexcept nogil:
    return c.in_step and chain_head_shortcut(c) != NULL and replication_told(c) > c.sent_head


cdef inline void replication_take_head_ack(Chain *c, Ack *out) noexcept nogil:
    INVARIANT(chain_is_tail(c), "rule 3: only the tail tells the head what is committed")
    out.epoch = c.view.epoch
    out.committed = replication_told(c)
    INVARIANT(out.committed <= c.settled, "rule 3: a tail acknowledges only what it has settled")
    out.head_told = True
    out.question = 0                # a question has to pass every member
    out.synced = -1                 # so has this
    c.sent_head = out.committed
    if not c.predecessor_listens:
        c.relied_up = out.committed     # the members between hear it with the head's next batch


cdef inline void replication_predecessor_lost(Chain *c) noexcept nogil:
    """The link to the predecessor is lost. What was sent on it may not have arrived."""
    c.sent_up = c.relied_up = c.synced_up = -1
    c.asked_up = 0


cdef inline void replication_head_lost(Chain *c) noexcept nogil:
    """The tail's link to the head is lost. The predecessor is told again, without the promise that the head knows."""
    c.sent_up = c.relied_up = c.sent_head = -1


cdef inline void replication_tick(Chain *c) noexcept nogil:
    """Called by the clock: acknowledgements that were left out go out, and memory of a ring once full is given back."""
    c.relied_up = -1
    stream_shrink(&c.log.stream, c.log.first, c.log.end)
