# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The requests of direct clients (decision 16). All are carried out at one point of a pass, as if they had just come.
#
# Bytes are looked at in the socket, and taken out of it when they were carried out. So whatever is not to be decided
# here stays there, and the server finds it. These functions decide nothing but the ordinary case: what is refused, or
# has to wait for anything but room or a commit, is the server's, whose handlers have the words for it.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from modules.bindings.descriptors cimport MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC
from modules.bindings.epoll cimport EPOLLERR, EPOLLHUP, EPOLLOUT, EPOLLRDHUP, epoll_event, epoll_wait
from modules.bindings.libc cimport SOL_SOCKET, errno, getsockopt, socklen_t
from modules.bindings.redismodule cimport (
    REDISMODULE_READ, RedisModuleInfoCtx, RedisModuleKey, RedisModuleString, RedisModule_CloseKey,
    RedisModule_CreateString, RedisModule_FreeString, RedisModule_InfoAddFieldLongLong, RedisModule_OpenKey,
    RedisModule_StringDMA,
)
from modules.bindings.socket cimport (
    EAGAIN, SK_MEMINFO_RCVBUF, SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_SNDBUF, SK_MEMINFO_VARS, SK_MEMINFO_WMEM_QUEUED,
    SO_MEMINFO, recv,
)
from modules.core.chain cimport chain_has_uncommitted, chain_serves_reads, chain_takes_writes
from modules.core.direct_request cimport (
    DirectRequest, REQUEST_OTHER, REQUEST_PART, REQUEST_READ, RequestKind, direct_request,
)
from modules.core.invariant cimport INVARIANT
from modules.core.read_lease cimport read_lease_may_read
from modules.core.replication cimport replication_fits, replication_has_room
from modules.core.wire cimport Packed
from modules.member.keyspace cimport note_unreplicated
from modules.member.keyspace.another_pass cimport wake_again
from modules.member.keyspace.log_entries cimport is_long, update_bytes
from modules.member.keyspace.values cimport let_go
from modules.member.replies cimport (
    OUTCOME_NIL, direct_cut_off, direct_say, direct_say_number, direct_send, direct_send_rest, direct_writer, settle,
)
from modules.member.replies.waiting cimport first_waiting
from modules.member.state.direct cimport (
    CANDIDATE_CHOSEN, DIRECT_INPUT, DirectClient,
)
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport WAIT_ROOM
from modules.server.clock cimport boot_ms

cdef enum:
    EVENTS = 64                 # in one call
    LOOKS = 4                   # into a client's socket in one pass; then the others come
    UNSEEN = 16 * 1024          # bytes of replies, after which a client's socket is asked whether it takes more

cdef enum Progress:
    WENT_ON                     # the request is carried out
    NEEDS_MORE                  # its end has not come yet
    NEEDS_ROOM                  # the log or the memory has none
    NEEDS_COMMIT                # it is carried out, and replied to when it is committed
    NEEDS_SERVER                # it is the server's


# -------------------------------------------------------------------------------------------------- one request

cdef Progress put_directly(Member *m, int place, const Packed *update) noexcept nogil:
    cdef DirectClient *client = &m.direct.clients[place]
    cdef uint64_t bytes = update_bytes(update)
    cdef bint replies_at_once = update.client != NULL
    cdef RedisModuleString *key
    cdef RedisModuleString *value = NULL
    cdef int64_t sn
    if not chain_takes_writes(&m.chain) or not replication_fits(&m.chain, bytes):
        return NEEDS_SERVER
    if first_waiting(m, WAIT_ROOM) != NULL or not replication_has_room(&m.chain, bytes) or m.checkpoint.full:
        return NEEDS_ROOM
    key = RedisModule_CreateString(NULL, update.key, update.key_bytes)
    if update.value != NULL and (is_long(update) or m.checkpoint.tracking):
        value = RedisModule_CreateString(NULL, update.value, update.value_bytes)
    sn = assign_and_apply(
        m, m.ctx, key, value, update, NULL if replies_at_once else direct_writer(&m.direct, place), m.now_ms)
    let_go(key)
    let_go(value)
    if sn < 0:
        return NEEDS_SERVER
    if m.disk.recording:
        client.awaits_file = m.direct.awaits_file = True
    if not m.chain.has_history:
        note_unreplicated(m)
    if replies_at_once:
        direct_say_number(&m.direct, place, c":", sn)
        return WENT_ON
    client.waits = True
    if sn <= m.chain.committed:
        settle(m)
    return NEEDS_COMMIT if client.waits else WENT_ON


