# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The LevelDB database, for the worker threads: opening, repair after an incomplete checkpoint, emptying.
#
# Only the writer thread changes the database. It holds the mutex to replace the handle and to change the watermark. The
# reader thread holds the mutex while it reads, so that neither changes meanwhile.

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset, strstr

from modules.bindings.leveldb cimport (
    leveldb_cache_create_lru, leveldb_close, leveldb_create_iterator, leveldb_destroy_db, leveldb_free, leveldb_get,
    leveldb_iter_destroy, leveldb_iter_get_error, leveldb_iter_key, leveldb_iter_next, leveldb_iter_seek,
    leveldb_iter_valid, leveldb_iter_value, leveldb_iterator_t, leveldb_no_compression, leveldb_open,
    leveldb_options_create, leveldb_options_set_block_size, leveldb_options_set_cache, leveldb_options_set_compression,
    leveldb_options_set_create_if_missing, leveldb_options_set_max_file_size, leveldb_options_set_max_open_files,
    leveldb_options_set_paranoid_checks, leveldb_options_set_write_buffer_size, leveldb_readoptions_create,
    leveldb_readoptions_destroy, leveldb_readoptions_set_fill_cache, leveldb_readoptions_set_snapshot,
    leveldb_readoptions_set_verify_checksums, leveldb_readoptions_t, leveldb_release_snapshot, leveldb_snapshot_t,
    leveldb_write, leveldb_writebatch_create, leveldb_writebatch_delete, leveldb_writebatch_destroy,
    leveldb_writebatch_put, leveldb_writebatch_t, leveldb_writeoptions_create, leveldb_writeoptions_set_sync,
)
from modules.bindings.libc cimport F_OK, access
from modules.bindings.pthread cimport pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock
from modules.bindings.redismodule cimport RedisModule_GetRandomBytes
from modules.core.checkpoint.distinct cimport Distinct, distinct_at_most, distinct_note
from modules.core.checkpoint.memtable cimport key_hash
from modules.core.checkpoint.record_format cimport (
    CHUNK_HEADER, META_BYTES, META_KEY_BYTES, Meta, NOTHING, VERSION_BYTES, chunk_prefix, get_big_endian, meta_key,
    read_meta, write_meta,
)
from modules.core.hex cimport from_hex, to_hex
from modules.core.view cimport HISTORY_BYTES
from modules.member.state.checkpoint cimport Database, MAX_SESSIONS, TEXT_BYTES
from modules.server.allocators cimport free_duplicate

cdef enum:
    WRITE_BUFFER = 32 * 1024 * 1024     # LevelDB merges each table with others later: larger ones need it less often
    FILE_BYTES = 16 * 1024 * 1024   # LevelDB syncs each file by itself
    BLOCK_BYTES = 16 * 1024     # LevelDB writes and checks each by itself; a READ of a flushed key reads one
    BLOCK_CACHE = 32 * 1024 * 1024
    OPEN_FILES = 256
    CHUNK_PREFIX_BYTES = 6


cdef bint succeeded(char *error, char *out) noexcept nogil:
    """Free LevelDB's error. Returns False if there was one: `out`, which has room for TEXT_BYTES, gets its text."""
    if error == NULL:
        return True
    if strstr(error, "/LOCK: ") != NULL:
        snprintf(out, TEXT_BYTES, "another server uses this folder: each needs a member.checkpoint-dir of its own: %s",
                 error)
    else:
        snprintf(out, TEXT_BYTES, "%s", error)
    free_duplicate(error)
    return False


cdef bint damaged(char *out, const char *what) noexcept nogil:
    snprintf(out, TEXT_BYTES, "the checkpoint is damaged: %s", what)
    return False


cdef void database_init(Database *d) noexcept nogil:
    pthread_mutex_init(&d.mutex, NULL)
    d.watermark = NOTHING
    d.values.fd = -1
    RedisModule_GetRandomBytes(<unsigned char *>&d.seed, sizeof(uint64_t))
    d.options = leveldb_options_create()
    leveldb_options_set_paranoid_checks(d.options, 1)
    leveldb_options_set_compression(d.options, leveldb_no_compression)
    leveldb_options_set_write_buffer_size(d.options, WRITE_BUFFER)
    leveldb_options_set_max_file_size(d.options, FILE_BYTES)
    leveldb_options_set_block_size(d.options, BLOCK_BYTES)
    leveldb_options_set_max_open_files(d.options, OPEN_FILES)
    leveldb_options_set_cache(d.options, leveldb_cache_create_lru(BLOCK_CACHE))
    d.durably = leveldb_writeoptions_create()
    leveldb_writeoptions_set_sync(d.durably, 1)


cdef struct Row:
    # The position of an iterator. The pointers are valid until the iterator is moved or freed.
    const char *key
    size_t key_bytes
    const char *value
    size_t value_bytes


cdef bint row_at(const leveldb_iterator_t *iterator, Row *out) noexcept nogil:
    """Read the iterator's position. Returns False at the end of the database, or if it cannot be read."""
    if not leveldb_iter_valid(iterator):
        return False
    out.key = leveldb_iter_key(iterator, &out.key_bytes)
    out.value = leveldb_iter_value(iterator, &out.value_bytes)
    return True


