# cython: language_level=3
"""READ: committed values, at the tail."""

from libc.string cimport memset

from modules.core.chain cimport chain_is_tail, chain_serves_reads
from modules.redismodule cimport (
    REDISMODULE_ERRORMSG_WRONGTYPE, REDISMODULE_READ, RedisModule_CloseKey, RedisModule_GetSelectedDb,
    RedisModule_OpenKey, RedisModule_ReplyWithError, RedisModule_ReplyWithNull, RedisModule_ReplyWithStringBuffer,
    RedisModule_StringDMA, RedisModuleCtx, RedisModuleKey, RedisModuleString,
)
from modules.shell.settle cimport reply_not_tail
from modules.shell.state cimport Member, Wait, the_member
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
    if not chain_serves_reads(&m.chain):
        return reply_not_tail(m, ctx)
    if RedisModule_GetSelectedDb(ctx) != 0:
        return RedisModule_ReplyWithError(ctx, "ERR a chain has database 0 only")
    m.reads_served += 1
    return reply_value(ctx, key)


cdef inline int on_ready(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return read_now(the_member(), ctx, argv[1])


cdef inline int read_command(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """At a tail that will be in step in a moment (a view has just changed) the READ waits for that."""
    cdef Wait read
    if chain_serves_reads(&m.chain) or not chain_is_tail(&m.chain) or not may_block(ctx):
        return read_now(m, ctx, key)
    memset(&read, 0, sizeof(Wait))
    read.deadline_ms = m.now_ms + m.settings.write_timeout
    return add_wait(m, ctx, &m.reads, &read, on_ready)
