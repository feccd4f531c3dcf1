# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A view: one configuration of the chain (design.md, "Words").

These are plain structs. `membership.pxd` says what a member does with them.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, strcmp

cdef enum:
    MAX_MEMBERS = 32
    HISTORY_BYTES = 16
    HOST_BYTES = 256        # a host name, NUL included
    ADDRESS_BYTES = 64      # a numeric address, NUL included
    RUN_ID_BYTES = 41       # 40 hexadecimal digits and NUL

# What a chain takes (docs/glossary.md, "kind"): its own commands only, or any command of the server.
cdef enum:
    KIND_PUT
    KIND_ALL


cdef struct Node:
    # One process. The run_id alone is its identity: after a restart the same host:port is another member.
    char host[HOST_BYTES]           # as the operator named it; what clients are redirected to
    char address[ADDRESS_BYTES]     # the same host as a number, so that linking never waits for a resolver (rule 8)
    int port
    char run_id[RUN_ID_BYTES]


cdef struct View:
    uint8_t history[HISTORY_BYTES]
    int64_t epoch                   # 0: no view yet
    int kind                        # KIND_PUT or KIND_ALL; all views of a history have the same
    int count
    Node members[MAX_MEMBERS]       # chain order, head first


cdef inline bint same_process(const Node *a, const Node *b) noexcept nogil:
    return strcmp(a.run_id, b.run_id) == 0


cdef inline bint same_place(const Node *a, const Node *b) noexcept nogil:
    """Is it the same process, at the same address?"""
    return same_process(a, b) and a.port == b.port and strcmp(a.address, b.address) == 0


cdef inline bint same_history(const uint8_t *a, const uint8_t *b) noexcept nogil:
    return memcmp(a, b, HISTORY_BYTES) == 0


cdef inline bint is_no_history(const uint8_t *history) noexcept nogil:
    """Is it the history of zeros, which no chain has?"""
    cdef int i
    for i in range(HISTORY_BYTES):
        if history[i]:
            return False
    return True


cdef inline const char *kind_name(int kind) noexcept nogil:
    """The kind's word in messages, files and settings."""
    return "all" if kind == KIND_ALL else "put"


cdef inline bint kind_of_name(const char *name, int *out) noexcept nogil:
    """The inverse of `kind_name`. Returns False if the word names no kind."""
    out[0] = KIND_ALL if strcmp(name, "all") == 0 else KIND_PUT
    return strcmp(name, kind_name(out[0])) == 0


cdef inline int view_index(const View *view, const char *run_id) noexcept nogil:
    """The index of the process with this run_id. Returns -1 if it is no member."""
    cdef int i
    for i in range(view.count):
        if strcmp(view.members[i].run_id, run_id) == 0:
            return i
    return -1


cdef inline bint view_equal(const View *a, const View *b) noexcept nogil:
    cdef int i
    if a.epoch != b.epoch or a.kind != b.kind or a.count != b.count or not same_history(a.history, b.history):
        return False
    for i in range(a.count):
        if not same_process(&a.members[i], &b.members[i]):
            return False
    return True
