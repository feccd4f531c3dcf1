# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# A member's position inside its RDB. A learner reads it from Redis's full synchronisation, and a restarted member from
# its own file.

from libc.stdint cimport uint64_t, uint8_t
from libc.string cimport memcpy

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleString, RedisModule_CreateString, RedisModule_DbSize, RedisModule_Log,
)
from modules.core.chain cimport chain_role
from modules.core.checkpoint.memtable cimport MEMTABLE_DELETED, MemtableEntry, memtable_at
from modules.core.durability cimport durability_restore
from modules.core.log cimport log_boundaries
from modules.core.messages cimport ACCEPTED, ROLE_ALONE, ROLE_LEARNER
from modules.core.once_table cimport (
    ONCE_ID_BYTES, OnceRecord, OnceTable, once_clear, once_copy, once_find, once_prepare, once_put,
)
from modules.core.view cimport HISTORY_BYTES, KIND_ALL
from modules.member.checkpoint.memtable cimport memtable_keys, track_loaded
from modules.member.checkpoint cimport track_end, track_loaded_data, track_resume
from modules.member.keyspace.kind cimport own_kind
from modules.member.keyspace.values cimport let_go
from modules.member.membership cimport empty_log
from modules.member.persistence cimport data_position, is_unknown_chains, marker_renames, unlogged_epoch
from modules.member.state.effects cimport DATABASE_KNOWN, DATABASE_UNKNOWN
from modules.member.state.checkpoint cimport Checkpoint
from modules.member.state.member cimport Member, the_member
from modules.member.state.membership cimport JOIN_COPYING
from modules.member.state.persistence cimport SOURCE_AOF, SOURCE_OTHERS
from modules.server.position cimport Kept, Newer, Position, PositionHandlers, Record, position_register


cdef void snapshot_save(Position *out) noexcept nogil:
    """Fill in the position of the data that is saved now."""
    cdef Member *m = the_member()
    if m.disk.unproven != NULL:
        out[0] = m.disk.unproven[0]
        out.kept = 0
        return
    # Data of which flushed keys are in a checkpoint of unknown state must not count as a chain's data.
    out.has_history = (m.chain.has_history and not is_unknown_chains(m)
                       and (m.checkpoint.tracking or not m.checkpoint.incomplete)
                       and not (m.disk.missing and own_kind(m) == KIND_ALL))
    memcpy(out.history, m.chain.history, HISTORY_BYTES)
    out.applied = data_position(m)
    out.boundary_count = log_boundaries(&m.chain.log, out.applied, unlogged_epoch(m), out.boundaries)
    out.record = m.disk.record
    out.numbered = m.effects.numbers.newest
    out.keys = RedisModule_DbSize(m.ctx)
    out.checkpoint.tracked = m.checkpoint.tracking
    out.checkpoint.watermark = m.checkpoint.since
    out.checkpoint.incomplete = m.checkpoint.incomplete
    out.checkpoint.others = m.checkpoint.others
    out.newer = memtable_keys(&m.checkpoint) if m.checkpoint.tracking else 0
    out.kept = m.clients.once.count


cdef bint snapshot_next(Newer *newer) noexcept nogil:
    """Fill in the next dirty key; returns False after the last.

    The frozen memtable comes first: the other's updates are newer, and the reader lets the last of a key count.
    """
    cdef const Checkpoint *c = &the_member().checkpoint
    cdef uint64_t frozen = c.frozen.count if c.frozen != NULL else 0
    cdef const MemtableEntry *entry
    if newer.index == frozen + c.memtable.count:
        return False
    if newer.index < frozen:
        entry = memtable_at(c.frozen, newer.index)
    else:
        entry = memtable_at(c.memtable, newer.index - frozen)
    newer.index += 1
    newer.key = entry.bytes
    newer.length = entry.length
    newer.sn = entry.sn
    newer.deleted = entry.kind == MEMTABLE_DELETED
    return True


cdef void snapshot_next_kept(Kept *kept) noexcept nogil:
    cdef const OnceRecord *record = <const OnceRecord *>kept.next
    if record == NULL:
        record = the_member().clients.once.oldest
    kept.id = record.id
    kept.id_length = record.id_length
    kept.sequence = record.sequence
    kept.digest = record.digest
    kept.reply = record.reply if record.reply_length else record.id     # an empty string needs an address, too
    kept.reply_length = record.reply_length
    kept.next = record.newer