cdef leveldb_iterator_t *database_scan(
    Database *d, const leveldb_snapshot_t *snapshot, bint cached,
) noexcept nogil:
    """Returns an iterator over the database as it is now, or over the snapshot."""
    cdef leveldb_readoptions_t *options = leveldb_readoptions_create()
    cdef leveldb_iterator_t *iterator
    leveldb_readoptions_set_verify_checksums(options, 1)
    leveldb_readoptions_set_fill_cache(options, cached)
    leveldb_readoptions_set_snapshot(options, snapshot)
    iterator = leveldb_create_iterator(d.db, options)
    leveldb_readoptions_destroy(options)
    return iterator


cdef bint scan_ended(leveldb_iterator_t *iterator, char *error) noexcept nogil:
    """Free the iterator. Returns False if it stopped at an error."""
    cdef char *found = NULL
    leveldb_iter_get_error(iterator, &found)
    leveldb_iter_destroy(iterator)
    return succeeded(found, error)


# -------------------------------------------------------------------------------------------------- meta record

cdef bint parse_meta(const char *bytes, size_t length, Meta *out, char *error) noexcept nogil:
    cdef char history[2 * HISTORY_BYTES + 1]
    cdef char *text = <char *>malloc(length + 1)
    cdef bint good = False
    if text == NULL:
        return damaged(error, "no memory for its meta record")
    memcpy(text, bytes, length)
    text[length] = 0
    good = (read_meta(text, out, history)
            and from_hex(history, 2 * HISTORY_BYTES, &out.history[0], HISTORY_BYTES))
    free(text)
    return good or damaged(error, "its meta record is none")


cdef bint load_meta(Database *d, char *error) noexcept nogil:
    cdef leveldb_readoptions_t *options = leveldb_readoptions_create()
    cdef char *failure = NULL
    cdef size_t length
    cdef char *bytes
    cdef bint good
    leveldb_readoptions_set_verify_checksums(options, 1)
    bytes = leveldb_get(d.db, options, meta_key(), META_KEY_BYTES, &length, &failure)
    leveldb_readoptions_destroy(options)
    memset(&d.meta, 0, sizeof(Meta))
    good = succeeded(failure, error)
    if bytes != NULL:
        good = parse_meta(bytes, length, &d.meta, error)
        leveldb_free(bytes)
    return good


cdef size_t print_meta(const Meta *meta, char *out) noexcept nogil:
    """Write the meta record's text into META_BYTES bytes. Returns how many it has."""
    cdef char history[2 * HISTORY_BYTES + 1]
    to_hex(meta.history, HISTORY_BYTES, history)
    return write_meta(meta, history, out)


cdef bint put_meta(leveldb_writebatch_t *batch, const Meta *meta) noexcept nogil:
    """Add the meta record to the batch. Returns False without memory."""
    cdef char *text = <char *>malloc(META_BYTES)
    if text == NULL:
        return False
    leveldb_writebatch_put(batch, meta_key(), META_KEY_BYTES, text, print_meta(meta, text))
    free(text)
    return True


cdef void show_watermark(Database *d) noexcept nogil:
    """Let readers see the database as of its meta record. The mutex is held."""
    d.watermark = d.meta.watermark if d.meta.found else NOTHING


cdef void meta_moved(Database *d, const Meta *meta) noexcept nogil:
    """Note that `meta` is now the meta record on the disk."""
    d.meta = meta[0]
    pthread_mutex_lock(&d.mutex)
    show_watermark(d)
    pthread_mutex_unlock(&d.mutex)


cdef bint database_write(Database *d, leveldb_writebatch_t *batch, char *error) noexcept nogil:
    """Write the batch atomically, and wait until it is on the disk. The values that it names are there before. Returns
    False on an error.
    """
    cdef char *failure = NULL
    if not values_sync(d, error):
        return False
    note_counted(&d.values)
    leveldb_write(d.db, d.durably, batch, &failure)
    if failure != NULL:
        d.spoilt = True
    return succeeded(failure, error)


cdef void database_spoil(Database *d) noexcept nogil:
    """Note that a write has failed, and give back at once what it has appended for nothing."""
    d.spoilt = True
    values_give_back(d)


cdef void forget_keys(Database *d) noexcept nogil:
    """Begin to count keys anew: of the records that a sweep leaves, or of an empty database."""
    memset(&d.kept, 0, sizeof(Distinct))
    d.deletions = 0


cdef void note_kept(Database *d, const char *record, size_t key_bytes) noexcept nogil:
    distinct_note(&d.kept, key_hash(record, key_bytes - VERSION_BYTES, d.seed))


cdef void note_written(Database *d, const char *record, size_t key_bytes, bint deletion) noexcept nogil:
    cdef uint64_t hash = key_hash(record, key_bytes - VERSION_BYTES, d.seed)
    distinct_note(&d.keys, hash)
    distinct_note(&d.kept, hash)
    d.deletions += deletion


cdef void keys_counted(Database *d) noexcept nogil:
    """What the database has is `kept`."""
    d.keys = d.kept
    d.counted = True


