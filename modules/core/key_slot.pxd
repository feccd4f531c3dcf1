# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The slot of a key, as Redis Cluster counts it: CRC-16/XMODEM of the key, or of its hash tag, modulo 16384."""

from libc.stdint cimport uint16_t
from libc.string cimport memchr

cdef enum:
    SLOTS = 16384
    POLYNOMIAL = 0x1021


cdef inline uint16_t crc16(const char *bytes, size_t length) noexcept nogil:
    cdef uint16_t crc = 0
    cdef size_t i
    cdef int _bit
    for i in range(length):
        crc ^= <uint16_t>(<unsigned char>bytes[i] << 8)
        for _bit in range(8):
            crc = <uint16_t>((crc << 1) ^ POLYNOMIAL) if crc & 0x8000 else <uint16_t>(crc << 1)
    return crc


cdef inline int key_slot(const char *key, size_t length) noexcept nogil:
    """A hash tag is what stands between the first `{` and the next `}`, unless that is nothing."""
    cdef const char *open = <const char *>memchr(key, c"{", length)
    cdef const char *close
    if open != NULL:
        close = <const char *>memchr(open, c"}", length - <size_t>(open - key))
        if close != NULL and close > open + 1:
            return crc16(open + 1, <size_t>(close - open - 1)) & (SLOTS - 1)
    return crc16(key, length) & (SLOTS - 1)
