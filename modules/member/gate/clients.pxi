# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Which clients pass the gate, which are never held, and how the server gets a client back.
#
# A connection that begins with MEMBER.UNHELD leaves the gate before anything has been read from it. Whether its user
# may run the command is known only when the server has run it. Until then the client is on trial: if it gets a reply
# and has not run the command, it goes through the gate again before the reply is sent.

from libc.string cimport strcmp, strerror

from modules.bindings.descriptors cimport SHUT_RDWR
from modules.bindings.libc cimport SO_PEERCRED, getpid, getsockopt, socklen_t
from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_ACTIVE_CHILD, RedisModuleClientInfo, RedisModuleCtx, RedisModule_GetClientId,
    RedisModule_GetContextFlags, RedisModule_Log, RedisModule_ReplyWithError, RedisModule_ReplyWithSimpleString,
)
from modules.member.state.gate cimport MAX_EXEMPT, MAX_TRIALS, Trial
from modules.member.state.member cimport the_member
from modules.server.client_list cimport (
    ClientList, ServerClient, close_client, list_begin, list_end, list_next, server_client,
)
from modules.server.redis_calls cimport is_configured
from modules.server.sockets cimport bound_host, bound_port

cdef enum:
    REST_BYTES = 4096           # that a call passes on of what the server has written to a client that leaves the gate


# ------------------------------------------------------------------------------------------------- own connections

cdef int gate_exempt(Member *m, int fd) noexcept nogil:
    """The socket is this module's connection to the own server. Called before the server can have accepted it. Returns
    its local port; 0: it is no socket of the internet, and known by the process that made it.
    """
    cdef int port = bound_port(fd)
    cdef int i
    bound_host(fd, m.gate.exempt_host, sizeof(m.gate.exempt_host))
    for i in range(MAX_EXEMPT):
        if m.gate.exempt[i] == 0:
            m.gate.exempt[i] = port
            break
    return port


cdef void gate_exempt_no_more(Member *m, int local_port) noexcept nogil:
    """Called before the connection is closed: another process may get the port then."""
    cdef int i
    for i in range(MAX_EXEMPT):
        if m.gate.exempt[i] == local_port:
            m.gate.exempt[i] = 0


cdef bint is_own(const Member *m, const RedisModuleClientInfo *client, int fd) noexcept nogil:
    """Is the other end a socket of this process?"""
    cdef int peer[3]            # process, user, group
    cdef socklen_t length = sizeof(peer)
    cdef int i
    peer[0] = 0
    if getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &length) == 0 and peer[0] == getpid():
        return True
    if strcmp(client.addr, m.gate.exempt_host) != 0:
        return False
    for i in range(MAX_EXEMPT):
        if m.gate.exempt[i] != 0 and m.gate.exempt[i] == client.port:
            return True
    return False


# ------------------------------------------------------------------------------------------------------- trials

cdef bint try_client(Member *m, int64_t id, bint doomed) noexcept nogil:
    """Returns False if there is no room."""
    if m.gate.trial_count == MAX_TRIALS:
        return False
    m.gate.trials[m.gate.trial_count].client = id
    m.gate.trials[m.gate.trial_count].doomed = doomed
    m.gate.trial_count += 1
    return True


cdef bint end_trial(Member *m, int64_t id) noexcept nogil:
    """Returns whether the client was on trial."""
    cdef int i
    for i in range(m.gate.trial_count):
        if m.gate.trials[i].client == id:
            m.gate.trial_count -= 1
            m.gate.trials[i] = m.gate.trials[m.gate.trial_count]
            return True
    return False


cdef void doom(Member *m, int64_t id, int fd) noexcept nogil:
    """The client could not be given to the gate. Its socket carries nothing from now on; Redis closes it later, because
    it must not be closed while Redis announces it.
    """
    RedisModule_Log(
        m.ctx, "warning", "a client is closed, because the gate cannot hold its replies: %s. With member.gate no, or "
        "member.commands put, nothing is held",
        &m.gate.error[0] if m.gate.error[0] else strerror(errno))
    shutdown(fd, SHUT_RDWR)
    try_client(m, id, True)


cdef void judge(Member *m, const Trial *trial) noexcept nogil:
    """What happens to a client on trial before Redis sends replies."""
    cdef ServerClient client
    cdef int64_t id = trial.client
    if trial.doomed:
        close_client(m.ctx, id)
        end_trial(m, id)
    elif not server_client(m.ctx, id, &client):
        end_trial(m, id)
    elif client.has_output:
        end_trial(m, id)
        if not swap(m, id, client.fd, CLIENT_RELAY):
            doom(m, id, client.fd)


