# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# One pass of Redis's event loop: what happens when the loop wakes, and what happens before the loop sleeps.
#
# The order of the steps is the durability contract of a member: what a pass has applied is recorded and forwarded, and
# what a pass has found committed is published, then acknowledged. Nothing that is due waits for an event that may not
# come.
#
# Redis acts between the two events of this file. After `before_sleep` Redis writes the append-only file and syncs it
# (with appendfsync always), then sends replies and publications to clients, then sleeps. Messages to other members go
# out in `before_sleep` itself: before the file is written, and before publications have left. This is why what is
# saved, and what is published, count one pass later (`note_flushed`, `forget_publications`).
#
# Commands may also run after `before_sleep`: on Redis 7.0 those of clients that were just unblocked, before the file is
# written; on Redis 8.2 with io-threads any that a thread has read meanwhile, before the file is written or after that.
# What they record counts as written only after one more pass (`note_asleep`).
#
# A comment names each step that has to come before, and why. Steps commute where no comment says otherwise.
# tests/simulation/test_order.py has the same contract: the simulated member runs the same steps, a check fails for each
# pair that is swapped, and steps in any other order break nothing. Change the two together.

from modules.bindings.redismodule cimport REDISMODULE_EVENTLOOP_WRITABLE
from modules.core.chain cimport NO_LIMIT
from modules.core.durability cimport durability_note_saved
from modules.core.invariant cimport INVARIANT
from modules.core.outbox cimport outbox_check_sleep
from modules.core.replication cimport replication_ack_due, replication_is_batch_due
from modules.member.checkpoint cimport checkpoint_step, is_active
from modules.member.clients cimport (
    direct_wake, reply_directly, serve_direct, serve_held, settle_reads, settle_view_questions,
)
from modules.member.effects cimport effects_step, feed_server, note_commits
from modules.member.keyspace cimport settings_step
from modules.member.membership cimport join_step, settle_watches
from modules.member.persistence cimport disk_woken, is_record_due, record, recorded_up_to
from modules.member.keyspace.another_pass cimport wake_again
from modules.member.replication cimport acknowledge, connect_links, forward, link_is_free, take_messages
from modules.member.replies cimport settle, settle_waits
from modules.member.replies.waiting cimport first_waiting
from modules.member.startup cimport start_up
from modules.member.state.event_loop cimport LATE_TICK_MS
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_NONE
from modules.member.state.waiter cimport WAIT_ROOM, WAIT_SUSPICION
from modules.server.clock cimport boot_ms


# -------------------------------------------------------------------------------------------------- waking

cdef void after_sleep(Member *m) noexcept nogil:
    """The loop has woken. No event of the new pass has been handled yet."""
    read_clock(m)
    # After Redis has sent the publications of the pass before. Before any event of this pass publishes, because what
    # is published in a pass is acknowledged in the next one.
    forget_publications(m)
    # After Redis has written the file. Before `note_asleep` counts what this pass has recorded.
    note_flushed(m)
    # After Redis has written the file, for which replies wait. Before any event: of those that the loop has brought,
    # none is the candidate's, unless its connection has ended.
    take_over_candidate(m)


cdef void read_clock(Member *m) noexcept nogil:
    m.now_ms = boot_ms()
    m.event_loop.asleep_soon = False


cdef void forget_publications(Member *m) noexcept nogil:
    m.chain.published = NO_LIMIT


cdef void note_flushed(Member *m) noexcept nogil:
    disk_woken(m)


cdef void take_over_candidate(Member *m) noexcept nogil:
    direct_wake(m)


# ------------------------------------------------------------------------------------------------ going to sleep

cdef void before_sleep(Member *m) noexcept nogil:
    """All events of this pass have been handled. Whatever they have made due goes out."""
    # In the first pass, which comes before all other events. Later steps rely on what was found on the disk.
    start_once(m)
    # Before all that messages make due.
    take_messages_of_peers(m)
    # Before all that updates and READs make due.
    serve_direct_clients(m)
    tick_if_late(m)
    # Before publishing, answering and forwarding: saved updates are committed at a tail, and a successor is told.
    note_saved(m)
    restore_settings(m)
    # Before publishing and answering: what our own server has executed is committed at a tail. Before forwarding,
    # because the successor is told whether this member has clients.
    observe_server(m)
    continue_join(m)
    continue_checkpoint(m)
    # After the checkpoint, because one that has ended has made room in memory for the writers.
    admit_writers(m)
    # After admitting, because an admitted update is applied, and Redis writes the file right after this pass.
    record_updates(m)
    # After recording, because what has just been recorded is on the disk only in another pass.
    wake_for_disk(m)
    # After recording, because the log drops only what is recorded. After saving, because that commits updates.
    publish_and_answer(m)
    # After saving, because that commits updates, and MEMBER.WAIT waits for commits.
    answer_waits(m)
    answer_reads(m)
    connect_peers(m)
    # After saving, because the successor is told what is saved. After admitting, because that gives updates to forward.
    forward_updates(m)
    # The successor works while our own server does.
    feed_own_server(m)
    # After publishing: what a tail has not acknowledged a new tail publishes again, so a tail acknowledges nothing that
    # it has not published. After answering READs, because a question that a READ asks goes with the acknowledgement.
    acknowledge_updates(m)
    # After forwarding and acknowledging, for which other members wait. After answering.
    reply_to_direct_clients(m)
    # After writing to the links, because a failed write shows that a neighbour has ended.
    report_suspicions(m)
    # After publishing, because what was published is acknowledged in another pass.
    wake_for_acknowledgements(m)
    release_output(m)
    # Last: nothing may be due now. From here on a command that Redis runs before it sleeps wakes the loop by itself.
    note_asleep(m)


