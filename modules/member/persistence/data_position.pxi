# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# In a chain of all commands, the position of this server's data in the stream of effects, and its record in the
# append-only file.
#
# Redis itself writes the effects into the file. The record after them says how far they go in the stream: before the
# event loop sleeps, and so before Redis writes what this pass has executed. What a file has behind its last record is
# cut off at the next start (`startup/aof_cut.pxi`).

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtol, strtoll
from libc.string cimport strstr

from modules.bindings.redismodule cimport (
    RedisModuleCallReply, RedisModule_Call, RedisModule_CallReplyArrayElement, RedisModule_CallReplyInteger,
    RedisModule_CallReplyLength, RedisModule_CallReplyStringPtr, RedisModule_Replicate,
)
from modules.core.chain cimport chain_executed
from modules.core.durability cimport durability_may_claim
from modules.core.hex cimport to_hex
from modules.core.invariant cimport INVARIANT
from modules.core.log cimport Boundary, MAX_BOUNDARIES, log_boundaries
from modules.core.view cimport HISTORY_BYTES
from modules.member.state.effects cimport DATABASE_UNKNOWN
from modules.member.state.member cimport Member
from modules.server.redis_calls cimport drop_reply, info_field


# ------------------------------------------------------------------------------------------------ the position

cdef int64_t server_offset(Member *m) noexcept nogil:
    """Returns the replication offset that this server's data has reached; -1 while it is a replica without a link."""
    cdef RedisModuleCallReply *reply
    cdef RedisModuleCallReply *last
    cdef int64_t offset = -1
    m.keyspace.own_call = True
    reply = RedisModule_Call(m.ctx, "ROLE", "")
    m.keyspace.own_call = False
    if reply != NULL:
        last = RedisModule_CallReplyArrayElement(reply, 4 if RedisModule_CallReplyLength(reply) == 5 else 1)
        if last != NULL:
            offset = RedisModule_CallReplyInteger(last)
    drop_reply(reply)
    return offset


cdef int64_t data_position(Member *m) noexcept nogil:
    """Returns the newest update that the data has at this moment, which may be later in a pass than the last look."""
    cdef char text[32]
    cdef int64_t offset
    if not m.chain.log.streams:
        return m.chain.applied
    if not m.effects.placed:
        return chain_executed(&m.chain)
    offset = server_offset(m)
    if offset < 0 and info_field(m.ctx, "replication", "slave_repl_offset", text, sizeof(text)):
        offset = strtoll(text, NULL, 10)
    return max(m.chain.executed, offset + m.effects.shift - 1)


cdef int64_t unlogged_epoch(const Member *m) noexcept nogil:
    """Returns the epoch of what this server has executed and its log does not have. Only a head has such effects.

    -1: a view without this head has come since, and nothing of that is of the new epoch, in which others write. Such
    effects count as of the newest epoch in the log, so that no restart makes them a prefix of what the others have.
    """
    return m.chain.view.epoch if m.effects.leads and m.chain.me == 0 else -1


cdef int stream_database(Member *m) noexcept nogil:
    """Returns the database that the stream has selected at the position of the data, or DATABASE_UNKNOWN.

    At a head the tap knows, when it has read everything; elsewhere Redis does, of the client that is its master.
    """
    cdef RedisModuleCallReply *reply
    cdef const char *line
    cdef const char *field = NULL
    cdef char id[24]
    cdef size_t length
    cdef int database = DATABASE_UNKNOWN
    if m.effects.leads:
        return m.effects.tap.scanner.database if m.chain.executed == m.chain.applied else DATABASE_UNKNOWN
    if m.effects.offset < m.effects.selected_at:
        return m.effects.database
    if m.effects.master_client == 0:
        return DATABASE_UNKNOWN
    snprintf(id, sizeof(id), "%llu", m.effects.master_client)
    reply = RedisModule_Call(m.ctx, "CLIENT", "ccc", b"LIST", b"ID", &id[0])
    line = RedisModule_CallReplyStringPtr(reply, &length) if reply != NULL else NULL
    if line != NULL and length > 3:
        field = strstr(line, " db=")
    if field != NULL:
        database = <int>strtol(field + 4, NULL, 10)
    drop_reply(reply)
    return database


# -------------------------------------------------------------------------------------------------- the record

cdef bint is_position_due(const Member *m) noexcept nogil:
    return (m.disk.recording and m.effects.placed and m.chain.log.streams
            and (m.chain.executed != m.disk.positioned or m.disk.position_due))


cdef void note_database(Member *m) noexcept nogil:
    """Record the position again, if its record lacks the database and that is known by now."""
    if (m.disk.recording and m.disk.positioned_database == DATABASE_UNKNOWN and m.disk.positioned == m.chain.executed
            and m.chain.log.streams and stream_database(m) != DATABASE_UNKNOWN):
        m.disk.position_due = True


cdef void record_position(Member *m) noexcept nogil:
    """Write CHAIN.RECORD.EXECUTED executed database [history count boundaries epoch run_id durable numbered].

    The bracketed part is written when it has changed. Boundaries are written as they are in memory.
    """
    cdef Boundary boundaries[MAX_BOUNDARIES]
    cdef char history[2 * HISTORY_BYTES + 1]
    cdef int64_t executed = data_position(m) if m.disk.record_due else m.chain.executed
    cdef int count = log_boundaries(&m.chain.log, executed, unlogged_epoch(m), boundaries)
    cdef int64_t epoch = boundaries[count - 1].epoch if count else -1
    cdef bint whole = m.disk.record_due or epoch != m.disk.positioned_epoch
    cdef bint claims = m.disk.record.durable and durability_may_claim(&m.chain)
    m.disk.positioned_database = stream_database(m)
    if whole:
        INVARIANT(
            m.disk.waits or not m.disk.record.durable,
            "rule 3: a member claims to be durable only if its updates wait for its disk")
        to_hex(m.chain.history, HISTORY_BYTES, history)
        RedisModule_Replicate(
            m.ctx, "CHAIN.RECORD.EXECUTED", "Rllclblcll", <long long>executed,
            <long long>m.disk.positioned_database, &history[0], <long long>count, <const char *>&boundaries[0],
            <size_t>count * sizeof(Boundary), <long long>m.disk.record.epoch, &m.disk.record.run_id[0],
            <long long>claims, <long long>m.effects.numbers.newest)
    else:
        RedisModule_Replicate(m.ctx, "CHAIN.RECORD.EXECUTED", "Rll", <long long>executed,
                              <long long>m.disk.positioned_database)
    m.disk.positioned = executed
    m.disk.positioned_epoch = epoch
    m.disk.record_due = whole and claims != m.disk.record.durable       # it will be, when the server has executed more
    m.disk.position_due = False
