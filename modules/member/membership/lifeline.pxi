# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Lifelines: connections of masters to a socket of this module, which nothing in a living server closes
# (docs/protocol.md, "Lifelines").
#
# Redis closes connections of its clients for many reasons, and closes its port when told to. Neither means that the
# process has ended. A lifeline ends only with the process: the kernel closes it and tells the master.
#
# A lifeline carries two proofs of the chain's secret and nothing else. It is not a client of Redis, so Redis's limits
# on clients do not apply.

from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strcmp, strerror

from modules.bindings.libc cimport close, errno
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_OK, RedisModuleCallReply, RedisModuleConfigChange, RedisModule_Call,
    RedisModule_CallReplyArrayElement, RedisModule_CallReplyLength, RedisModule_CallReplyStringPtr,
    RedisModule_EventLoopAdd, RedisModule_EventLoopDel, RedisModule_Log,
)
from modules.bindings.socket cimport (
    AF_INET6, AI_PASSIVE, EADDRINUSE, EADDRNOTAVAIL, EAGAIN, ECONNABORTED, EINTR, IPPROTO_IPV6, IPPROTO_TCP,
    IPV6_V6ONLY, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, SO_KEEPALIVE, SO_REUSEADDR,
    TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, accept4, addrinfo, bind, freeaddrinfo, gai_strerror, getaddrinfo,
    listen, recv, send, setsockopt, socket,
)
from modules.core.hex cimport from_hex
from modules.member.replication cimport prove
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member, the_member
from modules.member.state.membership cimport HELLO_BYTES, Lifeline, MAX_LIFELINES, MAX_LISTENERS
from modules.server.proofs cimport NONCE_BYTES, PROOF_BYTES, proofs_equal
from modules.server.redis_calls cimport drop_reply
from modules.server.sockets cimport bound_port

cdef enum:
    PORT_ATTEMPTS = 8           # to find a port that is free at all addresses
    BACKLOG = 16
    MOST_AT_ONCE = 16           # connections that are accepted in one event: clients must be served, too
    PROVE_WITHIN_MS = 5000
    ADDRESS_TEXT_BYTES = 256
    KEEPALIVE_IDLE_S = 30       # frees the place of a master whose machine is gone
    KEEPALIVE_INTERVAL_S = 10
    KEEPALIVE_PROBES = 3


# ------------------------------------------------------------------------------------------------ one lifeline

cdef void lifeline_close(Lifeline *line) noexcept nogil:
    RedisModule_EventLoopDel(line.fd, REDISMODULE_EVENTLOOP_READABLE)
    close(line.fd)
    memset(line, 0, sizeof(Lifeline))
    line.fd = -1


cdef bint lifeline_proves(const Member *m, const Lifeline *line) noexcept nogil:
    """Returns whether the lifeline's first message, a nonce and a proof, proves the secret."""
    cdef char nonce[NONCE_BYTES]
    cdef char expected[PROOF_BYTES]
    cdef unsigned char ignored[16]
    memcpy(nonce, line.hello, NONCE_BYTES - 1)
    nonce[NONCE_BYTES - 1] = 0
    if not m.replication.has_secret or not from_hex(nonce, NONCE_BYTES - 1, ignored, 16):
        return False
    prove(m, "hold", nonce, "", m.self.run_id, expected)
    return proofs_equal(&line.hello[NONCE_BYTES - 1], PROOF_BYTES - 1, expected)


cdef bint lifeline_answer(const Member *m, const Lifeline *line) noexcept nogil:
    """Send this member's own proof. Returns False if the socket does not take it."""
    cdef char nonce[NONCE_BYTES]
    cdef char proof[PROOF_BYTES]
    memcpy(nonce, line.hello, NONCE_BYTES - 1)
    nonce[NONCE_BYTES - 1] = 0
    prove(m, "held", nonce, "", m.self.run_id, proof)
    return send(line.fd, proof, PROOF_BYTES - 1, MSG_NOSIGNAL) == PROOF_BYTES - 1


cdef void on_lifeline(int fd, void *data, int mask) noexcept nogil:
    """Called by the event loop: read the first message, or notice the end of the lifeline.

    Later bytes are read and dropped: with unread bytes the kernel would end this side's connection with a reset.
    """
    cdef Member *m = the_member()
    cdef Lifeline *line = <Lifeline *>data
    cdef char junk[256]
    cdef long length
    if line.proven:
        length = recv(fd, junk, sizeof(junk), 0)
    else:
        length = recv(fd, &line.hello[line.length], HELLO_BYTES - line.length, 0)
    if length < 0 and (errno == EAGAIN or errno == EINTR):
        return
    if length <= 0:
        lifeline_close(line)
        return
    if line.proven:
        return
    line.length += <int>length
    if line.length < HELLO_BYTES:
        return
    line.proven = lifeline_proves(m, line)
    if not line.proven:
        m.replication.refused_unproven += 1
    if not line.proven or not lifeline_answer(m, line):
        lifeline_close(line)


