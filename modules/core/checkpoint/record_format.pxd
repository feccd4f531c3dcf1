# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's records, to bytes and back (docs/file-formats.md, "The checkpoint").

Bytes that cannot be a record are told from those that can (rule 7).
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t, uint8_t
from libc.stdlib cimport strtoll
from libc.string cimport memcmp, memcpy, memset, strlen, strncmp

from modules.core.log cimport Boundary, MAX_BOUNDARIES, boundary_epoch_of
from modules.core.view cimport HISTORY_BYTES

cdef enum:
    VERSION_BYTES = 8
    META_KEY_BYTES = 5
    CHUNK_KEY_BYTES = 10
    CHUNK_HEADER = 16
    FILE_KEY_BYTES = 9
    APART_RECORD_BYTES = 21                     # of a record whose value is in a file (value_place.pxd)
    FORMAT_INLINE = 1                           # each value is in its record, as earlier versions wrote it
    FORMAT_APART = 2                            # values may be in files
    META_BYTES = 256 + MAX_BOUNDARIES * 52      # as text, at the most
    NOTHING = -2                                # a watermark below all: no data at all, not even from before sn 0


cdef struct Meta:
    # What a checkpoint is of. Without `found` the rest means nothing, and the database counts as empty.
    bint found
    int format
    uint8_t history[HISTORY_BYTES]
    int64_t after               # the last checkpoint wrote (after, watermark]
    int64_t watermark
    bint others                 # the chain's first data had keys that are no strings, which are not here
    uint64_t records            # in the database, superseded ones included; roughly
    uint64_t swept              # of which the last sweep had left so many
    int boundary_count
    Boundary boundaries[MAX_BOUNDARIES]


cdef inline const char *meta_key() noexcept nogil:
    return b"\x00meta"


cdef inline const char *chunk_prefix() noexcept nogil:
    return b"\x00chunk"


cdef inline const char *file_prefix() noexcept nogil:
    return b"\x00file"


cdef inline void put_big_endian(char *out, uint64_t number, int bytes) noexcept nogil:
    cdef int i
    for i in range(bytes):
        out[i] = <char>((number >> (8 * (bytes - 1 - i))) & 255)


cdef inline uint64_t get_big_endian(const char *bytes, int count) noexcept nogil:
    cdef uint64_t number = 0
    cdef int i
    for i in range(count):
        number = number << 8 | <uint8_t>bytes[i]
    return number


# ---------------------------------------------------------------------------------------------------- values

cdef enum RecordKind:
    RECORD_DAMAGED
    RECORD_VALUE                # the value follows its first byte
    RECORD_APART                # the place of the value does
    RECORD_DELETED


cdef inline RecordKind record_kind(const char *bytes, size_t length) noexcept nogil:
    """The kind of a record, by its value in the database, which may be any bytes."""
    if length > 0 and bytes[0] == c"v":
        return RECORD_VALUE
    if length == APART_RECORD_BYTES and bytes[0] == c"f":
        return RECORD_APART
    return RECORD_DELETED if length == 1 and bytes[0] == c"d" else RECORD_DAMAGED


# ------------------------------------------------------------------------------------------------------ keys

cdef inline size_t record_key_room(size_t key_bytes) noexcept nogil:
    return 2 * key_bytes + 3 + VERSION_BYTES


cdef inline size_t record_prefix(char *out, const char *key, size_t key_bytes) noexcept nogil:
    """Writes the bytes that all records of a key begin with, and no other key's. Returns how many."""
    cdef size_t at = 1
    cdef size_t i
    out[0] = 1
    for i in range(key_bytes):
        out[at] = key[i]
        at += 1
        if key[i] == 0:
            out[at] = <char>255
            at += 1
    out[at] = 0
    out[at + 1] = 1
    return at + 2


cdef inline size_t record_key(char *out, const char *key, size_t key_bytes, int64_t sn) noexcept nogil:
    """Writes a record's key into `record_key_room` bytes. Returns how many bytes it has."""
    cdef size_t at = record_prefix(out, key, key_bytes)
    put_big_endian(&out[at], ~<uint64_t>(sn + 1), VERSION_BYTES)
    return at + VERSION_BYTES


cdef inline int64_t record_sn(const char *record, size_t bytes) noexcept nogil:
    """The sn in a record's key, which is at least VERSION_BYTES long."""
    return <int64_t>(~get_big_endian(record + bytes - VERSION_BYTES, VERSION_BYTES)) - 1


cdef inline bint is_record(const char *record, size_t bytes) noexcept nogil:
    """Do beginning and length look like a record's key? `unescape` checks the rest."""
    return bytes >= 3 + VERSION_BYTES and record[0] == 1


cdef inline bint of_same_key(const char *one, size_t one_bytes, const char *other, size_t other_bytes) noexcept nogil:
    """Are these two records' keys versions of one key?"""
    return one_bytes == other_bytes and memcmp(one, other, one_bytes - VERSION_BYTES) == 0


cdef inline bint unescape(const char *record, size_t bytes, char *out, size_t *out_bytes) noexcept nogil:
    """Writes the key of a record into as many bytes as `record` has. Returns False if `record` is no record's key."""
    cdef size_t end = bytes - VERSION_BYTES - 2
    cdef size_t at = 0
    cdef size_t i = 1
    if not is_record(record, bytes) or record[end] != 0 or record[end + 1] != 1:
        return False
    while i < end:
        out[at] = record[i]
        at += 1
        if record[i] == 0:
            i += 1
            if <uint8_t>record[i] != 255 or i == end:
                return False
        i += 1
    out_bytes[0] = at
    return True


