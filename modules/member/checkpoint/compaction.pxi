# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Compaction: the writer removes superseded records from the database, in parts, so that checkpoints can run between.
#
# It is due when as many records were written since the last compaction as that compaction left, and about half of all
# records are superseded. So a checkpoint has at most about twice the records that the last compaction left, or 100,000,
# and compaction reads at most two for each one that it removes: none where keys are new. How many are superseded is an
# estimate (`Distinct`), which begins with an empty database, or with the first compaction.
#
# In the end files of values go of which little is left (gathering.pxi).

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport strcmp

from modules.bindings.leveldb cimport (
    leveldb_iter_next, leveldb_iter_seek, leveldb_iterator_t, leveldb_writebatch_create, leveldb_writebatch_delete,
    leveldb_writebatch_destroy, leveldb_writebatch_t,
)
from modules.bindings.redismodule cimport RedisModule_Log
from modules.core.checkpoint.record_format cimport (
    RECORD_DAMAGED, RECORD_DELETED, RecordKind, is_record, of_same_key, record_kind, record_sn,
)
from modules.member.state.checkpoint cimport Checkpoint, Database, Job, TEXT_BYTES, ValueFiles
from modules.member.state.member cimport Member, the_member

cdef enum:
    SWEEP_LEAST = 100000        # records; below this number, compaction is not worth its cost
    SWEEP_STEPS = 50000         # records read in one part


cdef struct Sweep:
    Job job
    Database *database
    uint64_t opened             # which opening of the database this is of; 0: it has not begun
    uint64_t before             # records in the database when the compaction began
    uint64_t left               # records kept so far
    uint64_t records            # records in the database when the compaction has ended
    Buffer cursor               # record key at which the next part begins
    Buffer newest               # key of the last record that was the newest of its key
    bint compacted              # all records are, on the disk
    bint ended
    # ---- of the files of values
    bint gathering              # their turn has come
    uint32_t files              # files below this number may go
    uint64_t *live              # the bytes of each of these that records name; UINT64_MAX: it is to go
    ValueFiles read
    Buffer value
    char error[TEXT_BYTES]


cdef void sweep_free(Sweep *sweep) noexcept nogil:
    free(sweep.cursor.bytes)
    free(sweep.newest.bytes)
    free(sweep.live)
    free(sweep.value.bytes)
    value_files_close(&sweep.read)
    free(sweep)


cdef bint is_superfluous(Sweep *sweep, const Row *row, RecordKind kind) noexcept nogil:
    """Returns whether a record can be removed: it is a deletion, or not the newest record of its key. Records above the
    watermark are kept.
    """
    if record_sn(row.key, row.key_bytes) > sweep.database.meta.watermark:
        return False
    if of_same_key(row.key, row.key_bytes, sweep.newest.bytes, sweep.newest.length):
        return True
    if not buffer_set(&sweep.newest, row.key, row.key_bytes):
        return False
    return kind == RECORD_DELETED


cdef bint sweep_part(Sweep *sweep, leveldb_iterator_t *iterator, leveldb_writebatch_t *batch) noexcept nogil:
    """Compact one part. Returns False without memory, or at a damaged record.

    A part ends between two keys, so that a deletion is never removed before the older records of its key.
    """
    cdef Row row
    cdef RecordKind kind
    cdef int64_t steps = 0
    while row_at(iterator, &row):
        kind = record_kind(row.value, row.value_bytes)
        if not is_record(row.key, row.key_bytes) or kind == RECORD_DAMAGED:
            return damaged(sweep.error, "a record is none")
        if steps >= SWEEP_STEPS and not of_same_key(row.key, row.key_bytes, sweep.newest.bytes, sweep.newest.length):
            return buffer_set(&sweep.cursor, row.key, row.key_bytes)
        steps += 1
        if is_superfluous(sweep, &row, kind):
            leveldb_writebatch_delete(batch, row.key, row.key_bytes)
        else:
            sweep.left += 1
            note_kept(sweep.database, row.key, row.key_bytes)
            note_live(sweep, &row, kind)
        leveldb_iter_next(iterator)
    sweep.cursor.length = 0
    return True


