# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Updates from clients at the head: MEMBER.PUT, MEMBER.DEL and MEMBER.WAIT.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from modules.bindings.redismodule cimport (
    REDISMODULE_ERR, RedisModuleCtx, RedisModuleString, RedisModule_BlockClient, RedisModule_GetSelectedDb,
    RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong, RedisModule_StringToLongLong,
)
from modules.core.chain cimport chain_takes_writes
from modules.core.log cimport Entry, log_at, log_reserve
from modules.core.replication cimport replication_assign, replication_fits, replication_has_room
from modules.core.wire cimport Packed
from modules.member.checkpoint.memtable cimport may_be_flushed, track, track_ahead
from modules.member.keyspace cimport note_unreplicated
from modules.member.keyspace.log_entries cimport entry_fill, is_long, update_bytes, update_of
from modules.member.keyspace.values cimport keep, keyspace_apply
from modules.member.persistence cimport record
from modules.member.persistence.wakeup cimport wake
from modules.member.replies cimport (
    OUTCOME_NOT_APPLIED, OUTCOME_NO_MEMORY, answer_free, answer_not_head, answer_number, answer_outcome,
    came_too_early_ms, may_block, on_answered, reply_answer, reply_not_head, reply_not_head_to_wait, reply_outcome,
    settle, tell, unlist, wait_answer, wait_for_answer, waiter_free, waiter_new,
)
from modules.member.replies.waiting cimport awaits_view, first_waiting
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport WAIT_COMMIT, WAIT_ROOM, Waiter


cdef enum:
    MAX_TIMEOUT_MS = 1000000000
    MAX_UPDATE_BYTES = 511 * 1024 * 1024    # an update must fit into one argument (`settle_redis_settings`)


cdef int64_t assign_and_apply(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, const Packed *update,
    void *writer, int64_t since_ms,
) noexcept nogil:
    """Assign the next sn to an update, apply it, and put it into the log, from which it is sent.

    `key` and `value` are the strings of the update; `value` may be NULL if it is short, and nothing tracks values.
    Returns the sn; -1 if memory ran out: then nothing has been
    applied.
    """
    cdef Entry entry
    cdef uint32_t tracked = track_ahead(&m.checkpoint, update.key, update.key_bytes)
    cdef int64_t sn
    if not log_reserve(&m.chain.log) or not entry_fill(&m.keyspace.payloads, &entry, update, value):
        return -1
    entry.waiter = writer
    entry.since_ms = since_ms
    sn = replication_assign(&m.chain, &entry)       # which has room
    keyspace_apply(
        ctx, key, value, update.value, update.value_bytes, m.checkpoint.tracking or is_long(update),
        update.value == NULL and may_be_flushed(&m.checkpoint, key), NULL, 0)
    if m.checkpoint.tracking:
        track(&m.checkpoint, sn, key, value, tracked)
    m.clients.writes += 1
    return sn


# ------------------------------------------------------------------------------- refusals before an sn

cdef bint refused(Member *m, RedisModuleCtx *ctx, uint64_t bytes) noexcept nogil:
    """Check every reason to refuse an update that has no sn yet (rule 6). Returns True if an error has been replied."""
    if not chain_takes_writes(&m.chain) and not awaits_view(m):
        reply_not_head(m, ctx)
        return True
    if not may_block(ctx):
        RedisModule_ReplyWithError(
            ctx, "ERR a chain commits each update by itself: not inside MULTI, a script or a module's call")
        return True
    if RedisModule_GetSelectedDb(ctx) != 0:
        RedisModule_ReplyWithError(ctx, "ERR a chain has database 0 only")
        return True
    if bytes > MAX_UPDATE_BYTES or not replication_fits(&m.chain, bytes):
        RedisModule_ReplyWithError(ctx, "ERR too large: the update exceeds member.log-limit, or 511 MiB")
        return True
    return False


# ------------------------------------------------------------------------------------- PUT and DEL

cdef int hold(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, RedisModuleString *client,
) noexcept nogil:
    """Block a writer whose update has no sn yet: the log or the memory has no room (rule 9), or a newer view is
    coming.
    """
    cdef Waiter *writer = waiter_new(WAIT_ROOM)
    if writer == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    writer.key = keep(key)
    writer.value = keep(value) if value != NULL else NULL
    writer.channel = keep(client) if client != NULL else NULL
    writer.since_ms = m.now_ms
    return wait_for_answer(m, ctx, writer)


