# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The ordinary messages of other members, which this module reads from their sockets itself (decision 16).
#
# For Redis a message is a command: it makes strings of the arguments, asks filters and rights, and measures. That takes
# more instructions than what this member does with a message of one update. So the socket of a proven peer leaves the
# server's epoll, and the event loop watches a second descriptor of it for this module. What has come is taken at the
# beginning of the before-sleep event, as if its event had been the last of the pass.
#
# Only what this member accepts at once is taken out of the socket. With anything else the server reads from the peer
# again, beginning with that, and its handlers find the same. So the order of a peer's messages is that of its socket.
# The peer changes its reader only when no part of a message is in the server's hands, and no answer to one.

from libc.stdint cimport int64_t

from modules.bindings.descriptors cimport MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, SHUT_RDWR, shutdown
from modules.bindings.libc cimport F_DUPFD_CLOEXEC, close, errno, fcntl
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_OK, RedisModuleString, RedisModuleUser, RedisModule_CreateString,
    RedisModule_EventLoopAdd, RedisModule_EventLoopDel, RedisModule_FreeModuleUser, RedisModule_FreeString,
    RedisModule_GetModuleUserFromUserName,
)
from modules.bindings.socket cimport EAGAIN, recv
from modules.core.client_ports cimport CONNECTION_TLS
from modules.core.peer_message cimport (
    MESSAGE_ACK, MESSAGE_FORWARD, MESSAGE_IDLE, MESSAGE_PART, MessageForm, PeerMessage, peer_message,
)
from modules.member.gate cimport gate_find_loop, gate_return_socket, gate_take_socket
from modules.member.keyspace cimport permits_direct_reading
from modules.server.client_list cimport ServerClient, server_client
from modules.server.connection_kind cimport connection_of

cdef enum:
    PEER_INPUT = 16 * 1024      # bytes of a socket that are looked at in one go; a longer message is the server's
    MOST_TICKS = 512            # for so long at most a peer that was given back stays the server's
    STEADY_MESSAGES = 256       # a peer of which so many were taken in a row has not been given back often


# ----------------------------------------------------------------------------------------------- changing the reader

cdef bint may_send(const char *user_name, const char *command) noexcept nogil:
    cdef RedisModuleString *name = RedisModule_CreateString(NULL, user_name, strlen(user_name))
    cdef RedisModuleString *word = RedisModule_CreateString(NULL, command, strlen(command))
    cdef RedisModuleUser *user = RedisModule_GetModuleUserFromUserName(name)
    cdef bint may = user != NULL and may_run(user, word)
    if user != NULL:
        RedisModule_FreeModuleUser(user)
    RedisModule_FreeString(NULL, word)
    RedisModule_FreeString(NULL, name)
    return may


cdef bint may_take_over(Member *m, const Peer *peer) noexcept nogil:
    """Returns whether nothing is under way between the server and the peer, and the server would take its messages."""
    cdef ServerClient client
    return (server_client(m.ctx, <int64_t>peer.client, &client) and client.fd == peer.fd and client.is_at_rest
            and connection_of(m.ctx, peer.client) != CONNECTION_TLS and may_send(client.user, "CHAIN.FORWARD")
            and may_send(client.user, "CHAIN.ACK") and may_send(client.user, "CHAIN.IDLE")
            and gate_find_loop(m, peer.fd))


cdef void take_over(Member *m, Peer *peer) noexcept nogil:
    """Read from the peer from now on, if that is possible. No event of the server's is pending: a tick follows them."""
    cdef int fd = fcntl(peer.fd, F_DUPFD_CLOEXEC, 0) if may_take_over(m, peer) else -1
    if fd < 0:
        return
    if RedisModule_EventLoopAdd(fd, REDISMODULE_EVENTLOOP_READABLE, on_peer_readable, peer) != REDISMODULE_OK:
        close(fd)
        return
    peer.own_fd = fd
    peer.is_direct = True
    if not gate_take_socket(m, peer.fd):
        end_direct(peer)


cdef void end_direct(Peer *peer) noexcept nogil:
    if peer.is_direct:
        RedisModule_EventLoopDel(peer.own_fd, REDISMODULE_EVENTLOOP_READABLE)
        close(peer.own_fd)
    peer.is_direct = peer.is_readable = False


cdef void give_back(Member *m, Peer *peer) noexcept nogil:
    """The server reads from the peer again, beginning with the first message that was not taken. It keeps a peer for
    longer from one time to the next, unless many messages were taken meanwhile.
    """
    if not peer.is_direct:
        return
    end_direct(peer)
    peer.ticks_apart = 1 if peer.taken >= STEADY_MESSAGES else min(2 * peer.ticks_apart + 1, <int>MOST_TICKS)
    peer.ticks_left = peer.ticks_apart
    peer.taken = 0
    gate_return_socket(m, <int64_t>peer.client, peer.fd)


cdef void give_back_peers(Member *m) noexcept nogil:
    cdef int i
    for i in range(MAX_PEERS):
        give_back(m, &m.replication.peers[i])


