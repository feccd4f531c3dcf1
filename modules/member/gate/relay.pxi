# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# One client of the gate: requests go from its socket to the server's, replies the other way.
#
# Replies are held until what the server had done when it wrote them is committed. The order of the steps is the rule:
# the bytes are read, then the newest ticket, and only then it is decided whether the bytes may go. Whatever effect the
# bytes show, its ticket was opened before the bytes were written.
#
# Requests are held, too, at a member that is not the head: until the own server has executed all that this member had
# received when the bytes were read. Otherwise a server that lags would answer from before an acknowledged write.

from libc.stdint cimport INT64_MAX, uint32_t

from modules.bindings.atomics cimport observe, publish
from modules.bindings.descriptors cimport MSG_PEEK, SHUT_WR, shutdown
from modules.bindings.epoll cimport (
    EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, epoll_ctl,
    epoll_event,
)
from modules.bindings.socket cimport recv, send
from modules.core.first_request cimport FIRST_UNHELD, FIRST_UNKNOWN, FirstRequest, first_request
from modules.core.held_output cimport (
    Chunk, Horizon, Line, Stream, chunk_bytes, held_may_go, stream_drop, stream_hold, stream_keep, stream_ready,
    stream_sent,
)
from modules.core.memory cimport memory_give, memory_take_zeroed
from modules.member.state.gate cimport GateShared
from modules.server.clock cimport boot_ms

cdef enum:
    BUFFER_BYTES = 128 * 1024
    REPLIES_MAX = 1024 * 1024   # of one client; the server's own limits bound the rest, which stays with the server
    FIRST_MAX = 2048            # bytes of a first request that are looked at
    PARTS_MAX = 16              # chunks that are sent in one call
    APPLICATION_DATA = 23       # the first byte of such a record of TLS


cdef enum Knocking:
    NOT_KNOCKING
    MAY_KNOCK                   # nothing has been passed on
    KNOCKING                    # its first bytes are held
    ON_PROBATION                # its first bytes were passed on although they should be held


cdef struct Side:
    Client *client
    int fd                      # -1: closed
    uint32_t watched            # the events that epoll reports; 0: it does not know the socket


cdef struct Client:
    int64_t id
    Side front                  # the client's own socket
    Side back                   # the pair's end, whose other end the server has
    Stream requests
    Stream replies
    bint encrypted              # it has begun with TLS
    bint deciding               # nothing has been read yet: it may be a connection that asks not to be held
    Knocking knocking           # the same for one that speaks TLS, or asks not to be held and cannot be handed back
    bint unheld
    bint stopped                # its requests are not read, because too much is uncommitted
    bint front_ended            # the client sends no more
    bint hang_up_seen           # that was noticed while its requests were not read
    bint back_ended             # the server has closed, and all that it wrote has been read
    bint asked                  # the server has a request to which nothing has been read yet
    bint wrote                  # a ticket was opened between its last request and the reply
    bint ignored                # what the server says is not watched for
    int64_t asked_at            # the newest ticket when the last request was passed on
    bint dead
    Client *next
    Client *previous
    Client *next_dead


cdef struct Relay:
    # What the gate's thread has.
    GateShared *shared
    int control
    int wake_fd
    int epoll
    Line requests
    Line replies
    int64_t era                 # the one in which all held replies were read
    bint stopping
    Client *clients
    Client *dead                # freed when no event of this pass can name them any more
    int64_t stopped             # how many clients are
    int64_t asked               # how many clients are
    int64_t knocking            # how many clients are
    Client *ignored             # the one that is, or NULL
    char buffer[BUFFER_BYTES]


# ------------------------------------------------------------------------------------------------------ watching

cdef void watch(Relay *r, Side *side, uint32_t wanted) noexcept nogil:
    cdef epoll_event event
    if side.fd < 0 or side.watched == wanted:
        return
    event.events = wanted
    event.data.ptr = side
    epoll_ctl(r.epoll, EPOLL_CTL_MOD, side.fd, &event)
    side.watched = wanted


cdef bint side_open(Relay *r, Client *c, Side *side, int fd, uint32_t wanted) noexcept nogil:
    cdef epoll_event event
    side.client = c
    side.fd = fd
    side.watched = wanted
    event.events = wanted
    event.data.ptr = side
    return epoll_ctl(r.epoll, EPOLL_CTL_ADD, fd, &event) == 0


cdef void side_forget(Relay *r, Side *side) noexcept nogil:
    """Stop watching. The socket stays open."""
    cdef epoll_event ignored
    epoll_ctl(r.epoll, EPOLL_CTL_DEL, side.fd, &ignored)


cdef void side_close(Relay *r, Side *side) noexcept nogil:
    if side.fd >= 0:
        side_forget(r, side)
        close(side.fd)
    side.fd = -1


