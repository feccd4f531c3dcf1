# cython: language_level=3
"""What is set on sockets, and asked of them."""

from modules.bindings.libc cimport (
    IPPROTO_TCP, SO_ERROR, SOL_SOCKET, TCP_NODELAY, TCP_USER_TIMEOUT, errno, getsockopt, setsockopt, socklen_t,
)


cdef inline void set_no_delay(int fd) noexcept nogil:
    cdef int yes = 1
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes))


cdef inline void set_user_timeout(int fd, unsigned int ms) noexcept nogil:
    """What the peer has not taken for so long breaks the connection: a cut cable looks like a slow peer otherwise."""
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms))


cdef inline int connect_result(int fd) noexcept nogil:
    """0, or the errno with which connecting failed."""
    cdef int error = 0
    cdef socklen_t length = sizeof(error)
    if getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0:
        return errno
    return error
