# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The pages of a log's updates: included by core.pyx.

cimport modules.core.payloads as payloads


cdef class Payloads:
    """The pages, with the bytes that the test has put in: they come out as they went in, oldest first."""

    cdef payloads.Payloads p
    cdef list _places

    def __cinit__(self):
        self.p.oldest = self.p.newest = NULL
        self._places = []

    def __dealloc__(self):
        while self.p.oldest != NULL:
            payloads.payloads_drop_page(&self.p)

    def take(self, bytes update):
        cdef char *place = payloads.payloads_take(&self.p, len(update))
        memcpy(place, PyBytes_AS_STRING(update), len(update))
        self._places.append((<size_t>place, len(update)))

    def give(self):
        place, length = self._places.pop(0)
        update = PyBytes_FromStringAndSize(<char *><size_t>place, length)
        payloads.payloads_give(&self.p)
        return update

    @property
    def pages(self):
        cdef payloads.Page *page = self.p.oldest
        count = 0
        while page != NULL:
            count += 1
            page = page.next
        return count
