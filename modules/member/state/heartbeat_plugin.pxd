# cython: language_level=3
"""What libmember.so, which has no interpreter, tells libheartbeat.so, a shared object beside it that has one."""

from libc.stdint cimport int64_t

cdef enum:
    ORDER_TEXT_BYTES = 1024
    WHY_BYTES = 512


cdef struct Order:
    # Everything is copied before `connect` returns, but for what the pointers lead to: that is the member's for good.
    char url[ORDER_TEXT_BYTES]
    char user[ORDER_TEXT_BYTES]
    char password[ORDER_TEXT_BYTES]
    char ca[ORDER_TEXT_BYTES]
    char cert[ORDER_TEXT_BYTES]
    char key[ORDER_TEXT_BYTES]
    char announce_host[ORDER_TEXT_BYTES]
    char run_id[41]
    int port
    int interval_s
    int timeout_s
    const int64_t *pulse        # counts on as long as the event loop turns
    void (*log)(const char *level, const char *line) noexcept nogil      # from any thread, as is ...
    void (*show)(const char *state, const char *leader) noexcept nogil   # ... this: what INFO tells
    char why[WHY_BYTES]         # the answer, when it is no


# `connect` of libheartbeat.so: False, and why, when it cannot be. From then on heartbeats are sent, or tried to be.
ctypedef bint (*Connect)(Order *) noexcept nogil
