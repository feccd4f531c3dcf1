# cython: language_level=3
"""Memory that one allocator gives must not go back to another.

A server that is linked with a shared jemalloc has two: Valkey from 8.1 on opens modules RTLD_DEEPBIND, so that a
module's own malloc and free are libc's, while libc itself allocates with the server's. What a libc function allocates
for its caller to free (strdup, asprintf, getline, realpath without a buffer) is therefore not for this module's free.
None of them is called here. hiredis duplicates strings, and is given a function for that; LevelDB's error texts are
strdup's.
"""

from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, strlen
from posix.dlfcn cimport RTLD_LAZY, dlopen, dlsym

from modules.bindings.hiredis cimport hiredisAllocFuncs, hiredisSetAllocators


cdef extern from *:
    """
    /* What frees libc's own allocations: set at loading. */
    __attribute__((weak, visibility("hidden"))) void (*chain_server_free)(void *);
    """
    void (*chain_server_free)(void *) noexcept nogil


cdef inline char *copy_text(const char *text) noexcept nogil:
    """As strdup, but for this module's free. NULL: no memory."""
    cdef size_t bytes = strlen(text) + 1
    cdef char *copy = <char *>malloc(bytes)
    if copy != NULL:
        memcpy(copy, text, bytes)
    return copy


cdef inline void free_duplicate(char *text) noexcept nogil:
    """Free what strdup gave."""
    chain_server_free(text)


cdef inline bint allocators_init() noexcept nogil:
    """At loading, before anything else is allocated. False: the server's `free` is not found."""
    global chain_server_free
    cdef hiredisAllocFuncs functions
    # RTLD_DEFAULT would be looked up as this module sees it.
    chain_server_free = <void (*)(void *) noexcept nogil>dlsym(dlopen(NULL, RTLD_LAZY), "free")
    functions.mallocFn = malloc
    functions.callocFn = calloc
    functions.reallocFn = realloc
    functions.strdupFn = copy_text
    functions.freeFn = free
    hiredisSetAllocators(&functions)
    return chain_server_free != NULL
