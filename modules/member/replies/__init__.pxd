# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What other rooms call of modules/member/replies. The functions are documented in the files named here."""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleCmdFunc, RedisModuleCtx, RedisModuleString
from modules.member.state.complaint cimport Complaint
from modules.member.state.direct cimport Direct, DirectClient
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport WaitKind, Waiter

cdef enum Outcome:
    OUTCOME_NONE            # no outcome: Redis unblocked the client for a reason of its own
    OUTCOME_UNKNOWN
    OUTCOME_REASSIGNED
    OUTCOME_NOT_APPLIED
    OUTCOME_TIMEOUT
    OUTCOME_NO_MEMORY
    OUTCOME_NIL
    OUTCOME_WRONG_TYPE
    OUTCOME_LOST_CHECKPOINT
    OUTCOME_NUMBER          # this value and higher ones encode a number: `answer_number`


# complaints.pxi
cdef extern void complain(
    RedisModuleCtx *ctx, Complaint *complaint, int64_t now_ms, const char *what, const char *why) noexcept nogil
cdef extern void stop_complaining(Complaint *complaint) noexcept nogil

# answer.pxi
cdef extern void *answer_outcome(Outcome outcome) noexcept nogil
cdef extern void *answer_number(int64_t number) noexcept nogil
cdef extern void *answer_value(const char *bytes, size_t length) noexcept nogil
cdef extern const char *value_in(const void *answer, size_t *length) noexcept nogil
cdef extern void *answer_error(const char *text) noexcept nogil
cdef extern void answer_free(RedisModuleCtx *ctx, void *answer) noexcept nogil
cdef extern int reply_outcome(RedisModuleCtx *ctx, Outcome outcome) noexcept nogil
cdef extern int reply_answer(RedisModuleCtx *ctx, const void *answer) noexcept nogil
cdef extern int on_answered(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# blocked_clients.pxi
cdef extern void waiting_init(Member *m) noexcept nogil
cdef extern bint may_block(RedisModuleCtx *ctx) noexcept nogil
cdef extern Waiter *waiter_new(WaitKind kind) noexcept nogil
cdef extern void waiter_free(Waiter *waiter) noexcept nogil
cdef extern void wait_with(
    Member *m, RedisModuleCtx *ctx, Waiter *waiter, RedisModuleCmdFunc on_told,
    void (*on_over)(RedisModuleCtx *, void *) noexcept nogil) noexcept nogil
cdef extern int wait_for_answer(Member *m, RedisModuleCtx *ctx, Waiter *waiter) noexcept nogil
cdef extern void wait_on(Member *m, Waiter *waiter, WaitKind kind) noexcept nogil
cdef extern void unlist(Member *m, Waiter *waiter) noexcept nogil
cdef extern bint tell(Member *m, Waiter *waiter, void *answer) noexcept nogil

# refusals.pxi
cdef extern int reply_elsewhere(
    const Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int reply_not_head(const Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int reply_not_head_to_wait(const Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int reply_not_tail(const Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern void *answer_not_head(const Member *m, const Waiter *waiter) noexcept nogil
cdef extern void *answer_not_tail(const Member *m, const Waiter *waiter) noexcept nogil

# direct_replies.pxi
cdef extern void *direct_writer(const Direct *d, int place) noexcept nogil
cdef extern void direct_say(Direct *d, int place, const char *bytes, size_t length) noexcept nogil
cdef extern void direct_say_number(Direct *d, int place, char mark, int64_t number) noexcept nogil
cdef extern void direct_send(Direct *d) noexcept nogil
cdef extern void direct_cut_off(DirectClient *client) noexcept nogil
cdef extern void direct_send_rest(DirectClient *client) noexcept nogil
cdef extern void direct_send_held(Direct *d) noexcept nogil

# publish.pxi
cdef extern bint publishes(const Member *m) noexcept nogil
cdef extern void publish(Member *m, RedisModuleString *channel, int64_t sn) noexcept nogil

# replies.pxi
cdef extern void settle(Member *m) noexcept nogil
cdef extern void answer_unknown(Member *m, void *writer) noexcept nogil
cdef extern int64_t came_too_early_ms(const Member *m) noexcept nogil
cdef extern void settle_expired(Member *m) noexcept nogil
cdef extern void *wait_answer(const Member *m, const Waiter *wait) noexcept nogil
cdef extern void settle_waits(Member *m) noexcept nogil
