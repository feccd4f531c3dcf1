# cython: language_level=3
"""READ: committed values, at the tail. What is not in memory is looked up in the checkpoint."""

from libc.stdint cimport intptr_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc

from modules.core.chain cimport chain_is_tail
from modules.core.lease cimport chain_may_read
from modules.redismodule cimport (
    REDISMODULE_ERRORMSG_WRONGTYPE, REDISMODULE_READ, RedisModule_AbortBlock, RedisModule_BlockClient,
    RedisModule_CloseKey, RedisModule_GetBlockedClientPrivateData, RedisModule_GetSelectedDb,
    RedisModule_OpenKey, RedisModule_ReplyWithError, RedisModule_ReplyWithNull, RedisModule_ReplyWithStringBuffer,
    RedisModule_SetDisconnectCallback, RedisModule_StringDMA, RedisModuleBlockedClient, RedisModuleCtx, RedisModuleKey,
    RedisModuleString,
)
from modules.shell.checkpoint.lookup cimport Lookup, lookup_free, lookup_start
from modules.shell.checkpoint.state cimport TEXT_BYTES
from modules.shell.keyspace cimport keep
from modules.shell.libc cimport boot_ms
from modules.shell.settle cimport OUTCOME_READ, OUTCOME_SN, memory_tells, reply_not_tail
from modules.shell.state cimport Member, Wait, the_member
from modules.shell.wakeup cimport wake
from modules.shell.writes cimport may_block, on_gone


cdef inline bint reply_from_memory(RedisModuleCtx *ctx, RedisModuleString *name) noexcept nogil:
    """False: it is not there."""
    cdef size_t length = 0
    cdef const char *value
    cdef RedisModuleKey *key = RedisModule_OpenKey(ctx, name, REDISMODULE_READ)
    if key == NULL:
        return False
    value = RedisModule_StringDMA(key, &length, REDISMODULE_READ)
    if value == NULL:
        RedisModule_ReplyWithError(ctx, REDISMODULE_ERRORMSG_WRONGTYPE)
    else:
        RedisModule_ReplyWithStringBuffer(ctx, value, length)
    RedisModule_CloseKey(key)
    return True


cdef inline int reply_looked_up(RedisModuleCtx *ctx, const Lookup *lookup) noexcept nogil:
    cdef char text[TEXT_BYTES + 64]
    if not lookup.good:
        snprintf(text, sizeof(text), "ERR the checkpoint, where that key may be, cannot be read: %s", &lookup.error[0])
        return RedisModule_ReplyWithError(ctx, text)
    if lookup.value == NULL:
        return RedisModule_ReplyWithNull(ctx)
    return RedisModule_ReplyWithStringBuffer(ctx, lookup.value, lookup.value_bytes)


# ----------------------------------------------------------------------------------------- clients that wait

cdef inline bint reply_known_absent(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """It is not in memory. False: only the checkpoint tells whether it was deleted, or flushed, or never was one."""
    if m.checkpoint.incomplete and not m.checkpoint.tracking:
        RedisModule_ReplyWithError(
            ctx, "ERR that key may be in a checkpoint that this member has lost: it needs a copy, by MASTER.ADD")
        return True
    if not memory_tells(&m.checkpoint, key):
        return False
    m.reads_served += 1
    RedisModule_ReplyWithNull(ctx)
    return True


cdef inline int on_decided(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """What was decided is an outcome, or else the Lookup that has found the value."""
    cdef Member *m = the_member()
    cdef void *decided = RedisModule_GetBlockedClientPrivateData(ctx)
    if <intptr_t>decided < OUTCOME_SN and <intptr_t>decided != OUTCOME_READ:
        return reply_not_tail(m, ctx)
    if <intptr_t>decided > OUTCOME_SN:
        m.reads_served += 1
        return reply_looked_up(ctx, <Lookup *>decided)
    if reply_from_memory(ctx, argv[1]):
        m.reads_served += 1
        return 0
    if reply_known_absent(m, ctx, argv[1]):
        return 0
    return RedisModule_ReplyWithError(ctx, "ERR out of memory")     # for looking it up


cdef inline void free_decided(RedisModuleCtx *ctx, void *decided) noexcept nogil:
    if <intptr_t>decided > OUTCOME_SN:
        lookup_free(<Lookup *>decided)


cdef inline RedisModuleBlockedClient *block(RedisModuleCtx *ctx) noexcept nogil:
    cdef RedisModuleBlockedClient *client = RedisModule_BlockClient(ctx, on_decided, NULL, free_decided, 0)
    RedisModule_SetDisconnectCallback(client, on_gone)
    return client


cdef inline int read_later(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """At a tail that may answer in a moment: a view has just changed, or the others are to be asked."""
    cdef Wait *read = <Wait *>calloc(1, sizeof(Wait))
    if read == NULL:
        return RedisModule_ReplyWithError(ctx, "ERR out of memory")
    read.key = keep(key)
    read.deadline_ms = m.now_ms + m.settings.write_timeout
    read.waiter = block(ctx)
    read.next = m.reads
    m.reads = read
    wake(m)
    return 0


cdef inline int reply_absent(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """It is not in memory: it has been deleted, or flushed, or there never was one."""
    cdef RedisModuleBlockedClient *client
    if reply_known_absent(m, ctx, key):
        return 0
    if not may_block(ctx):
        return RedisModule_ReplyWithError(
            ctx, "ERR that key is in the checkpoint: READ it outside MULTI, a script or a module's call")
    client = block(ctx)
    if not lookup_start(&m.checkpoint, key, client):
        RedisModule_AbortBlock(client)
        return RedisModule_ReplyWithError(ctx, "ERR out of memory")
    return 0


cdef inline int read_command(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """The clock is read now, after the READ has arrived: a lease that ran out while the process was stopped is none."""
    if RedisModule_GetSelectedDb(ctx) != 0:
        return RedisModule_ReplyWithError(ctx, "ERR a chain has database 0 only")
    if not chain_may_read(&m.chain, boot_ms()):
        if chain_is_tail(&m.chain) and may_block(ctx):
            return read_later(m, ctx, key)
        return reply_not_tail(m, ctx)
    if not reply_from_memory(ctx, key):
        return reply_absent(m, ctx, key)
    m.reads_served += 1
    return 0
