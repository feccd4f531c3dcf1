# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Who is a direct client: this module reads its requests from its socket, and the server does not (decision 16).
#
# A client that has sent many MEMBER.PUTs or READs becomes one, and the server gets it back at the first other request.
# The server never notices: the socket is taken out of its epoll below its feet. So it does not even read from a socket
# whose connection has ended, where requests may be left.
#
# Nothing of the client may be under way when its reader changes: no request that the server has read and not carried
# out, and no reply that it has not sent. So a candidate is first made silent, in the before-sleep event: the server
# hears of its end alone, and may still wait to write to it. When the loop has slept after that, the server has no event
# of the candidate left but that, and CLIENT LIST says whether all is done. If the candidate is blocked then, it is made
# silent again before the next sleep: a server that has had to wait until it could write listens afterwards.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from modules.bindings.epoll cimport (
    EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, epoll_create1, epoll_ctl,
    epoll_event,
)
from modules.bindings.libc cimport close, poll, pollfd
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_OK, REDISMODULE_REPLY_ERROR, RedisModuleCallReply, RedisModuleCtx,
    RedisModuleString, RedisModule_Call, RedisModule_CallReplyType, RedisModule_EventLoopAdd, RedisModule_GetClientId,
    RedisModule_ReplyWithSimpleString,
)
from modules.core.client_ports cimport CONNECTION_TLS
from modules.core.view cimport KIND_PUT
from modules.member.gate cimport gate_find_loop, gate_limit_events, gate_return_socket, gate_take_socket
from modules.member.keyspace cimport permits_direct_reading
from modules.member.keyspace.another_pass cimport wake_again
from modules.member.keyspace.kind cimport own_kind
from modules.member.replies cimport direct_send, direct_send_held
from modules.member.state.direct cimport (
    CANDIDATES, CANDIDATE_CHOSEN, CANDIDATE_SILENT, Candidate, DIRECT_INPUT, DIRECT_OUTPUT, Direct, DirectClient,
    MAX_DIRECT, NO_CANDIDATE,
)
from modules.server.acl cimport has_free_hand
from modules.server.client_list cimport ServerClient, server_client
from modules.server.connection_kind cimport connection_of
from modules.server.redis_calls cimport drop_reply

cdef enum:
    REQUESTS_NEEDED = 32        # before a client becomes direct
    MOST_NEEDED = 32 * 1024     # of a client that the server got back again and again
    NO_ROOM_MS = 100            # a direct client whose update has no room for so long becomes the server's
    SILENT_MS = 1000            # a candidate whose requests take longer stays the server's


# ------------------------------------------------------------------------------------------------- what must be so

cdef int may_write_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.MAYWRITE -> OK, or Redis's own refusal of a command that writes"""
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef bint redis_permits(Member *m) noexcept nogil:
    """Ask whether Redis would let a client write: its disk and its replicas may forbid that at any time."""
    cdef RedisModuleCallReply *reply = RedisModule_Call(m.ctx, "CHAIN.MAYWRITE", "ESM")
    cdef bint permits = reply != NULL and RedisModule_CallReplyType(reply) != REDISMODULE_REPLY_ERROR
    drop_reply(reply)
    return permits


cdef void direct_tick(Member *m) noexcept nogil:
    """Ask whether Redis would refuse writes, and give back who has waited for room too long."""
    if m.direct.count:
        m.direct.writes_refused = not redis_permits(m)
        give_back_those_held_for_long(m)


cdef bint may_have_direct(Member *m) noexcept nogil:
    """Returns whether this member may have direct clients now."""
    return (not m.direct.writes_refused and not m.direct.distrusted and permits_direct_reading(m)
            and own_kind(m) == KIND_PUT)


# ---------------------------------------------------------------------------------------------------- candidates

cdef Candidate *candidate_of(Direct *d, int64_t id) noexcept nogil:
    """Returns what is known of a client that is not direct. One with the same place in the table takes it over."""
    cdef Candidate *found
    if d.candidates == NULL:
        d.candidates = <Candidate *>calloc(CANDIDATES, sizeof(Candidate))
        if d.candidates == NULL:
            return NULL
    found = &d.candidates[<uint64_t>id & (CANDIDATES - 1)]
    if found.id != id:
        found.id = id
        found.requests = 0
        found.needed = REQUESTS_NEEDED
    return found


