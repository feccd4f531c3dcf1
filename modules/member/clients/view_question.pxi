# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# MEMBER.VIEW: who is in the chain. A client that names an epoch hears of the next view as soon as this member does.

from libc.string cimport memcpy

from modules.bindings.redismodule cimport (
    REDISMODULE_ERR, RedisModuleCtx, RedisModuleString, RedisModule_ReplyWithError, RedisModule_StringToLongLong,
)
from modules.core.view cimport HISTORY_BYTES, same_history
from modules.member.replication cimport reply_view
from modules.member.replies cimport (
    OUTCOME_NO_MEMORY, answer_free, answer_number, may_block, reply_outcome, tell, wait_with, waiter_new,
)
from modules.member.replies.waiting cimport first_waiting
from modules.member.state.member cimport Member, the_member
from modules.member.state.waiter cimport WAIT_VIEW, Waiter


cdef int on_view_known(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return reply_view(the_member(), ctx)


cdef int view_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.VIEW [epoch [timeout_ms]] -> [epoch, host:port, …] | ERR

    With an epoch the reply comes when this member knows a newer view, or one of another chain, or when the time is
    over; 0 waits for ever.
    """
    cdef long long epoch = -1
    cdef long long timeout = 0
    cdef Waiter *wait
    if argc > 1 and (RedisModule_StringToLongLong(argv[1], &epoch) == REDISMODULE_ERR or epoch < 0):
        return RedisModule_ReplyWithError(ctx, "ERR epoch is not an epoch: an integer from 0")
    if argc > 2 and (RedisModule_StringToLongLong(argv[2], &timeout) == REDISMODULE_ERR or timeout < 0
                     or timeout > MAX_TIMEOUT_MS):
        return RedisModule_ReplyWithError(ctx, "ERR timeout_ms is not a number of milliseconds; 0 waits for ever")
    if m.chain.view.epoch > epoch or not may_block(ctx):
        return reply_view(m, ctx)
    wait = waiter_new(WAIT_VIEW)
    if wait == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    wait.epoch = epoch
    wait.deadline_ms = m.now_ms + timeout if timeout else 0
    wait_with(m, ctx, wait, on_view_known, answer_free)
    return 0


cdef void settle_view_questions(Member *m) noexcept nogil:
    """Answer whoever waits for a newer view, or has waited long enough. There may be thousands of them, so nobody looks
    when there is no newer view and no tick. The epochs of another chain begin anew.
    """
    cdef Waiter *wait = first_waiting(m, WAIT_VIEW)
    cdef Waiter *next
    cdef bint another_chain = not same_history(m.clients.told_history, m.chain.history)
    if not another_chain and m.clients.told_epoch == m.chain.view.epoch and m.event_loop.ticked_ms != m.now_ms:
        return
    m.clients.told_epoch = m.chain.view.epoch
    memcpy(m.clients.told_history, m.chain.history, HISTORY_BYTES)
    while wait != NULL:
        next = wait.next
        if another_chain or m.chain.view.epoch > wait.epoch or (wait.deadline_ms and m.now_ms >= wait.deadline_ms):
            tell(m, wait, answer_number(0))
        wait = next
