# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# WAIT in a chain of all commands. Its reply is held until everything before it is committed, so when the client gets
# the number, all other members have what it wrote.

from modules.bindings.redismodule cimport (
    REDISMODULE_ERR, RedisModuleCtx, RedisModuleString, RedisModule_BlockClient, RedisModule_ReplyWithError,
    RedisModule_ReplyWithLongLong, RedisModule_StringToLongLong, RedisModule_WrongArity,
)
from modules.member.keyspace cimport is_logged_in
from modules.member.keyspace.tickets cimport open_ticket
from modules.member.replies cimport may_block
from modules.member.state.member cimport Member, the_member
from modules.server.logins cimport may_ask


cdef int reply_others(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return RedisModule_ReplyWithLongLong(ctx, the_member().chain.view.count - 1)


cdef int on_native_wait(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.WAIT number timeout_ms, in place of WAIT -> integer: the number of other members

    A client that asks for more than there are waits for its time, as at any Redis; for ever with 0.
    """
    cdef Member *m = the_member()
    cdef long long number
    cdef long long timeout
    if not may_ask(ctx, "wait"):
        return 0
    if argc != 3:
        return RedisModule_WrongArity(ctx)
    if RedisModule_StringToLongLong(argv[1], &number) == REDISMODULE_ERR:
        return RedisModule_ReplyWithError(ctx, "ERR value is not an integer or out of range")
    if RedisModule_StringToLongLong(argv[2], &timeout) == REDISMODULE_ERR:
        return RedisModule_ReplyWithError(ctx, "ERR timeout is not an integer or out of range")
    if timeout < 0:
        return RedisModule_ReplyWithError(ctx, "ERR timeout is negative")
    open_ticket(m)
    if number < m.chain.view.count or not may_block(ctx):
        return reply_others(ctx, argv, 0)
    RedisModule_BlockClient(ctx, reply_others, reply_others, NULL, timeout)
    return 0


cdef int on_native_wait_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.WAIT.ANY: as CHAIN.WAIT; Redis lets a client that has not logged in run it."""
    return on_native_wait(ctx, argv, argc) if is_logged_in(the_member(), ctx) else 0
