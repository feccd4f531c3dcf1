# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A nested reply as a list of its parts, so that what forms a reply is pure.

Each part is a letter and a text with its NUL. The letters are those of RESP3: `$` a string, `:` an integer, `=` a text
of lines, `*` an array of so many elements, which follow, `%` a map of so many pairs, which follow.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, strlen

from modules.core.memory cimport memory_give, memory_grow

cdef enum:
    ITEMS_ROOM = 4096       # at the beginning; then it doubles
    DIGITS = 24


cdef struct Items:
    # Zeroed at the beginning; `items_drop` at the end.
    char *bytes
    size_t used
    size_t room
    bint lacks_memory       # the list is not whole


cdef inline void items_drop(Items *items) noexcept nogil:
    memory_give(items.bytes)
    items.bytes = NULL


cdef inline void items_put(Items *items, const char *bytes, size_t length) noexcept nogil:
    cdef size_t room = max(items.room, <size_t>ITEMS_ROOM)
    cdef char *grown
    while items.used + length > room:
        room *= 2
    if room != items.room and not items.lacks_memory:
        grown = <char *>memory_grow(items.bytes, items.used, room)
        items.lacks_memory = grown == NULL
        if grown != NULL:
            items.bytes, items.room = grown, room
    if not items.lacks_memory:
        memcpy(items.bytes + items.used, bytes, length)
        items.used += length


# ------------------------------------------------------------------------------------- one part, piece by piece

cdef inline void item_begin(Items *items, char letter) noexcept nogil:
    items_put(items, &letter, 1)


cdef inline void add(Items *items, const char *text) noexcept nogil:
    items_put(items, text, strlen(text))


cdef inline void add_number(Items *items, int64_t number) noexcept nogil:
    cdef char digits[DIGITS]
    cdef int at = DIGITS
    cdef uint64_t left = <uint64_t>number if number >= 0 else ~<uint64_t>number + 1
    while at == DIGITS or left:
        at -= 1
        digits[at] = <char>(c"0" + left % 10)
        left //= 10
    if number < 0:
        at -= 1
        digits[at] = c"-"
    items_put(items, &digits[at], DIGITS - at)


cdef inline void item_end(Items *items) noexcept nogil:
    cdef char nul = 0
    items_put(items, &nul, 1)


# -------------------------------------------------------------------------------------------------- whole parts

cdef inline void item_text(Items *items, const char *text) noexcept nogil:
    item_begin(items, c"$")
    add(items, text)
    item_end(items)


cdef inline void item_number(Items *items, char letter, int64_t number) noexcept nogil:
    """Append an integer (`:`), or the head of an array (`*`) or of a map (`%`) of so many."""
    item_begin(items, letter)
    add_number(items, number)
    item_end(items)


cdef inline void field_text(Items *items, const char *name, const char *value) noexcept nogil:
    item_text(items, name)
    item_text(items, value)


cdef inline void field_number(Items *items, const char *name, int64_t value) noexcept nogil:
    item_text(items, name)
    item_number(items, c":", value)
