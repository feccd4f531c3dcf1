# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Records in the append-only file: updates, one record for each batch, and each place that this member takes in the
# chain.
#
# The module propagates the records to the file only, not to native replicas. Redis allows that in commands and in
# events, but not in socket callbacks. What becomes due in a socket callback is recorded in the before-sleep event.
# Redis writes the file after that event.

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport (
    RedisModuleString, RedisModule_AvoidReplicaTraffic, RedisModule_CreateString, RedisModule_Replicate,
    RedisModule_StringAppendBuffer, RedisModule_StringPtrLen,
)
from modules.core.chain cimport chain_is_all
from modules.core.durability cimport durability_next_record, durability_note_recorded
from modules.core.hex cimport to_hex
from modules.core.invariant cimport INVARIANT
from modules.core.log cimport Boundary, log_at
from modules.core.messages cimport Batch
from modules.core.view cimport HISTORY_BYTES
from modules.core.wire cimport Packed
from modules.member.keyspace.log_entries cimport entry_read
from modules.member.keyspace.values cimport let_go
from modules.member.persistence.batch_codec cimport (
    BATCH_BYTES, long_value, pack_batch, packed, packing_over, packing_room,
)
from modules.member.state.member cimport Member


cdef RedisModuleString *record_payload(Member *m, const Batch *batch) noexcept nogil:
    """Returns the encoded batch as a new string, which the caller frees."""
    cdef RedisModuleString *value = long_value(m, batch)
    cdef RedisModuleString *payload = RedisModule_CreateString(NULL, packed(m), pack_batch(m, batch))
    cdef size_t length
    cdef const char *bytes
    if value != NULL:
        bytes = RedisModule_StringPtrLen(value, &length)
        RedisModule_StringAppendBuffer(NULL, payload, bytes, length)
    return payload


cdef bint record_batch(Member *m, const Batch *batch) noexcept nogil:
    """Write CHAIN.RECORD assigned first count payload. Returns False without memory for the payload."""
    cdef RedisModuleString *payload
    if not packing_room(m, batch):
        return False
    payload = record_payload(m, batch)
    packing_over(m)
    RedisModule_Replicate(m.ctx, "CHAIN.RECORD", "Rllls", <long long>batch.assigned, <long long>batch.first,
                          <long long>batch.count, payload)
    let_go(payload)
    return True


cdef bint record_alone(Member *m, const Batch *batch) noexcept nogil:
    """Write native SET and DEL commands. Without a history there are no positions, and native writes stand in the file,
    too; the order of both is kept.
    """
    cdef Packed update
    cdef int64_t sn
    for sn in range(batch.first, batch.first + batch.count):
        entry_read(log_at(&m.chain.log, sn), &update)
        if update.value != NULL:
            RedisModule_Replicate(m.ctx, "SET", "Rbb", update.key, <size_t>update.key_bytes, update.value,
                                  <size_t>update.value_bytes)
        else:
            RedisModule_Replicate(m.ctx, "DEL", "Rb", update.key, <size_t>update.key_bytes)
    return True


cdef void record_place(Member *m) noexcept nogil:
    """Write CHAIN.RECORD.PLACE history applied count boundaries epoch run_id durable.

    The boundaries are written as they are in memory.
    """
    cdef char history[2 * HISTORY_BYTES + 1]
    cdef int count = m.chain.log.boundary_count
    INVARIANT(
        m.disk.waits or not m.disk.record.durable,
        "rule 3: a member claims to be durable only if its updates wait for its disk")
    to_hex(m.chain.history, HISTORY_BYTES, history)
    RedisModule_Replicate(
        m.ctx, "CHAIN.RECORD.PLACE", "Rcllblcl", &history[0], <long long>m.chain.applied, <long long>count,
        <const char *>&m.chain.log.boundaries[0], <size_t>count * sizeof(Boundary),
        <long long>m.disk.record.epoch, &m.disk.record.run_id[0], <long long>m.disk.record.durable)
    m.disk.record_due = False


cdef bint is_record_due(const Member *m) noexcept nogil:
    """Returns whether an update, a position, or a change of the place, is not in the append-only file yet."""
    return m.chain.recorded < m.chain.applied or m.disk.record_due or is_position_due(m)


cdef int64_t recorded_up_to(const Member *m) noexcept nogil:
    """Returns the newest update that Redis has for its file, to be written before the event loop sleeps."""
    return m.disk.positioned if m.chain.log.streams else m.chain.recorded


cdef void record(Member *m) noexcept nogil:
    """Record everything that is due. Records nothing while clients are paused: Redis aborts if a module propagates
    then.
    """
    cdef Batch batch
    m.disk.hindered = not m.disk.recording or RedisModule_AvoidReplicaTraffic()
    if m.disk.hindered:
        return
    if chain_is_all(&m.chain):
        record_position(m)
        return
    while not m.disk.hindered and durability_next_record(&m.chain, BATCH_BYTES, &batch):
        m.disk.hindered = not (record_batch(m, &batch) if m.chain.has_history else record_alone(m, &batch))
        if not m.disk.hindered:
            durability_note_recorded(&m.chain, &batch)
    if not m.disk.hindered and m.disk.record_due and m.chain.has_history:
        record_place(m)
