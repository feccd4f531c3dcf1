# cython: language_level=3
"""What is to be done about the checkpoint in a pass of the event loop, before it sleeps: some of it, and the rest in
the next pass. And by the clock: checkpoints and flushes of the member's own accord.
"""

from libc.stdint cimport INT64_MAX, intptr_t, int64_t, uint64_t
from libc.stdlib cimport free

from modules.core.chain cimport chain_is_tail
from modules.core.records cimport NOTHING
from modules.core.view cimport same_history
from modules.redismodule cimport (
    RedisModule_FreeServerInfo, RedisModule_GetServerInfo, RedisModule_ServerInfoGetFieldUnsigned,
    RedisModule_UnblockClient, RedisModuleBlockedClient, RedisModuleServerInfoData,
)
from modules.shell.checkpoint.flush cimport flush_begin, flush_slice, may_flush
from modules.shell.checkpoint.save cimport save_step, track_begin, track_end
from modules.shell.checkpoint.state cimport (
    Checkpoint, Job, MODE_CHECKPOINT, MODE_CHECKPOINT_FLUSH, MODE_NORMAL, STORE_FAILED, STORE_NONE, STORE_OPEN,
)
from modules.shell.checkpoint.store cimport store_retry
from modules.shell.checkpoint.track cimport table_bytes, track_release
from modules.shell.checkpoint.worker cimport finished_take
from modules.shell.libc cimport monotonic_us
from modules.shell.state cimport JOIN_COPIED, JOIN_NONE, Member, Wait
from modules.shell.wakeup cimport wake_again

cdef enum:
    SLICE_US = 300
    COUNT_BASE = 3              # outcomes of a wait: 0 none, 1 failed, 2 off; from here on a count, moved up


cdef inline bint keeps_checkpoint(const Member *m) noexcept nogil:
    return m.settings.gcs_mode == MODE_CHECKPOINT or m.settings.gcs_mode == MODE_CHECKPOINT_FLUSH


cdef inline bint is_active(const Member *m) noexcept nogil:
    """False, as a rule, in a server that never had another mode than `normal`."""
    return (m.settings.gcs_mode != MODE_NORMAL or m.checkpoint.writer.running or m.checkpoint.tracking
            or m.checkpoint.spent != NULL or m.flush_waits != NULL or m.checkpoint_waits != NULL)


# ------------------------------------------------------------------------------------------ clients that wait

cdef inline void answer_waits(Member *m, Wait **list, bint failed) noexcept nogil:
    """TAIL.CHECKPOINT: the watermark has come to where it was when the client asked, or something went wrong."""
    cdef int64_t watermark = m.checkpoint.watermark
    cdef Wait *wait
    while list[0] != NULL:
        wait = list[0]
        if not failed and wait.sn > watermark:
            list = &wait.next
            continue
        list[0] = wait.next
        RedisModule_UnblockClient(
            wait.waiter, <void *><intptr_t>(1 if failed else COUNT_BASE + watermark - max(wait.epoch, -1)))
        free(wait)


cdef inline void answer_flush(Member *m) noexcept nogil:
    """HEAD.FLUSH: everything has left that could, or was to."""
    cdef Wait **place = &m.flush_waits
    cdef Wait *wait
    while place[0] != NULL and place[0].waiter != m.checkpoint.flush.client:
        place = &place[0].next
    wait = place[0]
    if wait == NULL:
        return      # it has disconnected
    place[0] = wait.next
    RedisModule_UnblockClient(wait.waiter, <void *><intptr_t>(COUNT_BASE + <int64_t>m.checkpoint.flush.evicted))
    free(wait)


# -------------------------------------------------------------------------------------------------- each pass

cdef inline void take_finished(Member *m) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    cdef uint64_t failures = c.failures
    cdef Job *job = finished_take(&c.finished, False)
    while job != NULL:
        job.done(job)
        job = finished_take(&c.finished, False)
    answer_waits(m, &m.checkpoint_waits, c.failures != failures)


cdef inline void settle_tracking(Member *m) noexcept nogil:
    """Does this member have data whose updates are to be followed, from now on or no more?"""
    cdef Checkpoint *c = &m.checkpoint
    if c.tracking and (not same_history(c.history, m.chain.history) or (m.disk.unproven != NULL and m.chain.me >= 0)):
        track_end(m)
    if keeps_checkpoint(m) and c.store == STORE_NONE:
        store_retry(m)
    if (keeps_checkpoint(m) and c.store == STORE_OPEN and not c.tracking and not c.incomplete
            and m.chain.me >= 0 and (m.join == JOIN_NONE or m.join == JOIN_COPIED)):
        track_begin(m)


