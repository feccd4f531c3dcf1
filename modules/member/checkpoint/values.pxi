# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Values apart: the writer appends them to files beside the database, and their records say where. LevelDB would copy a
# value at least twice, and again whenever it merges tables.
#
# The database is what counts. It lists each file, up to where the file has values of finished checkpoints. A value is
# on the disk before any record that names it, and a file is listed in one batch with the meta record that counts its
# values. What a file has beyond that, and files that are not listed, are remains of what was not finished. They are
# removed when the database is opened. A value that counts is never changed or moved: `gathering.pxi` copies it.

from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf, sscanf
from libc.string cimport memcmp, memcpy, strcmp, strerror, strlen

from modules.bindings.descriptors cimport DIR, closedir, dirent, iovec, opendir, readdir
from modules.bindings.files cimport (
    EEXIST, EINTR, O_APPEND, O_CREAT, O_EXCL, O_WRONLY, fdatasync, file_stat, mkdir, pread, stat, truncate, unlink,
    writev,
)
from modules.bindings.leveldb cimport (
    leveldb_free, leveldb_get, leveldb_iter_next, leveldb_iter_seek, leveldb_iterator_t, leveldb_readoptions_create,
    leveldb_readoptions_destroy, leveldb_readoptions_set_verify_checksums, leveldb_readoptions_t,
    leveldb_writebatch_put, leveldb_writebatch_t,
)
from modules.bindings.libc cimport ENOENT, O_CLOEXEC, O_RDONLY, close, errno, open
from modules.core.checkpoint.record_format cimport FILE_KEY_BYTES, file_prefix, get_big_endian, put_big_endian
from modules.core.checkpoint.value_place cimport APART_FROM, MOST_APART, ValuePlace, put_place, value_checksum
from modules.member.state.checkpoint cimport (
    Database, FOLDER_BYTES, OPEN_VALUE_FILES, TEXT_BYTES, VALUES_AT_ONCE, ValueFiles, ValueWriter,
)
from modules.server.files cimport sync_folder

cdef enum:
    VALUE_FILE_BYTES = 32 * 1024 * 1024     # a longer file gets no more values
    FILE_PREFIX_BYTES = 5
    FILE_END_BYTES = 4
    FILE_NAME_BYTES = 8
    PATH_BYTES = FOLDER_BYTES + 32


cdef bint file_failed(char *error, const char *what) noexcept nogil:
    snprintf(error, TEXT_BYTES, "a file of values cannot be %s: %s", what, strerror(errno))
    return False


cdef void name_values_folder(const Database *d, char *out) noexcept nogil:
    snprintf(out, PATH_BYTES, "%s/values", &d.folder[0])


cdef void name_value_file(const Database *d, uint32_t number, char *out) noexcept nogil:
    snprintf(out, PATH_BYTES, "%s/values/%08x", &d.folder[0], number)


# ------------------------------------------------------------------------------------------------------ appending

cdef bint make_values_folder(Database *d, char *error) noexcept nogil:
    cdef char path[PATH_BYTES]
    name_values_folder(d, path)
    if mkdir(path, 0o777) == 0:
        return sync_folder(d.folder) or file_failed(error, "created")
    return errno == EEXIST or file_failed(error, "created")


cdef bint value_file_create(Database *d, char *error) noexcept nogil:
    """Begin a new file, which is found after a loss of power. Returns False on an error."""
    cdef ValueWriter *v = &d.values
    cdef char path[PATH_BYTES]
    if not make_values_folder(d, error):
        return False
    name_value_file(d, v.number + 1, path)
    v.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o644)
    name_values_folder(d, path)
    if v.fd < 0 or not sync_folder(path):
        return file_failed(error, "created")
    v.number += 1
    v.end = 0
    return True


cdef bint value_file_reopen(Database *d, char *error) noexcept nogil:
    cdef char path[PATH_BYTES]
    name_value_file(d, d.values.number, path)
    d.values.fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
    return d.values.fd >= 0 or file_failed(error, "opened")


cdef bint values_flush(Database *d, char *error) noexcept nogil:
    """Write what is pending. Returns False on an error, after which nobody knows what the file has."""
    cdef ValueWriter *v = &d.values
    cdef iovec *part = &v.pending[0]
    cdef iovec *end = &v.pending[v.count]
    cdef long written
    v.count = 0
    while part < end:
        written = writev(v.fd, part, <int>(end - part))
        if written < 0:
            if errno == EINTR:
                continue
            d.spoilt = True
            return file_failed(error, "written")
        while part < end and <size_t>written >= part.iov_len:
            written -= part.iov_len
            part += 1
        if part < end:
            part.iov_base = <char *>part.iov_base + written
            part.iov_len -= written
    return True


cdef bint values_sync(Database *d, char *error) noexcept nogil:
    """Write what is pending, and wait until all values are on the disk. Returns False on an error."""
    cdef ValueWriter *v = &d.values
    if not v.unsynced:
        return True
    if not values_flush(d, error):
        return False
    if fdatasync(v.fd) != 0:
        d.spoilt = True
        return file_failed(error, "synced")
    v.unsynced = False
    return True


