# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The arguments of a command as clients and members send it: a RESP array of bulk strings.

    *2\\r\\n $4\\r\\nREAD\\r\\n $1\\r\\nk\\r\\n
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcmp

cdef enum ArgumentsForm:
    ARGUMENTS_PART              # the bytes end within what may become a command
    ARGUMENTS_OTHER             # it is something else, or longer than was allowed
    ARGUMENTS_WHOLE

cdef enum:
    MAX_DIGITS = 7              # of a number


cdef struct Argument:
    const char *bytes
    uint32_t length


cdef inline bint argument_is(const Argument *argument, const char *bytes, uint32_t length) noexcept nogil:
    return argument.length == length and memcmp(argument.bytes, bytes, length) == 0


cdef inline ArgumentsForm scan_number(
    const char **cursor, const char *end, char mark, uint32_t most, uint32_t *out,
) noexcept nogil:
    """Read a line of `mark` and a number. Returns ARGUMENTS_WHOLE if it is whole and the number is at most `most`."""
    cdef const char *at = cursor[0]
    cdef uint32_t number = 0
    cdef int digits = 0
    if at == end:
        return ARGUMENTS_PART
    if at[0] != mark:
        return ARGUMENTS_OTHER
    at += 1
    while at < end and c"0" <= at[0] <= c"9" and digits < MAX_DIGITS:
        number = number * 10 + <uint32_t>(at[0] - c"0")
        digits += 1
        at += 1
    if number > most or (digits > 1 and cursor[0][1] == c"0"):
        return ARGUMENTS_OTHER
    if at == end:
        return ARGUMENTS_PART
    if digits == 0 or at[0] != c"\r":
        return ARGUMENTS_OTHER
    if at + 1 == end:
        return ARGUMENTS_PART
    if at[1] != c"\n":
        return ARGUMENTS_OTHER
    cursor[0] = at + 2
    out[0] = number
    return ARGUMENTS_WHOLE


cdef inline ArgumentsForm scan_argument(
    const char **cursor, const char *end, uint32_t most, Argument *out,
) noexcept nogil:
    cdef ArgumentsForm form = scan_number(cursor, end, c"$", most, &out.length)
    if form != ARGUMENTS_WHOLE:
        return form
    if <size_t>(end - cursor[0]) < <size_t>out.length + 2:
        return ARGUMENTS_PART
    out.bytes = cursor[0]
    cursor[0] += out.length + 2
    return ARGUMENTS_WHOLE if cursor[0][-2] == c"\r" and cursor[0][-1] == c"\n" else ARGUMENTS_OTHER


cdef inline ArgumentsForm scan_arguments(
    const char **cursor, const char *end, uint32_t least, uint32_t room, uint32_t most, Argument *out, uint32_t *count,
) noexcept nogil:
    """Read the command at the cursor, and move the cursor behind it.

    least, room: how few and how many arguments it may have.
    most: bytes of one argument.
    """
    cdef uint32_t i
    cdef ArgumentsForm form = scan_number(cursor, end, c"*", room, count)
    if form != ARGUMENTS_WHOLE:
        return form
    if count[0] < least:
        return ARGUMENTS_OTHER
    for i in range(count[0]):
        form = scan_argument(cursor, end, most, &out[i])
        if form != ARGUMENTS_WHOLE:
            return form
    return ARGUMENTS_WHOLE
