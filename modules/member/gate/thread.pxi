# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The gate's thread. It has a table of descriptors of its own: a child that Redis forks does not keep clients'
# connections alive, and the server's limit on descriptors counts a client once.

from libc.stdlib cimport calloc, free

from modules.bindings.descriptors cimport (
    CLONE_FILES, RLIMIT_NOFILE, close_range, getrlimit, rlimit, setrlimit, unshare,
)
from modules.bindings.epoll cimport EPOLL_CLOEXEC, epoll_create1, epoll_wait
from modules.bindings.libc cimport PR_SET_NAME, prctl
from modules.core.held_output cimport line_release_next, stream_release

cdef enum:
    EVENTS_MAX = 256
    FIRST_DESCRIPTOR = 3        # those below are kept for messages of the C library


# ------------------------------------------------------------------------------------------------------ releasing

cdef void release(Relay *r) noexcept nogil:
    """Send what may go by now. Called after the events of a pass, and after the numbers have moved."""
    cdef Horizon now
    cdef Horizon executed
    cdef Stream *stream
    cdef int64_t now_ms
    if r.requests.oldest != NULL:
        executed.committed = observe(&r.shared.executed)
        executed.lease_until = INT64_MAX
        stream = line_release_next(&r.requests, &executed, 0)
        while stream != NULL:
            send_requests(r, <Client *>stream.owner)
            stream = line_release_next(&r.requests, &executed, 0)
    if r.replies.oldest != NULL:
        horizon(r, &now)
        now_ms = boot_ms()
        if era_is_over(r):
            begin_era(r)
        stream = line_release_next(&r.replies, &now, now_ms)
        while stream != NULL:
            send_replies(r, <Client *>stream.owner)
            stream = line_release_next(&r.replies, &now, now_ms)


cdef bint has_old_reply(const Client *c) noexcept nogil:
    """Is there a reply of the era before, here or still in the socket of the server?"""
    cdef char next
    return c.replies.held != NULL or (
        c.back.fd >= 0 and recv(c.back.fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) > 0)


cdef void begin_era(Relay *r) noexcept nogil:
    """Close the clients for which there are replies of the era before. When all are to be closed, so that they look for
    the head, those stay which have said nothing yet.
    """
    cdef Client *c
    cdef Client *following
    cdef int64_t era = observe(&r.shared.era)
    cdef bint closes_all = observe(&r.shared.closing_era) > r.era
    read_messages(r)        # they name clients whose old replies the server has not even written yet
    c = r.clients
    while c != NULL:
        following = c.next
        if not c.unheld and has_old_reply(c):
            client_drop(r, c)
        elif not c.unheld and closes_all and not c.deciding:
            client_close(r, c)
        c = following
    r.era = era


cdef int64_t oldest_ms(const Relay *r) noexcept nogil:
    """When the oldest bytes that are held were read. INT64_MAX: nothing is held."""
    cdef int64_t since_ms = INT64_MAX
    if r.requests.oldest != NULL:
        since_ms = r.requests.oldest.read_ms
    if r.replies.oldest != NULL:
        since_ms = min(since_ms, r.replies.oldest.read_ms)
    return since_ms


cdef void drop_late_in(Relay *r, Line *line, int64_t too_old_ms) noexcept nogil:
    while line.oldest != NULL and line.oldest.read_ms <= too_old_ms:
        client_drop(r, <Client *>line.oldest.stream.owner)


cdef void drop_late(Relay *r) noexcept nogil:
    """Close the clients whose oldest held bytes have waited too long."""
    cdef int64_t timeout = observe(&r.shared.hold_timeout)
    cdef int64_t too_old_ms
    if not timeout or oldest_ms(r) == INT64_MAX:
        return
    too_old_ms = boot_ms() - timeout
    drop_late_in(r, &r.replies, too_old_ms)
    drop_late_in(r, &r.requests, too_old_ms)


cdef void start_stopped(Relay *r) noexcept nogil:
    """Clients send requests again when what is uncommitted is within its limit."""
    cdef Client *c = r.clients
    if not r.stopped or observe(&r.shared.closed):
        return
    while c != NULL:
        if c.stopped:
            client_start(r, c)
        c = c.next


# ------------------------------------------------------------------------------------------------------- messages

cdef void client_unhold(Relay *r, Client *c) noexcept nogil:
    """From now on nothing of this client is held, nor is what is held already."""
    if c.unheld:
        return
    c.unheld = True
    c.deciding = False
    if c.knocking == ON_PROBATION:
        c.knocking = NOT_KNOCKING
    publish(&r.shared.unheld_clients, r.shared.unheld_clients + 1)
    client_start(r, c)
    stream_release(&r.requests, &c.requests)
    stream_release(&r.replies, &c.replies)
    if c.back.fd >= 0:
        send_requests(r, c)
    if not c.dead:
        send_replies(r, c)
    if not c.dead and c.encrypted:
        leave(r, c)


cdef void client_start(Relay *r, Client *c) noexcept nogil:
    """Read the client's requests again."""
    r.stopped -= c.stopped
    c.stopped = False
    c.hang_up_seen = False
    watch_both(r, c)


cdef Client *client_of(Relay *r, int64_t id) noexcept nogil:
    """NULL: the gate has no such client."""
    cdef Client *c = r.clients
    while c != NULL and c.id != id:
        c = c.next
    return c