cdef void value_file_close(ValueWriter *v) noexcept nogil:
    if v.fd >= 0:
        close(v.fd)
    v.fd = -1
    v.count = 0
    v.unsynced = False


cdef bint value_file_ready(Database *d, char *error) noexcept nogil:
    """Open the file that the next value goes to. Returns False on an error."""
    cdef ValueWriter *v = &d.values
    if v.number and v.end < VALUE_FILE_BYTES:
        return v.fd >= 0 or value_file_reopen(d, error)
    if not values_sync(d, error):
        return False
    value_file_close(v)
    return value_file_create(d, error)


cdef bint is_apart(size_t length) noexcept nogil:
    """Returns whether a value of that length goes to a file."""
    return APART_FROM <= length <= MOST_APART


cdef bint value_append(Database *d, const char *bytes, size_t length, char *record, char *error) noexcept nogil:
    """Append a value, and write its record's value, APART_RECORD_BYTES of it, to `record`. Returns False on an error.

    The caller keeps the bytes until `database_write`, or `values_sync`, which wait until the value is on the disk.
    """
    cdef ValueWriter *v = &d.values
    cdef ValuePlace place
    if v.count == VALUES_AT_ONCE and not values_flush(d, error):
        return False
    if not value_file_ready(d, error):
        d.spoilt = True
        return False
    place.file = v.number
    place.offset = v.end
    place.length = <uint32_t>length
    place.checksum = value_checksum(bytes, length)
    put_place(record, &place)
    v.pending[v.count].iov_base = <void *>bytes
    v.pending[v.count].iov_len = length
    v.count += 1
    v.end += <uint32_t>length
    v.grown = v.unsynced = True
    return True


# -------------------------------------------------------------------------------------------------------- reading

cdef uint32_t slot_of(uint32_t number) noexcept nogil:
    return number & (OPEN_VALUE_FILES - 1)


cdef void value_file_forget(ValueFiles *files, uint32_t number) noexcept nogil:
    """Close the file, if it is open."""
    cdef uint32_t slot = slot_of(number)
    if number and files.numbers[slot] == number:
        close(files.fds[slot])
        files.numbers[slot] = 0


cdef void value_files_close(ValueFiles *files) noexcept nogil:
    cdef int slot
    for slot in range(OPEN_VALUE_FILES):
        value_file_forget(files, files.numbers[slot])


cdef bint value_file_open(const Database *d, ValueFiles *files, uint32_t number, char *error) noexcept nogil:
    """Open the file, unless it is. Returns False on an error."""
    cdef uint32_t slot = slot_of(number)
    cdef char path[PATH_BYTES]
    if not number:
        return damaged(error, "a value is in no file")
    if files.numbers[slot] == number:
        return True
    value_file_forget(files, files.numbers[slot])
    name_value_file(d, number, path)
    files.fds[slot] = open(path, O_RDONLY | O_CLOEXEC)
    if files.fds[slot] < 0:
        return file_failed(error, "opened")
    files.numbers[slot] = number
    return True


cdef bint value_read(
    const Database *d, ValueFiles *files, const ValuePlace *place, char *out, char *error,
) noexcept nogil:
    """Read a value into `place.length` bytes. Returns False if it is not the one that was appended."""
    cdef size_t done = 0
    cdef long count
    if not value_file_open(d, files, place.file, error):
        return False
    while done < place.length:
        count = pread(
            files.fds[slot_of(place.file)], out + done, place.length - done, <long>(place.offset + done))
        if count < 0 and errno == EINTR:
            continue
        if count < 0:
            return file_failed(error, "read")
        if count == 0:
            return damaged(error, "a file of values is cut off")
        done += count
    return value_checksum(out, place.length) == place.checksum or damaged(error, "a value is another than was written")


# ---------------------------------------------------------------------------------------------- what is listed

cdef void value_file_key(uint32_t number, char *out) noexcept nogil:
    memcpy(out, file_prefix(), FILE_PREFIX_BYTES)
    put_big_endian(&out[FILE_PREFIX_BYTES], number, 4)


cdef bint put_file(leveldb_writebatch_t *batch, uint32_t number, uint64_t end) noexcept nogil:
    cdef char key[FILE_KEY_BYTES]
    cdef char listed[FILE_END_BYTES]
    value_file_key(number, key)
    put_big_endian(listed, end, FILE_END_BYTES)
    leveldb_writebatch_put(batch, key, FILE_KEY_BYTES, listed, FILE_END_BYTES)
    return True


cdef bint value_file_size(const Database *d, uint32_t number, uint64_t *out) noexcept nogil:
    cdef char path[PATH_BYTES]
    cdef file_stat found
    name_value_file(d, number, path)
    if stat(path, &found) != 0:
        return False
    out[0] = <uint64_t>found.st_size
    return True


cdef bint put_files(Database *d, leveldb_writebatch_t *batch, char *error) noexcept nogil:
    """Add to the batch how far the files have grown. The batch is to count all values that were appended. Returns
    False on an error.
    """
    cdef ValueWriter *v = &d.values
    cdef uint64_t size
    if not v.grown:
        return True
    while v.listed < v.number:
        if v.listed:
            if not value_file_size(d, v.listed, &size):
                return file_failed(error, "found")
            put_file(batch, v.listed, size)
        v.listed += 1
    put_file(batch, v.number, v.end)
    v.grown = False
    return True


