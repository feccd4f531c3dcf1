# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The bytes of a log's updates, or of a memtable's keys, side by side in pages.

Updates leave the log in the order in which they came. So a page is given back as a whole, when its last update leaves,
and nothing is touched again of an update that has left the processor's caches long ago. What a successor lacks lies in
the order in which it is sent.
"""

from libc.stdint cimport uint64_t

from modules.core.memory cimport memory_give, memory_take


cdef enum:
    PAGE_ROOM = 64 * 1024 - 32      # bytes behind the struct: both are 64 KiB. A longer update has a page of its own


cdef struct Page:
    Page *next              # the next newer one
    uint64_t living         # updates in it that have not left
    uint64_t used           # bytes
    uint64_t room           # bytes that there are behind this struct


cdef struct Payloads:
    Page *oldest            # NULL: there is no page
    Page *newest


cdef inline void payloads_drop_page(Payloads *p) noexcept nogil:
    """Gives the oldest page back."""
    cdef Page *page = p.oldest
    p.oldest = page.next
    if p.oldest == NULL:
        p.newest = NULL
    memory_give(page)


cdef inline bint payloads_add_page(Payloads *p, uint64_t bytes) noexcept nogil:
    cdef uint64_t room = max(bytes, <uint64_t>PAGE_ROOM)
    cdef Page *page = <Page *>memory_take(sizeof(Page) + room)
    if page == NULL:
        return False
    page.next = NULL
    page.living = page.used = 0
    page.room = room
    if p.newest == NULL:
        p.oldest = page
    else:
        p.newest.next = page
    p.newest = page
    return True


cdef inline char *payloads_take(Payloads *p, uint64_t bytes) noexcept nogil:
    """A place for the newest update. Returns NULL when memory is exhausted."""
    cdef char *place
    if p.newest == NULL or p.newest.room - p.newest.used < bytes:
        if not payloads_add_page(p, bytes):
            return NULL
        if p.oldest.living == 0 and p.oldest != p.newest:
            payloads_drop_page(p)       # it was empty, and too small
    place = <char *>p.newest + sizeof(Page) + p.newest.used
    p.newest.used += bytes
    p.newest.living += 1
    return place


cdef inline void payloads_give(Payloads *p) noexcept nogil:
    """The oldest update has left."""
    cdef Page *page = p.oldest
    page.living -= 1
    if page.living:
        return
    if page == p.newest and page.room == PAGE_ROOM:
        page.used = 0
    else:
        payloads_drop_page(p)
