# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The pages of a log's updates, and where values lay: included by core.pyx.

cimport modules.core.hints as hints
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


cdef class Hints:
    """The table of hints. Addresses are integers: nothing is looked up there."""

    cdef hints.Hints h

    def __cinit__(self):
        if not hints.hints_begin(&self.h):
            raise MemoryError

    def __dealloc__(self):
        hints.hints_end(&self.h)

    def come(self, int64_t updates):
        return bool(hints.hints_serve(&self.h, updates))

    def tick(self):
        hints.hints_tick(&self.h)

    @property
    def there(self):
        return self.h.table != NULL

    def note(self, bytes key, uint64_t obj, uint64_t place):
        hints.hint_note(&self.h, hints.hint_hash(key, len(key)), obj, place)

    def of(self, bytes key):
        cdef hints.Hint *hint = hints.hint_of(&self.h, hints.hint_hash(key, len(key)))
        return None if hint == NULL or hint.bytes == 0 else (hints.hint_object(hint), hint.bytes)

    def fetch(self, list keys):
        cdef uint64_t hashes[hints.AHEAD]
        cdef int count = 0
        for key in keys[:hints.AHEAD]:
            hashes[count] = hints.hint_hash(key, len(key))
            count += 1
        hints.hints_fetch(&self.h, hashes, count)
