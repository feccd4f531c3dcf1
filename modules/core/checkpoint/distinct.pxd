# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""About how many different keys a checkpoint has, in 4 KiB: a HyperLogLog, whose standard error is 1.6 %.

Keys are put into 4096 groups by the first bits of their hashes. Each group remembers the most zeros that any of its
hashes goes on with. So many zeros come once in 2, 4, 8, … keys, so they tell how many different keys came. A key that
comes again changes nothing.
"""

from libc.stdint cimport uint64_t, uint8_t

cdef extern from *:
    int __builtin_clzll(unsigned long long) noexcept nogil      # zeros that a number begins with

cdef enum:
    GROUP_BITS = 12
    GROUPS = 4096               # 2 to the power of the bits
    WHOLE_BITS = 50             # the sum of all groups' parts is at most 2 to the power of this and the group's bits


cdef struct Distinct:
    uint8_t most[GROUPS]        # of each group, one more than the zeros; 0: it has no key


cdef inline uint64_t spread(uint64_t hash) noexcept nogil:
    """Murmur's finalizer: each bit of the hash changes about half of all bits."""
    hash = (hash ^ hash >> 33) * <uint64_t>0xff51afd7ed558ccd
    hash = (hash ^ hash >> 33) * <uint64_t>0xc4ceb9fe1a85ec53
    return hash ^ hash >> 33


cdef inline void distinct_note(Distinct *keys, uint64_t key_hash) noexcept nogil:
    """Notes a key by its hash."""
    cdef uint64_t hash = spread(key_hash)
    cdef uint8_t *most = &keys.most[hash >> (64 - GROUP_BITS)]
    cdef uint8_t rank = <uint8_t>(1 + __builtin_clzll(hash << GROUP_BITS | 1 << (GROUP_BITS - 1)))
    most[0] = max(most[0], rank)


cdef inline bint distinct_at_most(const Distinct *keys, uint64_t count) noexcept nogil:
    """Were there about so many different keys, or fewer? Means nothing for counts below 20,000."""
    cdef uint64_t sum = 0
    cdef int i
    for i in range(GROUPS):
        sum += <uint64_t>1 << WHOLE_BITS >> keys.most[i]
    # The estimate is 0.7211 times the square of GROUPS, divided by the sum in parts of 2 to the power of WHOLE_BITS.
    return 0.7211 * <double>(<uint64_t>1 << (2 * GROUP_BITS)) * <double>(<uint64_t>1 << WHOLE_BITS) <= (
        <double>count * <double>sum)
