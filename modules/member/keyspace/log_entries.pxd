# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The entries of the log of a chain of PUTs: each update as it is sent (`core/wire.pxd`), in the pages of the log.

    entry.key       the update's bytes, whose value is left out if it is long
    entry.value     the same, or the string of a long value, which log and keyspace share; NULL: the update deletes
    entry.client    where the client id lies among these bytes; NULL: there is none

A short value is copied: that costs less than to free a string long after it was used.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from modules.bindings.redismodule cimport RedisModuleString, RedisModule_StringPtrLen
from modules.core.log cimport Entry
from modules.core.payloads cimport Payloads, payloads_give, payloads_take
from modules.core.wire cimport ABSENT, PACKED_HEADER, Packed, wire_header
from modules.member.keyspace.values cimport COPIED_STRING, keep_value, let_go


cdef inline const char *string_bytes(const RedisModuleString *string, uint32_t *length) noexcept nogil:
    """NULL: there is no string."""
    cdef size_t bytes = 0
    cdef const char *start = NULL
    if string != NULL:
        start = RedisModule_StringPtrLen(string, &bytes)
    length[0] = <uint32_t>bytes
    return start


cdef inline void update_of(
    RedisModuleString *key, RedisModuleString *value, RedisModuleString *client, Packed *out,
) noexcept nogil:
    """Describe an update whose strings a client has sent."""
    out.key = string_bytes(key, &out.key_bytes)
    out.value = string_bytes(value, &out.value_bytes)
    out.client = string_bytes(client, &out.client_bytes)


cdef inline uint64_t update_bytes(const Packed *update) noexcept nogil:
    return <uint64_t>update.key_bytes + update.value_bytes + update.client_bytes


cdef inline bint is_long(const Packed *update) noexcept nogil:
    """Returns whether log and keyspace share the value."""
    return update.value != NULL and update.value_bytes > COPIED_STRING


cdef inline bint entry_fill(
    Payloads *payloads, Entry *entry, const Packed *update, RedisModuleString *value,
) noexcept nogil:
    """Copy the update into the log's pages. `value` is of use only if it is long. Returns False without memory."""
    cdef bint whole = not is_long(update)
    cdef uint64_t bytes = update_bytes(update)
    cdef char *place = payloads_take(payloads, PACKED_HEADER + bytes - (0 if whole else update.value_bytes))
    cdef char *end
    if place == NULL:
        return False
    wire_header(place, update.key_bytes, update.value_bytes if update.value != NULL else ABSENT,
                update.client_bytes if update.client != NULL else ABSENT)
    end = place + PACKED_HEADER
    memcpy(end, update.key, update.key_bytes)
    end += update.key_bytes
    entry.key = place
    entry.value = entry.client = NULL
    if update.client != NULL:
        entry.client = end
        memcpy(end, update.client, update.client_bytes)
        end += update.client_bytes
    if update.value != NULL and whole:
        entry.value = place
        memcpy(end, update.value, update.value_bytes)
    elif update.value != NULL:
        entry.value = keep_value(value, bytes)
    entry.bytes = bytes
    return True


cdef inline RedisModuleString *entry_long_value(const Entry *entry) noexcept nogil:
    """Returns the value if it is a string, which the log shares with the keyspace; else NULL."""
    return <RedisModuleString *>entry.value if entry.value != entry.key else NULL


cdef inline void entry_read(const Entry *entry, Packed *out) noexcept nogil:
    """The update in the entry. The bytes of a long value are those of its string."""
    cdef const char *place = <const char *>entry.key
    cdef RedisModuleString *value = entry_long_value(entry)
    memcpy(&out.key_bytes, place, 4)
    memcpy(&out.value_bytes, place + 4, 4)
    memcpy(&out.client_bytes, place + 8, 4)
    out.key = place + PACKED_HEADER
    out.client = <const char *>entry.client
    if out.client == NULL:
        out.client_bytes = 0
    if entry.value == NULL:
        out.value_bytes = 0
        out.value = NULL
    elif value != NULL:
        out.value = string_bytes(value, &out.value_bytes)
    else:
        out.value = out.key + out.key_bytes + out.client_bytes


cdef inline void entry_release(Payloads *payloads, Entry *entry) noexcept nogil:
    """Give back what an entry has that was taken out of the log, which is the oldest."""
    let_go(entry_long_value(entry))
    payloads_give(payloads)
