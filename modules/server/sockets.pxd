# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Options and errors of sockets."""

from modules.bindings.libc cimport (
    IPPROTO_TCP, SO_ERROR, SOL_SOCKET, TCP_NODELAY, TCP_USER_TIMEOUT, errno, getsockopt, setsockopt, socklen_t,
)


cdef inline void set_no_delay(int fd) noexcept nogil:
    cdef int yes = 1
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes))


cdef inline void set_user_timeout(int fd, unsigned int ms) noexcept nogil:
    """Break the connection if the peer does not acknowledge data within `ms`. A cut cable would otherwise look like a
    slow peer.
    """
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms))


cdef inline int connect_result(int fd) noexcept nogil:
    """Returns 0, or the errno with which connecting failed."""
    cdef int error = 0
    cdef socklen_t length = sizeof(error)
    if getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0:
        return errno
    return error
