# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The answer of a blocked client. It is built when the outcome is decided, and sent when Redis handles the client.
#
# Redis 7.0 replies to clients that were unblocked in the before-sleep event in the same pass. Later versions and Valkey
# reply in the next pass, after the commands of that pass. By then the role, the view and the data of this member may
# have changed. So nothing is looked up or decided when an answer is sent (rules 4 and 6).
#
# An answer is the pointer that Redis keeps for a blocked client. A number, or an outcome with a fixed text, is encoded
# in an odd pointer and needs no memory. Any other answer points to an Answer.

from libc.stdint cimport int64_t, intptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strlen

from modules.bindings.redismodule cimport (
    REDISMODULE_ERRORMSG_WRONGTYPE, RedisModuleCtx, RedisModuleString, RedisModule_GetBlockedClientPrivateData,
    RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong, RedisModule_ReplyWithNull,
    RedisModule_ReplyWithStringBuffer,
)


cdef struct Answer:
    # The bytes follow the struct, and end with a zero byte that `length` does not count.
    bint is_error
    size_t length


# ---------------------------------------------------------------------------------------------------- deciding

cdef void *answer_outcome(Outcome outcome) noexcept nogil:
    """Returns an answer that is an outcome with a fixed text. Needs no memory."""
    return <void *>(<intptr_t>outcome * 2 + 1)


cdef void *answer_number(int64_t number) noexcept nogil:
    """Returns an answer that is a number >= 0: a sequence number, or a count."""
    return <void *><intptr_t>((number + OUTCOME_NUMBER) * 2 + 1)


cdef const char *answer_bytes(const Answer *answer) noexcept nogil:
    return <const char *>(answer + 1)


cdef void *answer_new(bint is_error, const char *bytes, size_t length) noexcept nogil:
    """Returns a new answer, or, without memory, the answer that says so. May be called on any thread."""
    cdef Answer *answer = <Answer *>malloc(sizeof(Answer) + length + 1)
    cdef char *copy = <char *>(answer + 1)
    if answer == NULL:
        return answer_outcome(OUTCOME_NO_MEMORY)
    answer.is_error = is_error
    answer.length = length
    memcpy(copy, bytes, length)
    copy[length] = 0
    return answer


cdef void *answer_value(const char *bytes, size_t length) noexcept nogil:
    """Returns an answer that is a bulk string. May be called on any thread; without memory, see `answer_new`."""
    return answer_new(False, bytes, length)


cdef void *answer_error(const char *text) noexcept nogil:
    """Returns an answer that is an error, whose text begins with its code. May be called on any thread."""
    return answer_new(True, text, strlen(text))


# ----------------------------------------------------------------------------------------------------- telling

cdef bint has_bytes(const void *answer) noexcept nogil:
    return answer != NULL and not <intptr_t>answer & 1


cdef const char *value_in(const void *answer, size_t *length) noexcept nogil:
    """Returns the bytes of an answer that is a bulk string; NULL: it is another one."""
    if not has_bytes(answer) or (<const Answer *>answer).is_error:
        return NULL
    length[0] = (<const Answer *>answer).length
    return answer_bytes(<const Answer *>answer)


cdef void answer_free(RedisModuleCtx *ctx, void *answer) noexcept nogil:
    """Free an answer. Redis calls this, too, for each answer of a client that was unblocked."""
    if has_bytes(answer):
        free(answer)


cdef const char *outcome_text(Outcome outcome) noexcept nogil:
    """Returns the error of an outcome that is one. All texts of outcomes are here."""
    if outcome == OUTCOME_WRONG_TYPE:
        return REDISMODULE_ERRORMSG_WRONGTYPE
    if outcome == OUTCOME_NOT_APPLIED:
        return "ERR not written: held back until the write timeout: members do not keep up, or the view is old"
    if outcome == OUTCOME_TIMEOUT:
        return "ERR timeout: not committed yet"
    if outcome == OUTCOME_NO_MEMORY:
        return "ERR out of memory, or of threads: try again"
    if outcome == OUTCOME_LOST_CHECKPOINT:
        return "ERR that key may be in a checkpoint that this member has lost: it needs a copy, by MASTER.ADD"
    if outcome == OUTCOME_REASSIGNED:
        return "UNKNOWN that sequence number now belongs to an update of a later epoch: yours was lost or renumbered"
    return "UNKNOWN the write was not known to be committed in time: it may or may not survive"


cdef int reply_outcome(RedisModuleCtx *ctx, Outcome outcome) noexcept nogil:
    if outcome == OUTCOME_NIL:
        return RedisModule_ReplyWithNull(ctx)
    return RedisModule_ReplyWithError(ctx, outcome_text(outcome))


cdef int reply_answer(RedisModuleCtx *ctx, const void *answer) noexcept nogil:
    """Reply an answer, which the caller still owns."""
    cdef const Answer *long_one = <const Answer *>answer
    cdef intptr_t short_one = <intptr_t>answer >> 1
    if has_bytes(answer):
        if long_one.is_error:
            return RedisModule_ReplyWithError(ctx, answer_bytes(long_one))
        return RedisModule_ReplyWithStringBuffer(ctx, answer_bytes(long_one), long_one.length)
    if short_one >= OUTCOME_NUMBER:
        return RedisModule_ReplyWithLongLong(ctx, short_one - OUTCOME_NUMBER)
    return reply_outcome(ctx, <Outcome>short_one)


cdef int on_answered(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Redis calls this for each client that was unblocked."""
    cdef int result = reply_answer(ctx, RedisModule_GetBlockedClientPrivateData(ctx))
    note_replied(the_member(), ctx)
    return result
