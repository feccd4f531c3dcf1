# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Replay of the append-only file: the commands CHAIN.RECORD and CHAIN.RECORD.PLACE, which `aof_writer.pxi` writes.
#
# The replayed updates are a prefix of those that were applied. After a record that cannot be applied, all later
# records are ignored: they would leave a gap (rule 1).

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleString, RedisModule_DbSize, RedisModule_GetClientId, RedisModule_GetSelectedDb,
    RedisModule_Log, RedisModule_ReplyWithError,
)
from modules.core.chain cimport chain_jump
from modules.core.durability cimport durability_note_replayed, durability_on_record, durability_restore
from modules.core.hex cimport from_hex
from modules.core.log cimport Boundary, MAX_BOUNDARIES
from modules.core.membership cimport membership_forget
from modules.core.messages cimport ACCEPTED, Batch
from modules.core.view cimport HISTORY_BYTES, RUN_ID_BYTES, same_history
from modules.core.wire cimport wire_valid
from modules.member.checkpoint cimport track_end, track_loaded_data
from modules.member.membership cimport empty_log
from modules.member.persistence cimport marker_renames
from modules.member.replication cimport Text, apply_batch, argument_number, argument_text, text_copy
from modules.member.replies cimport settle
from modules.member.state.member cimport Member
from modules.server.position cimport Position

cdef extern from *:
    """
    #define CHAIN_FILE_READER UINT64_MAX    /* the id that Redis gives the client that reads the append-only file */
    """
    const uint64_t FILE_READER "CHAIN_FILE_READER"