cdef void obey(Relay *r, const Message *message, const int *sockets) noexcept nogil:
    cdef Client *c
    if message.kind == CLIENT_NEW or message.kind == CLIENT_RELAY or message.kind == CLIENT_ASKS:
        if sockets[0] >= 0:
            client_open(r, message.client, sockets[0], sockets[1], <MessageKind>message.kind)
    elif message.kind == GATE_STOP:
        r.stopping = True
    else:
        c = client_of(r, message.client)
        if c != NULL and message.kind == CLIENT_UNHELD:
            client_unhold(r, c)
        elif c != NULL and message.kind == CLIENT_GONE and not c.back_ended:
            drain_replies(r, c)
            watch_both(r, c)
        elif c != NULL and message.kind == CLIENT_CLOSE and not c.unheld:
            client_drop(r, c)


cdef void read_messages(Relay *r) noexcept nogil:
    cdef Message message
    cdef int sockets[SOCKETS]
    while message_receive(r.control, &message, sockets):
        obey(r, &message, sockets)


# ------------------------------------------------------------------------------------------------------- one pass

cdef int patience(const Relay *r) noexcept nogil:
    """For how long the thread may sleep, in ms. -1: until something happens."""
    cdef int64_t timeout = observe(&r.shared.hold_timeout)
    if r.ignored != NULL:
        return IGNORED_MS
    if r.knocking:
        return KNOCK_MS
    if not timeout or oldest_ms(r) == INT64_MAX:
        return -1
    return <int>max(1, oldest_ms(r) + timeout - boot_ms() + 1)


cdef void tell(const Relay *r) noexcept nogil:
    publish(&r.shared.held_bytes, r.replies.bytes)
    publish(&r.shared.held_clients, r.replies.streams)
    publish(&r.shared.oldest_read_ms, r.replies.oldest.read_ms if r.replies.oldest != NULL else 0)


cdef void fall_asleep(Relay *r) noexcept nogil:
    """Ask to be woken, if anything waits for the main thread. What it has published before it saw that is used now."""
    if r.replies.oldest == NULL and r.requests.oldest == NULL and not r.stopped:
        return
    publish(&r.shared.waiting, 1)
    fence()     # main publishes a number, then looks at `waiting`
    start_stopped(r)
    release(r)


cdef void handle(Relay *r, const epoll_event *event) noexcept nogil:
    if event.data.ptr == <void *>&r.control:
        read_messages(r)
    elif event.data.ptr != <void *>&r.wake_fd:
        on_event(r, <Side *>event.data.ptr, event.events)


cdef void run(Relay *r) noexcept nogil:
    cdef epoll_event events[EVENTS_MAX]
    cdef int ready
    cdef int i
    while not r.stopping:
        fall_asleep(r)
        tell(r)
        free_dead(r)
        ready = epoll_wait(r.epoll, events, EVENTS_MAX, patience(r))
        publish(&r.shared.waiting, 0)
        attend(r)
        for i in range(ready):
            handle(r, &events[i])
        if era_is_over(r):
            begin_era(r)
        start_stopped(r)
        release(r)
        let_in(r)
        drop_late(r)


cdef void finish(Relay *r) noexcept nogil:
    """The server ends. Send what it has written and what may go."""
    cdef Client *c = r.clients
    cdef Client *following
    while c != NULL:
        following = c.next
        while not c.dead and c.back.fd >= 0 and relay_replies(r, c):
            pass
        c = following
    release(r)
    while r.clients != NULL:
        client_close(r, r.clients)
    free_dead(r)


# ------------------------------------------------------------------------------------------------- begin and end

cdef void keep_two(int one, int other) noexcept nogil:
    """Close all descriptors of this thread's table but these two."""
    cdef unsigned int low = <unsigned int>min(one, other)
    cdef unsigned int high = <unsigned int>max(one, other)
    if low > FIRST_DESCRIPTOR:
        close_range(FIRST_DESCRIPTOR, low - 1, 0)
    if high - low > 1:
        close_range(low + 1, high - 1, 0)
    close_range(high + 1, ~<unsigned int>0, 0)


cdef void allow_descriptors() noexcept nogil:
    """This thread has two descriptors for each client, the server one: it may need a higher limit than the server."""
    cdef rlimit limit
    if getrlimit(RLIMIT_NOFILE, &limit) == 0 and limit.rlim_cur < limit.rlim_max:
        limit.rlim_cur = limit.rlim_max
        setrlimit(RLIMIT_NOFILE, &limit)


cdef bint watch_fd(Relay *r, int *fd, uint32_t wanted) noexcept nogil:
    cdef epoll_event event
    event.events = wanted
    event.data.ptr = fd
    return epoll_ctl(r.epoll, EPOLL_CTL_ADD, fd[0], &event) == 0


cdef bint open_up(Relay *r) noexcept nogil:
    """Returns False if this thread cannot have a table of descriptors of its own, or no epoll."""
    if unshare(CLONE_FILES) != 0:
        return False
    keep_two(r.control, r.wake_fd)
    r.epoll = epoll_create1(EPOLL_CLOEXEC)
    # Each write to the eventfd is an edge, so its count is never read.
    return r.epoll >= 0 and watch_fd(r, &r.control, EPOLLIN) and watch_fd(r, &r.wake_fd, EPOLLIN | EPOLLET)


cdef void *gate_main(void *data) noexcept nogil:
    cdef Relay *r = <Relay *>data
    cdef bint good
    prctl(PR_SET_NAME, <const char *>b"gate")
    good = open_up(r)
    message_send(r.control, GATE_READY, good, -1, -1, 0)
    if good:
        run(r)
        finish(r)
    free(r)
    return NULL


cdef Relay *relay_new(GateShared *shared, int control, int wake_fd) noexcept nogil:
    cdef Relay *r = <Relay *>calloc(1, sizeof(Relay))
    if r != NULL:
        r.shared = shared
        r.control, r.wake_fd = control, wake_fd
    return r