cdef void count_left(Sweep *sweep, leveldb_writebatch_t *batch) noexcept nogil:
    """Update the counts in the meta record. Records that were written during the compaction count as kept."""
    keys_counted(sweep.database)
    sweep.database.meta.swept = sweep.left
    sweep.database.meta.records = sweep.left + sweep.database.meta.records - sweep.before
    sweep.records = sweep.database.meta.records
    put_meta(batch, &sweep.database.meta)


cdef leveldb_iterator_t *scan_from_cursor(Sweep *sweep) noexcept nogil:
    cdef leveldb_iterator_t *iterator = database_scan(sweep.database, NULL, False)
    if sweep.cursor.length:
        leveldb_iter_seek(iterator, sweep.cursor.bytes, sweep.cursor.length)
    else:
        leveldb_iter_seek(iterator, b"\x01", 1)
    return iterator


cdef bint compact(Sweep *sweep) noexcept nogil:
    """Compact one part. Returns whether the sweep goes on."""
    cdef leveldb_iterator_t *iterator = scan_from_cursor(sweep)
    cdef leveldb_writebatch_t *batch = leveldb_writebatch_create()
    cdef bint good = sweep_part(sweep, iterator, batch)
    good = scan_ended(iterator, sweep.error) and good
    sweep.gathering = not sweep.cursor.length
    if good and sweep.gathering:
        count_left(sweep, batch)
    good = good and database_write(sweep.database, batch, sweep.error)
    leveldb_writebatch_destroy(batch)
    sweep.compacted = good and sweep.gathering
    return good and (not sweep.gathering or choose_files(sweep))


cdef bint sweep_begin(Sweep *sweep) noexcept nogil:
    cdef Database *d = sweep.database
    sweep.opened = d.opened
    sweep.before = d.meta.records
    forget_keys(d)
    return count_files(sweep)


cdef bint may_sweep(const Sweep *sweep) noexcept nogil:
    cdef const Database *d = sweep.database
    if d.db == NULL or d.spoilt or not d.meta.found or d.stopping:
        return False
    return not sweep.opened or sweep.opened == d.opened


cdef void run_sweep(Job *job) noexcept nogil:
    cdef Sweep *sweep = <Sweep *>job
    cdef bint more = may_sweep(sweep) and (sweep.opened or sweep_begin(sweep))
    sweep.ended = not more or not (gather(sweep) if sweep.gathering else compact(sweep))


cdef void sweep_failed(Member *m, const char *why) noexcept nogil:
    """Note why superseded records or values stay. The same reason is logged once, not after each checkpoint."""
    cdef Checkpoint *c = &m.checkpoint
    if strcmp(c.sweep_error, why) != 0:
        RedisModule_Log(m.ctx, "warning", "the checkpoint keeps what is superseded: %s", why)
    snprintf(c.sweep_error, TEXT_BYTES, "%s", why)


cdef void sweep_ended(Member *m, const Sweep *sweep) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    c.sweeping = False
    if sweep.compacted:
        c.sweeps += 1
        c.records = sweep.records
    if sweep.error[0]:
        sweep_failed(m, sweep.error)
    elif sweep.compacted:
        c.sweep_error[0] = 0


cdef void done_sweep(Job *job) noexcept nogil:
    """Queue the next part after the jobs that wait for the writer, or finish the compaction."""
    cdef Sweep *sweep = <Sweep *>job
    cdef Member *m = the_member()
    if not sweep.ended:
        worker_put(&m.checkpoint.writer, &sweep.job)
        return
    sweep_ended(m, sweep)
    sweep_free(sweep)


cdef void sweep_if_due(Checkpoint *c, uint64_t records, uint64_t swept) noexcept nogil:
    cdef Sweep *sweep
    if c.sweeping or records < swept + max(swept, <uint64_t>SWEEP_LEAST):
        return
    sweep = <Sweep *>calloc(1, sizeof(Sweep))
    if sweep == NULL:
        return
    sweep.job.run = run_sweep
    sweep.job.done = done_sweep
    sweep.database = &c.database
    c.sweeping = True
    worker_put(&c.writer, &sweep.job)
