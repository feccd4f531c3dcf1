# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# CHAIN.FORWARD and CHAIN.ACK as commands, written and read (docs/protocol.md, "Updates").
#
# Redis makes a string of each argument, and with one update in a message that takes as long as all else. So the numbers
# of a message are one argument, if the peer has said that it understands this: the link is terse. A peer of an earlier
# version gets each number as an argument by itself. All forms are always understood.

from libc.stdint cimport int64_t
from libc.string cimport memcpy, strlen

from modules.bindings.redismodule cimport RedisModuleString, RedisModule_StringPtrLen
from modules.core.decimal cimport DECIMAL_BYTES, read_decimals, write_decimal, write_decimals
from modules.core.messages cimport Ack, Batch

cdef enum:
    ARGUMENT_BYTES = DECIMAL_BYTES + 7      # an integer in decimal, its length, and what is around them
    TERSE_ARGUMENTS = 3         # of a terse CHAIN.FORWARD: the name, the numbers, the payload
    TERSE_ACK_ARGUMENTS = 2
    AHEAD_ARGUMENTS = 12        # of one that says what is saved
    BATCH_NUMBERS = 10
    ACK_NUMBERS = 5


# ------------------------------------------------------------------------------------------------------ writing

cdef int put_name(char *out, const char *beginning) noexcept nogil:
    """Write the beginning of a command: how many arguments it has, and its name. Returns the number of bytes written.
    """
    cdef size_t length = strlen(beginning)
    memcpy(out, beginning, length)
    return <int>length


cdef int put_text(char *out, const char *text, int count) noexcept nogil:
    """Write the text as one argument of a command to `out`, which has room for `count` and ARGUMENT_BYTES. Returns the
    number of bytes written.
    """
    cdef int length = 1
    out[0] = c"$"
    length += write_decimal(&out[length], count)
    memcpy(&out[length], b"\r\n", 2)
    memcpy(&out[length + 2], text, <size_t>count)
    memcpy(&out[length + 2 + count], b"\r\n", 2)
    return length + count + 4


cdef int put_number(char *out, int64_t number) noexcept nogil:
    """Write the integer as one argument of a command to `out`, which has room for ARGUMENT_BYTES. Returns the number of
    bytes written.
    """
    cdef char digits[DECIMAL_BYTES]
    return put_text(out, digits, write_decimal(digits, number))


cdef int put_numbers(char *out, const int64_t *numbers, int count) noexcept nogil:
    """Write up to BATCH_NUMBERS integers as one argument. Returns the number of bytes written."""
    cdef char text[BATCH_NUMBERS * (DECIMAL_BYTES + 1)]
    return put_text(out, text, write_decimals(text, numbers, count))


cdef int put_each(char *out, const int64_t *numbers, int count) noexcept nogil:
    """Write the integers as an argument each. Returns the number of bytes written."""
    cdef int length = 0
    cdef int i
    for i in range(count):
        length += put_number(&out[length], numbers[i])
    return length


cdef int put_ack(char *out, const Ack *ack, bint terse) noexcept nogil:
    """Write a CHAIN.ACK. Returns the number of bytes written."""
    cdef int64_t numbers[ACK_NUMBERS]
    cdef int length
    numbers[0], numbers[1], numbers[2] = ack.epoch, ack.committed, ack.head_told
    numbers[3], numbers[4] = ack.question, ack.synced
    if terse:
        length = put_name(out, b"*2\r\n$9\r\nCHAIN.ACK\r\n")
        return length + put_numbers(&out[length], numbers, ACK_NUMBERS)
    if ack.synced >= 0:
        length = put_name(out, b"*6\r\n$9\r\nCHAIN.ACK\r\n")
        return length + put_each(&out[length], numbers, ACK_NUMBERS)
    length = put_name(out, b"*5\r\n$9\r\nCHAIN.ACK\r\n")
    return length + put_each(&out[length], numbers, ACK_NUMBERS - 1)


cdef bint is_ahead(const Batch *batch) noexcept nogil:
    """Returns whether the message has to say what is saved. Without a word of it everything is."""
    return batch.saved < batch.upto


cdef bint ends_with_offset(const Batch *batch, bint terse) noexcept nogil:
    """Returns whether the offset of a part of the batch comes behind the payload."""
    return not terse and not is_ahead(batch)


cdef int put_batch(char *out, const Batch *batch, int64_t offset, size_t payload, bint terse) noexcept nogil:
    """Write the beginning of a CHAIN.FORWARD, up to its payload of so many bytes. Returns the number of bytes written.

    The payload is the part of the batch from byte `offset` on; -1: it is the whole batch. The command is formatted
    here, because hiredis would copy a long payload as a whole.
    """
    cdef int length = put_batch_numbers(out, batch, offset, terse)
    out[length] = c"$"
    length += 1 + write_decimal(&out[length + 1], <int64_t>payload)
    memcpy(&out[length], b"\r\n", 2)
    return length + 2


