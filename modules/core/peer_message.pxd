# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The messages of another member that come again and again: CHAIN.FORWARD, CHAIN.ACK and CHAIN.IDLE, as RESP arrays.

    *3\\r\\n $13\\r\\nCHAIN.FORWARD\\r\\n $19\\r\\n1 1 7 1 6 7 0 0 7 -1\\r\\n $30\\r\\n…\\r\\n

Only what is certainly one of these is taken, with its numbers in one argument. Anything else is the server's.
"""

from libc.stdint cimport uint32_t

from modules.core.resp_arguments cimport (
    ARGUMENTS_PART, ARGUMENTS_WHOLE, Argument, ArgumentsForm, argument_is, scan_arguments,
)

cdef enum MessageForm:
    MESSAGE_PART                # the bytes end within a message that may become one of these
    MESSAGE_OTHER               # the server is to judge it
    MESSAGE_FORWARD
    MESSAGE_ACK
    MESSAGE_IDLE

cdef enum:
    MOST_ARGUMENTS = 3


cdef struct PeerMessage:
    Argument numbers
    Argument payload            # of a CHAIN.FORWARD
    size_t bytes                # of the whole message


cdef inline MessageForm form_of(const Argument *arguments, uint32_t count) noexcept nogil:
    if count == 3 and argument_is(&arguments[0], "CHAIN.FORWARD", 13):
        return MESSAGE_FORWARD
    if count == 2 and argument_is(&arguments[0], "CHAIN.ACK", 9):
        return MESSAGE_ACK
    if count == 1 and argument_is(&arguments[0], "CHAIN.IDLE", 10):
        return MESSAGE_IDLE
    return MESSAGE_OTHER


cdef inline MessageForm peer_message(
    const char *bytes, size_t length, uint32_t most, PeerMessage *out,
) noexcept nogil:
    """Look at the message that begins with `bytes`. An argument of more than `most` bytes makes it MESSAGE_OTHER.

    `out` points into `bytes`, and is set for a message that is taken, as far as it has arguments.
    """
    cdef const char *cursor = bytes
    cdef Argument arguments[MOST_ARGUMENTS]
    cdef uint32_t count = 0
    cdef ArgumentsForm form = scan_arguments(&cursor, bytes + length, 1, MOST_ARGUMENTS, most, arguments, &count)
    if form != ARGUMENTS_WHOLE:
        return MESSAGE_PART if form == ARGUMENTS_PART else MESSAGE_OTHER
    out.bytes = <size_t>(cursor - bytes)
    if count > 1:
        out.numbers = arguments[1]
    if count > 2:
        out.payload = arguments[2]
    return form_of(arguments, count)
