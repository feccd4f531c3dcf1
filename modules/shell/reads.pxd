# cython: language_level=3
"""READ: committed values, at the tail."""

from libc.stdint cimport intptr_t
from libc.string cimport memset

from modules.core.chain cimport chain_is_tail
from modules.core.lease cimport chain_may_read
from modules.redismodule cimport (
    REDISMODULE_ERRORMSG_WRONGTYPE, REDISMODULE_READ, RedisModule_CloseKey,
    RedisModule_GetBlockedClientPrivateData, RedisModule_GetSelectedDb,
    RedisModule_OpenKey, RedisModule_ReplyWithError, RedisModule_ReplyWithNull, RedisModule_ReplyWithStringBuffer,
    RedisModule_StringDMA, RedisModuleCtx, RedisModuleKey, RedisModuleString,
)
from modules.shell.libc cimport boot_ms
from modules.shell.settle cimport OUTCOME_READ, reply_not_tail
from modules.shell.state cimport Member, Wait, the_member
from modules.shell.wakeup cimport wake
from modules.shell.writes cimport add_wait, may_block


cdef inline int reply_value(RedisModuleCtx *ctx, RedisModuleString *name) noexcept nogil:
    cdef size_t length = 0
    cdef const char *value
    cdef RedisModuleKey *key = RedisModule_OpenKey(ctx, name, REDISMODULE_READ)
    if key == NULL:
        return RedisModule_ReplyWithNull(ctx)
    value = RedisModule_StringDMA(key, &length, REDISMODULE_READ)
    if value == NULL:
        RedisModule_ReplyWithError(ctx, REDISMODULE_ERRORMSG_WRONGTYPE)
    else:
        RedisModule_ReplyWithStringBuffer(ctx, value, length)
    RedisModule_CloseKey(key)
    return 0


cdef inline int read_now(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """The right to answer is established."""
    if RedisModule_GetSelectedDb(ctx) != 0:
        return RedisModule_ReplyWithError(ctx, "ERR a chain has database 0 only")
    m.reads_served += 1
    return reply_value(ctx, key)


cdef inline int on_decided(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if <intptr_t>RedisModule_GetBlockedClientPrivateData(ctx) == OUTCOME_READ:
        return read_now(the_member(), ctx, argv[1])
    return reply_not_tail(the_member(), ctx)


cdef inline int read_command(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """The clock is read now, after the READ has arrived: a lease that ran out while the process was stopped is none.

    At a tail that may answer in a moment (a view has just changed, or the others are to be asked) the READ waits.
    """
    cdef Wait read
    if chain_may_read(&m.chain, boot_ms()):
        return read_now(m, ctx, key)
    if not chain_is_tail(&m.chain) or not may_block(ctx):
        return reply_not_tail(m, ctx)
    memset(&read, 0, sizeof(Wait))
    read.deadline_ms = m.now_ms + m.settings.write_timeout
    wake(m)
    return add_wait(m, ctx, &m.reads, &read, on_decided)
