# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Before Redis reads the append-only file of a chain of all commands: what stands behind its last position is cut off.
#
# A member has told nobody of these effects, because their position was not on the disk. If they were loaded, their
# position would not be known, and the chain's log would apply them a second time.
#
# The file is a folder: a base, which is an RDB and may have a position itself, and one or more incremental files, which
# the manifest names in their order.

from libc.stdint cimport int64_t
from libc.stdio cimport FILE, SEEK_END, fclose, fgets, fopen, fread, fseek, ftell, rewind, snprintf
from libc.stdlib cimport strtoll
from libc.string cimport memcmp, memset, strcmp, strerror, strstr

from modules.bindings.libc cimport ENOENT, errno, fileno, fsync, ftruncate
from modules.bindings.redismodule cimport RedisModule_Log
from modules.core.effect_scanner cimport EffectScanner, scan
from modules.core.view cimport KIND_ALL
from modules.member.keyspace.kind cimport own_kind
from modules.member.state.member cimport Member
from modules.server.redis_calls cimport redis_setting

cdef enum:
    SETTING_BYTES = 256
    PREFIX_BYTES = 2 * 256 + 2
    PATH_BYTES = 2 * 256 + 64
    MANIFEST_LINE_BYTES = 1024
    PIECE_BYTES = 64 * 1024


cdef extern from *:
    """
    /* How the position begins in an RDB: module auxiliary data, the type's name in 54 bits. Then follow its version, an
     * opcode and when it was written, an opcode and whether the server has a history. */
    static const char CHAIN_POSITION_BEGINS[] = "\xf7\x81\x72\x16\xa2\x9f\xea\x68\xb0";
    """
    const char POSITION_BEGINS "CHAIN_POSITION_BEGINS"[]

cdef enum:
    POSITION_BEGIN_BYTES = 9
    POSITION_HISTORY_AT = 13    # from the beginning


cdef struct AofFiles:
    char prefix[PREFIX_BYTES]    # folder/name: files are prefix.manifest, prefix.1.base.rdb, prefix.1.incr.aof
    bint positioned             # a record was found, or the base has a position
    char last[PATH_BYTES]       # the incremental file with the newest record; empty: none has one
    int64_t last_end            # the end of that record


cdef bint next_file(AofFiles *files, FILE *manifest, const char *kind, char *path) noexcept nogil:
    """Write the path of the manifest's next file of that kind. Returns False after the last one."""
    cdef char line[MANIFEST_LINE_BYTES]
    cdef const char *found
    cdef long long number
    while fgets(line, MANIFEST_LINE_BYTES, manifest) != NULL:
        found = strstr(line, " seq ")
        if found == NULL or strstr(found, " type i" if kind[0] == c"i" else " type b") == NULL:
            continue
        number = strtoll(found + 5, NULL, 10)
        snprintf(path, PATH_BYTES, "%s.%lld.%s", &files.prefix[0], number, kind)
        return True
    return False


cdef bint has_position(const char *path) noexcept nogil:
    """Returns whether the base, an RDB, has the position of a chain's data. It stands before all keys."""
    cdef char bytes[PIECE_BYTES]
    cdef FILE *file = fopen(path, "rb")
    cdef size_t length
    cdef size_t at
    if file == NULL:
        return False
    length = fread(bytes, 1, PIECE_BYTES, file)
    fclose(file)
    for at in range(length):
        if at + POSITION_HISTORY_AT + 2 > length:
            break
        if memcmp(&bytes[at], POSITION_BEGINS, POSITION_BEGIN_BYTES) == 0:
            return bytes[at + POSITION_HISTORY_AT + 1] == 1
    return False