# ------------------------------------------------------------------------------------- accepting lifelines

cdef Lifeline *lifeline_place(Member *m) noexcept nogil:
    """Returns a free place, else that of the oldest lifeline without a proof, which is closed; NULL: none."""
    cdef Lifeline *place = NULL
    cdef Lifeline *line
    cdef int i
    for i in range(MAX_LIFELINES):
        line = &m.lifelines.lines[i]
        if line.fd < 0:
            return line
        if not line.proven and (place == NULL or line.deadline_ms < place.deadline_ms):
            place = line
    if place != NULL:
        lifeline_close(place)
    return place


cdef void keep_alive(int fd) noexcept nogil:
    cdef int yes = 1
    cdef int idle_s = KEEPALIVE_IDLE_S
    cdef int interval_s = KEEPALIVE_INTERVAL_S
    cdef int probes = KEEPALIVE_PROBES
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(int))
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(int))
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(int))
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(int))


cdef void lifeline_take(Member *m, int fd) noexcept nogil:
    cdef Lifeline *line = lifeline_place(m)
    if line == NULL or RedisModule_EventLoopAdd(
            fd, REDISMODULE_EVENTLOOP_READABLE, on_lifeline, line) != REDISMODULE_OK:
        close(fd)
        return
    keep_alive(fd)
    line.fd = fd
    line.deadline_ms = m.now_ms + PROVE_WITHIN_MS


cdef void on_knock(int listener, void *data, int mask) noexcept nogil:
    """Called by the event loop: accept new connections.

    If no file descriptor is left, listening pauses until the next tick: the event loop would wake without end.
    """
    cdef Member *m = the_member()
    cdef int fd
    cdef int _i
    for _i in range(MOST_AT_ONCE):
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            lifeline_take(m, fd)
        elif errno != EINTR and errno != ECONNABORTED:
            if errno != EAGAIN:
                listeners_watch(m, False)
            return


cdef void listeners_watch(Member *m, bint watch) noexcept nogil:
    """Let the event loop watch the listening sockets, or stop that."""
    cdef int i
    m.lifelines.deaf = not watch
    for i in range(m.lifelines.listener_count):
        if not watch:
            RedisModule_EventLoopDel(m.lifelines.listeners[i], REDISMODULE_EVENTLOOP_READABLE)
        elif RedisModule_EventLoopAdd(
                m.lifelines.listeners[i], REDISMODULE_EVENTLOOP_READABLE, on_knock, NULL) != REDISMODULE_OK:
            m.lifelines.deaf = True     # retried at the next tick


# ------------------------------------------------------------------------------------------------ listening

cdef int listen_at(const addrinfo *at) noexcept nogil:
    """Returns a listening socket, or a negative error number."""
    cdef int yes = 1
    cdef int error
    cdef int fd = socket(at.ai_family, at.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
    if fd < 0:
        return -errno
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(int))
    if at.ai_family == AF_INET6:
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(int))
    if bind(fd, at.ai_addr, at.ai_addrlen) == 0 and listen(fd, BACKLOG) == 0:
        return fd
    error = errno
    close(fd)
    return -error


cdef int listen_on(Member *m, const char *host) noexcept nogil:
    """Listen at one address. All addresses have the port that the first one got.

    Returns 0, or an error number with the reason in `lifelines.error`.
    """
    cdef addrinfo hints
    cdef addrinfo *found = NULL
    cdef char service[16]
    cdef int failure
    cdef int fd
    memset(&hints, 0, sizeof(hints))
    hints.ai_socktype = SOCK_STREAM
    hints.ai_flags = AI_PASSIVE
    snprintf(service, sizeof(service), "%d", m.lifelines.port)
    if strcmp(host, "*") == 0:
        host = "0.0.0.0"
    elif strcmp(host, "::*") == 0:
        host = "::"
    failure = getaddrinfo(host, service, &hints, &found)
    if failure != 0:
        snprintf(m.lifelines.error, ERROR_BYTES, "%.99s: %.99s", host, gai_strerror(failure))
        return EADDRNOTAVAIL
    fd = listen_at(found)
    freeaddrinfo(found)
    if fd < 0:
        snprintf(m.lifelines.error, ERROR_BYTES, "%.99s, port %d: %.99s", host, m.lifelines.port, strerror(-fd))
        return -fd
    m.lifelines.listeners[m.lifelines.listener_count] = fd
    m.lifelines.listener_count += 1
    if not m.lifelines.port:
        m.lifelines.port = bound_port(fd)
    return 0


