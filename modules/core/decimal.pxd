# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Integers as decimal text. A message between members has many, for which `snprintf` takes a microsecond or two."""

from libc.stdint cimport int64_t, uint64_t
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