cdef void note_counted(ValueWriter *v) noexcept nogil:
    """Note that a batch is about to be written. It counts all values, unless some are not listed yet."""
    if not v.grown:
        v.counted = v.number
        v.counted_end = v.end


cdef bint find_listed(Database *d, const Row *row, char *error) noexcept nogil:
    """Cut off what the file has beyond what the database lists. Returns False if it has less."""
    cdef uint32_t number = <uint32_t>get_big_endian(row.key + FILE_PREFIX_BYTES, 4)
    cdef uint32_t end = <uint32_t>get_big_endian(row.value, FILE_END_BYTES)
    cdef char path[PATH_BYTES]
    cdef uint64_t size
    if not value_file_size(d, number, &size):
        return file_failed(error, "found")
    if size < end:
        return damaged(error, "a file of values is cut off")
    name_value_file(d, number, path)
    if size > end and truncate(path, end) != 0:
        return file_failed(error, "cut")
    d.values.number = d.values.listed = d.values.counted = number
    d.values.end = d.values.counted_end = end
    return True


cdef bint is_file_row(const Row *row) noexcept nogil:
    return row.key_bytes == FILE_KEY_BYTES and memcmp(row.key, file_prefix(), FILE_PREFIX_BYTES) == 0


cdef bint find_all_listed(Database *d, char *error) noexcept nogil:
    cdef leveldb_iterator_t *iterator = database_scan(d, NULL, False)
    cdef Row row
    cdef bint good = True
    leveldb_iter_seek(iterator, file_prefix(), FILE_PREFIX_BYTES)
    while good and row_at(iterator, &row) and is_file_row(&row):
        if row.value_bytes != FILE_END_BYTES:
            good = damaged(error, "the record of a file is none")
        else:
            good = find_listed(d, &row, error)
        leveldb_iter_next(iterator)
    return scan_ended(iterator, error) and good


cdef bint is_listed(Database *d, uint32_t number, bint *out, char *error) noexcept nogil:
    """Returns False on an error."""
    cdef leveldb_readoptions_t *options = leveldb_readoptions_create()
    cdef char key[FILE_KEY_BYTES]
    cdef char *failure = NULL
    cdef size_t length
    cdef char *found
    leveldb_readoptions_set_verify_checksums(options, 1)
    value_file_key(number, key)
    found = leveldb_get(d.db, options, key, FILE_KEY_BYTES, &length, &failure)
    leveldb_readoptions_destroy(options)
    out[0] = found != NULL
    if found != NULL:
        leveldb_free(found)
    return succeeded(failure, error)


cdef bint remove_unlisted(Database *d, const char *name, char *error) noexcept nogil:
    """Remove the file of that name if it is a file of values that the database does not list."""
    cdef char path[PATH_BYTES]
    cdef unsigned int number
    cdef bint listed
    if sscanf(name, "%8x", &number) != 1:
        return True
    name_value_file(d, number, path)
    if strcmp(&path[strlen(path) - FILE_NAME_BYTES], name) != 0:
        return True
    if not is_listed(d, number, &listed, error):
        return False
    return listed or unlink(path) == 0 or file_failed(error, "removed")


cdef bint remove_all_unlisted(Database *d, char *error) noexcept nogil:
    cdef char path[PATH_BYTES]
    cdef DIR *folder
    cdef dirent *entry
    cdef bint good = True
    name_values_folder(d, path)
    folder = opendir(path)
    if folder == NULL:
        return errno == ENOENT or file_failed(error, "found")
    entry = readdir(folder)
    while good and entry != NULL:
        good = remove_unlisted(d, entry.d_name, error)
        entry = readdir(folder)
    closedir(folder)
    return good


cdef bint values_open(Database *d, char *error) noexcept nogil:
    """Find the files that the database lists, and remove what it does not. Returns False if something is missing."""
    return find_all_listed(d, error) and remove_all_unlisted(d, error)


cdef void values_give_back(Database *d) noexcept nogil:
    """Remove the values that no batch has counted, after which nothing may be appended. The database is open: it has
    the lock of the folder.

    On a full disk they may be what fills it, and LevelDB cannot be opened again without some room.
    """
    cdef ValueWriter *v = &d.values
    cdef char path[PATH_BYTES]
    cdef uint64_t size
    value_file_close(v)
    while v.number > v.counted:
        name_value_file(d, v.number, path)
        unlink(path)
        v.number -= 1
    name_value_file(d, v.number, path)
    if v.number and value_file_size(d, v.number, &size) and size > v.counted_end:
        truncate(path, v.counted_end)
    v.end = v.counted_end
    v.grown = False


cdef void values_close(Database *d) noexcept nogil:
    """Close all files, and forget what there is. The mutex is held."""
    value_file_close(&d.values)
    value_files_close(&d.read)
    d.values.number = d.values.end = d.values.listed = d.values.counted = d.values.counted_end = 0
    d.values.grown = False
