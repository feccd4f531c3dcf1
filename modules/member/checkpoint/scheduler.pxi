# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What each pass of the event loop does for the checkpoint before it sleeps: one slice of the work, and the rest in
# later passes. And what the clock begins: checkpoints and evictions that nobody asked for.

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdio cimport snprintf

from modules.bindings.redismodule cimport (
    RedisModuleServerInfoData, RedisModule_FreeServerInfo, RedisModule_GetServerInfo,
    RedisModule_ServerInfoGetFieldUnsigned,
)
from modules.core.chain cimport chain_is_tail
from modules.core.view cimport same_history
from modules.member.checkpoint.memtable cimport table_bytes, track_release
from modules.member.keyspace.another_pass cimport wake_again
from modules.member.replies cimport answer_error, answer_number, tell
from modules.member.replies.waiting cimport first_waiting
from modules.member.state.checkpoint cimport (
    Checkpoint, Job, MODE_CHECKPOINT, MODE_CHECKPOINT_FLUSH, MODE_NORMAL, STORE_FAILED, STORE_NONE, STORE_OPEN,
    TEXT_BYTES,
)
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_COPIED, JOIN_NONE
from modules.member.state.waiter cimport WAIT_CHECKPOINT, WAIT_FLUSH, Waiter
from modules.server.clock cimport monotonic_us

cdef enum:
    SLICE_US = 300
    MEASURED_FOR_US = 5000      # Redis writes a text of its memory's figures for each answer, which takes 0.1 ms


cdef bint keeps_checkpoint(const Member *m) noexcept nogil:
    """Returns whether member.gcs-mode asks for a checkpoint."""
    return m.settings.gcs_mode == MODE_CHECKPOINT or m.settings.gcs_mode == MODE_CHECKPOINT_FLUSH


cdef bint is_active(const Member *m) noexcept nogil:
    """Returns whether `checkpoint_step` has anything to look at. False in most servers whose mode was always `normal`.
    """
    return (m.settings.gcs_mode != MODE_NORMAL or m.checkpoint.writer.running or m.checkpoint.tracking
            or m.checkpoint.spent != NULL or first_waiting(m, WAIT_FLUSH) != NULL
            or first_waiting(m, WAIT_CHECKPOINT) != NULL)


# ------------------------------------------------------------------------------------------ clients that wait

cdef void *trouble(const Member *m, const char *what) noexcept nogil:
    """Returns an error as an answer: `what` has failed, and the reason."""
    cdef char text[TEXT_BYTES + 64]
    cdef const char *why = m.checkpoint.error
    if not why[0]:
        why = "this member is the tail no more"
    snprintf(text, sizeof(text), "ERR %s: %s", what, why)
    return answer_error(text)


cdef void settle_checkpoints(Member *m) noexcept nogil:
    """Answer each TAIL.CHECKPOINT whose watermark is reached."""
    cdef int64_t watermark = m.checkpoint.watermark
    cdef Waiter *waiter = first_waiting(m, WAIT_CHECKPOINT)
    cdef Waiter *next
    while waiter != NULL:
        next = waiter.next
        if waiter.sn <= watermark:
            tell(m, waiter, answer_number(watermark - max(waiter.epoch, -1)))
        waiter = next


cdef void fail_checkpoints(Member *m) noexcept nogil:
    while first_waiting(m, WAIT_CHECKPOINT) != NULL:
        tell(m, first_waiting(m, WAIT_CHECKPOINT), trouble(m, "not checkpointed"))


cdef void flush_over(Member *m) noexcept nogil:
    """Answer the HEAD.FLUSH whose eviction has ended."""
    cdef Waiter *waiter = m.checkpoint.flush.waiter
    m.checkpoint.flush.waiter = NULL
    if waiter != NULL:
        tell(m, waiter, answer_number(<int64_t>m.checkpoint.flush.evicted))


# -------------------------------------------------------------------------------------------------- each pass

cdef void take_finished(Member *m) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    cdef uint64_t failures = c.failures
    cdef Job *job = finished_take(&c.finished, False)
    while job != NULL:
        job.done(job)
        job = finished_take(&c.finished, False)
    if c.failures != failures:
        fail_checkpoints(m)
    settle_checkpoints(m)


cdef void settle_tracking(Member *m) noexcept nogil:
    """Begin to track updates, or stop, as this member's data and mode require."""
    cdef Checkpoint *c = &m.checkpoint
    if c.tracking and (not same_history(c.history, m.chain.history) or (m.disk.unproven != NULL and m.chain.me >= 0)):
        track_end(m)
    if keeps_checkpoint(m) and c.store == STORE_NONE:
        store_retry(m)
    if (keeps_checkpoint(m) and c.store == STORE_OPEN and not c.tracking and not c.incomplete
            and m.chain.me >= 0 and (m.membership.join == JOIN_NONE or m.membership.join == JOIN_COPIED)):
        track_begin(m)


cdef bint flush_step(Member *m, int64_t until_us) noexcept nogil:
    """Continue the running eviction, or begin the one that a client or the predecessor asked for. Returns whether there
    is more to do.
    """
    cdef Checkpoint *c = &m.checkpoint
    cdef Waiter *waiter = first_waiting(m, WAIT_FLUSH)
    if not c.flush.running and waiter != NULL:
        flush_begin(m, <uint64_t>waiter.sn, 0, waiter)
    elif not c.flush.running and c.flush_asked:
        flush_begin(m, <uint64_t>c.flush_asked, 0, NULL)
        c.flush_asked = 0
    if not c.flush.running:
        return False
    if flush_slice(m, until_us):
        return True
    c.measured_us = 0
    flush_over(m)
    return first_waiting(m, WAIT_FLUSH) != NULL