cdef void gate_settle(Member *m) noexcept nogil:
    """Judge the clients on trial. Called before the event loop sleeps, which is before Redis sends replies."""
    cdef int i
    for i in reversed(range(m.gate.trial_count)):
        judge(m, &m.gate.trials[i])


# ------------------------------------------------------------------------------------------------ coming and leaving

cdef void gate_client_connected(Member *m, const RedisModuleClientInfo *client) noexcept nogil:
    """Redis has accepted a client, and has read nothing from it."""
    cdef ServerClient found
    if not m.gate.runs or not server_client(m.ctx, <int64_t>client.id, &found) or is_own(m, client, found.fd):
        return
    if not swap(m, found.id, found.fd, CLIENT_NEW):
        doom(m, found.id, found.fd)


cdef void gate_client_gone(Member *m, int64_t id) noexcept nogil:
    """Redis closes a client's socket, and writes nothing more. Without a child that has a copy, the gate sees that by
    itself; if the message is lost, it does so when the child ends.
    """
    if m.gate.runs and RedisModule_GetContextFlags(m.ctx) & REDISMODULE_CTX_FLAGS_ACTIVE_CHILD:
        message_send(m.gate.control, CLIENT_GONE, id, -1, -1, PATIENCE_MS)


cdef void swap_present(Member *m) noexcept nogil:
    """The module is loaded into a server that has clients already."""
    cdef ClientList list
    cdef ServerClient client
    list_begin(&list, m.ctx)
    while list_next(&list, &client):
        if client.has_output or client.replicates or not swap(m, client.id, client.fd, CLIENT_RELAY):
            doom(m, client.id, client.fd)
    list_end(&list)


cdef void take_back(Member *m, int64_t id, int real, int pair) noexcept nogil:
    """Put the client's own socket under its number again. The server has read nothing from this client yet."""
    cdef ServerClient client
    if not server_client(m.ctx, id, &client):
        return
    # Threads that write replies would not wait for the judgement. The gate keeps the client, and lets its first request
    # in when that would wait for what only this client may bring: a link of a member, after a change of view.
    if not is_configured(m.ctx, "io-threads", "1") or not try_client(m, id, False):
        message_send(m.gate.control, CLIENT_ASKS, id, real, pair, PATIENCE_MS)
    elif not put_under(m, client.fd, real):
        end_trial(m, id)
        doom(m, id, client.fd)


cdef bint pass_rest(int pair, int real) noexcept nogil:
    """Send the client what the server has written into the pair. Returns False if not all of it went."""
    cdef char bytes[REST_BYTES]
    cdef long got = recv(pair, bytes, sizeof(bytes), MSG_DONTWAIT)
    while got > 0:
        if send(real, bytes, <size_t>got, MSG_NOSIGNAL | MSG_DONTWAIT) != got:
            return False
        got = recv(pair, bytes, sizeof(bytes), MSG_DONTWAIT)
    return True


cdef void let_go(Member *m, int64_t id, int real, int pair) noexcept nogil:
    """Put the socket of an unheld client under its number again. The client stays with the gate if the server has not
    read all that the gate has passed on, or not written all.
    """
    cdef ServerClient client
    cdef char next
    if not server_client(m.ctx, id, &client):
        pass_rest(pair, real)
    elif (client.has_output or not is_configured(m.ctx, "io-threads", "1")
            or recv(client.fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) >= 0):
        message_send(m.gate.control, CLIENT_RELAY, id, real, pair, PATIENCE_MS)
        message_send(m.gate.control, CLIENT_UNHELD, id, -1, -1, PATIENCE_MS)
    elif pass_rest(pair, real) and put_under(m, client.fd, real):
        m.gate.handed_back += 1
    else:
        doom(m, id, client.fd)


cdef void on_message(int control, void *data, int mask) noexcept nogil:
    """Called by the event loop: the gate's thread has sent messages."""
    cdef Message message
    cdef int sockets[SOCKETS]
    while message_receive(control, &message, sockets):
        if message.kind == CLIENT_BACK and sockets[0] >= 0:
            take_back(the_member(), message.client, sockets[0], sockets[1])
        elif message.kind == CLIENT_LEFT and sockets[0] >= 0:
            let_go(the_member(), message.client, sockets[0], sockets[1])
        if sockets[0] >= 0:
            close(sockets[0])
            close(sockets[1])


cdef int unheld_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    cdef int64_t id = <int64_t>RedisModule_GetClientId(ctx)
    if end_trial(m, id):
        m.gate.handed_back += 1
    elif m.gate.runs and not message_send(m.gate.control, CLIENT_UNHELD, id, -1, -1, PATIENCE_MS):
        return RedisModule_ReplyWithError(ctx, "ERR the gate has too much to do: try again")
    return RedisModule_ReplyWithSimpleString(ctx, "OK")
