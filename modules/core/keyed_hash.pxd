# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""SipHash-2-4 (Aumasson and Bernstein, 2012): a hash for names that clients choose.

Whoever does not know the key cannot choose names that all fall into one bucket.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef struct HashKey:
    uint64_t low
    uint64_t high


cdef inline uint64_t rotated(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void hash_rounds(uint64_t *v, int count) noexcept nogil:
    cdef int _i
    for _i in range(count):
        v[0] += v[1]
        v[2] += v[3]
        v[1] = rotated(v[1], 13) ^ v[0]
        v[3] = rotated(v[3], 16) ^ v[2]
        v[0] = rotated(v[0], 32)
        v[2] += v[1]
        v[0] += v[3]
        v[1] = rotated(v[1], 17) ^ v[2]
        v[3] = rotated(v[3], 21) ^ v[0]
        v[2] = rotated(v[2], 32)


cdef inline void hash_word(uint64_t *v, uint64_t word) noexcept nogil:
    v[3] ^= word
    hash_rounds(v, 2)
    v[0] ^= word


cdef inline uint64_t keyed_hash(const HashKey *key, const char *bytes, uint64_t length) noexcept nogil:
    """Returns the hash of these bytes under the key, on a machine whose words begin with their lowest byte."""
    cdef uint64_t v[4]
    cdef uint64_t word
    cdef uint64_t at = 0
    v[0] = key.low ^ 0x736F6D6570736575ULL
    v[1] = key.high ^ 0x646F72616E646F6DULL
    v[2] = key.low ^ 0x6C7967656E657261ULL
    v[3] = key.high ^ 0x7465646279746573ULL
    while length - at >= 8:
        memcpy(&word, bytes + at, 8)
        hash_word(v, word)
        at += 8
    word = 0
    memcpy(&word, bytes + at, length - at)
    hash_word(v, word | length << 56)
    v[2] ^= 0xFF
    hash_rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