cdef void checkpoint_step(Member *m) noexcept nogil:
    """Do one slice of the work, in the before-sleep event, where keys may be changed and records written."""
    cdef Checkpoint *c = &m.checkpoint
    cdef int64_t until_us = monotonic_us() + SLICE_US
    cdef bint more = False
    if c.writer.running:
        take_finished(m)
    settle_tracking(m)
    if not chain_is_tail(&m.chain):
        fail_checkpoints(m)
    if c.spent != NULL:
        more = track_release_slice(m, until_us)
    more = save_step(m, until_us) or more
    more = flush_step(m, until_us) or more
    if c.full:
        hold_writers(m, memory_lately(m, until_us))
    if more:
        wake_again(m)


cdef uint64_t candidates_room(const Member *m) noexcept nogil:
    """Returns the bytes that candidates for evictions may take: where the clock begins evictions, a small part of the
    memory, since what they take is no data.
    """
    return <uint64_t>m.settings.flush_above // 16 if m.settings.gcs_mode == MODE_CHECKPOINT_FLUSH else 0


cdef bint track_release_slice(Member *m, int64_t until_us) noexcept nogil:
    cdef uint64_t room = candidates_room(m)
    while track_release(&m.checkpoint, m.now_ms, room):
        if monotonic_us() >= until_us:
            return True
    m.checkpoint.measured_us = 0
    return False


# ------------------------------------------------------------------------------------------------ by the clock

cdef uint64_t used_memory(Member *m) noexcept nogil:
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(m.ctx, "memory")
    cdef uint64_t used = RedisModule_ServerInfoGetFieldUnsigned(info, "used_memory", NULL)
    RedisModule_FreeServerInfo(m.ctx, info)
    return used


cdef uint64_t memory_lately(Member *m, int64_t now_us) noexcept nogil:
    """Returns the used memory, as it was some milliseconds ago at the most. It is measured anew when what frees memory
    has ended, since no pass may follow that would measure it later.
    """
    cdef Checkpoint *c = &m.checkpoint
    if now_us - c.measured_us >= MEASURED_FOR_US:
        c.measured = used_memory(m)
        c.measured_us = now_us
    return c.measured


cdef uint64_t portion(const Member *m) noexcept nogil:
    """Returns the bytes of new data after which a checkpoint is due, where memory has a limit.

    No data of a checkpoint can be evicted before the checkpoint is complete. A small portion keeps the time short in
    which writers may be blocked.
    """
    return <uint64_t>m.settings.flush_above // 8


cdef bint is_portion_full(const Member *m) noexcept nogil:
    return m.settings.flush_above != 0 and m.checkpoint.tracking and table_bytes(m.checkpoint.memtable) > portion(m)


cdef bint checkpoint_due(const Member *m, bint pressed) noexcept nogil:
    """Returns whether the clock should begin a checkpoint: the interval is over, or memory is short and new data takes
    it. pressed: memory is above its limit.
    """
    cdef const Checkpoint *c = &m.checkpoint
    if not m.settings.checkpoint_interval or not keeps_checkpoint(m) or m.chain.me < 0:
        return False
    if c.asked > c.watermark or m.chain.applied <= c.watermark:
        return False
    return m.now_ms - c.tried_ms >= m.settings.checkpoint_interval or (
        (pressed or is_portion_full(m)) and not c.error[0])


cdef void flush_above(Member *m, uint64_t used) noexcept nogil:
    """Evict until memory is an eighth below the limit. Not again until a new checkpoint, or a READ that
    recalled a key, allows more keys to be evicted.
    """
    cdef Checkpoint *c = &m.checkpoint
    cdef uint64_t limit = <uint64_t>m.settings.flush_above
    if not c.flush.running and first_waiting(m, WAIT_FLUSH) == NULL and may_flush(m) and c.flushed_at != c.watermark:
        flush_begin(m, INT64_MAX, used - (limit - limit // 8), NULL)
        wake_again(m)


cdef void hold_writers(Member *m, uint64_t used) noexcept nogil:
    """Block writers while memory is more than an eighth above the limit and help is under way, or while the next
    checkpoint would become too large. Writers are not blocked if checkpoints fail: they might wait for ever.
    """
    cdef Checkpoint *c = &m.checkpoint
    cdef uint64_t limit = <uint64_t>m.settings.flush_above
    cdef bint under_way = c.flush.running or c.asked > c.watermark or c.spent != NULL
    c.full = (limit != 0 and not c.error[0]
              and ((used > limit + limit // 8 and under_way) or (c.frozen != NULL and is_portion_full(m))))


cdef void checkpoint_tick(Member *m) noexcept nogil:
    """In each tick: evict if memory is above its limit, begin a checkpoint if it is due, and block or release writers.
    """
    cdef Checkpoint *c = &m.checkpoint
    cdef uint64_t limit = <uint64_t>m.settings.flush_above
    cdef uint64_t used = used_memory(m) if limit else 0
    cdef bint pressed = limit != 0 and used > limit
    if pressed:
        flush_above(m, used)
    if checkpoint_due(m, pressed):
        c.tried_ms = m.now_ms
        c.asked = m.chain.applied
        if c.store == STORE_FAILED:
            store_retry(m)
        wake_again(m)
    hold_writers(m, used)