cdef uint32_t front_wanted(const Client *c) noexcept nogil:
    cdef uint32_t wanted = 0
    if c.deciding:
        return EPOLLIN | EPOLLRDHUP | EPOLLET       # what has been looked at is still there, and must not wake again
    if not c.front_ended and not c.back_ended and c.requests.first == NULL and not c.stopped:
        wanted = EPOLLIN
    elif not c.front_ended and not c.hang_up_seen:
        wanted = EPOLLRDHUP
    if stream_ready(&c.replies) != NULL:
        wanted |= EPOLLOUT
    return wanted


cdef uint32_t back_wanted(const Client *c) noexcept nogil:
    cdef uint32_t wanted = EPOLLIN if c.replies.bytes < REPLIES_MAX and not c.ignored else 0
    if stream_ready(&c.requests) != NULL:
        wanted |= EPOLLOUT
    return wanted


cdef void watch_both(Relay *r, Client *c) noexcept nogil:
    if not c.dead:
        watch(r, &c.front, front_wanted(c))
        watch(r, &c.back, back_wanted(c))


# ------------------------------------------------------------------------------------------------ coming and going

cdef void client_open(Relay *r, int64_t id, int real, int pair, MessageKind kind) noexcept nogil:
    cdef Client *c = <Client *>memory_take_zeroed(sizeof(Client))
    if c == NULL:
        close(real)
        close(pair)
        return
    c.id = id
    c.deciding = kind == CLIENT_NEW
    c.knocking = MAY_KNOCK if kind == CLIENT_ASKS else NOT_KNOCKING
    c.requests.owner = c.replies.owner = c
    c.next = r.clients
    if r.clients != NULL:
        r.clients.previous = c
    r.clients = c
    publish(&r.shared.clients, r.shared.clients + 1)
    c.back.fd = -1
    if not side_open(r, c, &c.front, real, front_wanted(c)) or not side_open(r, c, &c.back, pair, back_wanted(c)):
        if c.back.fd < 0:
            close(pair)
        client_close(r, c)


cdef void client_leave(Relay *r, Client *c) noexcept nogil:
    """The gate has nothing more to do with this client, whose sockets the caller has closed or handed on."""
    stream_drop(&r.requests, &c.requests)
    stream_drop(&r.replies, &c.replies)
    if c.previous == NULL:
        r.clients = c.next
    else:
        c.previous.next = c.next
    if c.next != NULL:
        c.next.previous = c.previous
    c.dead = True
    c.next_dead = r.dead
    r.dead = c
    r.stopped -= c.stopped
    r.asked -= c.asked
    r.knocking -= c.knocking == KNOCKING
    if c.ignored:
        r.ignored = NULL
    publish(&r.shared.clients, r.shared.clients - 1)
    publish(&r.shared.unheld_clients, r.shared.unheld_clients - c.unheld)


cdef void client_close(Relay *r, Client *c) noexcept nogil:
    """Close both connections, whatever is held."""
    side_close(r, &c.front)
    side_close(r, &c.back)
    client_leave(r, c)


cdef void client_drop(Relay *r, Client *c) noexcept nogil:
    """Close a client that must not get what is held for it: the outcome of its requests is unknown."""
    publish(&r.shared.dropped_clients, r.shared.dropped_clients + 1)
    client_close(r, c)


cdef void free_dead(Relay *r) noexcept nogil:
    cdef Client *c
    while r.dead != NULL:
        c = r.dead
        r.dead = c.next_dead
        memory_give(c)


# ------------------------------------------------------------------------------------------------------- sending

cdef long send_ready(Side *side, const Stream *stream) noexcept nogil:
    """Send the chunks that may go, as many as one call takes. Returns the number of bytes, or what sendmsg returns."""
    cdef iovec parts[PARTS_MAX]
    cdef msghdr header
    cdef Chunk *chunk = stream.first
    memset(&header, 0, sizeof(header))
    header.msg_iov = parts
    while chunk != stream.held and header.msg_iovlen < PARTS_MAX:
        parts[header.msg_iovlen].iov_base = chunk_bytes(chunk)
        parts[header.msg_iovlen].iov_len = chunk.end - chunk.start
        header.msg_iovlen += 1
        chunk = chunk.next
    return sendmsg(side.fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT)


cdef bint flush(Side *side, Stream *stream) noexcept nogil:
    """Send what may go, as far as the socket takes it. Returns False if the connection has ended."""
    cdef long sent
    while stream_ready(stream) != NULL:
        sent = send_ready(side, stream)
        if sent < 0:
            return errno == EAGAIN or errno == EINTR
        stream_sent(stream, <size_t>sent)
    return True