cdef int write_command(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, RedisModuleString *client,
) noexcept nogil:
    """MEMBER.PUT key value [client] and MEMBER.DEL key [client] (`value` NULL) -> sn | MOVED | UNKNOWN | ERR

    With a client id the reply comes at once; the tail publishes the sn later. Without one the reply comes when the
    update is committed.
    """
    cdef Packed update
    cdef uint64_t bytes
    cdef int64_t sn
    if m.chain.log.streams:
        return write_numbered(m, ctx, key, value, client)
    update_of(key, value, client, &update)
    bytes = update_bytes(&update)
    if refused(m, ctx, bytes):
        return 0
    if (first_waiting(m, WAIT_ROOM) != NULL or not replication_has_room(&m.chain, bytes) or awaits_view(m)
            or m.checkpoint.full):
        return hold(m, ctx, key, value, client)
    sn = assign_and_apply(m, ctx, key, value, &update, NULL, 0)
    if sn < 0:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    if not m.chain.has_history:
        note_unreplicated(m)
        if m.chain.recorded < sn:
            record(m)       # at once: the append-only file must keep the order among native writes
    if client != NULL or sn <= m.chain.committed:
        RedisModule_ReplyWithLongLong(ctx, sn)
    else:
        await_commit(m, ctx, sn)
    if sn <= m.chain.committed:
        settle(m)
    wake(m)
    count_request(m, ctx)
    return 0


cdef void await_commit(Member *m, RedisModuleCtx *ctx, int64_t sn) noexcept nogil:
    """Block the client until the update is committed. The log's entry keeps the blocked client.

    Its answer, a number or the unknown outcome, has no memory of its own that were to be freed.
    """
    cdef Entry *entry = log_at(&m.chain.log, sn)
    entry.waiter = RedisModule_BlockClient(ctx, on_answered, NULL, NULL, 0)
    entry.since_ms = m.now_ms


# -------------------------------------------------------------------------------------- held writers

cdef void apply_held(Member *m, Waiter *writer) noexcept nogil:
    """Apply the update of a held writer, for which there is room now.

    A writer with a client id is answered. Others wait on for the commit, in the log's entry.
    """
    cdef bint stays = writer.channel == NULL
    cdef Packed update
    cdef int64_t sn
    update_of(writer.key, writer.value, writer.channel, &update)
    sn = assign_and_apply(
        m, m.ctx, writer.key, writer.value, &update, writer.client if stays else NULL, writer.since_ms)
    if sn < 0:
        tell(m, writer, answer_outcome(OUTCOME_NO_MEMORY))
    elif stays:
        unlist(m, writer)
        waiter_free(writer)
    else:
        tell(m, writer, answer_number(sn))


cdef void serve_held(Member *m) noexcept nogil:
    """Serve the held writers in the order in which they came.

    Updates are applied while there is room. Writers that waited for too long, or whose member no longer takes writes,
    are refused: that is a definite failure, because their updates have no sn (rule 6).
    """
    cdef Waiter *writer = first_waiting(m, WAIT_ROOM)
    cdef Packed update
    while writer != NULL:
        update_of(writer.key, writer.value, writer.channel, &update)
        if writer.since_ms <= came_too_early_ms(m):
            tell(m, writer, answer_outcome(OUTCOME_NOT_APPLIED))
        elif awaits_view(m) or m.checkpoint.full:
            return
        elif not chain_takes_writes(&m.chain):
            tell(m, writer, answer_not_head(m, writer))
        elif replication_has_room(&m.chain, update_bytes(&update)):
            apply_held(m, writer)
            settle(m)
        else:
            return
        writer = first_waiting(m, WAIT_ROOM)


# --------------------------------------------------------------------------------------------- WAIT

cdef int wait_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.WAIT sn [timeout_ms [epoch]] -> integer: the highest committed sn, once it has reached `sn` | MOVED | …"""
    cdef long long sn
    cdef long long timeout = 0
    cdef long long epoch = -1
    cdef Waiter *wait
    cdef void *answer
    if RedisModule_StringToLongLong(argv[1], &sn) == REDISMODULE_ERR or sn < 0:
        return RedisModule_ReplyWithError(ctx, "ERR sn is not a sequence number: an integer from 0")
    if argc > 2 and (RedisModule_StringToLongLong(argv[2], &timeout) == REDISMODULE_ERR or timeout < 0
                     or timeout > MAX_TIMEOUT_MS):
        return RedisModule_ReplyWithError(ctx, "ERR timeout_ms is not a number of milliseconds; 0 waits for ever")
    if argc > 3 and (RedisModule_StringToLongLong(argv[3], &epoch) == REDISMODULE_ERR or epoch < 0):
        return RedisModule_ReplyWithError(ctx, "ERR epoch is not an epoch: an integer from 0")
    if not chain_takes_writes(&m.chain) and not awaits_view(m):
        return reply_not_head_to_wait(m, ctx)
    wait = waiter_new(WAIT_COMMIT)
    if wait == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    wait.sn = sn
    wait.epoch = epoch
    wait.deadline_ms = m.now_ms + timeout if timeout else 0
    answer = wait_answer(m, wait)
    if answer == NULL and may_block(ctx):
        return wait_for_answer(m, ctx, wait)
    waiter_free(wait)
    if answer == NULL:
        return RedisModule_ReplyWithError(
            ctx, "ERR MEMBER.WAIT would block: not inside MULTI, a script or a module's call")
    reply_answer(ctx, answer)
    answer_free(ctx, answer)
    return 0
