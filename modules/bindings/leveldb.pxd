# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of LevelDB's C API that is used here. Extern only.

What `leveldb_get` returns must be freed with `leveldb_free`. An error text is allocated by libc's strdup, and must be
freed with `free_duplicate` (server/allocators.pxd).
"""

from libc.stdint cimport uint8_t

cdef extern from "leveldb/c.h" nogil:
    ctypedef struct leveldb_t:
        pass
    ctypedef struct leveldb_cache_t:
        pass
    ctypedef struct leveldb_iterator_t:
        pass
    ctypedef struct leveldb_options_t:
        pass
    ctypedef struct leveldb_readoptions_t:
        pass
    ctypedef struct leveldb_snapshot_t:
        pass
    ctypedef struct leveldb_writebatch_t:
        pass
    ctypedef struct leveldb_writeoptions_t:
        pass
    enum:
        leveldb_no_compression

    leveldb_t *leveldb_open(const leveldb_options_t *, const char *name, char **error)
    void leveldb_close(leveldb_t *)
    void leveldb_destroy_db(const leveldb_options_t *, const char *name, char **error)
    void leveldb_free(void *)
    void leveldb_write(leveldb_t *, const leveldb_writeoptions_t *, leveldb_writebatch_t *, char **error)
    char *leveldb_get(
        leveldb_t *, const leveldb_readoptions_t *, const char *key, size_t key_bytes, size_t *bytes, char **error)

    const leveldb_snapshot_t *leveldb_create_snapshot(leveldb_t *)
    void leveldb_release_snapshot(leveldb_t *, const leveldb_snapshot_t *)

    leveldb_iterator_t *leveldb_create_iterator(leveldb_t *, const leveldb_readoptions_t *)
    void leveldb_iter_destroy(leveldb_iterator_t *)
    uint8_t leveldb_iter_valid(const leveldb_iterator_t *)
    void leveldb_iter_seek(leveldb_iterator_t *, const char *key, size_t key_bytes)
    void leveldb_iter_next(leveldb_iterator_t *)
    const char *leveldb_iter_key(const leveldb_iterator_t *, size_t *bytes)
    const char *leveldb_iter_value(const leveldb_iterator_t *, size_t *bytes)
    void leveldb_iter_get_error(const leveldb_iterator_t *, char **error)

    leveldb_writebatch_t *leveldb_writebatch_create()
    void leveldb_writebatch_destroy(leveldb_writebatch_t *)
    void leveldb_writebatch_clear(leveldb_writebatch_t *)
    void leveldb_writebatch_put(
        leveldb_writebatch_t *, const char *key, size_t key_bytes, const char *value, size_t bytes)
    void leveldb_writebatch_delete(leveldb_writebatch_t *, const char *key, size_t key_bytes)

    leveldb_options_t *leveldb_options_create()
    void leveldb_options_set_create_if_missing(leveldb_options_t *, uint8_t)
    void leveldb_options_set_paranoid_checks(leveldb_options_t *, uint8_t)
    void leveldb_options_set_write_buffer_size(leveldb_options_t *, size_t)
    void leveldb_options_set_block_size(leveldb_options_t *, size_t)
    void leveldb_options_set_compression(leveldb_options_t *, int)
    void leveldb_options_set_max_file_size(leveldb_options_t *, size_t)
    void leveldb_options_set_max_open_files(leveldb_options_t *, int)
    void leveldb_options_set_cache(leveldb_options_t *, leveldb_cache_t *)
    leveldb_cache_t *leveldb_cache_create_lru(size_t)

    leveldb_readoptions_t *leveldb_readoptions_create()
    void leveldb_readoptions_destroy(leveldb_readoptions_t *)
    void leveldb_readoptions_set_verify_checksums(leveldb_readoptions_t *, uint8_t)
    void leveldb_readoptions_set_fill_cache(leveldb_readoptions_t *, uint8_t)
    void leveldb_readoptions_set_snapshot(leveldb_readoptions_t *, const leveldb_snapshot_t *)
    leveldb_writeoptions_t *leveldb_writeoptions_create()
    void leveldb_writeoptions_set_sync(leveldb_writeoptions_t *, uint8_t)
