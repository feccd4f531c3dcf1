# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A kept reply, which is RESP, taken apart into what is to be replied again.

Elements of arrays, maps and sets follow their heads, so a nested reply is a flat list of parts.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr

cdef enum:
    LONGEST_NUMBER = 20         # characters, the sign included


cdef struct ReplyPart:
    # letter: as in RESP. Of `$` and `=`, and of arrays, maps and sets, `number` is the length; -1 is null. For all
    # other letters, and for strings, the text counts. The text of `=` begins with its type, three letters and a colon.
    char letter
    int64_t number
    const char *text
    uint64_t length


cdef inline bint has_length(char letter) noexcept nogil:
    """Returns whether the line after the letter is the number of bytes or elements that follow."""
    return (letter == c"$" or letter == c"=" or letter == c"*" or letter == c"%" or letter == c"~" or letter == c"|"
            or letter == c">")


cdef inline bint read_number(const char *text, uint64_t length, int64_t *out) noexcept nogil:
    cdef bint negative = length > 0 and text[0] == c"-"
    cdef uint64_t at = 1 if negative else 0
    out[0] = 0
    if at == length or length >= LONGEST_NUMBER:
        return False
    while at < length:
        if not c"0" <= text[at] <= c"9":
            return False
        out[0] = 10 * out[0] + (text[at] - c"0")
        at += 1
    if negative:
        out[0] = -out[0]
    return True


cdef inline bint reply_part(const char *reply, uint64_t length, uint64_t *at, ReplyPart *out) noexcept nogil:
    """Take the part that begins at byte `at`, which is moved behind it. Returns False at the end, or at what is no
    RESP.
    """
    cdef const char *end
    if at[0] + 3 > length:
        return False
    end = <const char *>memchr(reply + at[0] + 1, c"\r", length - at[0] - 1)
    if end == NULL or end + 1 == reply + length:
        return False
    out.letter = reply[at[0]]
    out.number = 0
    out.text = reply + at[0] + 1
    out.length = <uint64_t>(end - out.text)
    at[0] = <uint64_t>(end + 2 - reply)
    if not has_length(out.letter):
        return True
    if not read_number(out.text, out.length, &out.number) or out.number < -1:
        return False
    if (out.letter == c"$" or out.letter == c"=") and out.number >= 0:
        if length - at[0] < 2 or <uint64_t>out.number > length - at[0] - 2:
            return False
        out.text = reply + at[0]
        out.length = <uint64_t>out.number
        at[0] += out.length + 2
    return True