cdef bint snapshot_take_kept(const Kept *kept) noexcept nogil:
    """Keep one loaded reply, from now on as long as one of now."""
    cdef Member *m = the_member()
    cdef OnceTable *table = &m.clients.once
    cdef char *reply
    if not m.clients.once_loading:
        return True
    if (not 1 <= kept.id_length <= ONCE_ID_BYTES or kept.sequence < 1
            or once_find(table, kept.id, kept.id_length) != NULL or not once_prepare(table)):
        return False
    reply = once_copy(kept.reply, kept.reply_length)
    once_put(table, kept.id, kept.id_length, kept.sequence, kept.digest, reply,
             kept.reply_length if reply != NULL else 0, m.now_ms)
    return True


cdef void take_record(Member *m, const Record *loaded) noexcept nogil:
    """Take over the record of the view that was loaded.

    Data of another server carries that server's record, which is ignored. An RDB does not say what was applied after it
    was written, so its record is never durable.
    """
    if m.disk.source == SOURCE_OTHERS:
        return
    m.disk.record = loaded[0]
    if m.disk.source != SOURCE_AOF:
        m.disk.record.durable = False


cdef void take_checkpoint(Member *m, const Position *position) noexcept nogil:
    """Prepare the memtable for the keys that are newer than the checkpoint that the data belongs to.

    That checkpoint is this member's own (`recover`), or one that is still to be copied (`fetch_begin`).
    """
    track_end(m)
    if position.checkpoint.tracked:
        track_resume(m)
        m.checkpoint.since = position.checkpoint.watermark
        m.checkpoint.incomplete = position.checkpoint.incomplete
        m.checkpoint.others = position.checkpoint.others
    else:
        track_loaded_data(m)


cdef void snapshot_take(const Newer *newer) noexcept nogil:
    """Put one loaded dirty key into the memtable."""
    cdef Checkpoint *c = &the_member().checkpoint
    cdef RedisModuleString *key
    if c.tracking and c.loading:
        key = RedisModule_CreateString(NULL, newer.key, newer.length)
        track_loaded(c, key, newer.sn, newer.deleted)
        let_go(key)


cdef bint snapshot_load(const Position *position) noexcept nogil:
    """Take over the position of data that is being loaded. Returns False if it is invalid: Redis then rejects the RDB.

    A position is ignored in a server that is a member, and in a plain replica of Redis.
    """
    cdef Member *m = the_member()
    cdef uint8_t history[HISTORY_BYTES]
    m.clients.once_loading = False
    if chain_role(&m.chain) == ROLE_ALONE and m.disk.source == SOURCE_OTHERS and m.disk.started:
        RedisModule_Log(m.ctx, "warning", "this server follows a chain's member as a replica of Redis's own: it gets a "
                        "copy of that member's memory, and no place in the chain")
        m.checkpoint.loading = False
        return True
    if chain_role(&m.chain) != ROLE_ALONE and not (
            chain_role(&m.chain) == ROLE_LEARNER and m.membership.join == JOIN_COPYING):
        RedisModule_Log(m.ctx, "warning", "a snapshot was loaded into a member of a chain: its position is ignored")
        m.checkpoint.loading = False
        return True
    empty_log(m)
    memcpy(history, position.history, HISTORY_BYTES)
    if m.disk.source != SOURCE_OTHERS:
        marker_renames(m, history, position.applied)
    if durability_restore(
        &m.chain, history, position.applied, position.boundaries, position.boundary_count,
    ) != ACCEPTED:
        return False
    take_record(m, &position.record)
    m.effects.numbers.newest = position.numbered
    m.effects.numbers.count = 0
    # With an RDB that is no append-only file's, Redis itself loads the database of its stream.
    m.effects.database = DATABASE_UNKNOWN if m.disk.source == SOURCE_AOF else DATABASE_KNOWN
    take_checkpoint(m, position)
    m.disk.missing = False
    m.membership.copied_keys = position.keys
    m.membership.snapshot_loaded = True
    m.checkpoint.loading = True
    m.clients.once_loading = True
    once_clear(&m.clients.once)
    return True


cdef bint snapshot_register(RedisModuleCtx *ctx) noexcept nogil:
    """Register the handlers of the position in the RDB. Returns False if Redis refuses."""
    cdef PositionHandlers handlers
    handlers.save = snapshot_save
    handlers.load = snapshot_load
    handlers.next = snapshot_next
    handlers.take = snapshot_take
    handlers.next_kept = snapshot_next_kept
    handlers.take_kept = snapshot_take_kept
    return position_register(ctx, &handlers)
