# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Writes a checkpoint: on the writer thread, in batches of bounded size and in the order of the keys, from a frozen
# memtable that no thread changes. Long values go to files (values.pxi).
#
# The values in the table are Redis strings. The writer thread reads their bytes. Only the main thread may change their
# reference counts.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from modules.bindings.leveldb cimport (
    leveldb_writebatch_clear, leveldb_writebatch_create, leveldb_writebatch_delete, leveldb_writebatch_destroy,
    leveldb_writebatch_put, leveldb_writebatch_t,
)
from modules.bindings.redismodule cimport RedisModuleString, RedisModule_StringPtrLen
from modules.core.checkpoint.key_order cimport Ordered, memtable_in_order
from modules.core.checkpoint.memtable cimport MEMTABLE_VALUE, Memtable, MemtableEntry
from modules.core.checkpoint.record_format cimport (
    APART_RECORD_BYTES, CHUNK_HEADER, CHUNK_KEY_BYTES, FORMAT_APART, FORMAT_INLINE, Meta, chunk_prefix,
    put_big_endian, record_key, record_key_room,
)
from modules.core.hints cimport fetch_line
from modules.member.state.checkpoint cimport Database, Job, TEXT_BYTES

cdef enum:
    CHUNK_BYTES = 4 * 1024 * 1024       # of a batch; a longer record has a batch of its own
    FETCHED_AHEAD = 8           # records between two steps from an entry to its value's bytes
    FETCHED_LINES = 9           # of a value, which is 512 bytes; of a longer one the processor goes on by itself
    LINE_BYTES = 64             # of the processor's cache


cdef struct WriteJob:
    Job job
    Database *database
    const Memtable *table
    int64_t before              # the watermark that the database must have
    Meta meta                   # the meta record to be written; `run_write` sets the counts of records
    bint sweep_pays             # afterwards about half of the records are superseded, or more
    bint good
    char error[TEXT_BYTES]


cdef struct Batches:
    # The batch that is being filled, and what it needs.
    WriteJob *write
    leveldb_writebatch_t *batch
    size_t bytes
    Buffer names                # content of the batch's chunk record: the names of its records
    Buffer record
    uint32_t chunks             # chunks written so far


cdef bint buffer_room(Buffer *buffer, size_t more) noexcept nogil:
    """Make room for `more` bytes behind the content. Returns False without memory."""
    cdef char *grown
    if buffer.length + more <= buffer.room:
        return True
    grown = <char *>realloc(buffer.bytes, 2 * (buffer.length + more))
    if grown == NULL:
        return False
    buffer.bytes = grown
    buffer.room = 2 * (buffer.length + more)
    return True


cdef bint buffer_set(Buffer *buffer, const char *bytes, size_t length) noexcept nogil:
    """Copy the bytes into the buffer. Returns False without memory. `buffer.bytes` is not NULL afterwards, even for
    length 0.
    """
    buffer.length = 0
    if not buffer_room(buffer, length + 1):
        return False
    memcpy(buffer.bytes, bytes, length)
    buffer.length = length
    return True


cdef void chunk_key(uint32_t number, char *out) noexcept nogil:
    memcpy(out, chunk_prefix(), CHUNK_PREFIX_BYTES)
    put_big_endian(&out[CHUNK_PREFIX_BYTES], number, 4)


cdef void begin_names(Batches *b) noexcept nogil:
    put_big_endian(b.names.bytes, <uint64_t>b.write.meta.after, 8)
    put_big_endian(&b.names.bytes[8], <uint64_t>b.write.meta.watermark, 8)
    b.names.length = CHUNK_HEADER


cdef bint write_chunk(Batches *b) noexcept nogil:
    """Write the batch to the disk, with a chunk record that names its records: if the checkpoint is not completed,
    `undo_torn` deletes them. Returns False on an error.
    """
    cdef char key[CHUNK_KEY_BYTES]
    cdef bint good
    chunk_key(b.chunks, key)
    leveldb_writebatch_put(b.batch, key, CHUNK_KEY_BYTES, b.names.bytes, b.names.length)
    good = database_write(b.write.database, b.batch, b.write.error)
    leveldb_writebatch_clear(b.batch)
    b.bytes = 0
    b.chunks += 1
    begin_names(b)
    return good


cdef void name_record(Batches *b, size_t key_bytes) noexcept nogil:
    put_big_endian(&b.names.bytes[b.names.length], key_bytes, 4)
    memcpy(&b.names.bytes[b.names.length + 4], b.record.bytes, key_bytes)
    b.names.length += 4 + key_bytes


