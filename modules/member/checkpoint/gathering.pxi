# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Files of values of which less than half is left after a compaction: what is left is copied to the file that grows, and
# its records name the copies from then on. Then the files are removed.
#
# A file is removed only when nobody can have a record that names it. Whoever reads without a snapshot holds the mutex
# from the beginning to the end. While a learner has a snapshot, the files stay, and the next compaction finds them
# empty.

from libc.stdint cimport UINT64_MAX, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc

from modules.bindings.files cimport unlink
from modules.bindings.leveldb cimport (
    leveldb_iter_next, leveldb_iter_seek, leveldb_iterator_t, leveldb_writebatch_create, leveldb_writebatch_delete,
    leveldb_writebatch_destroy, leveldb_writebatch_put, leveldb_writebatch_t,
)
from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.core.checkpoint.record_format cimport (
    APART_RECORD_BYTES, FILE_KEY_BYTES, RECORD_APART, RecordKind, file_prefix, get_big_endian, record_kind,
)
from modules.core.checkpoint.value_place cimport ValuePlace, get_place
from modules.member.state.checkpoint cimport Database, MAX_SESSIONS

cdef enum:
    GATHERED_BYTES = 16 * 1024 * 1024       # copied in one part, about


# ------------------------------------------------------------------------------------- during the compaction

cdef bint count_files(Sweep *sweep) noexcept nogil:
    """Begin to count what is left in the files that nothing is appended to. Returns False without memory."""
    sweep.files = sweep.database.values.number
    sweep.live = <uint64_t *>calloc(<size_t>sweep.files + 1, sizeof(uint64_t))
    return sweep.live != NULL or damaged(sweep.error, "no memory to count its files")


cdef void note_live(Sweep *sweep, const Row *row, RecordKind kind) noexcept nogil:
    """Note that the record stays."""
    cdef ValuePlace place
    if kind != RECORD_APART:
        return
    get_place(row.value, &place)
    if place.file < sweep.files:
        sweep.live[place.file] += place.length


cdef bint choose_files(Sweep *sweep) noexcept nogil:
    """Mark the files of which little is left. Returns whether there is one, or False on an error."""
    cdef leveldb_iterator_t *iterator = database_scan(sweep.database, NULL, False)
    cdef Row row
    cdef uint32_t number
    cdef bint found = False
    leveldb_iter_seek(iterator, file_prefix(), FILE_PREFIX_BYTES)
    while row_at(iterator, &row) and is_file_row(&row):
        number = <uint32_t>get_big_endian(row.key + FILE_PREFIX_BYTES, 4)
        if number < sweep.files and 2 * sweep.live[number] < get_big_endian(row.value, FILE_END_BYTES):
            sweep.live[number] = UINT64_MAX
            found = True
        leveldb_iter_next(iterator)
    return scan_ended(iterator, sweep.error) and found


# ------------------------------------------------------------------------------------------------------- copying

cdef bint is_to_go(const Sweep *sweep, uint32_t number) noexcept nogil:
    return number < sweep.files and sweep.live[number] == UINT64_MAX


cdef bint copy_value(Sweep *sweep, leveldb_writebatch_t *batch, const Row *row, const ValuePlace *place) noexcept nogil:
    """Copy the value to the file that grows, and have its record name the copy. Returns False on an error.

    The file of a value that cannot be read stays, so that other files can go.
    """
    cdef char record[APART_RECORD_BYTES]
    cdef Database *d = sweep.database
    sweep.value.length = 0
    if not buffer_room(&sweep.value, place.length):
        return damaged(sweep.error, "no memory for a value of it")
    if not value_read(d, &sweep.read, place, sweep.value.bytes, sweep.error):
        sweep.live[place.file] = 0
        return True
    if (not value_append(d, sweep.value.bytes, place.length, record, sweep.error)
            or not values_flush(d, sweep.error)):
        return False
    leveldb_writebatch_put(batch, row.key, row.key_bytes, record, APART_RECORD_BYTES)
    return True


cdef bint gather_part(Sweep *sweep, leveldb_iterator_t *iterator, leveldb_writebatch_t *batch) noexcept nogil:
    """Copy one part. Afterwards the cursor is where the next part begins; empty: there is none."""
    cdef Row row
    cdef ValuePlace place
    cdef uint64_t copied = 0
    cdef int64_t steps = 0
    while row_at(iterator, &row):
        if steps >= SWEEP_STEPS or copied >= GATHERED_BYTES:
            return buffer_set(&sweep.cursor, row.key, row.key_bytes)
        steps += 1
        if record_kind(row.value, row.value_bytes) == RECORD_APART:
            get_place(row.value, &place)
            if is_to_go(sweep, place.file):
                if not copy_value(sweep, batch, &row, &place):
                    return False
                copied += place.length
        leveldb_iter_next(iterator)
    sweep.cursor.length = 0
    return True


# ------------------------------------------------------------------------------------------------------ removing

cdef bint has_sessions(Database *d) noexcept nogil:
    """Returns whether a learner may have a snapshot from before now."""
    cdef bint found = False
    cdef int i
    pthread_mutex_lock(&d.mutex)
    for i in range(MAX_SESSIONS):
        found = found or d.sessions[i].client != 0
    pthread_mutex_unlock(&d.mutex)
    return found


cdef bint unlist_files(Sweep *sweep) noexcept nogil:
    cdef leveldb_writebatch_t *batch = leveldb_writebatch_create()
    cdef char key[FILE_KEY_BYTES]
    cdef uint32_t number
    cdef bint good
    for number in range(sweep.files):
        if is_to_go(sweep, number):
            value_file_key(number, key)
            leveldb_writebatch_delete(batch, key, FILE_KEY_BYTES)
    good = database_write(sweep.database, batch, sweep.error)
    leveldb_writebatch_destroy(batch)
    return good


cdef void remove_files(Sweep *sweep) noexcept nogil:
    """Remove the marked files, which no record names any more. What an error leaves goes when the database is opened.
    """
    cdef Database *d = sweep.database
    cdef char path[PATH_BYTES]
    cdef uint32_t number
    if has_sessions(d) or not unlist_files(sweep):
        return
    for number in range(sweep.files):
        if is_to_go(sweep, number):
            pthread_mutex_lock(&d.mutex)
            value_file_forget(&d.read, number)
            pthread_mutex_unlock(&d.mutex)
            name_value_file(d, number, path)
            unlink(path)


cdef bint gather(Sweep *sweep) noexcept nogil:
    """Copy one part of what is left in the marked files, and at the end remove these. Returns whether there is more."""
    cdef Database *d = sweep.database
    cdef leveldb_iterator_t *iterator = scan_from_cursor(sweep)
    cdef leveldb_writebatch_t *batch = leveldb_writebatch_create()
    cdef bint good = gather_part(sweep, iterator, batch)
    good = scan_ended(iterator, sweep.error) and good
    good = good and put_files(d, batch, sweep.error) and database_write(d, batch, sweep.error)
    leveldb_writebatch_destroy(batch)
    if good and not sweep.cursor.length:
        remove_files(sweep)
    return good and sweep.cursor.length != 0
