# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What INFO says of a server's keys, as far as a chain cannot have them: other databases, and times to live.

    # Keyspace
    db0:keys=3,expires=1,avg_ttl=9000,subexpiry=1
    db5:keys=1,expires=0,avg_ttl=0

Redis from 7.4 on counts hashes whose fields have a time to live as `subexpiry`, Valkey from 9 on as
`keys_with_volatile_items`.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, strlen


cdef struct KeyspaceInfo:
    uint64_t keys               # in all databases
    bint others                 # some of them are in other databases than 0
    uint64_t expiring           # with a time to live
    uint64_t expiring_fields    # hashes with fields that have one


cdef inline uint64_t keyspace_number(const char *line, size_t length, const char *name) noexcept nogil:
    """The value of `name` in "db0:keys=3,expires=1". Returns 0 if the name is not there."""
    cdef size_t name_length = strlen(name)
    cdef uint64_t number = 0
    cdef size_t i
    for i in range(1, length):
        if line[i - 1] != c":" and line[i - 1] != c",":
            continue
        if length - i <= name_length or memcmp(&line[i], name, name_length) != 0 or line[i + name_length] != c"=":
            continue
        i += name_length + 1
        while i < length and c"0" <= line[i] <= c"9":
            number = number * 10 + <uint64_t>(line[i] - c"0")
            i += 1
        return number
    return 0


cdef inline void keyspace_line(const char *line, size_t length, KeyspaceInfo *out) noexcept nogil:
    cdef uint64_t keys
    if length < 4 or memcmp(line, "db", 2) != 0:
        return
    keys = keyspace_number(line, length, "keys")
    out.keys += keys
    out.others = out.others or (keys != 0 and memcmp(line, "db0:", 4) != 0)
    out.expiring += keyspace_number(line, length, "expires")
    out.expiring_fields += (keyspace_number(line, length, "subexpiry")
                            + keyspace_number(line, length, "keys_with_volatile_items"))


cdef inline void keyspace_parse(const char *text, size_t length, KeyspaceInfo *out) noexcept nogil:
    """Parses the whole section. The caller has zeroed `out`."""
    cdef const char *end = text + length
    cdef const char *stop
    while text < end:
        stop = <const char *>memchr(text, c"\n", end - text)
        if stop == NULL:
            stop = end
        keyspace_line(text, stop - text, out)
        text = stop + 1