cdef int put_batch_numbers(char *out, const Batch *batch, int64_t offset, bint terse) noexcept nogil:
    cdef int64_t numbers[BATCH_NUMBERS]
    cdef int length
    numbers[0], numbers[1], numbers[2], numbers[3] = batch.epoch, batch.assigned, batch.first, batch.count
    numbers[4], numbers[5], numbers[6], numbers[7] = batch.committed, batch.upto, batch.answer, batch.listens
    numbers[8], numbers[9] = batch.saved, offset
    if terse:
        length = put_name(out, b"*3\r\n$13\r\nCHAIN.FORWARD\r\n")
        return length + put_numbers(&out[length], numbers, BATCH_NUMBERS)
    if is_ahead(batch):
        length = put_name(out, b"*12\r\n$13\r\nCHAIN.FORWARD\r\n")
        return length + put_each(&out[length], numbers, BATCH_NUMBERS)
    length = put_name(
        out, b"*11\r\n$13\r\nCHAIN.FORWARD\r\n" if offset >= 0 else b"*10\r\n$13\r\nCHAIN.FORWARD\r\n")
    return length + put_each(&out[length], numbers, BATCH_NUMBERS - 2)


# ------------------------------------------------------------------------------------------------------ reading

cdef void argument_text(RedisModuleString *argument, Text *out) noexcept nogil:
    """Let `out` point at the argument's bytes, which live as long as the argument."""
    out.bytes = RedisModule_StringPtrLen(argument, &out.length)


cdef bint argument_number(RedisModuleString *argument, int64_t *out) noexcept nogil:
    """Returns False if the argument is not a decimal integer; else the integer is in `out`."""
    cdef Text text
    argument_text(argument, &text)
    return text_number(&text, out)


cdef bint argument_numbers(RedisModuleString **argv, int64_t *out, int count) noexcept nogil:
    """Returns False if one of the next `count` arguments is not a decimal integer."""
    cdef int i
    for i in range(count):
        if not argument_number(argv[i], &out[i]):
            return False
    return True


cdef bint terse_numbers(RedisModuleString *argument, int64_t *out, int count) noexcept nogil:
    """Returns False if the argument is not `count` integers."""
    cdef Text text
    argument_text(argument, &text)
    return read_decimals(text.bytes, text.length, out, count)


cdef bint parse_ack(RedisModuleString **argv, int argc, Ack *out) noexcept nogil:
    """Returns False if an argument is no number that a member sends."""
    cdef int64_t numbers[ACK_NUMBERS]
    numbers[4] = -1
    if argc == TERSE_ACK_ARGUMENTS:
        if not terse_numbers(argv[1], numbers, ACK_NUMBERS):
            return False
    elif not argument_numbers(&argv[1], numbers, argc - 1):
        return False
    ack_of(numbers, out)
    return True


cdef void ack_of(const int64_t *numbers, Ack *out) noexcept nogil:
    out.epoch, out.committed, out.head_told = numbers[0], numbers[1], numbers[2] != 0
    out.question, out.synced = numbers[3], numbers[4]


cdef bint parse_batch(RedisModuleString **argv, int argc, Batch *out, int64_t *offset, Text *payload) noexcept nogil:
    """Returns False if an argument is no number that a member sends. offset: -1: the payload is the whole batch."""
    cdef int64_t numbers[BATCH_NUMBERS]
    numbers[9] = -1
    if argc == TERSE_ARGUMENTS:
        argument_text(argv[2], payload)
        if not terse_numbers(argv[1], numbers, BATCH_NUMBERS):
            return False
    elif not parse_arguments(argv, argc, numbers, payload):
        return False
    batch_of(numbers, out, offset)
    return offset[0] >= -1


cdef void batch_of(const int64_t *numbers, Batch *out, int64_t *offset) noexcept nogil:
    out.epoch, out.assigned, out.first, out.count = numbers[0], numbers[1], numbers[2], numbers[3]
    out.committed, out.upto, out.answer, out.listens = numbers[4], numbers[5], numbers[6], numbers[7] != 0
    out.saved, offset[0] = numbers[8], numbers[9]


cdef bint parse_arguments(RedisModuleString **argv, int argc, int64_t *out, Text *payload) noexcept nogil:
    """Read the numbers of a batch each of which is an argument.

    A message of AHEAD_ARGUMENTS has `saved` and `offset` before its payload. In any other everything is saved that the
    receiver may be sent, and a part of a batch has its offset at the end.
    """
    if argc == AHEAD_ARGUMENTS:
        argument_text(argv[11], payload)
        return argument_numbers(&argv[1], out, BATCH_NUMBERS)
    argument_text(argv[9], payload)
    if not argument_numbers(&argv[1], out, BATCH_NUMBERS - 2):
        return False
    out[8] = out[5]         # what may be sent
    return argc < AHEAD_ARGUMENTS - 1 or (argument_number(argv[10], &out[9]) and out[9] >= 0)