# ------------------------------------------------------------------------------------------------------ meta

cdef inline char *put_text(char *out, const char *text) noexcept nogil:
    """Returns where the next text goes."""
    cdef size_t length = strlen(text)
    memcpy(out, text, length)
    return out + length


cdef inline char *put_number(char *out, const char *name, int64_t number, const char *end) noexcept nogil:
    cdef char digits[24]
    cdef char *digit = &digits[23]
    cdef uint64_t rest = <uint64_t>(number if number >= 0 else -number)
    digit[0] = 0
    while rest or not digit[0]:
        digit -= 1
        digit[0] = <char>(c"0" + rest % 10)
        rest //= 10
    if number < 0:
        digit -= 1
        digit[0] = c"-"
    return put_text(put_text(put_text(out, name), digit), end)


cdef inline size_t write_meta(const Meta *meta, const char *history_hex, char *out) noexcept nogil:
    """Writes the meta record as text into META_BYTES bytes. Returns how many it has."""
    cdef char *at = put_number(out, "format ", meta.format, "\nhistory ")
    cdef int i
    at = put_text(put_text(at, history_hex), "\n")
    at = put_number(at, "after ", meta.after, "\n")
    at = put_number(at, "checkpointed ", meta.watermark, "\n")
    at = put_number(at, "others ", meta.others, "\n")
    at = put_number(at, "records ", <int64_t>meta.records, "\n")
    at = put_number(at, "swept ", <int64_t>meta.swept, "\n")
    for i in range(meta.boundary_count):
        at = put_number(at, "boundary ", meta.boundaries[i].first_sn, " ")
        at = put_number(at, "", meta.boundaries[i].epoch, "\n")
    return at - out


cdef inline bint take_number(const char **cursor, const char *name, char end, int64_t *out) noexcept nogil:
    """`name`, a number that is not negative or -1 or -2, and `end`; False when something else is there."""
    cdef char *after
    cdef size_t length = strlen(name)
    if strncmp(cursor[0], name, length) != 0:
        return False
    out[0] = strtoll(cursor[0] + length, &after, 10)
    if after == cursor[0] + length or after[0] != end or out[0] < NOTHING or out[0] > INT64_MAX // 2:
        return False
    cursor[0] = after + 1
    return True


cdef inline bint take_boundaries(const char *cursor, Meta *out) noexcept nogil:
    cdef Boundary *boundary
    cdef int i
    while cursor[0]:
        if out.boundary_count == MAX_BOUNDARIES:
            return False
        boundary = &out.boundaries[out.boundary_count]
        if not take_number(&cursor, "boundary ", c" ", &boundary.first_sn):
            return False
        if not take_number(&cursor, "", c"\n", &boundary.epoch):
            return False
        out.boundary_count += 1
    for i in range(out.boundary_count):
        boundary = &out.boundaries[i]
        if boundary.first_sn < 0 or boundary.epoch < 0 or boundary.first_sn > out.watermark:
            return False
        if i and (boundary.first_sn <= boundary[-1].first_sn or boundary.epoch <= boundary[-1].epoch):
            return False
    return out.watermark < 0 or out.boundary_count > 0


cdef inline bint read_meta(const char *text, Meta *out, char *history_hex) noexcept nogil:
    """`text` ends with NUL; the history is left as its 32 digits. False: that is no meta record."""
    cdef int64_t format = 0
    cdef int64_t others = 0
    cdef int64_t records = 0
    cdef int64_t swept = 0
    cdef int i
    memset(out, 0, sizeof(Meta))
    if not take_number(&text, "format ", c"\n", &format) or not FORMAT_INLINE <= format <= FORMAT_APART:
        return False
    if strncmp(text, "history ", 8) != 0:
        return False
    out.format = <int>format
    text += 8
    for i in range(2 * HISTORY_BYTES):
        if not c"0" <= text[i] <= c"9" and not c"a" <= text[i] <= c"f":
            return False
    memcpy(history_hex, text, 2 * HISTORY_BYTES)
    history_hex[2 * HISTORY_BYTES] = 0
    text += 2 * HISTORY_BYTES
    if text[0] != c"\n":
        return False
    text += 1
    if not take_number(&text, "after ", c"\n", &out.after):
        return False
    if not take_number(&text, "checkpointed ", c"\n", &out.watermark) or out.watermark < -1:
        return False
    if not take_number(&text, "others ", c"\n", &others) or not take_number(&text, "records ", c"\n", &records):
        return False
    if not take_number(&text, "swept ", c"\n", &swept) or records < 0 or swept < 0:
        return False
    out.others = others != 0
    out.records = <uint64_t>records
    out.swept = <uint64_t>swept
    out.found = take_boundaries(text, out)
    return out.found


cdef inline int64_t meta_epoch_of(const Meta *meta, int64_t sn) noexcept nogil:
    """As log_epoch_of, of an `sn` that is not above the watermark."""
    return boundary_epoch_of(meta.boundaries, meta.boundary_count, sn)
