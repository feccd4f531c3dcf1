# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The bytes of a batch's updates, to structs and back, with checked bounds.

    update = key length, value length, client length (32 bits each, little-endian), key, client, value

The value comes last, so that a long one can be sent from where it lies. An absent value (the update deletes) and an
absent client have a length that no string can have; a client that is the same as in the update before is not repeated.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    PACKED_HEADER = 12
    MAX_STRING = 0x7fffffff

cdef extern from *:
    """
    #define WIRE_ABSENT 0xffffffffu
    #define WIRE_SAME 0xfffffffeu
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "the wire format is copied as it lies in memory: little-endian machines only"
    #endif
    """
    const uint32_t ABSENT "WIRE_ABSENT"
    const uint32_t SAME "WIRE_SAME"


cdef struct Packed:
    const char *key
    const char *value           # NULL: delete
    const char *client          # NULL: none
    uint32_t key_bytes
    uint32_t value_bytes
    uint32_t client_bytes
    bint same_client            # as the update before


cdef inline void wire_header(char *out, uint32_t key_bytes, uint32_t value_bytes, uint32_t client_bytes) noexcept nogil:
    """The PACKED_HEADER bytes before the strings; value_bytes may be ABSENT, client_bytes ABSENT or SAME."""
    memcpy(out, &key_bytes, 4)
    memcpy(out + 4, &value_bytes, 4)
    memcpy(out + 8, &client_bytes, 4)


cdef inline bint wire_take(const char **cursor, const char *end, uint32_t bytes, const char **out) noexcept nogil:
    if bytes > MAX_STRING or <uint64_t>(end - cursor[0]) < bytes:
        return False
    out[0] = cursor[0]
    cursor[0] += bytes
    return True


cdef inline bint wire_next(const char **cursor, const char *end, Packed *out) noexcept nogil:
    """Reads one update at `cursor` and moves past it. Returns False if the bytes are no update."""
    if end - cursor[0] < PACKED_HEADER:
        return False
    memcpy(&out.key_bytes, cursor[0], 4)
    memcpy(&out.value_bytes, cursor[0] + 4, 4)
    memcpy(&out.client_bytes, cursor[0] + 8, 4)
    cursor[0] += PACKED_HEADER
    out.value = out.client = NULL
    out.same_client = out.client_bytes == SAME
    if not wire_take(cursor, end, out.key_bytes, &out.key):
        return False
    if out.client_bytes != ABSENT and not out.same_client and not wire_take(cursor, end, out.client_bytes, &out.client):
        return False
    return out.value_bytes == ABSENT or wire_take(cursor, end, out.value_bytes, &out.value)


cdef inline bint wire_valid(const char *cursor, const char *end, uint64_t count) noexcept nogil:
    """Are these bytes exactly `count` updates? Asked before the first is applied, so that a batch is applied whole."""
    cdef Packed packed
    cdef bint has_client = False
    cdef uint64_t _i
    for _i in range(count):
        if not wire_next(&cursor, end, &packed):
            return False
        if packed.same_client and not has_client:
            return False
        has_client = packed.client != NULL or packed.same_client
    return cursor == end
