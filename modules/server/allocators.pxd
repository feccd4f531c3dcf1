# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Memory must be freed by the allocator that gave it.

A server that is linked with a shared jemalloc has two allocators. Valkey 8.1 and later open modules with RTLD_DEEPBIND:
the module's malloc and free are those of libc, while libc itself allocates with the server's. So this module must not
free what a libc function allocates for its caller (strdup, asprintf, getline, realpath without a buffer). The module
calls none of these functions. hiredis gets a strdup from here. LevelDB's error texts come from libc's strdup, and are
freed by `free_duplicate`.
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
    """Like strdup, for this module's free. NULL: no memory."""
    cdef size_t bytes = strlen(text) + 1
    cdef char *copy = <char *>malloc(bytes)
    if copy != NULL:
        memcpy(copy, text, bytes)
    return copy


cdef inline void free_duplicate(char *text) noexcept nogil:
    """Free a string that libc's strdup has allocated."""
    chain_server_free(text)


cdef inline bint allocators_init() noexcept nogil:
    """Set the allocators, when the module is loaded and before it allocates anything. Returns False if the server's
    `free` cannot be found.
    """
    global chain_server_free
    cdef hiredisAllocFuncs functions
    # RTLD_DEFAULT would find the `free` that this module uses.
    chain_server_free = <void (*)(void *) noexcept nogil>dlsym(dlopen(NULL, RTLD_LAZY), "free")
    functions.mallocFn = malloc
    functions.callocFn = calloc
    functions.reallocFn = realloc
    functions.strdupFn = copy_text
    functions.freeFn = free
    hiredisSetAllocators(&functions)
    return chain_server_free != NULL