cdef inline bint flush_step(Member *m, int64_t until_us) noexcept nogil:
    """Go on with a flush, or begin the one that the first client waits for. True: there is more to do."""
    cdef Checkpoint *c = &m.checkpoint
    if c.flush.cursor == NULL and m.flush_waits != NULL:
        flush_begin(m, <uint64_t>m.flush_waits.sn, 0, m.flush_waits.waiter)
    elif c.flush.cursor == NULL and c.flush_asked:
        flush_begin(m, <uint64_t>c.flush_asked, 0, NULL)
        c.flush_asked = 0
    if c.flush.cursor == NULL:
        return False
    if flush_slice(m, until_us):
        return True
    answer_flush(m)
    return m.flush_waits != NULL


cdef inline void checkpoint_step(Member *m) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    cdef int64_t until_us = monotonic_us() + SLICE_US
    cdef bint more = False
    if c.writer.running:
        take_finished(m)
    settle_tracking(m)
    if m.checkpoint_waits != NULL and not chain_is_tail(&m.chain):
        answer_waits(m, &m.checkpoint_waits, True)
    if c.spent != NULL:
        more = track_release_slice(m, until_us)
    more = save_step(m, until_us) or more
    more = flush_step(m, until_us) or more
    if c.full:
        hold_writers(m, used_memory(m))
    if more:
        wake_again(m)


cdef inline bint track_release_slice(Member *m, int64_t until_us) noexcept nogil:
    while track_release(&m.checkpoint):
        if monotonic_us() >= until_us:
            return True
    return False


# ------------------------------------------------------------------------------------------------ by the clock

cdef inline uint64_t used_memory(Member *m) noexcept nogil:
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(m.ctx, "memory")
    cdef uint64_t used = RedisModule_ServerInfoGetFieldUnsigned(info, "used_memory", NULL)
    RedisModule_FreeServerInfo(m.ctx, info)
    return used


cdef inline uint64_t portion(const Member *m) noexcept nogil:
    """How much newer than the last checkpoint the next one's data may be, where memory has a limit.

    Nothing of a checkpoint can leave memory before all of it is written, and so long its writers may have to wait.
    """
    return <uint64_t>m.settings.flush_above // 8


cdef inline bint is_portion_full(const Member *m) noexcept nogil:
    return m.settings.flush_above != 0 and m.checkpoint.tracking and table_bytes(m.checkpoint.dirty) > portion(m)


cdef inline bint checkpoint_due(const Member *m, bint pressed) noexcept nogil:
    """The interval is over, or memory is wanted and what is newer than the checkpoint takes it."""
    cdef const Checkpoint *c = &m.checkpoint
    if not m.settings.checkpoint_interval or not keeps_checkpoint(m) or m.chain.me < 0:
        return False
    if c.asked > c.watermark or m.chain.applied <= c.watermark:
        return False
    return m.now_ms - c.tried_ms >= m.settings.checkpoint_interval or (
        (pressed or is_portion_full(m)) and not c.error[0])


cdef inline void flush_above(Member *m, uint64_t used) noexcept nogil:
    """Down to an eighth below the limit. Not again before there is something new that may leave."""
    cdef Checkpoint *c = &m.checkpoint
    cdef uint64_t limit = <uint64_t>m.settings.flush_above
    if c.flush.cursor == NULL and m.flush_waits == NULL and may_flush(m) and c.flushed_at != c.watermark:
        flush_begin(m, INT64_MAX, used - (limit - limit // 8), NULL)
        wake_again(m)


cdef inline void hold_writers(Member *m, uint64_t used) noexcept nogil:
    """More than an eighth above the limit, or when the next checkpoint would be too large, writers wait for what is
    under way; but not for a disk that fails.
    """
    cdef Checkpoint *c = &m.checkpoint
    cdef uint64_t limit = <uint64_t>m.settings.flush_above
    cdef bint under_way = c.flush.cursor != NULL or c.asked > c.watermark or c.spent != NULL
    c.full = (limit != 0 and not c.error[0]
              and ((used > limit + limit // 8 and under_way) or (c.frozen != NULL and is_portion_full(m))))


cdef inline void checkpoint_tick(Member *m) noexcept nogil:
    """Memory above its limit is flushed."""
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
