# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Options, errors and ports of sockets."""

from modules.bindings.libc cimport (
    IPPROTO_TCP, SO_ERROR, SOL_SOCKET, TCP_NODELAY, TCP_QUICKACK, TCP_USER_TIMEOUT, errno, getsockopt, setsockopt,
    socklen_t,
)
from modules.bindings.socket cimport (
    AF_INET, AF_INET6, getsockname, inet_ntop, ntohs, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage,
)


cdef inline void set_no_delay(int fd) noexcept nogil:
    cdef int yes = 1
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes))


cdef inline void set_slow_ack(int fd) noexcept nogil:
    """Let the kernel acknowledge segments together. Otherwise each read of a connection whose data go one way sends a
    segment that only acknowledges. The kernel forgets it after a pause in the data.
    """
    cdef int no = 0
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &no, sizeof(no))


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


cdef inline void bound_host(int fd, char *out, socklen_t room) noexcept nogil:
    """Write the local address of the socket to `out`, which has room for INET6_ADDRSTRLEN; empty: it has none."""
    cdef sockaddr_storage address
    cdef socklen_t length = sizeof(address)
    out[0] = 0
    if getsockname(fd, <sockaddr *>&address, &length) != 0:
        return
    if address.ss_family == AF_INET6:
        inet_ntop(AF_INET6, &(<sockaddr_in6 *>&address).sin6_addr, out, room)
    elif address.ss_family == AF_INET:
        inet_ntop(AF_INET, &(<sockaddr_in *>&address).sin_addr, out, room)


cdef inline int bound_port(int fd) noexcept nogil:
    """Returns the port that the socket is bound to; 0 on an error."""
    cdef sockaddr_storage address
    cdef socklen_t length = sizeof(address)
    if getsockname(fd, <sockaddr *>&address, &length) != 0:
        return 0
    if address.ss_family == AF_INET6:
        return ntohs((<sockaddr_in6 *>&address).sin6_port)
    return ntohs((<sockaddr_in *>&address).sin_port) if address.ss_family == AF_INET else 0
