# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Bytes as hexadecimal digits, and back."""


cdef inline void to_hex(const unsigned char *bytes, int count, char *out) noexcept nogil:
    """Writes 2 * count digits and NUL."""
    cdef const char *digits = "0123456789abcdef"
    cdef int i
    for i in range(count):
        out[2 * i] = digits[bytes[i] >> 4]
        out[2 * i + 1] = digits[bytes[i] & 15]
    out[2 * count] = 0


cdef inline int hex_digit(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    return -1


cdef inline bint from_hex(const char *text, size_t length, unsigned char *out, size_t count) noexcept nogil:
    """Reads exactly `count` bytes. Returns False if the text is anything else."""
    cdef size_t i
    if length != 2 * count:
        return False
    for i in range(count):
        if hex_digit(text[2 * i]) < 0 or hex_digit(text[2 * i + 1]) < 0:
            return False
        out[i] = <unsigned char>(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]))
    return True
