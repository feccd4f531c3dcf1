# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Bytes that wait until they may go, and bytes that the module reads from sockets itself: included by core.pyx.

cimport modules.core.direct_request as direct
cimport modules.core.first_request as opening
cimport modules.core.held_output as held_output
cimport modules.core.peer_message as peer

cdef held_output.Horizon horizon_of(int64_t committed, int64_t lease_until, int64_t proven_ms):
    cdef held_output.Horizon horizon
    horizon.committed, horizon.lease_until, horizon.proven_ms = committed, lease_until, proven_ms
    return horizon


def may_go(int64_t tag, int64_t read_ms, int64_t now_ms, int64_t committed, int64_t lease_until, int64_t proven_ms):
    """May bytes go that were read at `read_ms` with this tag?"""
    cdef held_output.Horizon horizon = horizon_of(committed, lease_until, proven_ms)
    return bool(held_output.held_may_go(&horizon, tag, read_ms, now_ms))


cdef class HeldOutput:
    """A line of what is held, and the streams of some clients, which are numbered from 0."""

    cdef held_output.Line line
    cdef held_output.Stream streams[16]

    def __cinit__(self):
        memset(&self.line, 0, sizeof(self.line))
        memset(self.streams, 0, sizeof(self.streams))

    def __dealloc__(self):
        for i in range(16):
            held_output.stream_drop(&self.line, &self.streams[i])

    def keep(self, int client, bytes piece):
        """Append bytes that may go."""
        held_output.stream_keep(&self.streams[client], PyBytes_AS_STRING(piece), len(piece))

    def hold(self, int client, bytes piece, int64_t tag, int64_t read_ms):
        """Append bytes that may not go yet."""
        held_output.stream_hold(
            &self.line, &self.streams[client], PyBytes_AS_STRING(piece), len(piece), tag, read_ms)

    def release(self, int64_t now_ms, int64_t committed, int64_t lease_until, int64_t proven_ms):
        """Let go what may go; returns the clients of the pieces, oldest first."""
        cdef held_output.Horizon horizon = horizon_of(committed, lease_until, proven_ms)
        cdef held_output.Stream *stream = held_output.line_release_next(&self.line, &horizon, now_ms)
        clients = []
        while stream != NULL:
            clients.append(stream - self.streams)
            stream = held_output.line_release_next(&self.line, &horizon, now_ms)
        return clients

    def release_client(self, int client):
        """Let go all of one client."""
        held_output.stream_release(&self.line, &self.streams[client])

    def drop(self, int client):
        """Forget all of one client."""
        held_output.stream_drop(&self.line, &self.streams[client])

    def ready(self, int client):
        """The bytes of the client that may go."""
        cdef held_output.Chunk *chunk = self.streams[client].first
        found = b""
        while chunk != self.streams[client].held:
            found += held_output.chunk_bytes(chunk)[:chunk.end - chunk.start]
            chunk = chunk.next
        assert (held_output.stream_ready(&self.streams[client]) != NULL) == bool(found)
        return found

    def sent(self, int client, size_t count):
        """So many of these bytes have gone."""
        held_output.stream_sent(&self.streams[client], count)

    def bytes_of(self, int client):
        """The number of the client's bytes, held or not."""
        return self.streams[client].bytes

    @property
    def held_bytes(self):
        return self.line.bytes

    @property
    def held_clients(self):
        return self.line.streams


class FirstRequest(enum.IntEnum):
    UNKNOWN = opening.FIRST_UNKNOWN
    UNHELD = opening.FIRST_UNHELD
    OTHER = opening.FIRST_OTHER


def first_request(bytes text):
    """What the first bytes of a connection tell."""
    return FirstRequest(opening.first_request(PyBytes_AS_STRING(text), len(text)))


def peer_message(bytes text, unsigned int most):
    """What a peer's socket begins with: "part", "other", or the message, its numbers, its payload and its length."""
    cdef peer.PeerMessage message
    cdef peer.MessageForm form
    message.numbers.length = message.payload.length = 0
    form = peer.peer_message(PyBytes_AS_STRING(text), len(text), most, &message)
    if form == peer.MESSAGE_PART:
        return "part"
    if form == peer.MESSAGE_OTHER:
        return "other"
    return (
        "forward" if form == peer.MESSAGE_FORWARD else "ack" if form == peer.MESSAGE_ACK else "idle",
        message.numbers.bytes[:message.numbers.length] if form != peer.MESSAGE_IDLE else None,
        message.payload.bytes[:message.payload.length] if form == peer.MESSAGE_FORWARD else None,
        message.bytes,
    )


def direct_request(bytes text, unsigned int most):
    """What a direct client's socket begins with: "part", "other", or what is asked for, its strings and its length."""
    cdef direct.DirectRequest request
    cdef direct.RequestKind kind = direct.direct_request(PyBytes_AS_STRING(text), len(text), most, &request)
    if kind == direct.REQUEST_PART:
        return "part"
    if kind == direct.REQUEST_OTHER:
        return "other"
    return (
        "read" if kind == direct.REQUEST_READ else "update",
        request.update.key[:request.update.key_bytes],
        None if request.update.value == NULL else request.update.value[:request.update.value_bytes],
        None if request.update.client == NULL else request.update.client[:request.update.client_bytes],
        request.bytes,
    )
