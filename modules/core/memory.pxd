# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Memory for the core's tables. In a server the tables use the server's allocator, which counts their bytes."""

from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #include <stdlib.h>
    /* Weak and hidden: one of each in a library, of however many compile units it is made. */
    __attribute__((weak, visibility("hidden"))) void *(*chain_try_alloc)(size_t) = malloc;
    __attribute__((weak, visibility("hidden"))) void (*chain_free)(void *) = free;
    """
    void *(*chain_try_alloc)(size_t) noexcept nogil
    void (*chain_free)(void *) noexcept nogil


cdef inline void memory_from(
    void *(*try_alloc)(size_t) noexcept nogil, void (*give_back)(void *) noexcept nogil,
) noexcept nogil:
    """Called before any memory is taken. `try_alloc` returns NULL when memory is exhausted."""
    global chain_try_alloc, chain_free
    chain_try_alloc = try_alloc
    chain_free = give_back


cdef inline void *memory_take(size_t bytes) noexcept nogil:
    """Returns NULL when memory is exhausted."""
    return chain_try_alloc(bytes)


cdef inline void *memory_take_zeroed(size_t bytes) noexcept nogil:
    cdef void *taken = chain_try_alloc(bytes)
    if taken != NULL:
        memset(taken, 0, bytes)
    return taken


cdef inline void memory_give(void *taken) noexcept nogil:
    """Gives memory back. NULL is allowed."""
    if taken != NULL:
        chain_free(taken)


cdef inline void *memory_grow(void *taken, size_t bytes, size_t more) noexcept nogil:
    """Moves `bytes` bytes to a place of `more` bytes. Returns NULL when memory is exhausted: nothing has moved then."""
    cdef void *grown = chain_try_alloc(more)
    if grown == NULL:
        return NULL
    if taken != NULL:
        memcpy(grown, taken, bytes)
        chain_free(taken)
    return grown
