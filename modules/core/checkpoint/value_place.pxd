# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Where a value is that is apart from its record, in a file of values (docs/file-formats.md, "Values apart").

The record names the file, and says how to tell the value from anything else that may be there.
"""

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from modules.core.checkpoint.record_format cimport APART_RECORD_BYTES, get_big_endian, put_big_endian

cdef extern from *:
    """
    typedef unsigned __int128 chain_uint128;
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define chain_from_big_endian(word) __builtin_bswap64(word)
    #else
    #define chain_from_big_endian(word) (word)
    #endif
    """
    ctypedef unsigned long long uint128 "chain_uint128"     # C knows that it has 128 bits
    uint64_t from_big_endian "chain_from_big_endian"(uint64_t word) noexcept nogil

cdef enum:
    APART_FROM = 128            # bytes; inside its record a shorter value costs less
    MOST_APART = 0xffffffff     # bytes
    # Below 2^64 the largest prime number is 2^64 - 59.
    LACK = 59
    LANES = 4                   # of eight bytes each, so that the processor need not wait for its own results
    LANES_BYTES = 8 * LANES
    LACK_OF_LANES = LACK * LACK * LACK * LACK       # what 2^256 leaves


cdef struct ValuePlace:
    uint32_t file
    uint32_t offset
    uint32_t length
    uint64_t checksum


# -------------------------------------------------------------------------------------------------- the checksum

cdef inline uint64_t reduced(uint128 number) noexcept nogil:
    """Returns a number below 2^64 that leaves the same, divided by the prime, as `number`, which is below 2^121."""
    number = <uint128><uint64_t>number + <uint128>LACK * <uint64_t>(number >> 64)
    return <uint64_t>number + LACK * <uint64_t>(number >> 64)


cdef inline uint64_t word_at(const char *bytes) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, bytes, sizeof(uint64_t))
    return from_big_endian(word)


cdef inline uint64_t value_checksum(const char *bytes, size_t length) noexcept nogil:
    """Returns what the value, as one big-endian number, leaves when divided by 2^64 - 59, a prime number."""
    cdef uint64_t lanes[LANES]
    cdef uint64_t rest = 0
    cdef int lane
    for lane in range(LANES):
        lanes[lane] = 0
    while length >= 2 * LANES_BYTES:        # two rows of lanes are divided at once
        for lane in range(LANES):
            lanes[lane] = reduced(
                <uint128>lanes[lane] * (<uint64_t>LACK_OF_LANES * LACK_OF_LANES)
                + <uint128>word_at(bytes + 8 * lane) * LACK_OF_LANES + word_at(bytes + LANES_BYTES + 8 * lane))
        bytes += 2 * LANES_BYTES
        length -= 2 * LANES_BYTES
    if length >= LANES_BYTES:
        for lane in range(LANES):
            lanes[lane] = reduced(<uint128>lanes[lane] * LACK_OF_LANES + word_at(bytes + 8 * lane))
        bytes += LANES_BYTES
        length -= LANES_BYTES
    for lane in range(LANES):
        rest = reduced(<uint128>rest * LACK + lanes[lane])
    while length >= 8:
        rest = reduced(<uint128>rest * LACK + word_at(bytes))
        bytes += 8
        length -= 8
    while length:
        rest = reduced((<uint128>rest << 8) + <uint8_t>bytes[0])
        bytes += 1
        length -= 1
    return rest + LACK if rest + LACK < LACK else rest      # not below the prime: without the prime


# ---------------------------------------------------------------------------------------------------- the record

cdef inline void put_place(char *out, const ValuePlace *place) noexcept nogil:
    """Writes a record's value, APART_RECORD_BYTES of it."""
    out[0] = c"f"
    put_big_endian(&out[1], place.file, 4)
    put_big_endian(&out[5], place.offset, 4)
    put_big_endian(&out[9], place.length, 4)
    put_big_endian(&out[13], place.checksum, 8)


cdef inline void get_place(const char *record, ValuePlace *out) noexcept nogil:
    """Reads the value of a record of the kind RECORD_APART."""
    out.file = <uint32_t>get_big_endian(&record[1], 4)
    out.offset = <uint32_t>get_big_endian(&record[5], 4)
    out.length = <uint32_t>get_big_endian(&record[9], 4)
    out.checksum = get_big_endian(&record[13], 8)