cdef bint pass_on(Side *side, Stream *stream, const char *bytes, size_t length) noexcept nogil:
    """Send bytes that may go, and keep what the socket does not take. Returns False if the connection has ended."""
    cdef long sent = 0
    if stream.first == NULL:
        sent = send(side.fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent == <long>length:
            return True
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                return False
            sent = 0
    return stream_keep(stream, bytes + sent, length - <size_t>sent)


# ------------------------------------------------------------------------------------------------------- replies

cdef void horizon(const Relay *r, Horizon *out) noexcept nogil:
    out.committed = observe(&r.shared.committed)
    out.lease_until = observe(&r.shared.lease_until)
    out.proven_ms = observe(&r.shared.proven_ms)


cdef bint era_is_over(const Relay *r) noexcept nogil:
    """Asked after `horizon`: the main thread begins an era before it moves the numbers of the new one."""
    return observe(&r.shared.era) != r.era


cdef void take_replies(Relay *r, Client *c, size_t length) noexcept nogil:
    """The server's next bytes for this client are in the buffer."""
    cdef int64_t tag = observe(&r.shared.ticket)        # after the bytes were read, never before
    cdef Horizon now
    cdef int64_t read_ms = 0
    cdef bint good
    note_reply(r, c, tag)
    publish(&r.shared.relayed_bytes, r.shared.relayed_bytes + <int64_t>length)
    if c.front.fd < 0:
        return      # nobody is there to read it
    horizon(r, &now)
    if not c.unheld:
        if now.committed != INT64_MAX or c.replies.held != NULL:
            read_ms = boot_ms()                         # after the bytes were read, likewise
        if era_is_over(r):
            client_drop(r, c)       # the bytes may be of the era before
            return
    if c.unheld or (c.replies.held == NULL and held_may_go(&now, tag, read_ms, read_ms)):
        good = pass_on(&c.front, &c.replies, r.buffer, length)
    else:
        good = stream_hold(&r.replies, &c.replies, r.buffer, length, tag, read_ms)
        if observe(&r.shared.ajar):
            message_send(r.control, REPLY_WAITS, 0, -1, -1, 0)      # main has enough to read if that fails
    if not good:
        front_lost(r, c)


cdef bint relay_replies(Relay *r, Client *c) noexcept nogil:
    """Returns whether there may be more."""
    cdef long length
    if c.knocking == ON_PROBATION and not passes_probation(r, c):
        return False
    length = recv(c.back.fd, r.buffer, BUFFER_BYTES, MSG_DONTWAIT)
    if length > 0:
        take_replies(r, c, <size_t>length)
        return not c.dead
    if length == 0 or (errno != EAGAIN and errno != EINTR):
        back_end(r, c)
    return False


cdef void drain_replies(Relay *r, Client *c) noexcept nogil:
    """The server has closed the connection: read out what it has written before, or the event would come again."""
    while relay_replies(r, c):
        pass
    if not c.dead and not c.back_ended:
        back_end(r, c)


cdef void back_end(Relay *r, Client *c) noexcept nogil:
    """Nothing more comes from the server. What is held for the client is still delivered."""
    c.back_ended = True
    side_close(r, &c.back)
    stream_drop(&r.requests, &c.requests)
    close_if_done(r, c)


cdef void close_if_done(Relay *r, Client *c) noexcept nogil:
    if not c.dead and c.back_ended and c.replies.first == NULL:
        client_close(r, c)


cdef void send_replies(Relay *r, Client *c) noexcept nogil:
    """Send what has been released, or what the client's socket did not take before."""
    if c.front.fd >= 0 and not flush(&c.front, &c.replies):
        front_lost(r, c)
    close_if_done(r, c)
    watch_both(r, c)


# ------------------------------------------------------------------------------------------------------ requests

cdef void take_requests(Relay *r, Client *c, size_t length) noexcept nogil:
    """The client's next bytes are in the buffer."""
    cdef int64_t tag = observe(&r.shared.ticket)        # after the bytes were read
    cdef bint good
    if c.requests.held == NULL and (c.unheld or tag <= observe(&r.shared.executed)):
        note_request(r, c, tag)
        good = pass_on(&c.back, &c.requests, r.buffer, length)
        if c.knocking == MAY_KNOCK:
            c.knocking = NOT_KNOCKING
    else:
        good = stream_hold(&r.requests, &c.requests, r.buffer, length, tag, boot_ms())
        if c.knocking == MAY_KNOCK:
            knock(r, c)
    if not good:
        drain_replies(r, c)


cdef bint relay_requests(Relay *r, Client *c) noexcept nogil:
    """Returns whether there may be more."""
    cdef long length
    attend(r)
    if c.dead or c.back_ended:
        return False
    if not c.unheld and observe(&r.shared.closed) and c.knocking != MAY_KNOCK:
        c.stopped = True
        r.stopped += 1
        return False
    length = recv(c.front.fd, r.buffer, FIRST_MAX if c.knocking == MAY_KNOCK else BUFFER_BYTES, MSG_DONTWAIT)
    if length > 0:
        take_requests(r, c, <size_t>length)
        return not c.dead and not c.back_ended
    if length == 0:
        front_end(r, c)
    elif errno != EAGAIN and errno != EINTR:
        front_lost(r, c)
    return False


cdef void send_requests(Relay *r, Client *c) noexcept nogil:
    """Pass on what has been released, or what the server's socket did not take before."""
    knock_no_more(r, c)
    if not flush(&c.back, &c.requests):
        drain_replies(r, c)
    elif c.front_ended and c.requests.first == NULL:
        shutdown(c.back.fd, SHUT_WR)
    watch_both(r, c)


cdef void front_end(Relay *r, Client *c) noexcept nogil:
    """The client sends no more, but may still read. The server hears of it when it has all requests."""
    c.front_ended = True
    if c.back.fd >= 0 and c.requests.first == NULL:
        shutdown(c.back.fd, SHUT_WR)


cdef void front_lost(Relay *r, Client *c) noexcept nogil:
    """The client is gone. The server still gets the requests that were read."""
    if c.dead:
        return
    side_close(r, &c.front)
    stream_drop(&r.replies, &c.replies)
    front_end(r, c)
    close_if_done(r, c)


# ------------------------------------------------------------------------------------------------------- events

cdef void read_all_requests(Relay *r, Client *c) noexcept nogil:
    """The client has hung up: nothing more comes after what is there."""
    while not c.front_ended and not c.back_ended and not c.stopped and relay_requests(r, c):
        pass
    if c.front.fd >= 0:
        front_lost(r, c)


cdef void decide(Relay *r, Client *c, uint32_t events) noexcept nogil:
    """Look at the client's first bytes, which stay in its socket."""
    cdef long length = recv(c.front.fd, r.buffer, FIRST_MAX, MSG_PEEK | MSG_DONTWAIT)
    cdef FirstRequest first
    if length > 0:
        first = first_request(r.buffer, <size_t>length)
        if first == FIRST_UNHELD and hand_back(r, c):
            return
        c.deciding = first == FIRST_UNKNOWN and length < FIRST_MAX
        if r.buffer[0] == APPLICATION_DATA:
            c.encrypted = True
            c.knocking = MAY_KNOCK
    elif length == 0 or errno != EAGAIN:
        c.deciding = False
    if events & <uint32_t>(EPOLLHUP | EPOLLERR | EPOLLRDHUP):
        c.deciding = False


cdef bint hand_back(Relay *r, Client *c) noexcept nogil:
    """Let the server have the client's own socket again. Returns False if that is not possible now."""
    if not message_send(r.control, CLIENT_BACK, c.id, c.front.fd, c.back.fd, 0):
        return False
    client_close(r, c)      # the message keeps the sockets open
    return True


cdef void on_front(Relay *r, Client *c, uint32_t events) noexcept nogil:
    if c.deciding:
        decide(r, c, events)
        if c.deciding or c.dead:
            return
    if events & <uint32_t>EPOLLOUT:
        send_replies(r, c)
    if c.dead or c.front.fd < 0:
        return
    if events & <uint32_t>(EPOLLHUP | EPOLLERR):
        read_all_requests(r, c)
    elif events & front_wanted(c) & <uint32_t>EPOLLIN:
        relay_requests(r, c)
    elif events & <uint32_t>EPOLLRDHUP:
        notice_hang_up(r, c)


cdef void notice_hang_up(Relay *r, Client *c) noexcept nogil:
    """The client has closed, or sends no more, while its requests are not read."""
    cdef char next
    c.hang_up_seen = True
    if recv(c.front.fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0:
        front_end(r, c)


cdef void on_back(Relay *r, Client *c, uint32_t events) noexcept nogil:
    if events & <uint32_t>(EPOLLHUP | EPOLLERR):
        drain_replies(r, c)
        return
    if events & <uint32_t>EPOLLIN and c.replies.bytes < REPLIES_MAX:
        relay_replies(r, c)
    if events & <uint32_t>EPOLLOUT and not c.dead and c.back.fd >= 0:
        send_requests(r, c)


cdef void on_event(Relay *r, Side *side, uint32_t events) noexcept nogil:
    cdef Client *c = side.client
    if c.dead or side.fd < 0:
        return
    if side == &c.front:
        on_front(r, c, events)
    else:
        on_back(r, c, events)
    watch_both(r, c)
