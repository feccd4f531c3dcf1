# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The keys that are to be examined first when memory has to be freed: those that finished checkpoints have written, in
the order of the updates.

A key in this queue is a hint and no more: it may have been updated since, deleted, or dropped. So the queue may forget
its oldest keys when it becomes too large, and the caller finds those otherwise.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from modules.core.payloads cimport Page, Payloads, payloads_drop_page, payloads_give, payloads_take

cdef enum:
    HEADER_BYTES = 12           # in front of each key in the pages: its time and its length


cdef struct Candidates:
    Payloads pages
    uint64_t begin              # where the oldest key lies in the oldest page
    uint64_t bytes              # of all keys, their headers included; 0: there is none


cdef struct Candidate:
    const char *key             # stays where it is until the key is dropped
    uint32_t length
    int64_t added_ms            # when it came into the queue


cdef inline void candidate_read(const Page *page, uint64_t place, Candidate *out) noexcept nogil:
    cdef const char *start = <const char *>page + sizeof(Page) + place
    memcpy(&out.added_ms, start, 8)
    memcpy(&out.length, start + 8, 4)
    out.key = start + HEADER_BYTES


cdef inline uint64_t candidate_bytes(uint32_t length) noexcept nogil:
    return HEADER_BYTES + <uint64_t>length


cdef inline void candidates_drop(Candidates *c) noexcept nogil:
    """Removes the oldest key, which there must be."""
    cdef Candidate oldest
    candidate_read(c.pages.oldest, c.begin, &oldest)
    c.bytes -= candidate_bytes(oldest.length)
    c.begin = c.begin + candidate_bytes(oldest.length) if c.pages.oldest.living > 1 else 0
    payloads_give(&c.pages)


cdef inline void candidates_add(
    Candidates *c, const char *key, uint32_t length, int64_t now_ms, uint64_t most,
) noexcept nogil:
    """Adds a key, and forgets the oldest until all take at most `most` bytes. Without memory the key is left out."""
    cdef uint64_t bytes = candidate_bytes(length)
    cdef char *place
    while c.bytes and c.bytes + bytes > most:
        candidates_drop(c)
    place = payloads_take(&c.pages, bytes) if bytes <= most else NULL
    if place == NULL:
        return
    memcpy(place, &now_ms, 8)
    memcpy(place + 8, &length, 4)
    memcpy(place + HEADER_BYTES, key, length)
    c.bytes += bytes


cdef inline int candidates_look(const Candidates *c, Candidate *out, int most) noexcept nogil:
    """Shows the oldest keys, `most` of them at the most. Returns how many these are."""
    cdef const Page *page = c.pages.oldest
    cdef uint64_t place = c.begin
    cdef int count = 0
    while page != NULL and count < most:
        if place == page.used:
            page = page.next
            place = 0
        else:
            candidate_read(page, place, &out[count])
            place += candidate_bytes(out[count].length)
            count += 1
    return count


cdef inline void candidates_clear(Candidates *c) noexcept nogil:
    while c.pages.oldest != NULL:
        payloads_drop_page(&c.pages)
    c.begin = c.bytes = 0
