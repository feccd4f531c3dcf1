# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The swap: the server gets one end of a pair of sockets in the place of a client's own socket, under the same number.

from modules.bindings.descriptors cimport AF_UNIX, dup3, socketpair
from modules.bindings.libc cimport O_CLOEXEC
from modules.bindings.socket cimport SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM
from modules.member.state.member cimport Member

cdef enum:
    PATIENCE_MS = 1000          # for the gate's thread, when it has many new clients


cdef bint put_under(Member *m, int fd, int other) noexcept nogil:
    """Let the server have another socket under the number `fd`. Returns False if its event loop does not watch that
    number, or does not take the other socket.
    """
    # A client for which nothing is to be written has only a read handler.
    return (gate_take_socket(m, fd) and dup3(other, fd, O_CLOEXEC) == fd
            and tell_loop(m, EPOLL_CTL_ADD, fd, EPOLLIN))


cdef int gate_shortcut(Member *m, int fd) noexcept nogil:
    """Let the server have one end of a pair of sockets in the place of a loopback connection to this module, on which
    nothing is under way. Returns the module's end; -1: the connection stays as it is.

    A pair costs a third of the time of a loopback connection.
    """
    cdef int pair[2]
    cdef bint good
    if not m.gate.runs or socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0:
        return -1
    good = put_under(m, fd, pair[0])
    close(pair[0])
    if good:
        return pair[1]
    close(pair[1])
    return -1


cdef bint swap(Member *m, int64_t id, int fd, MessageKind kind) noexcept nogil:
    """Give the client's socket to the gate. Returns False if that failed: the client must not be served."""
    cdef int pair[2]
    cdef bint good
    if socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0:
        return False
    good = message_send(m.gate.control, kind, id, fd, pair[1], PATIENCE_MS)
    close(pair[1])
    good = good and put_under(m, fd, pair[0])
    close(pair[0])
    return good
