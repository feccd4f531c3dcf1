# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The requests of a direct client: MEMBER.PUT, MEMBER.DEL and READ, as clients send them (RESP arrays of bulk strings).

    *4\\r\\n $10\\r\\nMEMBER.PUT\\r\\n $1\\r\\nk\\r\\n $1\\r\\nv\\r\\n $2\\r\\nid\\r\\n

Only what is certainly one of these is taken. Anything else is the server's: other commands, other numbers of
arguments, names in mixed case, inline commands, faults of the protocol.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from modules.core.wire cimport Packed

cdef enum RequestKind:
    REQUEST_PART                # the bytes end within a request that may become one of ours
    REQUEST_OTHER               # the server is to judge it
    REQUEST_WHOLE               # a part of one is whole: go on
    REQUEST_UPDATE              # MEMBER.PUT, or MEMBER.DEL, which has no value
    REQUEST_READ

cdef enum:
    MAX_ARGUMENTS = 4
    MAX_DIGITS = 7              # of a length; a longer argument is the server's


cdef struct DirectRequest:
    Packed update               # of a READ the key alone
    size_t bytes                # of the whole request


cdef struct Argument:
    const char *bytes
    uint32_t length


cdef inline RequestKind number_line(
    const char **cursor, const char *end, char mark, uint32_t most, uint32_t *out,
) noexcept nogil:
    """Read a line of `mark` and a number. Returns REQUEST_WHOLE if it is whole and the number is at most `most`."""
    cdef const char *at = cursor[0]
    cdef uint32_t number = 0
    cdef int digits = 0
    if at == end:
        return REQUEST_PART
    if at[0] != mark:
        return REQUEST_OTHER
    at += 1
    while at < end and c"0" <= at[0] <= c"9" and digits < MAX_DIGITS:
        number = number * 10 + <uint32_t>(at[0] - c"0")
        digits += 1
        at += 1
    if number > most or (digits > 1 and cursor[0][1] == c"0"):
        return REQUEST_OTHER
    if at == end:
        return REQUEST_PART
    if digits == 0 or at[0] != c"\r":
        return REQUEST_OTHER
    if at + 1 == end:
        return REQUEST_PART
    if at[1] != c"\n":
        return REQUEST_OTHER
    cursor[0] = at + 2
    out[0] = number
    return REQUEST_WHOLE


cdef inline RequestKind argument(
    const char **cursor, const char *end, uint32_t most, Argument *out,
) noexcept nogil:
    cdef RequestKind kind = number_line(cursor, end, c"$", most, &out.length)
    if kind != REQUEST_WHOLE:
        return kind
    if <size_t>(end - cursor[0]) < <size_t>out.length + 2:
        return REQUEST_PART
    out.bytes = cursor[0]
    cursor[0] += out.length + 2
    return REQUEST_WHOLE if cursor[0][-2] == c"\r" and cursor[0][-1] == c"\n" else REQUEST_OTHER


cdef inline bint is_name(const Argument *name, const char *upper, const char *lower, uint32_t length) noexcept nogil:
    return name.length == length and (
        memcmp(name.bytes, upper, length) == 0 or memcmp(name.bytes, lower, length) == 0)


cdef inline void describe(
    Packed *update, const Argument *key, const Argument *value, const Argument *client,
) noexcept nogil:
    """`value` and `client` may be NULL."""
    update.key = key.bytes
    update.key_bytes = key.length
    update.value = value.bytes if value != NULL else NULL
    update.value_bytes = value.length if value != NULL else 0
    update.client = client.bytes if client != NULL else NULL
    update.client_bytes = client.length if client != NULL else 0
    update.same_client = False


cdef inline RequestKind request_of(const Argument *arguments, uint32_t count, DirectRequest *out) noexcept nogil:
    if count >= 3 and is_name(&arguments[0], "MEMBER.PUT", "member.put", 10):
        describe(&out.update, &arguments[1], &arguments[2], &arguments[3] if count == 4 else NULL)
        return REQUEST_UPDATE
    if count == 2 and is_name(&arguments[0], "READ", "read", 4):
        describe(&out.update, &arguments[1], NULL, NULL)
        return REQUEST_READ
    if count <= 3 and is_name(&arguments[0], "MEMBER.DEL", "member.del", 10):
        describe(&out.update, &arguments[1], NULL, &arguments[2] if count == 3 else NULL)
        return REQUEST_UPDATE
    return REQUEST_OTHER


cdef inline RequestKind direct_request(
    const char *bytes, size_t length, uint32_t most, DirectRequest *out,
) noexcept nogil:
    """Look at the request that begins with `bytes`. An argument of more than `most` bytes makes it REQUEST_OTHER.

    `out` is set for REQUEST_UPDATE and REQUEST_READ, and points into `bytes`.
    """
    cdef const char *cursor = bytes
    cdef const char *end = bytes + length
    cdef Argument arguments[MAX_ARGUMENTS]
    cdef uint32_t count = 0
    cdef uint32_t i
    cdef RequestKind kind = number_line(&cursor, end, c"*", MAX_ARGUMENTS, &count)
    if kind != REQUEST_WHOLE:
        return kind
    if count < 2:
        return REQUEST_OTHER
    for i in range(count):
        kind = argument(&cursor, end, most, &arguments[i])
        if kind != REQUEST_WHOLE:
            return kind
    out.bytes = <size_t>(cursor - bytes)
    return request_of(arguments, count, out)