cdef bint put_record(Batches *b, const MemtableEntry *entry) noexcept nogil:
    """Add one record to the batch, and its value to a file if the value is long. Returns False on an error."""
    cdef size_t length = 0
    cdef const char *bytes = NULL
    cdef size_t key_bytes
    cdef size_t record_bytes
    if entry.kind == MEMTABLE_VALUE:
        bytes = RedisModule_StringPtrLen(<const RedisModuleString *>entry.value, &length)
    record_bytes = APART_RECORD_BYTES if is_apart(length) else 1 + length
    b.record.length = 0
    if (not buffer_room(&b.record, record_key_room(entry.length) + record_bytes)
            or not buffer_room(&b.names, record_key_room(entry.length) + 4)):
        return damaged(b.write.error, "no memory for what is to be written")
    key_bytes = record_key(b.record.bytes, entry.bytes, entry.length, entry.sn)
    name_record(b, key_bytes)
    note_written(b.write.database, b.record.bytes, key_bytes, bytes == NULL)
    if is_apart(length):
        b.write.meta.format = FORMAT_APART
        if not value_append(b.write.database, bytes, length, &b.record.bytes[key_bytes], b.write.error):
            return False
    elif bytes != NULL:
        b.record.bytes[key_bytes] = c"v"
        memcpy(&b.record.bytes[key_bytes + 1], bytes, length)
    else:
        b.record.bytes[key_bytes] = c"d"
    leveldb_writebatch_put(b.batch, b.record.bytes, key_bytes, &b.record.bytes[key_bytes], record_bytes)
    b.bytes += key_bytes + record_bytes
    return True


cdef void fetch_value(const MemtableEntry *entry) noexcept nogil:
    cdef uint64_t bytes
    cdef int i
    if entry.value == NULL:
        return
    bytes = <uint64_t>RedisModule_StringPtrLen(<const RedisModuleString *>entry.value, NULL)
    for i in range(FETCHED_LINES):
        fetch_line(bytes - 1 + i * LINE_BYTES)


cdef void fetch_ahead(const Ordered *ordered, uint64_t at, uint64_t count) noexcept nogil:
    """Fetch what the next records are made of into the processor's cache: it was written long ago, and lies scattered.
    """
    if at + 3 * FETCHED_AHEAD < count:
        fetch_line(<uint64_t>ordered[at + 3 * FETCHED_AHEAD].entry)
    if at + 2 * FETCHED_AHEAD < count:
        fetch_line(<uint64_t>ordered[at + 2 * FETCHED_AHEAD].entry.value)
        fetch_line(<uint64_t>ordered[at + 2 * FETCHED_AHEAD].entry.bytes)
    if at + FETCHED_AHEAD < count:
        fetch_value(ordered[at + FETCHED_AHEAD].entry)


cdef bint write_in_order(Batches *b, const Ordered *ordered) noexcept nogil:
    """Write all entries of the table. The last records stay in the batch, to be written with the meta record."""
    cdef uint64_t i
    for i in range(b.write.table.count):
        fetch_ahead(ordered, i, b.write.table.count)
        if not put_record(b, ordered[i].entry):
            return False
        if b.bytes >= CHUNK_BYTES and not write_chunk(b):
            return False
        if b.write.database.stopping:
            return damaged(b.write.error, "the server is ending")
    return True


cdef bint write_entries(Batches *b) noexcept nogil:
    cdef Ordered *room = <Ordered *>malloc((2 * b.write.table.count + 1) * sizeof(Ordered))
    cdef bint good
    if room == NULL:
        return damaged(b.write.error, "no memory for what is to be written")
    good = write_in_order(b, memtable_in_order(b.write.table, room))
    free(room)
    return good


cdef bint write_last(Batches *b) noexcept nogil:
    cdef char key[CHUNK_KEY_BYTES]
    cdef uint32_t i
    for i in range(b.chunks):
        chunk_key(i, key)
        leveldb_writebatch_delete(b.batch, key, CHUNK_KEY_BYTES)
    if not put_files(b.write.database, b.batch, b.write.error):
        return False
    if not put_meta(b.batch, &b.write.meta):
        return damaged(b.write.error, "no memory for its meta record")
    return database_write(b.write.database, b.batch, b.write.error)


cdef bint write_batches(WriteJob *write) noexcept nogil:
    cdef Batches b
    cdef bint good
    memset(&b, 0, sizeof(Batches))
    b.write = write
    if not buffer_room(&b.names, CHUNK_HEADER):
        return damaged(write.error, "no memory for what is to be written")
    b.batch = leveldb_writebatch_create()
    begin_names(&b)
    good = write_entries(&b) and write_last(&b)
    leveldb_writebatch_destroy(b.batch)
    free(b.names.bytes)
    free(b.record.bytes)
    return good


cdef void confirm(WriteJob *write) noexcept nogil:
    """End a checkpoint that is on the disk, although its last write has failed: only its meta record is written again.

    If its records were written again, and torn, they would be deleted with the chunk records that name them.
    """
    cdef Database *d = write.database
    write.good = database_rename(d, write.meta.history, write.error)
    write.meta = d.meta


cdef void run_write(Job *job) noexcept nogil:
    """Write the checkpoint of a WriteJob.

    After a failed write LevelDB accepts nothing until it is opened again, which also deletes the records of the
    incomplete checkpoint.
    """
    cdef WriteJob *write = <WriteJob *>job
    cdef Database *d = write.database
    if (d.spoilt or d.db == NULL) and not database_open(d, write.error):
        return
    if d.watermark == write.meta.watermark:
        confirm(write)
        return
    if d.watermark != write.before:
        damaged(write.error, "it is not what this member left there")
        return
    write.meta.records = d.meta.records + write.table.count
    write.meta.swept = d.meta.swept
    write.meta.format = max(d.meta.format, <int>FORMAT_INLINE)
    write.good = write_batches(write)
    if write.good:
        meta_moved(d, &write.meta)
        write.sweep_pays = is_half_superseded(d, write.meta.records)
    else:
        database_spoil(d)
