# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The swap: the server gets one end of a pair of sockets in the place of a client's own socket, under the same number.
#
# Nothing here depends on the layout of a struct of the server. It depends on epoll, and on what the server's event loop
# keeps in epoll with a descriptor: the number of the descriptor. /proc shows that, and `gate_find_loop` checks it.

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf, sscanf
from libc.string cimport memcmp, memmove, strlen, strstr

from modules.bindings.descriptors cimport AF_UNIX, dup3, readlink, socketpair
from modules.bindings.libc cimport O_CLOEXEC, O_RDONLY, open, read
from modules.bindings.socket cimport SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM
from modules.member.state.gate cimport GATE_ERROR_BYTES
from modules.member.state.member cimport Member

cdef enum:
    DESCRIPTORS_SEARCHED = 1024     # the event loop's is made at the server's start
    PATIENCE_MS = 1000          # for the gate's thread, when it has many new clients

# ------------------------------------------------------------------------------------------- the server's event loop

cdef bint is_epoll(int fd) noexcept nogil:
    cdef char path[64]
    cdef char target[64]
    cdef long length
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd)
    length = readlink(path, target, sizeof(target))
    return length == 22 and memcmp(target, b"anon_inode:[eventpoll]", 22) == 0


cdef bint names(const char *line, int fd, bint *as_expected) noexcept nogil:
    """Does this line of an epoll's file in /proc name the descriptor? as_expected: the number is also its data."""
    cdef int found
    cdef unsigned int events
    cdef unsigned long long data
    if sscanf(line, "tfd: %d events: %x data: %llx", &found, &events, &data) != 3 or found != fd:
        return False
    as_expected[0] = data == <unsigned long long>fd
    return True


cdef bint watches(int epoll, int fd, bint *as_expected) noexcept nogil:
    """Does this epoll watch the descriptor?"""
    cdef char text[4096]
    cdef char path[64]
    cdef const char *line
    cdef size_t kept = 0
    cdef long length
    cdef bint found = False
    cdef int file
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", epoll)
    file = open(path, O_RDONLY)
    if file < 0:
        return False
    length = read(file, text, sizeof(text) - 1)
    while length > 0 and not found:
        text[kept + <size_t>length] = 0
        line = strstr(text, "tfd:")
        while line != NULL and not found and strstr(line, "\n") != NULL:
            found = names(line, fd, as_expected)
            line = strstr(line + 4, "tfd:")
        kept = 0
        if line != NULL:        # it is not whole
            kept = strlen(line)
            memmove(text, line, kept)
        length = read(file, text + kept, sizeof(text) - 1 - kept)
    close(file)
    return found


cdef bint gate_find_loop(Member *m, int fd) noexcept nogil:
    """Find the event loop that watches the descriptor. Returns False with the reason in `gate.error`."""
    cdef bint as_expected = False
    cdef int epoll
    for epoll in range(DESCRIPTORS_SEARCHED):
        if is_epoll(epoll) and watches(epoll, fd, &as_expected):
            break
    else:
        snprintf(m.gate.error, GATE_ERROR_BYTES, "/proc names no epoll that watches descriptor %d", fd)
        return False
    if not as_expected:
        snprintf(m.gate.error, GATE_ERROR_BYTES, "the server's epoll has other data than descriptors' numbers")
        return False
    m.gate.epoll = epoll
    return True


# ------------------------------------------------------------------------------------------------------- the swap

cdef bint put_under(Member *m, int fd, int other) noexcept nogil:
    """Let the server have another socket under the number `fd`. Returns False if its event loop does not watch that
    number, or does not take the other socket.
    """
    cdef epoll_event event
    event.events = EPOLLIN      # a client for which nothing is to be written has only a read handler
    event.data.u64 = <uint64_t>fd
    return (epoll_ctl(m.gate.epoll, EPOLL_CTL_DEL, fd, &event) == 0
            and dup3(other, fd, O_CLOEXEC) == fd
            and epoll_ctl(m.gate.epoll, EPOLL_CTL_ADD, fd, &event) == 0)


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
