# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Does a connection begin with MEMBER.UNHELD? Told from its first bytes, before any has been passed on.

Members and masters send `AUTH …` and `MEMBER.UNHELD` in one write, and wait for no reply in between. So a whole AUTH
with nothing behind it is one of another client.
"""

cdef enum FirstRequest:
    FIRST_UNKNOWN               # more bytes are needed
    FIRST_UNHELD                # [AUTH …] MEMBER.UNHELD
    FIRST_OTHER

cdef enum:
    MAX_NUMBER = 100000         # longer arguments are those of another request


cdef struct Reader:
    const char *next
    const char *end
    bint short                  # the bytes end inside what was to be read


cdef inline long read_number(Reader *r, char mark) noexcept nogil:
    """A mark, a number, and the end of a line. Returns -1 if that is not there, or not whole."""
    cdef long number = 0
    cdef const char *at = r.next
    if at < r.end and at[0] != mark:
        return -1
    at += 1
    while at < r.end and c"0" <= at[0] <= c"9" and number < MAX_NUMBER:
        number = number * 10 + at[0] - c"0"
        at += 1
    if at >= r.end or (at[0] == c"\r" and at + 1 >= r.end):
        r.short = True
        return -1
    if at[0] != c"\r" or at[1] != c"\n":
        return -1
    r.next = at + 2
    return number


cdef inline bint read_word(Reader *r, const char *word, long length) noexcept nogil:
    """A bulk string of this text, in any case."""
    cdef long i
    if read_number(r, c"$") != length:
        return False
    for i in range(length + 2):
        if &r.next[i] >= r.end:
            r.short = True
            return False
        if i == length:
            if r.next[i] != c"\r":
                return False
        elif i == length + 1:
            if r.next[i] != c"\n":
                return False
        elif (r.next[i] | 32 if c"A" <= r.next[i] <= c"Z" else r.next[i]) != word[i]:
            return False
    r.next += length + 2
    return True


cdef inline bint read_any(Reader *r) noexcept nogil:
    """A bulk string, whatever it is."""
    cdef long length = read_number(r, c"$")
    if length < 0:
        return False
    if r.end - r.next < length + 2:
        r.short = True
        return False
    r.next += length + 2
    return True


cdef inline bint read_unheld(Reader *r) noexcept nogil:
    return read_number(r, c"*") == 1 and read_word(r, "member.unheld", 13)


cdef inline bint read_auth(Reader *r) noexcept nogil:
    cdef long count = read_number(r, c"*")
    if count != 2 and count != 3:
        return False
    return read_word(r, "auth", 4) and read_any(r) and (count == 2 or read_any(r))


cdef inline FirstRequest first_request(const char *bytes, size_t length) noexcept nogil:
    """Judge the first bytes of a connection."""
    cdef Reader r
    r.next = bytes
    r.end = bytes + length
    r.short = False
    if read_unheld(&r):
        return FIRST_UNHELD
    if r.short:
        return FIRST_UNKNOWN
    r.next = bytes
    if read_auth(&r):
        if r.next == r.end:
            return FIRST_OTHER
        if read_unheld(&r):
            return FIRST_UNHELD
    return FIRST_UNKNOWN if r.short else FIRST_OTHER