cdef bint scan_file(Member *m, const char *path, int64_t *record_end) noexcept nogil:
    """Find the end of the file's last record; 0: it has none. Returns False if the file is damaged."""
    cdef EffectScanner scanner
    cdef char bytes[PIECE_BYTES]
    cdef FILE *file = fopen(path, "rb")
    cdef size_t length
    cdef bint good = True
    record_end[0] = 0
    if file == NULL:
        return True         # Redis will say what is wrong
    memset(&scanner, 0, sizeof(scanner))
    scanner.of_file = True
    length = fread(bytes, 1, PIECE_BYTES, file)
    while good and length:
        good = scan(&scanner, bytes, <int64_t>length) >= 0
        length = fread(bytes, 1, PIECE_BYTES, file)
    fclose(file)
    record_end[0] = scanner.record_end
    if not good:
        RedisModule_Log(m.ctx, "warning", "libmember.so: %s is damaged: it contains something else than commands. Make "
                        "a copy of it; then `redis-check-aof --fix` cuts it off there", path)
    return good


cdef bint find_last_record(Member *m, AofFiles *files, FILE *manifest) noexcept nogil:
    """Returns False if a file is damaged."""
    cdef char path[PATH_BYTES]
    cdef int64_t record_end
    while next_file(files, manifest, b"incr.aof", path):
        if not scan_file(m, path, &record_end):
            return False
        if record_end:
            files.positioned = True
            files.last_end = record_end
            snprintf(files.last, PATH_BYTES, "%s", &path[0])
    return True


cdef bint cut(Member *m, const char *path, int64_t end) noexcept nogil:
    """Returns False if the file cannot be cut."""
    cdef FILE *file = fopen(path, "r+b")
    cdef int64_t size
    cdef bint good
    if file == NULL:
        return errno == ENOENT
    fseek(file, 0, SEEK_END)
    size = ftell(file)
    good = size == end or (ftruncate(fileno(file), end) == 0 and fsync(fileno(file)) == 0)
    if not good:
        RedisModule_Log(m.ctx, "warning", "libmember.so: cannot cut %s: %s", path, strerror(errno))
    elif size != end:
        RedisModule_Log(m.ctx, "warning", "%s: %lld bytes behind the last position are cut off: no other member has "
                        "heard of them from this one", path, <long long>(size - end))
    fclose(file)
    return good


cdef bint cut_after_last_record(Member *m, AofFiles *files, FILE *manifest) noexcept nogil:
    cdef char path[PATH_BYTES]
    cdef bint after = files.last[0] == 0
    cdef bint is_last
    while next_file(files, manifest, b"incr.aof", path):
        is_last = strcmp(path, files.last) == 0
        if (is_last or after) and not cut(m, path, files.last_end if is_last else 0):
            return False
        after = after or is_last
    return True


cdef bint cut_files(Member *m, AofFiles *files, FILE *manifest) noexcept nogil:
    cdef char path[PATH_BYTES]
    if next_file(files, manifest, b"base.rdb", path):
        files.positioned = has_position(path)
    rewind(manifest)
    if not find_last_record(m, files, manifest):
        return False
    rewind(manifest)
    # A file without any position is of a server that was in no chain.
    return not files.positioned or cut_after_last_record(m, files, manifest)


cdef bint cut_unrecorded(Member *m) noexcept nogil:
    """Cut off what has no position. Returns False if the server must not load the file; the reason is logged."""
    cdef AofFiles files
    cdef char folder[SETTING_BYTES]
    cdef char name[SETTING_BYTES]
    cdef char path[PATH_BYTES]
    cdef FILE *manifest
    cdef bint good
    if not m.disk.recording or own_kind(m) != KIND_ALL:
        return True
    memset(&files, 0, sizeof(files))
    if (not redis_setting(m.ctx, "appenddirname", folder, sizeof(folder))
            or not redis_setting(m.ctx, "appendfilename", name, sizeof(name))):
        return True
    snprintf(files.prefix, PREFIX_BYTES, "%s/%s", &folder[0], &name[0])
    snprintf(path, PATH_BYTES, "%s/%s.manifest", &folder[0], &name[0])
    manifest = fopen(path, "r")
    if manifest == NULL:
        return True
    good = cut_files(m, &files, manifest)
    fclose(manifest)
    return good