cdef void ask_for_more(Direct *d, int64_t id) noexcept nogil:
    """The client did other things, too: it needs twice as many requests from now on."""
    cdef Candidate *candidate = candidate_of(d, id)
    if candidate != NULL:
        candidate.requests = 0
        candidate.needed = min(2 * candidate.needed, <int>MOST_NEEDED)


cdef void count_request(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """The server has run a request that this module could have read. Enough of them make its client a candidate."""
    cdef Direct *d = &m.direct
    cdef Candidate *candidate
    if d.candidate or d.count >= m.settings.direct_clients or m.chain.log.streams:
        return
    candidate = candidate_of(d, <int64_t>RedisModule_GetClientId(ctx))
    if candidate == NULL:
        return
    candidate.requests += 1
    if candidate.requests >= candidate.needed and candidate.id > 0:
        candidate.requests = 0
        d.candidate = candidate.id
        d.stage = CANDIDATE_CHOSEN


cdef void forget_candidate(Direct *d) noexcept nogil:
    d.candidate = d.silent_ms = 0
    d.stage = NO_CANDIDATE
    d.replied = False


cdef void silence_candidate(Member *m) noexcept nogil:
    """In the before-sleep event: the server hears nothing of the candidate while the loop sleeps."""
    cdef ServerClient client
    if m.direct.silent_ms == 0:
        m.direct.writes_refused = not redis_permits(m)
    if (not may_have_direct(m) or not server_client(m.ctx, m.direct.candidate, &client)
            or connection_of(m.ctx, <uint64_t>client.id) == CONNECTION_TLS or client.awaits_room
            or not gate_find_loop(m, client.fd) or not gate_limit_events(m, client.fd, 0)):
        drop_candidate(m)
        return
    m.direct.stage = CANDIDATE_SILENT
    m.direct.candidate_fd = client.fd
    m.direct.silent_ms = m.direct.silent_ms or m.now_ms
    m.direct.replied = m.direct.replied or client.has_output
    if not client.is_blocked:
        wake_again(m)


cdef void drop_candidate(Member *m) noexcept nogil:
    """The candidate stays with the server, which may have more replies than the socket takes."""
    cdef ServerClient client
    if m.direct.silent_ms and server_client(m.ctx, m.direct.candidate, &client):
        gate_limit_events(m, client.fd, EPOLLIN | EPOLLOUT if client.awaits_room else EPOLLIN)
    ask_for_more(&m.direct, m.direct.candidate)
    forget_candidate(&m.direct)


cdef bint has_ended(int fd) noexcept nogil:
    """Returns whether the connection is closed both ways, or is broken. Of that the server may be about to hear."""
    cdef pollfd socket
    socket.fd = fd
    socket.events = 0
    return poll(&socket, 1, 0) != 0


cdef bint nothing_is_under_way(const Member *m, const ServerClient *client) noexcept nogil:
    """Returns whether the server has carried out what the candidate has sent, has replied, and says nothing else."""
    return (m.direct.replied and client.is_at_rest and client.fd == m.direct.candidate_fd
            and not has_ended(client.fd)
            and (client.resp == 2 or (client.resp == 3 and not m.direct.redirects)))


cdef void direct_wake(Member *m) noexcept nogil:
    """The loop has slept, and no event has been handled: the candidate becomes direct, if nothing of it is under way.
    """
    cdef ServerClient client
    direct_send_held(&m.direct)
    if m.direct.stage != CANDIDATE_SILENT:
        return
    if not server_client(m.ctx, m.direct.candidate, &client):
        forget_candidate(&m.direct)
    elif client.is_blocked and m.now_ms - m.direct.silent_ms < SILENT_MS:
        m.direct.stage = CANDIDATE_CHOSEN
    elif (may_have_direct(m) and nothing_is_under_way(m, &client) and has_free_hand(client.user)
            and make_direct(m, &client)):
        forget_candidate(&m.direct)
    else:
        drop_candidate(m)


# ------------------------------------------------------------------------------------------------ coming and leaving

cdef void on_readable(int fd, void *data, int mask) noexcept nogil:
    """Called by the event loop. The requests are carried out at the end of the pass.

    If that has not come since the last call, the server is amid a script, or loads its data. It reads requests
    meanwhile, and says that it is busy. So it gets all clients back.
    """
    cdef Member *m = <Member *>data
    if m.direct.readable:
        give_back_all(m)
    m.direct.readable = True


cdef bint make_ready(Member *m) noexcept nogil:
    """Make what the first direct client needs. Returns False without memory or descriptors."""
    cdef Direct *d = &m.direct
    if d.clients == NULL:
        d.clients = <DirectClient *>calloc(MAX_DIRECT, sizeof(DirectClient))
    if d.input == NULL:
        d.input = <char *>malloc(DIRECT_INPUT)
    if d.output == NULL:
        d.output = <char *>malloc(DIRECT_OUTPUT)
    if d.clients == NULL or d.input == NULL or d.output == NULL:
        return False
    if d.epoll == 0:
        d.epoll = max(epoll_create1(EPOLL_CLOEXEC), 0)
        if d.epoll and RedisModule_EventLoopAdd(
                d.epoll, REDISMODULE_EVENTLOOP_READABLE, on_readable, m) != REDISMODULE_OK:
            close(d.epoll)
            d.epoll = 0
    return d.epoll != 0


cdef int free_place(const Direct *d) noexcept nogil:
    """Returns -1 if there is none."""
    cdef int place
    for place in range(MAX_DIRECT):
        if d.clients[place].id == 0:
            return place
    return -1


cdef bint make_direct(Member *m, const ServerClient *from_server) noexcept nogil:
    cdef Direct *d = &m.direct
    cdef epoll_event event
    cdef int place = free_place(d) if make_ready(m) else -1
    if place < 0:
        return False
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
    event.data.u64 = (<uint64_t>(d.clients[place].generation + 1) << 32) | <uint64_t>place
    if epoll_ctl(d.epoll, EPOLL_CTL_ADD, from_server.fd, &event) != 0:
        return False
    if not gate_take_socket(m, from_server.fd):
        epoll_ctl(d.epoll, EPOLL_CTL_DEL, from_server.fd, &event)
        return False
    d.clients[place].id = from_server.id
    d.clients[place].fd = from_server.fd
    d.clients[place].resp3 = from_server.resp == 3
    d.clients[place].generation += 1
    d.span = max(d.span, place + 1)
    d.count += 1
    d.made += 1
    return True


cdef void forget_client(Direct *d, DirectClient *client) noexcept nogil:
    """The place is free again."""
    cdef uint32_t generation = client.generation
    cdef epoll_event unused
    epoll_ctl(d.epoll, EPOLL_CTL_DEL, client.fd, &unused)
    free(client.rest)
    memset(client, 0, sizeof(client[0]))
    client.generation = generation
    d.count -= 1
    while d.span and d.clients[d.span - 1].id == 0:
        d.span -= 1


cdef void give_back(Member *m, DirectClient *client) noexcept nogil:
    """The server reads from the client again, beginning with the first request that was not carried out here."""
    cdef int64_t id = client.id
    cdef int fd = client.fd
    forget_client(&m.direct, client)
    gate_return_socket(m, id, fd)


cdef void give_back_when_replied(Member *m, DirectClient *client) noexcept nogil:
    """Give the client back as soon as it has all its replies."""
    direct_send(&m.direct)      # what was collected may have replies to it
    client.leaves = client.waits or client.rest != NULL
    if client.leaves:
        m.direct.leaving = True
    else:
        give_back(m, client)


cdef void give_back_all(Member *m) noexcept nogil:
    cdef int place
    for place in range(m.direct.span):
        if m.direct.clients[place].id:
            give_back_when_replied(m, &m.direct.clients[place])


cdef void give_back_those_that_leave(Member *m) noexcept nogil:
    cdef int place
    m.direct.leaving = False
    for place in range(m.direct.span):
        if m.direct.clients[place].id and m.direct.clients[place].leaves:
            give_back_when_replied(m, &m.direct.clients[place])


cdef void give_back_those_held_for_long(Member *m) noexcept nogil:
    """The server holds their updates from now on, for as long as member.write-timeout says."""
    cdef int place
    for place in range(m.direct.span):
        if m.direct.clients[place].no_room_ms and m.now_ms - m.direct.clients[place].no_room_ms > NO_ROOM_MS:
            give_back_when_replied(m, &m.direct.clients[place])


cdef void direct_client_gone(Member *m, int64_t id) noexcept nogil:
    """Redis is about to close a client's socket."""
    cdef int place
    if m.direct.candidate == id:
        forget_candidate(&m.direct)
    if m.direct.count == 0:
        return
    for place in range(m.direct.span):
        if m.direct.clients[place].id == id:
            forget_client(&m.direct, &m.direct.clients[place])
            return
