# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Commands from other members: CHAIN.GREET, CHAIN.FORWARD, CHAIN.ACK (docs/protocol.md, "Updates").

from libc.stdint cimport int64_t, uint32_t, uint64_t

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_LUA, RedisModuleCtx, RedisModuleString, RedisModule_CreateString, RedisModule_DbSize,
    RedisModule_GetContextFlags, RedisModule_GetSelectedDb, RedisModule_ReplyWithArray, RedisModule_ReplyWithCString,
    RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong,
)
from modules.core.chain cimport chain_executed
from modules.core.effect_stream cimport EffectStream, stream_reserve, stream_write
from modules.core.hex cimport from_hex, to_hex
from modules.core.hints cimport AHEAD, Hints, hint_hash, hints_fetch, hints_serve
from modules.core.invariant cimport INVARIANT
from modules.core.log cimport Entry, log_reserve
from modules.core.messages cimport ACCEPTED, Ack, Batch, GAP, Greeting, NONSENSE, NO_MEMORY, Verdict
from modules.core.replication cimport (
    replication_append, replication_append_bytes, replication_batch_applied, replication_on_ack,
    replication_on_batch, replication_on_greet,
)
from modules.core.view cimport HISTORY_BYTES
from modules.core.wire cimport Packed, wire_next, wire_valid
from modules.member.checkpoint.memtable cimport may_be_flushed, track, track_ahead
from modules.member.effects cimport cover_log, note_commits
from modules.member.keyspace.log_entries cimport entry_fill, is_long
from modules.member.keyspace.values cimport keyspace_apply, let_go
from modules.member.persistence.wakeup cimport wake
from modules.member.replies cimport settle
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_COPIED
from modules.member.state.replication cimport Peer

cdef enum:
    MANY_UPDATES = 4            # from so many in a batch on, it pays to look ahead
    MANY_KEYS = 4096            # the same for the keys of this member


cdef int greet_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.GREET epoch history applied assigned -> [WELCOME, …, heeds_saved] | STALE | BEHIND | ERR"""
    cdef Greeting greet
    cdef Greeting welcome
    cdef Text history
    cdef Verdict verdict
    cdef char digits[2 * HISTORY_BYTES + 1]
    cdef Peer *peer = proven_peer(m, ctx)
    if peer == NULL:
        return 0
    argument_text(argv[2], &history)
    if (not argument_number(argv[1], &greet.epoch) or not from_hex(history.bytes, history.length, greet.history, 16)
            or not argument_number(argv[3], &greet.applied) or not argument_number(argv[4], &greet.assigned)):
        return reply_verdict(m, ctx, NONSENSE)
    if m.chain.learner and m.membership.join != JOIN_COPIED:
        return RedisModule_ReplyWithError(ctx, "ERR the snapshot is not here yet")
    verdict = replication_on_greet(&m.chain, &greet, peer.run_id, <int64_t>peer.client, &welcome)
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    to_hex(welcome.history, HISTORY_BYTES, digits)
    RedisModule_ReplyWithArray(ctx, 6)
    RedisModule_ReplyWithCString(ctx, "WELCOME")
    RedisModule_ReplyWithLongLong(ctx, welcome.epoch)
    RedisModule_ReplyWithCString(ctx, digits)
    RedisModule_ReplyWithLongLong(ctx, welcome.applied)
    RedisModule_ReplyWithLongLong(ctx, welcome.assigned)
    return RedisModule_ReplyWithLongLong(ctx, welcome.heeds_saved)


# ------------------------------------------------------------------------------------------- while a script runs

cdef bint in_script(RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether a script has run for so long that Redis handles events amid it. This command is not the script's.
    """
    return RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_LUA != 0


cdef bint may_take_in_script(const Member *m) noexcept nogil:
    """Returns whether a message may be taken amid a script, during which our own server executes nothing.

    The log keeps what the server has not executed, so the log's limit holds back what comes.
    """
    return m.chain.log.streams and m.chain.applied - chain_executed(&m.chain) < <int64_t>m.chain.limits.log_bytes


cdef int reply_busy(RedisModuleCtx *ctx) noexcept nogil:
    return RedisModule_ReplyWithError(ctx, "BUSY a script runs, and this member can take no more until it ends")


cdef void pass_on_in_script(Member *m) noexcept nogil:
    """No pass of the event loop ends before the script does: send on at once what the message has made due."""
    forward(m)
    acknowledge(m)
    note_commits(m)


