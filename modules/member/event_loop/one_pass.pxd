# cython: language_level=3
"""One pass of Redis's event loop: what happens when the loop wakes, and what happens before the loop sleeps.

The order of the steps is the durability contract of a member. What a pass has applied is recorded, then forwarded; what
it has found committed is published, then acknowledged:

    record before forward       the append-only file has an update at the latest when the successor has it
    publish before acknowledge  an update is acknowledged only when its publication has left this process
    both before sleep           nothing that is due waits for an event that may not come

Redis itself acts between the two events of this file. After `before_sleep` Redis writes the append-only file and (with
appendfsync always) syncs the file, then Redis sends replies and publications to clients, then Redis sleeps. Links to
other members are written to by `before_sleep` itself, so a message to a member leaves before the file is written and
before a publication leaves. This is why saving and publishing are taken into account one pass later (`note_flushed`,
`forget_publications`).
"""

from modules.core.chain cimport NO_LIMIT
from modules.core.durability cimport durability_note_saved
from modules.member.checkpoint.scheduler cimport checkpoint_step, is_active
from modules.member.clients.reads cimport settle_reads
from modules.member.clients.writes cimport serve_held
from modules.member.event_loop.tick cimport tick
from modules.member.keyspace.redis_settings cimport settings_step
from modules.member.membership.joining cimport join_step
from modules.member.membership.status cimport settle_watches
from modules.member.persistence.aof_writer cimport is_record_due, record
from modules.member.persistence.durability cimport disk_woken
from modules.member.persistence.wakeup cimport wake_again
from modules.member.replication.outbound cimport acknowledge, connect_links, forward
from modules.member.replies.blocked_clients cimport first_waiting
from modules.member.replies.replies cimport settle, settle_waits
from modules.member.startup.startup cimport start_up
from modules.member.state.member cimport JOIN_NONE, LATE_TICK_MS, Member
from modules.member.state.waiter cimport WAIT_ROOM
from modules.server.clock cimport boot_ms


# -------------------------------------------------------------------------------------------------- waking

cdef inline void after_sleep(Member *m) noexcept nogil:
    """The loop has woken. No event of the new pass has been handled yet."""
    # First, because every event of this pass is measured by this time.
    read_clock(m)
    # After Redis has sent the publications of the pass before, because acknowledgements follow publications.
    forget_publications(m)
    # After Redis has written the file, and before any event, because an event may record more.
    note_flushed(m)


cdef inline void read_clock(Member *m) noexcept nogil:
    m.now_ms = boot_ms()
    m.asleep_soon = False


cdef inline void forget_publications(Member *m) noexcept nogil:
    m.chain.published = NO_LIMIT


cdef inline void note_flushed(Member *m) noexcept nogil:
    disk_woken(m)


# ------------------------------------------------------------------------------------------------ going to sleep

cdef inline void before_sleep(Member *m) noexcept nogil:
    """All events of this pass have been handled. Everything that they have made due goes out, in this order."""
    # First, because every other step has to know what chain the data on the disk belongs to.
    start_once(m)
    # After the start, because a tick looks at the state that the start sets up.
    tick_if_late(m)
    # After waking, because what was recorded in the pass before is on the disk only now. Before every step that
    # answers, publishes or sends, because saving commits updates at a tail.
    note_saved(m)
    # After the events, because some of them must not call Redis's commands. Before steps that serve clients, because
    # clients of a member that has left its chain are told first.
    restore_settings(m)
    # After the settings, because Redis cuts off blocked clients when a copy begins: they have been told by then.
    continue_join(m)
    # After the join, because a member that has just joined has another checkpoint. Before writers are admitted, because
    # a checkpoint that has ended may have made room in memory.
    continue_checkpoint(m)
    # After saving has made room in the log. Before recording, because admitted writes are applied.
    admit_writers(m)
    # After the last step that applies updates, because Redis writes the file right after this event, and what is
    # recorded then counts as saved when the loop wakes. Before publishing, because the log drops recorded updates only.
    record_updates(m)
    # After recording, because what has been recorded and is not on the disk yet needs another pass.
    wake_for_disk(m)
    # After the last step that commits updates. Before acknowledging, because a tail acknowledges no update whose
    # publication has not left this process: a new tail would not know that the update is still to be published.
    publish_and_answer(m)
    # After the last step that commits updates, because MEMBER.WAIT waits for commits.
    answer_waits(m)
    # After the last step that changes the right to answer. Before acknowledging, because a READ without a lease asks a
    # question, which travels with the acknowledgement.
    answer_reads(m)
    # After every step that may point a link elsewhere, because a link that has just been pointed is connected at once.
    connect_peers(m)
    # After recording, because no update reaches the successor that this member's file would lack after a restart.
    forward_updates(m)
    # After publishing and after asking, because both decide what the acknowledgement says.
    acknowledge_updates(m)
    # After the links have been written to, because a failed write shows that a neighbour has ended.
    report_suspicions(m)
    # After publishing, because what was published is acknowledged in the next pass.
    wake_for_acknowledgements(m)
    # Last, because from here on a command that Redis runs before it sleeps has to wake the loop by itself.
    note_asleep(m)


cdef inline void start_once(Member *m) noexcept nogil:
    if not m.disk.started:
        start_up(m)


cdef inline void tick_if_late(Member *m) noexcept nogil:
    """Redis's timers run on the wall clock, and are late when that clock was set back."""
    if m.now_ms - m.ticked_ms > LATE_TICK_MS:
        tick(m)


cdef inline void note_saved(Member *m) noexcept nogil:
    if m.disk.waits:
        durability_note_saved(&m.chain, m.disk.flushed)


cdef inline void restore_settings(Member *m) noexcept nogil:
    if m.settings_touched or m.role_touched or m.subscribers_misled:
        settings_step(m)


cdef inline void continue_join(Member *m) noexcept nogil:
    if m.join != JOIN_NONE:
        join_step(m)


cdef inline void continue_checkpoint(Member *m) noexcept nogil:
    if is_active(m):
        checkpoint_step(m)


cdef inline void admit_writers(Member *m) noexcept nogil:
    if first_waiting(m, WAIT_ROOM) != NULL:
        serve_held(m)


cdef inline void record_updates(Member *m) noexcept nogil:
    if is_record_due(m):
        record(m)


cdef inline void wake_for_disk(Member *m) noexcept nogil:
    if m.disk.waits and m.chain.recorded > m.disk.flushed:
        wake_again(m)


cdef inline void publish_and_answer(Member *m) noexcept nogil:
    settle(m)


cdef inline void answer_waits(Member *m) noexcept nogil:
    settle_waits(m)


cdef inline void answer_reads(Member *m) noexcept nogil:
    settle_reads(m)


cdef inline void connect_peers(Member *m) noexcept nogil:
    connect_links(m)


cdef inline void forward_updates(Member *m) noexcept nogil:
    forward(m)


cdef inline void acknowledge_updates(Member *m) noexcept nogil:
    acknowledge(m)


cdef inline void report_suspicions(Member *m) noexcept nogil:
    if m.suspicious:
        settle_watches(m)


cdef inline void wake_for_acknowledgements(Member *m) noexcept nogil:
    if m.chain.published != NO_LIMIT:
        wake_again(m)


cdef inline void note_asleep(Member *m) noexcept nogil:
    m.asleep_soon = True