cdef Progress say_absent(Member *m, int place, RedisModuleString *key) noexcept nogil:
    if absence(&m.checkpoint, key) != OUTCOME_NIL:
        return NEEDS_SERVER
    if m.direct.clients[place].resp3:
        direct_say(&m.direct, place, "_\r\n", 3)
    else:
        direct_say(&m.direct, place, "$-1\r\n", 5)
    return WENT_ON


cdef Progress read_directly(Member *m, int place, const Packed *wanted, int64_t now_ms) noexcept nogil:
    """now_ms: read after the request had come. Nothing that this member shows has changed since then, but by requests
    that came with this one.
    """
    cdef RedisModuleString *name
    cdef RedisModuleKey *key
    cdef const char *value = NULL
    cdef size_t length = 0
    cdef Progress progress = NEEDS_SERVER
    if not read_lease_may_read(&m.chain, now_ms) or chain_has_uncommitted(&m.chain):
        return NEEDS_SERVER
    INVARIANT(chain_serves_reads(&m.chain), "rule 4: only a tail that is in step answers READs")
    name = RedisModule_CreateString(NULL, wanted.key, wanted.key_bytes)
    key = RedisModule_OpenKey(m.ctx, name, REDISMODULE_READ)
    if key == NULL:
        progress = say_absent(m, place, name)
    else:
        value = RedisModule_StringDMA(key, &length, REDISMODULE_READ)
        if value != NULL and length <= DIRECT_INPUT:
            direct_say_number(&m.direct, place, c"$", <int64_t>length)
            direct_say(&m.direct, place, value, length)
            direct_say(&m.direct, place, "\r\n", 2)
            progress = WENT_ON
        RedisModule_CloseKey(key)
    RedisModule_FreeString(NULL, name)
    m.clients.reads_served += progress == WENT_ON
    return progress


# ------------------------------------------------------------------------------------------------- one client

cdef Progress carry_out(Member *m, int place, size_t length, size_t *done) noexcept nogil:
    """Carry out the requests in the input, up to one that needs something. done: bytes of those that were carried out.
    """
    cdef const char *input = m.direct.input
    cdef int64_t now_ms = boot_ms()
    cdef DirectRequest request
    cdef RequestKind kind
    cdef Progress progress = WENT_ON
    done[0] = 0
    while progress == WENT_ON and done[0] < length and m.direct.clients[place].said < UNSEEN:
        kind = direct_request(&input[done[0]], length - done[0], DIRECT_INPUT, &request)
        if kind == REQUEST_PART:
            return NEEDS_MORE
        if kind == REQUEST_OTHER:
            return NEEDS_SERVER
        if kind == REQUEST_READ:
            progress = read_directly(m, place, &request.update, now_ms)
        else:
            progress = put_directly(m, place, &request.update)
        if progress == WENT_ON or progress == NEEDS_COMMIT:
            done[0] += request.bytes
            m.direct.requests += 1
    settle(m)
    return progress


cdef bint may_starve(int fd) noexcept nogil:
    """Returns whether the beginning of a request that is left in the socket may keep its end from coming.

    Bytes that are left unread occupy the whole segment with which they came, of up to 64 KiB. When such segments take
    half of the socket's memory, TCP lets the client send nothing more. A quarter leaves time to hand over.
    """
    cdef uint32_t memory[SK_MEMINFO_VARS]
    cdef socklen_t length = sizeof(memory)
    return (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) != 0
            or memory[<int>SK_MEMINFO_RMEM_ALLOC] > memory[<int>SK_MEMINFO_RCVBUF] // 4)


