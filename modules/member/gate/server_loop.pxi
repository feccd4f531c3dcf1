# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What the server's event loop hears of its clients' sockets. This module changes that below the server's feet.
#
# Nothing here depends on the layout of a struct of the server. It depends on epoll, and on what the server's event loop
# keeps in epoll with a descriptor: the number of the descriptor. /proc shows that, and `gate_find_loop` checks it.

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf, sscanf
from libc.string cimport memcmp, memmove, strlen, strstr

from modules.bindings.descriptors cimport readlink
from modules.bindings.epoll cimport EPOLLIN, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, epoll_ctl, epoll_event
from modules.bindings.libc cimport O_RDONLY, close, open, read
from modules.member.state.gate cimport GATE_ERROR_BYTES
from modules.member.state.member cimport Member
from modules.server.client_list cimport close_client

cdef enum:
    DESCRIPTORS_SEARCHED = 1024     # the event loop's is made at the server's start


# ------------------------------------------------------------------------------------------------- the event loop

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
    """Find the event loop, which watches the descriptor, if it is not known yet. Returns False with the reason in
    `gate.error`.
    """
    cdef bint as_expected = False
    cdef int epoll
    if m.gate.epoll:
        return True
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


# ------------------------------------------------------------------------------------- what the event loop is told of

cdef bint tell_loop(Member *m, int operation, int fd, unsigned int events) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.u64 = <uint64_t>fd
    return epoll_ctl(m.gate.epoll, operation, fd, &event) == 0


cdef bint gate_limit_events(Member *m, int fd, unsigned int events) noexcept nogil:
    """Let the server hear of these events of the socket alone, of errors, and of the end."""
    return tell_loop(m, EPOLL_CTL_MOD, fd, events)


cdef bint gate_take_socket(Member *m, int fd) noexcept nogil:
    """The server hears of nothing that happens to the socket, not even of its end: it cannot read there."""
    return tell_loop(m, EPOLL_CTL_DEL, fd, 0)


cdef void gate_return_socket(Member *m, int64_t id, int fd) noexcept nogil:
    """The server reads from the client again. Without memory for that, it closes the connection."""
    if not tell_loop(m, EPOLL_CTL_ADD, fd, EPOLLIN):
        close_client(m.ctx, id)
