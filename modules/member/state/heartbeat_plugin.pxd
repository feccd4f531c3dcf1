# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The interface between libmember.so, which has no Python interpreter, and libheartbeat.so, which has one."""

from libc.stdint cimport int64_t

cdef enum:
    ORDER_TEXT_BYTES = 1024
    WHY_BYTES = 512


cdef struct Order:
    # The plug-in copies the texts before `connect` returns. What the pointers lead to stays valid until the process
    # ends.
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
    const int64_t *pulse        # incremented in each tick of the event loop
    # writes a line to the server's log; may be called from any thread
    void (*log)(const char *level, const char *line) noexcept nogil
    # sets what INFO shows; may be called from any thread
    void (*show)(const char *state, const char *leader) noexcept nogil
    char why[WHY_BYTES]         # set by `connect`: the error


# The type of `connect` in libheartbeat.so. Returns False if it fails, with the error in `why`. After True, the plug-in
# sends heartbeats until the process ends, and retries those that fail.
ctypedef bint (*Connect)(Order *) noexcept nogil
