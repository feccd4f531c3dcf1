# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Finds where commands and transactions end in the stream that Redis sends to a replica, or in an append-only file.

A command is an array of bulk strings: `*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n`. A transaction goes from
MULTI to EXEC. The bytes may come in any pieces. Redis writes both, so anything else in them is an error. An append-only
file may have a line with the time, `#TS:1700000000`, before a command.
"""

from libc.stdint cimport int64_t
from libc.string cimport memchr, memcpy

cdef enum:
    WORD_ROOM = 24              # longer than the names that matter
    LINE_ROOM = 24


cdef enum ScanPhase:
    SCAN_COUNT                  # `*` and the number of arguments
    SCAN_LENGTH                 # `$` and the length of the next argument
    SCAN_BYTES                  # the argument, and the line end after it


cdef enum ScanName:
    SCAN_OTHER
    SCAN_MULTI
    SCAN_SELECT
    SCAN_RECORD                 # CHAIN.RECORD.EXECUTED: what stands before it has a position


cdef struct EffectScanner:
    ScanPhase phase
    char line[LINE_ROOM]        # the beginning of a line that is not complete
    int line_length
    int64_t arguments           # arguments of this command that are still to come
    int64_t left                # bytes of this argument that are still to come, line end included
    char word[WORD_ROOM]        # the beginning of a name, or of what SELECT selects
    int64_t word_length
    int64_t word_at             # bytes of the word that have come
    bint keeping                # the argument is kept in `word`
    bint naming                 # the argument is the first of its command
    bint in_transaction
    ScanName name               # of the command; after EXEC that of the last command in the transaction
    int database                # that the newest SELECT has selected
    bint of_file                # lines with the time are allowed
    int64_t taken               # bytes scanned so far
    int64_t record_end          # as many went up to the newest end of a record; 0: there was none


cdef inline bint scan_number(const char *text, int length, int64_t *out) noexcept nogil:
    """Reads the decimal number after the first character. False if there is none."""
    cdef int64_t number = 0
    cdef int i
    if length < 2 or length > 12:
        return False
    for i in range(1, length):
        if not c"0" <= text[i] <= c"9":
            return False
        number = 10 * number + (text[i] - c"0")
    out[0] = number
    return True


cdef inline bint scan_line(EffectScanner *s, const char *line, int length) noexcept nogil:
    """Takes a whole line, without its end. False if it does not belong there."""
    cdef int64_t number
    if s.of_file and s.phase == SCAN_COUNT and length and line[0] == c"#":
        return True
    if not scan_number(line, length, &number):
        return False
    if s.phase == SCAN_COUNT:
        s.arguments = number
        s.naming = s.keeping = True
        s.phase = SCAN_LENGTH
        return line[0] == c"*" and number > 0
    s.left = number + 2
    s.phase = SCAN_BYTES
    if s.keeping:
        s.word_length = number
        s.word_at = 0
    return line[0] == c"$"


cdef inline bint scan_is(const EffectScanner *s, const char *name, int length) noexcept nogil:
    cdef int i
    if s.word_length != length:
        return False
    for i in range(length):
        if s.word[i] & (~32 if name[i] != c"." else ~0) != name[i]:
            return False
    return True


cdef inline void scan_named(EffectScanner *s) noexcept nogil:
    if scan_is(s, b"EXEC", 4):
        s.in_transaction = False
        return
    s.name = SCAN_OTHER
    if scan_is(s, b"MULTI", 5):
        s.in_transaction = True
    elif scan_is(s, b"SELECT", 6):
        s.name = SCAN_SELECT
    elif scan_is(s, b"CHAIN.RECORD.EXECUTED", 21):
        s.name = SCAN_RECORD


cdef inline void scan_selected(EffectScanner *s) noexcept nogil:
    cdef int64_t i
    s.database = 0
    for i in range(min(s.word_length, <int64_t>9)):
        if c"0" <= s.word[i] <= c"9":
            s.database = 10 * s.database + (s.word[i] - c"0")


cdef inline void scan_argument_over(EffectScanner *s) noexcept nogil:
    if s.naming:
        scan_named(s)
        s.naming = False
        s.keeping = s.name == SCAN_SELECT and s.arguments == 2
    elif s.keeping:
        scan_selected(s)
        s.keeping = False
    s.arguments -= 1
    s.phase = SCAN_LENGTH if s.arguments else SCAN_COUNT


cdef inline int64_t scan(EffectScanner *s, const char *bytes, int64_t count) noexcept nogil:
    """Reads the next `count` bytes of the stream.

    Returns how many of them go up to the last end of a command outside of transactions, or of a transaction: 0 if none
    ends here. -1: this is no stream of commands.
    """
    cdef int64_t at = 0
    cdef int64_t whole = 0
    cdef int64_t before = s.taken
    cdef int64_t step
    cdef int64_t kept
    cdef const char *end
    s.taken += count
    while at < count:
        if s.phase == SCAN_BYTES:
            step = min(s.left, count - at)
            if s.keeping and s.word_at < WORD_ROOM:
                kept = min(step, WORD_ROOM - s.word_at)
                memcpy(&s.word[s.word_at], &bytes[at], <size_t>kept)
                s.word_at += kept
            s.left -= step
            at += step
            if s.left == 0:
                scan_argument_over(s)
                if s.phase == SCAN_COUNT and not s.in_transaction:
                    whole = at
                    if s.name == SCAN_RECORD:
                        s.record_end = before + at
            continue
        end = <const char *>memchr(&bytes[at], c"\n", <size_t>min(count - at, <int64_t>LINE_ROOM))
        if end == NULL:
            step = count - at
            if s.line_length + step > LINE_ROOM:
                return -1
            memcpy(&s.line[s.line_length], &bytes[at], <size_t>step)
            s.line_length += <int>step
            return whole
        step = end + 1 - &bytes[at]
        if s.line_length:
            if s.line_length + step > LINE_ROOM:
                return -1
            memcpy(&s.line[s.line_length], &bytes[at], <size_t>step)
            if not scan_line(s, s.line, s.line_length + <int>step - 2):
                return -1
            s.line_length = 0
        elif step < 2 or not scan_line(s, &bytes[at], <int>step - 2):
            return -1
        at += step
    return whole