# ------------------------------------------------------------------------------------------------- batches

cdef const Hints *hints_for(Member *m, RedisModuleCtx *ctx, const Batch *batch) noexcept nogil:
    """Returns the hints for this batch; NULL: too few updates come, or the caches hold all of the data."""
    if batch.count < MANY_UPDATES or RedisModule_DbSize(ctx) < MANY_KEYS:
        return NULL
    return &m.keyspace.hints if hints_serve(&m.keyspace.hints, batch.count) else NULL


cdef void look_ahead(const Hints *hints, const char *cursor, const char *end, uint64_t *hashes) noexcept nogil:
    """Note the hashes of the next keys, up to AHEAD of them, and fetch their values into the processor's caches."""
    cdef Packed update
    cdef int count = 0
    while count < AHEAD and wire_next(&cursor, end, &update):
        hashes[count] = hint_hash(update.key, update.key_bytes)
        count += 1
    hints_fetch(hints, hashes, count)


cdef bint apply_packed(
    Member *m, RedisModuleCtx *ctx, const Packed *update, int64_t assigned, const Hints *hints, uint64_t hash,
) noexcept nogil:
    """Append one update to the log and apply it. Returns False if memory ran out."""
    cdef Entry entry
    cdef RedisModuleString *key
    cdef RedisModuleString *value = NULL
    cdef bint shared = is_long(update) or (m.checkpoint.tracking and update.value != NULL)
    cdef uint32_t tracked = track_ahead(&m.checkpoint, update.key, update.key_bytes)
    if not log_reserve(&m.chain.log):
        return False
    if shared:
        value = RedisModule_CreateString(NULL, update.value, update.value_bytes)
    if not entry_fill(&m.keyspace.payloads, &entry, update, value):
        let_go(value)
        return False
    entry.waiter = NULL
    entry.since_ms = 0
    replication_append(&m.chain, &entry, assigned)      # which has room
    key = RedisModule_CreateString(NULL, update.key, update.key_bytes)
    keyspace_apply(
        ctx, key, value, update.value, update.value_bytes, shared,
        update.value == NULL and may_be_flushed(&m.checkpoint, key), hints, hash)
    if m.checkpoint.tracking:
        track(&m.checkpoint, m.chain.applied, key, value, tracked)
    let_go(key)
    let_go(value)
    return True


cdef bint apply_batch(
    Member *m, RedisModuleCtx *ctx, const Batch *batch, int64_t skip, const char *cursor, const char *end,
) noexcept nogil:
    """Apply the batch's updates in order, without the first `skip`, which have been applied before (rule 1).

    `cursor` to `end` is the payload, which `wire_valid` has accepted. Returns False if memory ran out: then a prefix of
    the batch has been applied.
    """
    cdef Packed update
    cdef const char *client = NULL
    cdef uint32_t client_bytes = 0
    cdef const Hints *hints = hints_for(m, ctx, batch)
    cdef uint64_t hashes[AHEAD]
    cdef int64_t i
    for i in range(batch.count):
        if hints != NULL and i & (AHEAD - 1) == 0:
            look_ahead(hints, cursor, end, hashes)
        if not wire_next(&cursor, end, &update):
            INVARIANT(False, "rule 7: a payload that has been checked is whole")
            break
        if not update.same_client:
            client = update.client
            client_bytes = update.client_bytes if client != NULL else 0
        update.client = client
        update.client_bytes = client_bytes
        if update.value == NULL:
            update.value_bytes = 0
        if i >= skip and not apply_packed(
                m, ctx, &update, batch.assigned, hints, hashes[i & (AHEAD - 1)] if hints != NULL else 0):
            return False
    return True


cdef bint is_whole(const Member *m, const Batch *batch, const Text *payload, int64_t offset) noexcept nogil:
    """Returns whether the payload has exactly the updates that the batch names, or is a part of a batch of effects,
    from byte `offset` of the batch on.
    """
    if m.chain.log.streams and offset >= 0:
        return 0 < payload.length and offset + <int64_t>payload.length <= batch.count
    if m.chain.log.streams:
        return <uint64_t>batch.count == payload.length
    return wire_valid(payload.bytes, payload.bytes + payload.length, <uint64_t>batch.count)


