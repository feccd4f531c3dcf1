# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Integers as decimal text. A message between members has many, for which `snprintf` takes a microsecond or two, and
`strtoll` half of one.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    DECIMAL_BYTES = 20          # of the longest: a sign and 19 digits


cdef inline int write_decimal(char *out, int64_t number) noexcept nogil:
    """Write the integer to `out`, which has room for DECIMAL_BYTES. Returns the number of bytes; no byte 0 ends them.
    """
    cdef char digits[DECIMAL_BYTES]
    cdef int at = DECIMAL_BYTES
    cdef uint64_t rest = <uint64_t>number if number >= 0 else 0 - <uint64_t>number
    while True:
        at -= 1
        digits[at] = <char>(c"0" + rest % 10)
        rest //= 10
        if rest == 0:
            break
    if number < 0:
        at -= 1
        digits[at] = c"-"
    memcpy(out, &digits[at], <size_t>(DECIMAL_BYTES - at))
    return DECIMAL_BYTES - at


cdef inline bint read_decimal(const char *text, size_t length, int64_t *out) noexcept nogil:
    """Returns False if the bytes are not one integer that fits: digits, perhaps after a minus sign."""
    cdef bint negative = length > 0 and text[0] == c"-"
    cdef uint64_t number = 0
    cdef size_t i
    if length == <size_t>negative or length > DECIMAL_BYTES:
        return False
    for i in range(<size_t>negative, length):
        if not c"0" <= text[i] <= c"9" or number > <uint64_t>INT64_MAX // 10:
            return False
        number = 10 * number + <uint64_t>(text[i] - c"0")
    if number > <uint64_t>INT64_MAX + negative:
        return False
    out[0] = <int64_t>(0 - number if negative else number)
    return True


cdef inline int write_decimals(char *out, const int64_t *numbers, int count) noexcept nogil:
    """Write the integers, with one blank between two of them, to `out`. Returns the number of bytes.

    `out` has room for DECIMAL_BYTES and a blank for each.
    """
    cdef int length = 0
    cdef int i
    for i in range(count):
        if i:
            out[length] = c" "
            length += 1
        length += write_decimal(&out[length], numbers[i])
    return length


cdef inline bint read_decimals(const char *text, size_t length, int64_t *out, int count) noexcept nogil:
    """Returns False if the bytes are not exactly `count` integers, with one blank between two of them."""
    cdef size_t begin = 0
    cdef size_t end
    cdef int i
    for i in range(count):
        end = begin
        while end < length and text[end] != c" ":
            end += 1
        if (end < length) != (i < count - 1) or not read_decimal(&text[begin], end - begin, &out[i]):
            return False
        begin = end + 1
    return True