cdef bint reads_file(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether the record must be applied: it comes from the file, and no record before it was broken.

    Other clients get an error. The reader of the file never gets one: Redis logs an error there as a critical fault.
    """
    if RedisModule_GetClientId(ctx) != FILE_READER:
        RedisModule_ReplyWithError(ctx, "ERR that is written in append-only files, and sent by nobody")
        return False
    return not m.disk.broken


cdef int replay_broken(Member *m, const char *why) noexcept nogil:
    """Log that a record cannot be applied, and ignore all later ones. Returns 0."""
    m.disk.broken = True
    m.disk.record.durable = False
    RedisModule_Log(
        m.ctx, "warning", "the append-only file holds a record that %s: it is ignored, and all after it. What is "
        "loaded ends with sn %lld", why, <long long>m.chain.applied)
    return 0


cdef int replay_misread(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Handle a record with a wrong number of arguments. Returns 0."""
    return replay_broken(m, "is none") if reads_file(m, ctx) else 0


cdef int record_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.RECORD assigned first count payload -> nothing | ERR, to any client but the reader of the file"""
    cdef Batch batch
    cdef Text payload
    cdef int64_t skip
    if not reads_file(m, ctx):
        return 0
    argument_text(argv[4], &payload)
    if (not argument_number(argv[1], &batch.assigned) or not argument_number(argv[2], &batch.first)
            or not argument_number(argv[3], &batch.count) or batch.count < 1 or RedisModule_GetSelectedDb(ctx) != 0
            or not wire_valid(payload.bytes, payload.bytes + payload.length, <uint64_t>batch.count)):
        return replay_broken(m, "is none")
    if durability_on_record(&m.chain, &batch, &skip) != ACCEPTED:
        return replay_broken(m, "does not follow on what was loaded before it")
    if not apply_batch(m, ctx, &batch, skip, payload.bytes, payload.bytes + payload.length):
        replay_broken(m, "does not fit into memory")
    durability_note_replayed(&m.chain)
    settle(m)
    return 0


# ----------------------------------------------------------------------------------------------------- places

cdef bint parse_boundaries(RedisModuleString **argv, Position *out) noexcept nogil:
    """Read a count and its packed boundaries. Returns False if they are not valid."""
    cdef int64_t count
    cdef Text text
    argument_text(argv[1], &text)
    if not argument_number(argv[0], &count) or count < 0 or count > MAX_BOUNDARIES:
        return False
    if text.length != <size_t>count * sizeof(Boundary):
        return False
    out.boundary_count = <int>count
    memcpy(out.boundaries, text.bytes, text.length)
    return True


cdef bint parse_run_id(RedisModuleString *argument, char *out) noexcept nogil:
    """Read a run_id, which may be empty. Returns False if it is neither."""
    cdef Text text
    cdef unsigned char ignored[20]
    argument_text(argument, &text)
    if text.length == 0:
        return True
    return from_hex(text.bytes, text.length, ignored, 20) and text_copy(&text, out, RUN_ID_BYTES)


cdef bint parse_place(RedisModuleString **argv, Position *out) noexcept nogil:
    cdef Text history
    cdef int64_t durable
    memset(out, 0, sizeof(Position))
    argument_text(argv[1], &history)
    if (not from_hex(history.bytes, history.length, out.history, HISTORY_BYTES)
            or not argument_number(argv[2], &out.applied) or not parse_boundaries(&argv[3], out)
            or not argument_number(argv[5], &out.record.epoch) or out.record.epoch < 0
            or not parse_run_id(argv[6], out.record.run_id) or not argument_number(argv[7], &durable)):
        return False
    out.record.durable = durable != 0
    return True


cdef bint replay_history(Member *m, RedisModuleCtx *ctx, const Position *place) noexcept nogil:
    """The server entered a chain here: the data that has been loaded is the chain's data up to the place.

    Returns False if the place contradicts what was loaded before.
    """
    if m.chain.has_history:
        if m.chain.applied >= 0 or RedisModule_DbSize(ctx) != 0:
            return False
        membership_forget(&m.chain)
    empty_log(m)
    track_end(m)
    if durability_restore(&m.chain, place.history, place.applied, place.boundaries, place.boundary_count) != ACCEPTED:
        return False
    track_loaded_data(m)
    return True


cdef int place_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.RECORD.PLACE history applied count boundaries epoch run_id durable -> as CHAIN.RECORD

    Names the history and the view to which the following records belong.
    """
    cdef Position place
    if not reads_file(m, ctx):
        return 0
    if not parse_place(argv, &place):
        return replay_broken(m, "is none")
    marker_renames(m, place.history, place.applied)
    if not m.chain.has_history or not same_history(m.chain.history, place.history):
        if not replay_history(m, ctx, &place):
            return replay_broken(m, "is of another chain")
    elif place.applied > m.chain.applied:
        return replay_broken(m, "tells of updates that are missing")
    m.disk.record = place.record
    return 0


# ------------------------------------------------------------------------- positions in chains of all commands

cdef bint parse_history(Member *m, RedisModuleString **argv, Position *out) noexcept nogil:
    """Read the seven arguments after executed and database."""
    cdef Text history
    cdef int64_t durable
    argument_text(argv[0], &history)
    if (not from_hex(history.bytes, history.length, out.history, HISTORY_BYTES)
            or not parse_boundaries(&argv[1], out) or not argument_number(argv[3], &out.record.epoch)
            or out.record.epoch < 0 or not parse_run_id(argv[4], out.record.run_id)
            or not argument_number(argv[5], &durable) or not argument_number(argv[6], &out.numbered)):
        return False
    out.record.durable = durable != 0
    marker_renames(m, out.history, out.applied)
    return True


cdef bint replay_position(Member *m, RedisModuleCtx *ctx, const Position *position) noexcept nogil:
    """Returns False if the position cannot be that of the data which was loaded before it."""
    if not m.chain.has_history or not same_history(m.chain.history, position.history):
        return replay_history(m, ctx, position)
    if position.applied < m.chain.applied:
        return False
    return durability_restore(
        &m.chain, position.history, position.applied, position.boundaries, position.boundary_count) == ACCEPTED


cdef int executed_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.RECORD.EXECUTED executed database [history count boundaries epoch run_id durable numbered] -> as
    CHAIN.RECORD

    The effects in the file up to here are those of the stream up to `executed`. Without the second part, that of the
    record before it holds.
    """
    cdef Position position
    cdef int64_t database
    if not reads_file(m, ctx):
        return 0
    memset(&position, 0, sizeof(Position))
    if not argument_number(argv[1], &position.applied) or not argument_number(argv[2], &database):
        return replay_broken(m, "is none")
    if argc == 10:
        if not parse_history(m, &argv[3], &position):
            return replay_broken(m, "is none")
        if not replay_position(m, ctx, &position):
            return replay_broken(m, "does not follow on what was loaded before it")
        m.disk.record = position.record
        m.effects.numbers.newest = position.numbered
        m.effects.numbers.count = 0
    elif not m.chain.has_history or position.applied < m.chain.applied:
        return replay_broken(m, "does not follow on what was loaded before it")
    else:
        chain_jump(&m.chain, position.applied)
    m.effects.database = <int>database
    return 0
