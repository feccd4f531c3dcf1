# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Texts to structs and back: included by core.pyx.

cimport modules.core.decimal as decimal


def encode(updates):
    """The payload of a batch of `Update`s, as bytes."""
    cdef char header[wire.PACKED_HEADER]
    parts = []
    previous = None
    for key, value, client in updates:
        same = client is not None and client == previous
        wire.wire_header(
            header, len(key), wire.ABSENT if value is None else len(value),
            wire.SAME if same else wire.ABSENT if client is None else len(client))
        parts += [PyBytes_FromStringAndSize(header, wire.PACKED_HEADER), key]
        parts += [b"" if same or client is None else client, b"" if value is None else value]
        previous = client
    return b"".join(parts)


def valid(bytes payload, uint64_t count):
    """Is `payload` exactly `count` updates?"""
    cdef const char *cursor = PyBytes_AS_STRING(payload)
    return bool(wire.wire_valid(cursor, cursor + len(payload), count))


def decode(bytes payload, uint64_t count):
    """The `count` updates of a payload, as a list of `Update`. ValueError if the payload is anything else."""
    cdef const char *cursor = PyBytes_AS_STRING(payload)
    cdef const char *end = cursor + len(payload)
    cdef wire.Packed packed
    if not wire.wire_valid(cursor, end, count):
        raise ValueError("not a payload of this many updates")
    updates = []
    client = None
    while cursor < end and wire.wire_next(&cursor, end, &packed):
        if not packed.same_client:
            client = None if packed.client == NULL else packed.client[:packed.client_bytes]
        value = None if packed.value == NULL else packed.value[:packed.value_bytes]
        updates.append(Update(packed.key[:packed.key_bytes], value, client))
    return updates


def write_decimal(int64_t number):
    cdef char out[decimal.DECIMAL_BYTES]
    return out[:decimal.write_decimal(out, number)]


def read_decimal(bytes text):
    """None: the text is no integer that fits."""
    cdef int64_t number
    return number if decimal.read_decimal(text, len(text), &number) else None


def write_decimals(list numbers):
    cdef bytearray out = bytearray(len(numbers) * (decimal.DECIMAL_BYTES + 1))
    cdef int64_t integers[16]
    for i, number in enumerate(numbers):
        integers[i] = number
    return bytes(out[:decimal.write_decimals(out, integers, len(numbers))])


def read_decimals(bytes text, int count):
    """None: the text is not so many integers that fit. count: at most 16."""
    cdef int64_t integers[16]
    if not decimal.read_decimals(text, len(text), integers, count):
        return None
    return [integers[i] for i in range(count)]


def keyspace_info(bytes text):
    """The section `keyspace` of INFO, as a `KeyspaceInfo`."""
    cdef keyspace.KeyspaceInfo info
    memset(&info, 0, sizeof(info))
    keyspace.keyspace_parse(PyBytes_AS_STRING(text), len(text), &info)
    return KeyspaceInfo(info.keys, bool(info.others), info.expiring, info.expiring_fields)


include "core_cluster.pxi"