cdef void take_over_peers(Member *m) noexcept nogil:
    """Called by the clock."""
    cdef bint may_have = permits_direct_reading(m)
    cdef Peer *peer
    cdef int i
    for i in range(MAX_PEERS):
        peer = &m.replication.peers[i]
        if not peer.sends_often or peer.fd < 0 or peer.is_direct:
            continue
        if peer.ticks_left:
            peer.ticks_left -= 1
        elif may_have:
            take_over(m, peer)


# -------------------------------------------------------------------------------------------------------- one message

cdef bint take_batch(Member *m, Peer *peer, const PeerMessage *message) noexcept nogil:
    """Take a CHAIN.FORWARD. Returns False if it is the server's: it was not accepted, is a part, or memory ran out."""
    cdef int64_t numbers[BATCH_NUMBERS]
    cdef Batch batch
    cdef Text payload
    cdef int64_t offset = -1
    cdef int64_t skip = 0
    payload.bytes, payload.length = message.payload.bytes, message.payload.length
    if not read_decimals(message.numbers.bytes, message.numbers.length, numbers, BATCH_NUMBERS):
        return False
    batch_of(numbers, &batch, &offset)
    if offset != -1 or batch.count < 0 or not is_whole(m, &batch, &payload, -1):
        return False
    if (replication_on_batch(&m.chain, &batch, <int64_t>peer.client, &skip) != ACCEPTED
            or not append_batch(m, m.ctx, &batch, skip, &payload)):
        return False
    replication_batch_applied(&m.chain, &batch)
    settle(m)
    return True


cdef bint take_ack(Member *m, Peer *peer, const PeerMessage *message) noexcept nogil:
    """Take a CHAIN.ACK. Returns False if it is the server's: it was not accepted."""
    cdef int64_t numbers[ACK_NUMBERS]
    cdef Ack ack
    if not read_decimals(message.numbers.bytes, message.numbers.length, numbers, ACK_NUMBERS):
        return False
    ack_of(numbers, &ack)
    if replication_on_ack(&m.chain, &ack, peer.run_id) != ACCEPTED:
        return False
    settle(m)
    return True


cdef bint take(Member *m, Peer *peer, MessageForm form, const PeerMessage *message) noexcept nogil:
    """Returns False if the message is the server's."""
    INVARIANT(peer.proven, "rule 2: updates come from a peer that has proved the secret")
    if form == MESSAGE_FORWARD:
        return take_batch(m, peer, message)
    if form == MESSAGE_ACK:
        return take_ack(m, peer, message)
    return form == MESSAGE_IDLE


# ----------------------------------------------------------------------------------------------------------- one peer

cdef size_t take_all(Member *m, Peer *peer, const char *input, size_t length, bint *goes_on) noexcept nogil:
    """Take the messages in the input, up to one that is the server's. Returns how many bytes were taken.

    goes_on: False: the server is to read the rest. A message whose end has not come would wake the loop all the time.
    """
    cdef PeerMessage message
    cdef MessageForm form
    cdef size_t done = 0
    while done < length:
        form = peer_message(&input[done], length - done, PEER_INPUT, &message)
        if form == MESSAGE_PART:
            goes_on[0] = done > 0 and length == PEER_INPUT
            return done
        if not take(m, peer, form, &message):
            goes_on[0] = False
            return done
        done += message.bytes
        peer.taken += 1
        m.replication.taken_directly += 1
    return done


cdef void serve_peer(Member *m, Peer *peer) noexcept nogil:
    cdef char input[PEER_INPUT]
    cdef long got = recv(peer.own_fd, input, PEER_INPUT, MSG_PEEK | MSG_DONTWAIT)
    cdef bint goes_on = got > 0 or (got < 0 and errno == EAGAIN)    # else the server finds out what has ended
    cdef size_t done = 0
    if got > 0:
        done = take_all(m, peer, input, <size_t>got, &goes_on)
    if done and recv(peer.own_fd, input, done, MSG_TRUNC | MSG_DONTWAIT) != <long>done:
        shutdown(peer.own_fd, SHUT_RDWR)    # nobody else reads there: what was taken must not be found again
    if not goes_on:
        give_back(m, peer)


cdef void on_peer_readable(int fd, void *data, int mask) noexcept nogil:
    """Called by the event loop. The messages are taken before the loop sleeps.

    If that has not come since the last call, the server is amid a script, or loads its data, and handles events
    meanwhile. So it gets the peer back: its handlers know what may be done then.
    """
    cdef Peer *peer = <Peer *>data
    cdef Member *m = the_member()
    if peer.is_readable or m.replication.readable_count == MAX_PEERS:
        give_back(m, peer)
        return
    peer.is_readable = True
    m.replication.readable[m.replication.readable_count] = peer
    m.replication.readable_count += 1


cdef void take_messages(Member *m) noexcept nogil:
    """Take what has come from other members. Called before any other step of the pass."""
    cdef Peer *peer
    cdef int i
    if m.direct.distrusted:
        give_back_peers(m)      # rights may have changed
    for i in range(m.replication.readable_count):
        peer = m.replication.readable[i]
        if not peer.is_readable:
            continue            # it has been given back, or is gone
        peer.is_readable = False
        if permits_direct_reading(m):
            serve_peer(m, peer)
        else:
            give_back(m, peer)
    m.replication.readable_count = 0