cdef bint append_effects(Member *m, const Batch *batch, int64_t skip, const char *bytes) noexcept nogil:
    """Append the effects to the log, without the first `skip` bytes. Our own server gets them at the end of this pass.

    Returns False if memory ran out: then nothing was appended.
    """
    cdef uint64_t count = <uint64_t>(batch.count - skip)
    m.chain.log.stream.ahead = 0        # parts of a batch that did not come whole
    if count == 0:
        return True
    if not stream_reserve(&m.chain.log.stream, m.chain.log.first, m.chain.log.end, count):
        return False
    stream_write(&m.chain.log.stream, m.chain.log.end, &bytes[skip], count)
    if not replication_append_bytes(&m.chain, count, batch.assigned):
        return False
    cover_log(m)
    return True


cdef bint append_batch(
    Member *m, RedisModuleCtx *ctx, const Batch *batch, int64_t skip, const Text *payload,
) noexcept nogil:
    """Append a batch that has come whole, and was accepted, without its first `skip`. Returns False if memory ran out.
    """
    m.replication.batches_received += 1
    if m.chain.log.streams:
        return append_effects(m, batch, skip, payload.bytes)
    return apply_batch(m, ctx, batch, skip, payload.bytes, payload.bytes + payload.length)


cdef bint is_next_part(const Member *m, const Batch *batch, int64_t offset) noexcept nogil:
    """Returns whether the part goes on where the log ends, or behind the parts that have come."""
    return batch.first + offset == m.chain.log.end + (m.chain.log.stream.ahead if offset else 0)


cdef bint take_part(Member *m, const Batch *batch, int64_t offset, const Text *payload) noexcept nogil:
    """Keep a part of a batch of effects behind the end of the log. With its last part the batch is in the log.

    Until then it is not: a member that becomes the head would have half an effect. Returns False if memory ran out.
    """
    cdef EffectStream *stream = &m.chain.log.stream
    cdef int64_t end = m.chain.log.end + offset
    m.replication.batches_received += 1
    if not stream_reserve(stream, m.chain.log.first, end, payload.length):
        return False
    stream_write(stream, end, payload.bytes, payload.length)
    stream.ahead = offset + <int64_t>payload.length
    if stream.ahead < batch.count:
        return True
    if not replication_append_bytes(&m.chain, <uint64_t>batch.count, batch.assigned):
        return False
    stream.ahead = 0
    cover_log(m)
    return True


cdef int forward_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.FORWARD …, in any of the forms of `messages.pxi` -> nothing | REGREET | …"""
    cdef Batch batch
    cdef Text payload
    cdef Verdict verdict
    cdef int64_t skip = 0
    cdef int64_t offset = -1
    cdef bint whole
    cdef bint nested = in_script(ctx)
    cdef Peer *peer = proven_peer(m, ctx)
    if peer == NULL:
        return 0
    if nested and not may_take_in_script(m):
        return reply_busy(ctx)
    if not parse_batch(argv, argc, &batch, &offset, &payload) or batch.count < 0 or RedisModule_GetSelectedDb(ctx) != 0:
        return reply_verdict(m, ctx, NONSENSE)
    if not is_whole(m, &batch, &payload, offset):
        return reply_verdict(m, ctx, NONSENSE)
    verdict = replication_on_batch(&m.chain, &batch, <int64_t>peer.client, &skip)
    if verdict == ACCEPTED and offset >= 0 and not is_next_part(m, &batch, offset):
        verdict = GAP
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    INVARIANT(peer.proven, "rule 2: updates come from a peer that has proved the secret")
    peer.sends_often = True
    if offset >= 0:
        whole = take_part(m, &batch, offset, &payload)
    else:
        whole = append_batch(m, ctx, &batch, skip, &payload)
    if not whole:
        reply_verdict(m, ctx, NO_MEMORY)
    if m.chain.log.stream.ahead:
        return 0            # more parts come
    replication_batch_applied(&m.chain, &batch)
    settle(m)
    wake(m)
    if nested:
        pass_on_in_script(m)
    return 0


cdef int ack_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.ACK …, in any of the forms of `messages.pxi` -> nothing | STALE | BEHIND | ERR"""
    cdef Ack ack
    cdef Verdict verdict
    cdef bint nested = in_script(ctx)
    cdef Peer *peer = proven_peer(m, ctx)
    if peer == NULL:
        return 0
    if nested and not m.chain.log.streams:
        return reply_busy(ctx)
    if not parse_ack(argv, argc, &ack):
        return reply_verdict(m, ctx, NONSENSE)
    verdict = replication_on_ack(&m.chain, &ack, peer.run_id)
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    peer.sends_often = True
    settle(m)
    wake(m)
    if nested:
        pass_on_in_script(m)
    return 0
