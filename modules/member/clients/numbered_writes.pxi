# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# MEMBER.PUT and MEMBER.DEL in a chain of all commands.
#
# An update travels in the stream of effects, as CHAIN.PUT or CHAIN.DEL with its number: the head counts these updates,
# and each member's server counts along as it executes them. The reply needs no blocked client, since output is held
# until what it shows is committed.

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_LOADING, REDISMODULE_CTX_FLAGS_REPLICATED, RedisModuleCtx, RedisModuleString,
    REDISMODULE_ERR, RedisModule_GetContextFlags, RedisModule_Replicate, RedisModule_ReplicateVerbatim,
    RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong, RedisModule_ReplyWithNull,
    RedisModule_StringToLongLong,
)
from modules.core.chain cimport chain_takes_writes
from modules.core.log cimport boundary_append
from modules.member.keyspace.tickets cimport open_ticket
from modules.member.keyspace.values cimport keyspace_apply_strings
from modules.member.replies cimport publish, publishes, reply_not_head
from modules.member.state.effects cimport MAX_NUMBER_EPOCHS, Numbers
from modules.member.state.member cimport Member


cdef int write_numbered(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, RedisModuleString *client,
) noexcept nogil:
    """MEMBER.PUT key value [client] and MEMBER.DEL key [client] (`value` NULL) -> number of the update | MOVED | ERR"""
    cdef Numbers *numbers = &m.effects.numbers
    if not m.effects.leads or not chain_takes_writes(&m.chain):
        return reply_not_head(m, ctx)
    open_ticket(m)
    numbers_note(numbers, numbers.newest + 1, m.chain.view.epoch)
    keyspace_apply_strings(ctx, key, value)
    if value != NULL and client != NULL:
        RedisModule_Replicate(ctx, "CHAIN.PUT", "llsss", <long long>m.chain.view.epoch, <long long>numbers.newest,
                              key, value, client)
    elif value != NULL:
        RedisModule_Replicate(ctx, "CHAIN.PUT", "llss", <long long>m.chain.view.epoch, <long long>numbers.newest,
                              key, value)
    elif client != NULL:
        RedisModule_Replicate(ctx, "CHAIN.DEL", "llss", <long long>m.chain.view.epoch, <long long>numbers.newest,
                              key, client)
    else:
        RedisModule_Replicate(ctx, "CHAIN.DEL", "lls", <long long>m.chain.view.epoch, <long long>numbers.newest, key)
    m.clients.writes += 1
    if client != NULL and publishes(m):
        publish(m, client, numbers.newest)
    return RedisModule_ReplyWithLongLong(ctx, numbers.newest)


cdef void numbers_note(Numbers *numbers, int64_t number, int64_t epoch) noexcept nogil:
    """The update `number` was made in `epoch`. Epochs that are too old to be remembered count as known long ago."""
    numbers.newest = number
    if numbers.count and numbers.epochs[numbers.count - 1].epoch == epoch:
        return
    boundary_append(numbers.epochs, &numbers.count, MAX_NUMBER_EPOCHS, number, epoch)


cdef int numbered_command(
    Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, RedisModuleString *value, RedisModuleString *client,
) noexcept nogil:
    """CHAIN.PUT epoch number key value [client] and CHAIN.DEL epoch number key [client], of the stream or a file -> nil

    Whatever else says this is refused: only the head numbers updates.
    """
    cdef long long epoch
    cdef long long number
    if not RedisModule_GetContextFlags(ctx) & (REDISMODULE_CTX_FLAGS_REPLICATED | REDISMODULE_CTX_FLAGS_LOADING):
        return RedisModule_ReplyWithError(ctx, "ERR only the stream of effects says this")
    if (RedisModule_StringToLongLong(argv[1], &epoch) == REDISMODULE_ERR
            or RedisModule_StringToLongLong(argv[2], &number) == REDISMODULE_ERR or number < 0):
        return RedisModule_ReplyWithError(ctx, "ERR no member of a chain says this")
    keyspace_apply_strings(ctx, argv[3], value)
    numbers_note(&m.effects.numbers, number, epoch)
    RedisModule_ReplicateVerbatim(ctx)
    if client != NULL and publishes(m):
        publish(m, client, number)
    return RedisModule_ReplyWithNull(ctx)
