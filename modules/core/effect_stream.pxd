# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The bytes of the log of a chain that takes all commands: a ring, in which each sn is one byte.

The bytes are the head's effects, as Redis sends them to a replica. The log ends where a command or a transaction ends,
and so does each message to a successor. `marks` are such ends: the newest is the end of the log, older ones lie some
KiB apart, because a message is at least that long when there is more to send.

The head's tap and the messages of a predecessor write behind the end of the log, where the ring has room
(`stream_reserve`), before the end moves. What the tap has read of a command that is not complete stays there, `ahead`.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove

from modules.core.memory cimport memory_give, memory_take

cdef enum:
    FIRST_BYTES = 64 * 1024
    MARK_APART = 16 * 1024      # marks that are closer to each other are merged
    FIRST_MARKS = 256


cdef struct EffectStream:
    char *ring
    uint64_t capacity           # a power of two, or 0 before the first byte
    int64_t ahead               # bytes behind the end of the log that do not end a command yet
    int64_t *marks              # ends of commands, ascending; the first is the oldest
    int mark_count
    int mark_room


cdef inline void stream_restart(EffectStream *s, int64_t first) noexcept nogil:
    s.mark_count = 0
    s.ahead = 0


cdef inline void stream_free(EffectStream *s) noexcept nogil:
    memory_give(s.ring)
    memory_give(s.marks)
    s.ring = NULL
    s.marks = NULL
    s.capacity = 0
    s.mark_count = s.mark_room = 0


cdef inline char *stream_at(const EffectStream *s, int64_t sn, uint64_t *run) noexcept nogil:
    """The place of byte `sn`. `run` is the number of bytes from there on that lie in a row."""
    cdef uint64_t index = <uint64_t>sn & (s.capacity - 1)
    run[0] = s.capacity - index
    return &s.ring[index]


cdef inline void stream_copy_out(const EffectStream *s, int64_t sn, char *out, uint64_t count) noexcept nogil:
    cdef uint64_t run
    cdef const char *place
    if count == 0:
        return
    place = stream_at(s, sn, &run)
    run = min(run, count)
    memcpy(out, place, run)
    if count > run:
        memcpy(&out[run], s.ring, count - run)


cdef inline void stream_write(EffectStream *s, int64_t sn, const char *bytes, uint64_t count) noexcept nogil:
    """Writes the bytes `sn` … `sn + count - 1`, for which `stream_reserve` has made room."""
    cdef uint64_t run
    cdef char *place = stream_at(s, sn, &run)
    run = min(run, count)
    memcpy(place, bytes, run)
    if count > run:
        memcpy(s.ring, &bytes[run], count - run)


cdef inline bint stream_resize(EffectStream *s, int64_t first, int64_t end, uint64_t capacity) noexcept nogil:
    """Moves the bytes [first, end) to a ring of `capacity`. False when memory is exhausted."""
    cdef EffectStream larger = s[0]
    cdef uint64_t run
    cdef uint64_t count
    larger.ring = <char *>memory_take(capacity)
    larger.capacity = capacity
    if larger.ring == NULL:
        return False
    while first < end:
        stream_at(s, first, &run)
        count = min(run, <uint64_t>(end - first))
        stream_write(&larger, first, stream_at(s, first, &run), count)
        first += <int64_t>count
    memory_give(s.ring)
    s[0] = larger
    return True


cdef inline bint stream_reserve(EffectStream *s, int64_t first, int64_t end, uint64_t more) noexcept nogil:
    """Makes room for `more` bytes behind [first, end). False when memory is exhausted."""
    cdef uint64_t need = <uint64_t>(end - first) + more
    cdef uint64_t capacity = s.capacity if s.capacity else FIRST_BYTES
    if need <= s.capacity:
        return True
    while capacity < need:
        capacity *= 2
    return stream_resize(s, first, end, capacity)


cdef inline void stream_shrink(EffectStream *s, int64_t first, int64_t end) noexcept nogil:
    """Halves a ring that is mostly empty. It is halved once a call, because the need for room may come back."""
    cdef uint64_t half = s.capacity // 2
    end += s.ahead
    if half >= FIRST_BYTES and <uint64_t>(end - first) <= half // 2:
        stream_resize(s, first, end, half)


cdef inline bint stream_mark(EffectStream *s, int64_t end) noexcept nogil:
    """The log ends at `end` now. False when memory is exhausted: then the log must not end there."""
    cdef int64_t *marks
    cdef int room
    if s.mark_count >= 2 and end - s.marks[s.mark_count - 2] <= MARK_APART:
        s.marks[s.mark_count - 1] = end
        return True
    if s.mark_count == s.mark_room:
        room = 2 * s.mark_room if s.mark_room else FIRST_MARKS
        marks = <int64_t *>memory_take(<size_t>room * sizeof(int64_t))
        if marks == NULL:
            return False
        if s.mark_count:
            memcpy(marks, s.marks, <size_t>s.mark_count * sizeof(int64_t))
        memory_give(s.marks)
        s.marks = marks
        s.mark_room = room
    s.marks[s.mark_count] = end
    s.mark_count += 1
    return True


cdef inline int stream_marks_up_to(const EffectStream *s, int64_t sn) noexcept nogil:
    """How many marks are not above `sn`."""
    cdef int low = 0
    cdef int high = s.mark_count
    cdef int middle
    while low < high:
        middle = (low + high) // 2
        if s.marks[middle] <= sn:
            low = middle + 1
        else:
            high = middle
    return low


cdef inline int64_t stream_cut(const EffectStream *s, int64_t first, int64_t end, uint64_t most) noexcept nogil:
    """The end of a message that begins with `first`: the last mark within `most` bytes, else the next mark.

    `end` is a mark or `first` itself; no message goes beyond it.
    """
    cdef int count
    if <uint64_t>(end - first) <= most:
        return end
    count = stream_marks_up_to(s, first + <int64_t>most)
    if count and s.marks[count - 1] > first:
        return s.marks[count - 1]
    return min(end, s.marks[count]) if count < s.mark_count else end


cdef inline void stream_drop(EffectStream *s, int64_t first) noexcept nogil:
    """The bytes before `first` are gone, and so are the marks up to there, but for the newest mark."""
    cdef int gone
    if s.mark_count < 64 or s.marks[s.mark_count // 2] > first:
        return              # marks are dropped by halves, so that each is moved about once
    gone = min(stream_marks_up_to(s, first), s.mark_count - 1)
    memmove(s.marks, &s.marks[gone], <size_t>(s.mark_count - gone) * sizeof(int64_t))
    s.mark_count -= gone
