# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Encodes a batch of the log into one argument, for the successor or the append-only file: updates (`core/wire.pxd`),
or the bytes of effects.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from modules.bindings.redismodule cimport RedisModuleString, RedisModule_StringPtrLen
from modules.core.effect_stream cimport stream_copy_out
from modules.core.log cimport Entry, log_at
from modules.core.memory cimport memory_give, memory_take
from modules.core.messages cimport Batch
from modules.core.wire cimport PACKED_HEADER
from modules.member.keyspace.log_entries cimport entry_long_value
from modules.member.keyspace.values cimport string_length
from modules.member.state.member cimport Member

cdef enum:
    BATCH_BYTES = 256 * 1024        # of updates in one argument; a longer update has an argument of its own
    SCRATCH_BYTES = 2 * BATCH_BYTES     # buffer size that is kept between batches
    HEADER_BYTES = 512              # room before an encoded batch, for the beginning of the message that carries it
    END_BYTES = 2                   # room behind it, for the message's end


cdef inline RedisModuleString *long_value(Member *m, const Batch *batch) noexcept nogil:
    """Returns the value of a batch that is one long update. `pack_batch` does not copy it; the value is the last part
    of the message. NULL: `pack_batch` encodes the whole batch.
    """
    if m.chain.log.streams or batch.count != 1 or batch.bytes <= BATCH_BYTES:
        return NULL
    return entry_long_value(log_at(&m.chain.log, batch.first))


cdef inline char *packed(Member *m) noexcept nogil:
    """Returns the place of an encoded batch. There is room for the rest of a message around it."""
    return &m.disk.scratch[<int>HEADER_BYTES]


cdef inline bint packing_room(Member *m, const Batch *batch) noexcept nogil:
    """Make the scratch buffer large enough for `pack_batch`. Returns False without memory.

    `batch.bytes` is enough: it counts an overhead for each update that is larger than PACKED_HEADER.
    """
    cdef const RedisModuleString *value = long_value(m, batch)
    cdef size_t bytes = HEADER_BYTES + batch.bytes - (string_length(value) if value != NULL else 0) + END_BYTES
    if bytes <= m.disk.scratch_bytes:
        return True
    memory_give(m.disk.scratch)
    m.disk.scratch_bytes = max(bytes, <size_t>SCRATCH_BYTES)
    m.disk.scratch = <char *>memory_take(m.disk.scratch_bytes)
    if m.disk.scratch == NULL:
        m.disk.scratch_bytes = 0
    return m.disk.scratch != NULL


cdef inline void packing_over(Member *m) noexcept nogil:
    """Free a scratch buffer that an update with a long key has made larger than SCRATCH_BYTES. To be called after the
    batch was sent.
    """
    if m.disk.scratch_bytes > SCRATCH_BYTES:
        memory_give(m.disk.scratch)
        m.disk.scratch = NULL
        m.disk.scratch_bytes = 0


cdef inline size_t pack_entry(char *out, const Entry *entry, bint whole) noexcept nogil:
    """Encode one update, with its value if `whole`. Returns the number of bytes written."""
    cdef size_t length = 0
    cdef const char *bytes
    cdef RedisModuleString *value = entry_long_value(entry)
    cdef size_t at
    if value != NULL:
        bytes = RedisModule_StringPtrLen(value, &length)
    at = PACKED_HEADER + entry.bytes - length
    memcpy(out, entry.key, at)
    if not whole or value == NULL:
        return at
    memcpy(&out[at], bytes, length)
    return at + length


cdef inline size_t pack_batch(Member *m, const Batch *batch) noexcept nogil:
    """Encode the batch at `packed`, where `packing_room` has made room for it. Returns the number of bytes."""
    cdef bint whole = long_value(m, batch) == NULL
    cdef size_t length = 0
    cdef int64_t sn
    if m.chain.log.streams:
        stream_copy_out(&m.chain.log.stream, batch.first, packed(m), batch.bytes)
        return batch.bytes
    for sn in range(batch.first, batch.first + batch.count):
        length += pack_entry(&packed(m)[length], log_at(&m.chain.log, sn), whole)
    return length