cdef void start_once(Member *m) noexcept nogil:
    if not m.disk.started:
        start_up(m)


cdef void take_messages_of_peers(Member *m) noexcept nogil:
    take_messages(m)


cdef void serve_direct_clients(Member *m) noexcept nogil:
    serve_direct(m)


cdef void tick_if_late(Member *m) noexcept nogil:
    """Redis's timers run on the wall clock, and are late when that clock was set back."""
    if m.now_ms - m.event_loop.ticked_ms > LATE_TICK_MS:
        tick(m)


cdef void note_saved(Member *m) noexcept nogil:
    if m.disk.waits:
        durability_note_saved(&m.chain, m.disk.flushed)


cdef void restore_settings(Member *m) noexcept nogil:
    if m.keyspace.settings_touched or m.keyspace.role_touched or m.keyspace.subscribers_misled:
        settings_step(m)


cdef void observe_server(Member *m) noexcept nogil:
    effects_step(m)


cdef void continue_join(Member *m) noexcept nogil:
    if m.membership.join != JOIN_NONE:
        join_step(m)


cdef void continue_checkpoint(Member *m) noexcept nogil:
    if is_active(m):
        checkpoint_step(m)


cdef void admit_writers(Member *m) noexcept nogil:
    if first_waiting(m, WAIT_ROOM) != NULL:
        serve_held(m)


cdef void record_updates(Member *m) noexcept nogil:
    if is_record_due(m):
        record(m)


cdef void wake_for_disk(Member *m) noexcept nogil:
    if m.disk.waits and recorded_up_to(m) > m.disk.flushed:
        wake_again(m)


cdef void publish_and_answer(Member *m) noexcept nogil:
    settle(m)


cdef void answer_waits(Member *m) noexcept nogil:
    settle_waits(m)
    settle_view_questions(m)


cdef void answer_reads(Member *m) noexcept nogil:
    settle_reads(m)


cdef void connect_peers(Member *m) noexcept nogil:
    connect_links(m)


cdef void forward_updates(Member *m) noexcept nogil:
    forward(m)


cdef void feed_own_server(Member *m) noexcept nogil:
    if m.effects.pseudo_master.feeding and m.effects.pseudo_master.fed < m.chain.log.end:
        feed_server(m)


cdef void acknowledge_updates(Member *m) noexcept nogil:
    acknowledge(m)


cdef void reply_to_direct_clients(Member *m) noexcept nogil:
    reply_directly(m)


cdef void report_suspicions(Member *m) noexcept nogil:
    if m.replication.suspicious:
        settle_watches(m)


cdef void wake_for_acknowledgements(Member *m) noexcept nogil:
    if m.chain.published != NO_LIMIT:
        wake_again(m)


cdef void release_output(Member *m) noexcept nogil:
    note_commits(m)


cdef void note_asleep(Member *m) noexcept nogil:
    check_nothing_is_due(m)
    m.disk.recorded_asleep = recorded_up_to(m)
    m.event_loop.asleep_soon = True


cdef void check_nothing_is_due(const Member *m) noexcept nogil:
    # While clients are paused, what has been executed gets no position, and waits for the end of the pause.
    outbox_check_sleep(&m.chain, m.disk.waits and not (m.chain.log.streams and m.disk.hindered), m.disk.flushed,
                       m.event_loop.woken)
    INVARIANT(m.chain.recorded >= m.chain.applied or m.disk.hindered, "rule 3: what is applied is recorded in its pass")
    INVARIANT(
        not replication_is_batch_due(&m.chain) or not link_is_free(&m.replication.downstream),
        "rule 8: no batch is due to a successor that would take it")
    INVARIANT(
        not replication_ack_due(&m.chain) or not link_is_free(&m.replication.upstream),
        "rule 8: no acknowledgement is due to a predecessor that would take it")
    INVARIANT(
        not m.effects.pseudo_master.feeding or m.effects.pseudo_master.fed >= m.chain.log.end
        or m.effects.pseudo_master.watched & REDISMODULE_EVENTLOOP_WRITABLE,
        "rule 8: no effects are due to our own server that would take them")
    INVARIANT(
        not m.replication.suspicious or first_waiting(m, WAIT_SUSPICION) == NULL,
        "rule 8: a suspicion is reported to whoever waits for it")