cdef bint listen_on_all(Member *m, const char *hosts, size_t length) noexcept nogil:
    """Listen at the addresses of Redis's setting `bind`. An address with a minus may be missing on this machine.

    Returns False if any other address failed, or the port is in use at one, or there is no address.
    """
    cdef char host[ADDRESS_TEXT_BYTES]
    cdef size_t end
    cdef size_t start = 0
    cdef bint may_miss
    cdef int failure
    while start < length and m.lifelines.listener_count < MAX_LISTENERS:
        end = start
        while end < length and hosts[end] != c" ":
            end += 1
        may_miss = hosts[start] == c"-"
        start += may_miss
        if start < end < start + ADDRESS_TEXT_BYTES:
            memcpy(host, &hosts[start], end - start)
            host[end - start] = 0
            failure = listen_on(m, host)
            if failure == EADDRINUSE or (failure and not may_miss):
                return False
        start = end + 1
    return m.lifelines.listener_count > 0


cdef void listeners_close(Member *m) noexcept nogil:
    """Close the listening sockets. Lifelines that exist stay."""
    cdef int i
    listeners_watch(m, False)
    for i in range(m.lifelines.listener_count):
        close(m.lifelines.listeners[i])
    m.lifelines.listener_count = 0
    m.lifelines.deaf = False


cdef bint listen_somewhere(Member *m, const char *hosts, size_t length) noexcept nogil:
    """Listen on one port at all addresses: the port of before, else the one of member.lifeline-port, else any.

    Returns False with the reason in `lifelines.error`.
    """
    cdef int _attempt
    for _attempt in range(PORT_ATTEMPTS):
        if listen_on_all(m, hosts, length):
            m.lifelines.error[0] = 0
            return True
        listeners_close(m)
        m.lifelines.port = <int>m.settings.lifeline_port
    return False


cdef void lifelines_listen(Member *m) noexcept nogil:
    """Listen for lifelines: when the server has started, and again when its setting `bind` has changed."""
    cdef RedisModuleCallReply *reply
    cdef const char *hosts = NULL
    cdef size_t length = 0
    m.lifelines.rebind = False
    if m.settings.lifeline_port < 0:
        return
    listeners_close(m)
    if not m.lifelines.port:
        m.lifelines.port = <int>m.settings.lifeline_port
    reply = RedisModule_Call(m.ctx, "CONFIG", "cc", b"GET", b"bind")
    if reply != NULL and RedisModule_CallReplyLength(reply) == 2:
        hosts = RedisModule_CallReplyStringPtr(RedisModule_CallReplyArrayElement(reply, 1), &length)
    if listen_somewhere(m, hosts, length):
        listeners_watch(m, True)
    else:
        m.lifelines.port = 0
        if not m.lifelines.error[0]:
            snprintf(m.lifelines.error, ERROR_BYTES, "Redis binds no address")
        RedisModule_Log(
            m.ctx, "warning", "no lifeline can be held to this member, whose death is noticed only when its lease has "
            "run out: %s", &m.lifelines.error[0])
    drop_reply(reply)


# ----------------------------------------------------------------------------------------- called by other files

cdef void lifelines_init(Member *m) noexcept nogil:
    """Mark all places as free."""
    cdef int i
    for i in range(MAX_LIFELINES):
        m.lifelines.lines[i].fd = -1


cdef bint lifelines_care(const RedisModuleConfigChange *change) noexcept nogil:
    """Returns whether the change of settings includes `bind`, after which the module must listen again."""
    cdef unsigned int i
    for i in range(change.num_changes):
        if strcmp(change.config_names[i], "bind") == 0:
            return True
    return False


cdef int lifelines_held(const Member *m) noexcept nogil:
    """Returns the number of lifelines that have proved the secret."""
    cdef int held = 0
    cdef int i
    for i in range(MAX_LIFELINES):
        held += m.lifelines.lines[i].fd >= 0 and m.lifelines.lines[i].proven
    return held


cdef void lifelines_tick(Member *m) noexcept nogil:
    """Close lifelines that did not prove the secret in time, and repeat what failed before. Called once per tick."""
    cdef Lifeline *line
    cdef int i
    for i in range(MAX_LIFELINES):
        line = &m.lifelines.lines[i]
        if line.fd >= 0 and not line.proven and line.deadline_ms <= m.now_ms:
            lifeline_close(line)
    if m.lifelines.rebind:
        lifelines_listen(m)
    elif m.lifelines.deaf:
        listeners_watch(m, True)


cdef void lifelines_leave(Member *m) noexcept nogil:
    """In a forked child, which may outlive the server: close the child's copies of all lifelines and listeners."""
    cdef int i
    for i in range(MAX_LIFELINES):
        if m.lifelines.lines[i].fd >= 0:
            close(m.lifelines.lines[i].fd)
    for i in range(m.lifelines.listener_count):
        close(m.lifelines.listeners[i])
