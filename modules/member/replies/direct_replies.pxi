# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Replies to direct clients (decision 16). They are collected in one pass, and sent after the messages to other members.
#
# A client that does not read its replies is given back while its socket still has room for them: the server keeps what
# a socket does not take, for a client that sends all of a long pipeline before it reads the first reply. A rest that a
# socket does not take although it seemed to have room is kept here, and nothing more is read until it has gone.

from libc.stdint cimport int64_t, intptr_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, strlen

from modules.bindings.descriptors cimport MSG_DONTWAIT, SHUT_RDWR, shutdown
from modules.bindings.libc cimport errno
from modules.bindings.redismodule cimport RedisModuleCtx, RedisModule_GetClientId
from modules.bindings.socket cimport EAGAIN, MSG_NOSIGNAL, send
from modules.core.decimal cimport write_decimal
from modules.core.invariant cimport INVARIANT
from modules.member.keyspace.another_pass cimport wake_again
from modules.member.state.direct cimport DIRECT_OUTPUT, DIRECT_REPLIES, Direct, DirectClient
from modules.member.state.member cimport Member
from modules.server.client_list cimport ServerClient, server_client

cdef enum:
    PLACE_BITS = 16             # of a writer in the log's entry: a place, its generation, and a mark
    OUTCOME_BYTES = 256


# ------------------------------------------------------------------------------------ writers in entries of the log

cdef bint is_direct(const void *writer) noexcept nogil:
    """Returns whether a writer is a direct client. Any other is a blocked client, whose address is even."""
    return <intptr_t>writer & 1 != 0


cdef void *direct_writer(const Direct *d, int place) noexcept nogil:
    return <void *>((((<intptr_t>d.clients[place].generation) << PLACE_BITS | place) << 1) | 1)


cdef void answer_direct(Member *m, void *writer, const void *answer) noexcept nogil:
    """Tell a direct client, if it is still there, what has become of its update: its number, or an outcome."""
    cdef Direct *d = &m.direct
    cdef intptr_t number = <intptr_t>answer >> 1
    cdef int place = <int>((<intptr_t>writer >> 1) & ((1 << PLACE_BITS) - 1))
    cdef DirectClient *client = &d.clients[place]
    cdef char error[OUTCOME_BYTES]
    if client.id == 0 or client.generation != <uint32_t>(<intptr_t>writer >> (PLACE_BITS + 1)):
        return
    INVARIANT(client.waits, "rule 6: a writer is answered once")
    client.waits = False
    if number >= OUTCOME_NUMBER:
        direct_say_number(d, place, c":", number - OUTCOME_NUMBER)
    else:
        snprintf(error, sizeof(error), "-%s\r\n", outcome_text(<Outcome>number))
        direct_say(d, place, error, strlen(error))
    if client.is_due:
        wake_again(m)


cdef void note_replied(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """A client that was blocked has been replied to. Is it a candidate to which the server has something to send now?
    After CLIENT REPLY OFF it has not.
    """
    cdef ServerClient client
    if m.direct.candidate and m.direct.candidate == <int64_t>RedisModule_GetClientId(ctx):
        m.direct.replied = server_client(m.ctx, m.direct.candidate, &client) and client.has_output


# ------------------------------------------------------------------------------------------------------- collecting

cdef void direct_say(Direct *d, int place, const char *bytes, size_t length) noexcept nogil:
    """Add at most DIRECT_OUTPUT bytes to the replies of a client."""
    cdef bint goes_on = d.reply_count and d.replies[d.reply_count - 1].place == place
    if d.output_bytes + length > DIRECT_OUTPUT or (d.reply_count == DIRECT_REPLIES and not goes_on):
        direct_send(d)
        goes_on = False
    if not goes_on:
        d.replies[d.reply_count].place = place
        d.replies[d.reply_count].generation = d.clients[place].generation
        d.reply_count += 1
    memcpy(&d.output[d.output_bytes], bytes, length)
    d.output_bytes += length
    d.clients[place].said += length
    d.replies[d.reply_count - 1].end = d.output_bytes


cdef void direct_say_number(Direct *d, int place, char mark, int64_t number) noexcept nogil:
    """mark: `:` before an integer, `$` before the length of what follows."""
    cdef char text[32]
    cdef size_t length
    text[0] = mark
    length = 1 + <size_t>write_decimal(&text[1], number)
    text[length] = c"\r"
    text[length + 1] = c"\n"
    direct_say(d, place, text, length + 2)


# --------------------------------------------------------------------------------------------------------- sending

cdef void direct_cut_off(DirectClient *client) noexcept nogil:
    """Its replies cannot be sent: the server sees that the connection has ended."""
    free(client.rest)
    client.rest = NULL
    shutdown(client.fd, SHUT_RDWR)


cdef void keep_rest(DirectClient *client, const char *bytes, size_t length) noexcept nogil:
    cdef char *grown = <char *>realloc(client.rest, (client.rest_bytes if client.rest != NULL else 0) + length)
    if grown == NULL:
        direct_cut_off(client)
        return
    if client.rest == NULL:
        client.rest_bytes = client.rest_sent = 0
    client.rest = grown
    memcpy(&grown[client.rest_bytes], bytes, length)
    client.rest_bytes += length


cdef size_t send_now(DirectClient *client, const char *bytes, size_t length) noexcept nogil:
    """Returns how many bytes the socket has taken. One that takes none ever again is cut off, as if it had."""
    cdef long sent = send(client.fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT)
    if sent >= 0:
        return <size_t>sent
    if errno == EAGAIN:
        return 0
    direct_cut_off(client)
    return length


cdef void direct_send_rest(DirectClient *client) noexcept nogil:
    """The socket takes bytes again."""
    if client.rest == NULL:
        return
    client.rest_sent += send_now(client, &client.rest[client.rest_sent], client.rest_bytes - client.rest_sent)
    if client.rest != NULL and client.rest_sent == client.rest_bytes:
        free(client.rest)
        client.rest = NULL


cdef void send_replies(Direct *d, DirectClient *client, const char *bytes, size_t length) noexcept nogil:
    cdef size_t sent = 0
    if client.awaits_file:
        d.holds = True
    elif client.rest == NULL:
        sent = send_now(client, bytes, length)
    if sent < length:
        keep_rest(client, &bytes[sent], length - sent)


cdef void direct_send_held(Direct *d) noexcept nogil:
    """The server has written its append-only file. An update that is committed later is answered at once."""
    cdef int place
    if d.awaits_file:
        d.awaits_file = d.holds = False
        for place in range(d.span):
            if d.clients[place].awaits_file:
                d.clients[place].awaits_file = False
                direct_send_rest(&d.clients[place])


cdef void direct_send(Direct *d) noexcept nogil:
    """Send what was collected, or keep it for `direct_send_held`."""
    cdef DirectClient *client
    cdef size_t begin = 0
    cdef int i
    for i in range(d.reply_count):
        client = &d.clients[d.replies[i].place]
        if client.id and client.generation == d.replies[i].generation:
            send_replies(d, client, &d.output[begin], d.replies[i].end - begin)
        begin = d.replies[i].end
    d.reply_count = 0
    d.output_bytes = 0