cdef bint is_half_superseded(const Database *d, uint64_t records) noexcept nogil:
    """Returns whether a compaction would remove about half of the records or more, or whether that is unknown."""
    return not d.counted or distinct_at_most(&d.keys, records // 2 + d.deletions)


cdef bint database_rename(Database *d, const uint8_t *history, char *error) noexcept nogil:
    """Make the database one of another history. Returns False on an error."""
    cdef leveldb_writebatch_t *batch = leveldb_writebatch_create()
    cdef Meta meta = d.meta
    cdef bint good
    memcpy(meta.history, history, HISTORY_BYTES)
    good = put_meta(batch, &meta) and database_write(d, batch, error)
    leveldb_writebatch_destroy(batch)
    if good:
        meta_moved(d, &meta)
    return good


# ----------------------------------------------------------------------------- what an incomplete checkpoint left

cdef bint undo_chunk(leveldb_writebatch_t *batch, const char *bytes, size_t length) noexcept nogil:
    """Add the deletion of all records that the chunk record names to the batch. Returns False if it is not a chunk
    record.
    """
    cdef size_t at = CHUNK_HEADER
    cdef uint32_t key_bytes
    while at < length:
        if length - at < 4:
            return False
        key_bytes = <uint32_t>get_big_endian(bytes + at, 4)
        at += 4
        if length - at < key_bytes:
            return False
        leveldb_writebatch_delete(batch, bytes + at, key_bytes)
        at += key_bytes
    return at == length


cdef bint undo_at(Database *d, const Row *row, char *error) noexcept nogil:
    cdef leveldb_writebatch_t *batch = leveldb_writebatch_create()
    cdef bint good = undo_chunk(batch, row.value, row.value_bytes)
    if good:
        leveldb_writebatch_delete(batch, row.key, row.key_bytes)
        good = database_write(d, batch, error)
    else:
        damaged(error, "a chunk record is none")
    leveldb_writebatch_destroy(batch)
    return good


cdef bint undo_torn(Database *d, char *error) noexcept nogil:
    cdef leveldb_iterator_t *iterator = database_scan(d, NULL, False)
    cdef Row row
    cdef bint good = True
    leveldb_iter_seek(iterator, chunk_prefix(), CHUNK_PREFIX_BYTES)
    while good and row_at(iterator, &row):
        if row.key_bytes < CHUNK_PREFIX_BYTES or memcmp(row.key, chunk_prefix(), CHUNK_PREFIX_BYTES) != 0:
            break
        good = undo_at(d, &row, error)
        leveldb_iter_next(iterator)
    return scan_ended(iterator, error) and good


# ------------------------------------------------------------------------------------------------ open and close

cdef void end_database(Database *d) noexcept nogil:
    """Close the database. Learners that are copying it lose their sessions. The mutex is held."""
    cdef int i
    for i in range(MAX_SESSIONS):
        if d.sessions[i].client:
            leveldb_release_snapshot(d.db, d.sessions[i].snapshot)
            d.sessions[i].client = 0
    if d.db != NULL:
        values_give_back(d)
        leveldb_close(d.db)
    values_close(d)
    d.db = NULL
    d.watermark = NOTHING


cdef void database_close(Database *d) noexcept nogil:
    pthread_mutex_lock(&d.mutex)
    end_database(d)
    pthread_mutex_unlock(&d.mutex)


cdef bint begin_database(Database *d, bint emptied, char *error) noexcept nogil:
    """Open the database. The records of an incomplete checkpoint are deleted. Returns False on an error. The mutex is
    held.

    LevelDB may create a database only if the folder does not exist or was emptied. If only its file CURRENT was
    missing, LevelDB would otherwise create a new database over the existing files.
    """
    cdef char *failure = NULL
    leveldb_options_set_create_if_missing(d.options, emptied or access(d.folder, F_OK) != 0)
    d.counted = False
    d.db = leveldb_open(d.options, d.folder, &failure)
    d.spoilt = False
    d.opened += 1
    return succeeded(failure, error) and load_meta(d, error) and undo_torn(d, error) and values_open(d, error)


cdef bint open_again(Database *d, bint emptied, char *error) noexcept nogil:
    cdef bint good
    pthread_mutex_lock(&d.mutex)
    end_database(d)
    good = begin_database(d, emptied, error)
    if good:
        show_watermark(d)
    else:
        end_database(d)
    pthread_mutex_unlock(&d.mutex)
    return good


cdef bint database_clear(Database *d, char *error) noexcept nogil:
    """Delete the database and open an empty one. Returns False on an error."""
    cdef char *failure = NULL
    d.emptying = True
    database_close(d)
    leveldb_destroy_db(d.options, d.folder, &failure)
    if not succeeded(failure, error) or not open_again(d, True, error):
        return False
    d.emptying = False
    forget_keys(d)
    keys_counted(d)
    return True


cdef bint database_open(Database *d, char *error) noexcept nogil:
    """Open the database, or open it again: readers wait meanwhile. One that could not be emptied is emptied first: some
    of its files may be gone. Returns False on an error.
    """
    return database_clear(d, error) if d.emptying else open_again(d, False, error)
