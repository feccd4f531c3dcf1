# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The requests of a direct client: MEMBER.PUT, MEMBER.DEL and READ, as clients send them (RESP arrays of bulk strings).

    *4\\r\\n $10\\r\\nMEMBER.PUT\\r\\n $1\\r\\nk\\r\\n $1\\r\\nv\\r\\n $2\\r\\nid\\r\\n

Only what is certainly one of these is taken. Anything else is the server's: other commands, other numbers of
arguments, names in mixed case, inline commands, faults of the protocol.
"""

from libc.stdint cimport uint32_t

from modules.core.resp_arguments cimport (
    ARGUMENTS_PART, ARGUMENTS_WHOLE, Argument, ArgumentsForm, argument_is, scan_arguments,
)
from modules.core.wire cimport Packed

cdef enum RequestKind:
    REQUEST_PART                # the bytes end within a request that may become one of ours
    REQUEST_OTHER               # the server is to judge it
    REQUEST_UPDATE              # MEMBER.PUT, or MEMBER.DEL, which has no value
    REQUEST_READ

cdef enum:
    LEAST_ARGUMENTS = 2
    MAX_ARGUMENTS = 4


cdef struct DirectRequest:
    Packed update               # of a READ the key alone
    size_t bytes                # of the whole request


cdef inline bint is_name(const Argument *name, const char *upper, const char *lower, uint32_t length) noexcept nogil:
    return argument_is(name, upper, length) or argument_is(name, lower, length)


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
    cdef Argument arguments[MAX_ARGUMENTS]
    cdef uint32_t count = 0
    cdef ArgumentsForm form = scan_arguments(
        &cursor, bytes + length, LEAST_ARGUMENTS, MAX_ARGUMENTS, most, arguments, &count)
    if form != ARGUMENTS_WHOLE:
        return REQUEST_PART if form == ARGUMENTS_PART else REQUEST_OTHER
    out.bytes = <size_t>(cursor - bytes)
    return request_of(arguments, count, out)
