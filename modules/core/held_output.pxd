# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Bytes that wait until they may go: in which order, and until when.

A client has two streams: its requests, which go to the server, and the replies, which go to the client. A stream keeps
the order of its bytes. A line has the chunks of all streams of one direction that may not go yet, oldest first. Neither
tags nor times fall along a line, because each is read from a number that never falls, after the bytes were read. So
only the oldest chunk of a line is ever asked whether it may go.
"""

from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memcpy

from modules.core.invariant cimport INVARIANT
from modules.core.memory cimport memory_give, memory_take


cdef struct Horizon:
    # What may go. All times are of the boot clock, in ms.
    int64_t committed           # tickets up to this one are committed; INT64_MAX: everything may go
    int64_t lease_until         # before this time what is committed may go
    int64_t proven_ms           # what is committed and was read before this time may go without a lease


cdef struct Chunk:
    Chunk *next                 # in the stream
    Chunk *older                # in the line
    Chunk *newer
    Stream *stream
    int64_t tag                 # the newest ticket when the bytes had been read
    int64_t read_ms             # a time after the bytes were read
    size_t start                # bytes before it have gone
    size_t end                  # the bytes follow this struct


cdef struct Stream:
    Chunk *first
    Chunk *last
    Chunk *held                 # the first that may not go yet, as all after it; NULL: all may go
    size_t bytes
    void *owner


cdef struct Line:
    Chunk *oldest
    Chunk *newest
    int64_t bytes
    int64_t streams             # how many have a chunk in the line


cdef inline char *chunk_bytes(Chunk *chunk) noexcept nogil:
    """The bytes of the chunk that have not gone yet."""
    return <char *>chunk + sizeof(Chunk) + chunk.start


cdef inline bint held_may_go(const Horizon *now, int64_t tag, int64_t read_ms, int64_t now_ms) noexcept nogil:
    """May bytes go that were read at `read_ms` with this tag? now_ms: a time after the bytes were read.

    The lease must be valid after the bytes were read, because the server has made them before that.
    """
    if now.committed == INT64_MAX:
        return True
    return tag <= now.committed and (now_ms < now.lease_until or read_ms < now.proven_ms)


# ------------------------------------------------------------------------------------------------------ the line

cdef inline void line_append(Line *line, Chunk *chunk) noexcept nogil:
    chunk.older = line.newest
    if line.newest == NULL:
        line.oldest = chunk
    else:
        INVARIANT(line.newest.tag <= chunk.tag and line.newest.read_ms <= chunk.read_ms,
                  "rule 4: what is held is asked for in the order in which it was read")
        line.newest.newer = chunk
    line.newest = chunk
    line.bytes += <int64_t>(chunk.end - chunk.start)


cdef inline void line_remove(Line *line, Chunk *chunk) noexcept nogil:
    if chunk.older == NULL:
        line.oldest = chunk.newer
    else:
        chunk.older.newer = chunk.newer
    if chunk.newer == NULL:
        line.newest = chunk.older
    else:
        chunk.newer.older = chunk.older
    line.bytes -= <int64_t>(chunk.end - chunk.start)


# ---------------------------------------------------------------------------------------------------- one stream

cdef inline Chunk *stream_append(Stream *stream, const char *bytes, size_t length) noexcept nogil:
    cdef Chunk *chunk = <Chunk *>memory_take(sizeof(Chunk) + length)
    if chunk == NULL:
        return NULL
    chunk.next = chunk.older = chunk.newer = NULL
    chunk.stream = stream
    chunk.start = 0
    chunk.end = length
    memcpy(chunk_bytes(chunk), bytes, length)
    if stream.first == NULL:
        stream.first = chunk
    else:
        stream.last.next = chunk
    stream.last = chunk
    stream.bytes += length
    return chunk


cdef inline bint stream_keep(Stream *stream, const char *bytes, size_t length) noexcept nogil:
    """Append bytes that may go. Nothing of the stream may be held. Returns False if there is no memory."""
    INVARIANT(stream.held == NULL, "rule 4: bytes do not overtake those that are held before them")
    return stream_append(stream, bytes, length) != NULL


cdef inline bint stream_hold(
    Line *line, Stream *stream, const char *bytes, size_t length, int64_t tag, int64_t read_ms,
) noexcept nogil:
    """Append bytes that may not go yet. Returns False if there is no memory."""
    cdef Chunk *chunk = stream_append(stream, bytes, length)
    if chunk == NULL:
        return False
    chunk.tag = tag
    chunk.read_ms = read_ms
    line_append(line, chunk)
    if stream.held == NULL:
        stream.held = chunk
        line.streams += 1
    return True


cdef inline Chunk *stream_ready(const Stream *stream) noexcept nogil:
    """The first chunk, if it may go; else NULL."""
    return stream.first if stream.first != stream.held else NULL


cdef inline void stream_sent(Stream *stream, size_t count) noexcept nogil:
    """So many bytes of the chunks that may go have gone."""
    cdef Chunk *chunk
    cdef size_t length
    while count:
        chunk = stream.first
        length = min(count, chunk.end - chunk.start)
        chunk.start += length
        stream.bytes -= length
        count -= length
        if chunk.start == chunk.end:
            stream.first = chunk.next
            memory_give(chunk)


cdef inline void stream_release(Line *line, Stream *stream) noexcept nogil:
    """All of this stream may go, whatever else is held."""
    if stream.held != NULL:
        line.streams -= 1
    while stream.held != NULL:
        line_remove(line, stream.held)
        stream.held = stream.held.next


cdef inline void stream_drop(Line *line, Stream *stream) noexcept nogil:
    """Forget all bytes of this stream."""
    cdef Chunk *chunk
    stream_release(line, stream)
    while stream.first != NULL:
        chunk = stream.first
        stream.first = chunk.next
        memory_give(chunk)
    stream.bytes = 0


# ------------------------------------------------------------------------------------------------ what may go now

cdef inline Stream *line_release_next(Line *line, const Horizon *now, int64_t now_ms) noexcept nogil:
    """Let the oldest chunk go, if it may. Returns its stream; NULL if nothing more may go.

    now_ms: a time after the newest bytes of the line were read.
    """
    cdef Chunk *chunk = line.oldest
    if chunk == NULL or not held_may_go(now, chunk.tag, chunk.read_ms, now_ms):
        return NULL
    line_remove(line, chunk)
    chunk.stream.held = chunk.next
    line.streams -= chunk.next == NULL
    return chunk.stream