cdef bint takes_replies(const DirectClient *client) noexcept nogil:
    """Returns whether the client's socket certainly has room for the replies of one more look."""
    cdef uint32_t memory[SK_MEMINFO_VARS]
    cdef socklen_t length = sizeof(memory)
    return (getsockopt(client.fd, SOL_SOCKET, SO_MEMINFO, memory, &length) == 0
            and memory[<int>SK_MEMINFO_WMEM_QUEUED] <= memory[<int>SK_MEMINFO_SNDBUF] // 4)


cdef Progress look(Member *m, int place, bint *more) noexcept nogil:
    """Look once into the client's socket, and carry out what is there. more: there may be more in it."""
    cdef DirectClient *client = &m.direct.clients[place]
    cdef size_t done = 0
    cdef Progress progress
    cdef long got = recv(client.fd, m.direct.input, DIRECT_INPUT, MSG_PEEK | MSG_DONTWAIT)
    more[0] = got == DIRECT_INPUT or client.ended
    if got < 0 and errno == EAGAIN:
        return NEEDS_MORE
    if got <= 0:
        return NEEDS_SERVER     # which finds out that the connection has ended
    progress = carry_out(m, place, <size_t>got, &done)
    if done and recv(client.fd, m.direct.input, done, MSG_TRUNC | MSG_DONTWAIT) != <long>done:
        direct_cut_off(client)      # nobody else reads there: what was carried out must not be found again
    if progress == NEEDS_MORE and done == 0 and more[0]:
        return NEEDS_SERVER     # a request that is longer than the input
    if progress == NEEDS_MORE and done < <size_t>got and not more[0] and may_starve(client.fd):
        return NEEDS_SERVER
    more[0] = more[0] or (progress != NEEDS_MORE and done < <size_t>got)
    return progress


cdef void serve_direct_client(Member *m, int place) noexcept nogil:
    cdef DirectClient *client = &m.direct.clients[place]
    cdef Progress progress = WENT_ON
    cdef bint more = True
    cdef int looks = 0
    client.is_due = False
    while more and looks < LOOKS and (progress == WENT_ON or progress == NEEDS_MORE):
        if client.said >= UNSEEN:
            direct_send(&m.direct)
            if client.rest != NULL:
                break
            if not takes_replies(client):
                progress = NEEDS_SERVER
                break
            client.said = 0
        progress = look(m, place, &more)
        looks += 1
    if progress == NEEDS_SERVER or (progress == NEEDS_MORE and client.ended):
        ask_for_more(&m.direct, client.id)
        give_back_when_replied(m, client)
        return
    if progress != NEEDS_ROOM:
        client.no_room_ms = 0
    elif client.no_room_ms == 0:
        client.no_room_ms = m.now_ms
    client.is_due = more
    m.direct.due = m.direct.due or more
    if more and (progress == WENT_ON or progress == NEEDS_MORE):
        wake_again(m)


cdef bint can_serve(const DirectClient *client) noexcept nogil:
    return client.id != 0 and not client.waits and not client.leaves and client.rest == NULL


# --------------------------------------------------------------------------------------------------- all of them

cdef void serve_due(Member *m) noexcept nogil:
    """Those whose requests no event announces, because they were left in the socket."""
    cdef int place
    m.direct.due = False
    for place in range(m.direct.span):
        if m.direct.clients[place].is_due:
            m.direct.due = True
            if can_serve(&m.direct.clients[place]):
                serve_direct_client(m, place)


cdef void attend(Member *m, const epoll_event *event) noexcept nogil:
    cdef int place = <int><uint32_t>event.data.u64
    cdef DirectClient *client = &m.direct.clients[place]
    if client.id == 0 or client.generation != <uint32_t>(event.data.u64 >> 32):
        return
    client.ended = client.ended or event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) != 0
    if event.events & EPOLLOUT:
        direct_send_rest(client)
    if can_serve(client):
        serve_direct_client(m, place)
    else:
        client.is_due = m.direct.due = True


cdef void serve_readable(Member *m) noexcept nogil:
    cdef epoll_event events[EVENTS]
    cdef int left = m.direct.count      # whoever says more meanwhile comes in the next pass
    cdef int count
    cdef int i
    while left > 0:
        left -= EVENTS
        count = epoll_wait(m.direct.epoll, events, EVENTS, 0)
        for i in range(count):
            attend(m, &events[i])


cdef void serve_direct(Member *m) noexcept nogil:
    """Carry out the requests of direct clients that have come. Called before any other step of the pass."""
    if m.direct.count:
        if not may_have_direct(m):
            give_back_all(m)
        if m.direct.leaving:
            give_back_those_that_leave(m)
        if m.direct.due:
            serve_due(m)
        if m.direct.readable:
            serve_readable(m)
    m.direct.readable = False
    if m.direct.distrusted and m.direct.candidate:
        drop_candidate(m)
    m.direct.distrusted = False
    if m.direct.stage == CANDIDATE_CHOSEN:
        silence_candidate(m)


cdef void reply_directly(Member *m) noexcept nogil:
    """Called after the messages to other members have gone, for which others wait."""
    if m.direct.reply_count:
        direct_send(&m.direct)
    if m.direct.holds:
        wake_again(m)


cdef void info_direct(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    RedisModule_InfoAddFieldLongLong(info, "direct_clients", m.direct.count)
    RedisModule_InfoAddFieldLongLong(info, "direct_clients_made", m.direct.made)
    RedisModule_InfoAddFieldLongLong(info, "direct_requests", m.direct.requests)
