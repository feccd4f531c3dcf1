# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The pseudo-master: at every member but the serving head, our own server is a replica of a port of this module, which
# writes the log to it. So Redis applies the effects as a genuine replica does, and never follows another machine.
#
# With `tls-replication yes` our own server wants TLS of its master. The module serves it with the server's certificate.

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf, sscanf
from libc.stdlib cimport atoi
from libc.string cimport memset, strerror, strlen, strncasecmp, strstr

from modules.bindings.descriptors cimport MSG_PEEK, DIR, closedir, dirent, opendir, readdir
from modules.bindings.libc cimport close, errno
from modules.bindings.libssl cimport (
    SSL_VERIFY_NONE, SSL_free, SSL_is_init_finished, SSL_new, SSL_set_accept_state, SSL_set_fd, SSL_set_num_tickets,
    SSL_set_verify,
)
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_EVENTLOOP_WRITABLE, REDISMODULE_OK, RedisModule_EventLoopAdd,
    RedisModule_EventLoopDel, RedisModule_Log,
)
from modules.bindings.socket cimport (
    AF_INET, EAGAIN, ECONNABORTED, EINTR, INADDR_LOOPBACK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, accept4, bind,
    getpeername, getsockname, htonl, listen, ntohs, recv, sockaddr, sockaddr_in, socket, socklen_t,
)
from modules.core.effect_scanner cimport scan
from modules.core.effect_stream cimport stream_at, stream_copy_out
from modules.core.tickets cimport tickets_close, tickets_lack
from modules.member.gate cimport gate_shortcut
from modules.member.replies cimport complain
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.effects cimport PseudoMaster, REQUEST_BYTES
from modules.member.state.member cimport Member, is_native_replica
from modules.server.own_connection cimport ENDED, RECORD_BYTES, after_call, own_read, own_write
from modules.server.sockets cimport set_no_delay
from modules.server.tls cimport tls_reason, tls_refresh

cdef enum:
    FEED_BYTES = 1024 * 1024    # in one call: clients must be served, too
    SELECT_ROOM = 64
    TLS_HANDSHAKE = 22          # the first byte of a connection with TLS


# ------------------------------------------------------------------------------------------- the connection

cdef bint pseudo_master_bind(Member *m) noexcept nogil:
    """Take a port of the loopback interface. It refuses connections until `pseudo_master_listen`. Returns False if
    there is none.
    """
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef sockaddr_in address
    cdef socklen_t length = sizeof(address)
    if p.listener >= 0:
        return True
    memset(&address, 0, sizeof(address))
    address.sin_family = AF_INET
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
    p.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if (p.listener < 0 or bind(p.listener, <sockaddr *>&address, sizeof(address)) != 0
            or getsockname(p.listener, <sockaddr *>&address, &length) != 0):
        RedisModule_Log(m.ctx, "warning", "no port of the loopback interface for this server's own replication: %s",
                        strerror(errno))
        if p.listener >= 0:
            close(p.listener)
        p.listener = -1
        return False
    p.port = ntohs(address.sin_port)
    return True


cdef bint pseudo_master_listen(Member *m) noexcept nogil:
    """Let our own server connect."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    if p.listens:
        return True
    p.listens = pseudo_master_bind(m) and listen(p.listener, 4) == 0
    p.deaf = p.listens
    pseudo_master_tick(m)
    return p.listens


cdef void pseudo_master_tick(Member *m) noexcept nogil:
    """Accept connections, if none are accepted now."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    if p.deaf:
        p.deaf = RedisModule_EventLoopAdd(
            p.listener, REDISMODULE_EVENTLOOP_READABLE, on_own_server, m) != REDISMODULE_OK


cdef bint is_socket_of(int fd, const sockaddr_in *address, int port) noexcept nogil:
    """Returns whether the socket has this address, and is connected to this port. Connections to several ports may have
    one address.
    """
    cdef sockaddr_in own
    cdef sockaddr_in other
    cdef socklen_t length = sizeof(own)
    cdef socklen_t other_length = sizeof(other)
    return (getsockname(fd, <sockaddr *>&own, &length) == 0 and own.sin_family == AF_INET
            and own.sin_port == address.sin_port and own.sin_addr.s_addr == address.sin_addr.s_addr
            and getpeername(fd, <sockaddr *>&other, &other_length) == 0 and ntohs(other.sin_port) == port)


cdef int own_descriptor(const Member *m, const sockaddr_in *peer) noexcept nogil:
    """Returns this process's descriptor of the other end of a connection to the pseudo-master; -1: that is not a socket
    of this process.
    """
    cdef DIR *descriptors = opendir("/proc/self/fd")
    cdef dirent *entry = readdir(descriptors) if descriptors != NULL else NULL
    cdef int found = -1
    while entry != NULL and found < 0:
        if c"0" <= entry.d_name[0] <= c"9" and is_socket_of(
                atoi(entry.d_name), peer, m.effects.pseudo_master.port):
            found = atoi(entry.d_name)
        entry = readdir(descriptors)
    if descriptors != NULL:
        closedir(descriptors)
    return found


cdef void on_own_server(int listener, void *data, int mask) noexcept nogil:
    """Accept a connection, if our own server has made it. It takes the place of the one before.

    If no file descriptor is left, the listener is not watched before the next tick: the loop would wake without end.
    """
    cdef Member *m = <Member *>data
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef sockaddr_in peer
    cdef socklen_t length = sizeof(peer)
    cdef int fd = accept4(listener, <sockaddr *>&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0 and errno != EAGAIN and errno != EINTR and errno != ECONNABORTED:
        RedisModule_EventLoopDel(listener, REDISMODULE_EVENTLOOP_READABLE)
        p.deaf = True
    if fd < 0:
        return
    if own_descriptor(m, &peer) < 0:
        close(fd)
        return
    pseudo_master_close(m)
    p.asked = 0
    set_no_delay(fd)
    p.fd = fd
    p.request_length = 0
    memset(&p.scanner, 0, sizeof(p.scanner))
    pseudo_master_watch(m, REDISMODULE_EVENTLOOP_READABLE)


cdef void pseudo_master_shorten(Member *m) noexcept nogil:
    """The server waits for an answer to all that it has sent."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef sockaddr_in peer
    cdef socklen_t length = sizeof(peer)
    cdef int end
    if getpeername(p.fd, <sockaddr *>&peer, &length) != 0 or peer.sin_family != AF_INET:
        return
    end = gate_shortcut(m, own_descriptor(m, &peer))
    if end < 0:
        return
    pseudo_master_watch(m, 0)
    close(p.fd)
    p.fd = end
    if p.ssl != NULL:
        SSL_set_fd(p.ssl, end)
    pseudo_master_watch(m, REDISMODULE_EVENTLOOP_READABLE)


cdef void pseudo_master_watch(Member *m, int mask) noexcept nogil:
    cdef PseudoMaster *p = &m.effects.pseudo_master
    if p.watched & ~mask:
        RedisModule_EventLoopDel(p.fd, p.watched & ~mask)
    if mask & ~p.watched:
        RedisModule_EventLoopAdd(p.fd, mask & ~p.watched, on_pseudo_master, m)
    p.watched = mask


cdef void pseudo_master_close(Member *m) noexcept nogil:
    cdef PseudoMaster *p = &m.effects.pseudo_master
    if p.fd >= 0:
        pseudo_master_watch(m, 0)
        close(p.fd)
    SSL_free(p.ssl)
    p.ssl = NULL
    p.heard = False
    p.fd = -1
    p.feeding = False
    m.effects.master_client = 0


# --------------------------------------------------------------------------------------------------------- TLS

cdef void pseudo_master_fail(Member *m, const char *why) noexcept nogil:
    """TLS with our own server has failed. Redis connects anew after a second."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    snprintf(p.error, sizeof(p.error), "%s", why)
    complain(m.ctx, &p.complaint, m.now_ms, "TLS of this server with its own module", why)
    pseudo_master_close(m)


cdef bint serve_tls(Member *m) noexcept nogil:
    """Speak TLS from now on, with this server's certificate. No certificate is asked for, because the other end is a
    socket of this process. Returns False if that is not possible.
    """
    cdef PseudoMaster *p = &m.effects.pseudo_master
    if not tls_refresh(&m.tls, m.ctx):
        pseudo_master_fail(m, m.tls.error)
        return False
    p.ssl = SSL_new(m.tls.server)
    if p.ssl == NULL or SSL_set_fd(p.ssl, p.fd) != 1:
        pseudo_master_fail(m, "out of memory")
        return False
    SSL_set_verify(p.ssl, SSL_VERIFY_NONE, NULL)
    # Redis blocks this thread when its master has said something that is no whole line, as a session ticket is.
    SSL_set_num_tickets(p.ssl, 0)
    SSL_set_accept_state(p.ssl)
    return True


cdef bint is_understood(Member *m) noexcept nogil:
    """Look at the first byte of a connection: only our own server knows with which settings it has connected. Returns
    False if there is nothing to be read, or no way to read it.
    """
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef char first
    cdef long got
    if p.heard:
        return True
    got = after_call(recv(p.fd, &first, 1, MSG_PEEK))
    if got == ENDED:
        pseudo_master_close(m)
    p.heard = got > 0
    return p.heard and (first != TLS_HANDSHAKE or serve_tls(m))


cdef void pseudo_master_end(Member *m) noexcept nogil:
    """Our own server has closed the connection, or does not accept what was said in the handshake of TLS."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef char why[ERROR_BYTES]
    if p.ssl == NULL or SSL_is_init_finished(p.ssl):
        pseudo_master_close(m)
        return
    tls_reason(p.ssl, why, sizeof(why))
    pseudo_master_fail(m, why)


# ------------------------------------------------------------------------------------------------ the handshake

cdef void on_pseudo_master(int fd, void *data, int mask) noexcept nogil:
    cdef Member *m = <Member *>data
    if mask & REDISMODULE_EVENTLOOP_READABLE:
        hear_server(m)
    if mask & REDISMODULE_EVENTLOOP_WRITABLE and m.effects.pseudo_master.fd == fd:
        feed_server(m)


cdef void hear_server(Member *m) noexcept nogil:
    """Answer the handshake; afterwards the server acknowledges."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef char bytes[REQUEST_BYTES]
    cdef long got
    cdef long i
    if not is_understood(m):
        return
    while True:
        got = own_read(p.fd, p.ssl, bytes, sizeof(bytes))
        if got == 0:
            return
        if got < 0:
            pseudo_master_end(m)
            return
        for i in range(got):
            if not hear_byte(m, &bytes[i]):
                pseudo_master_close(m)
                return


cdef bint hear_byte(Member *m, const char *byte) noexcept nogil:
    """Take one byte of a command; several may come at once. Returns False if the connection is of no use."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef int64_t whole = scan(&p.scanner, byte, 1)
    if whole < 0 or p.request_length == REQUEST_BYTES - 1:
        return False
    p.request[p.request_length] = byte[0]
    p.request_length += 1
    if whole:
        p.request[p.request_length] = 0
        p.request_length = 0
        if p.feeding:
            note_synced(m)
        else:
            answer_server(m)
    return p.fd >= 0


cdef void note_synced(Member *m) noexcept nogil:
    """The server has acknowledged, once a second or when the stream asks for it. From Redis 7.2 on a server with an
    append-only file says how far that is on the disk.
    """
    cdef const char *said = strstr(m.effects.pseudo_master.request, "\r\nFACK\r\n")
    cdef long long offset
    if said != NULL and sscanf(said, "\r\nFACK\r\n$%*d\r\n%lld", &offset) == 1:
        m.chain.synced = min(m.chain.executed, offset + m.effects.shift - 1)


cdef void say_to_server(Member *m, const char *line) noexcept nogil:
    cdef PseudoMaster *p = &m.effects.pseudo_master
    if own_write(p.fd, p.ssl, line, strlen(line)) != <long>strlen(line):
        pseudo_master_close(m)


cdef void answer_server(Member *m) noexcept nogil:
    """Answer one command of the handshake, which is in `request`."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef char name[16]
    cdef char id[64]
    cdef long long offset = -1
    cdef int id_bytes
    cdef int offset_bytes
    name[0] = 0
    p.error[0] = 0
    sscanf(p.request, "*%*d\r\n$%*d\r\n%15s", &name[0])
    if strncasecmp(name, "PING", 4) == 0:
        say_to_server(m, "+PONG\r\n")
    elif strncasecmp(name, "PSYNC", 5) != 0:
        say_to_server(m, "+OK\r\n")
    elif sscanf(p.request, "*3\r\n$5\r\n%*5s\r\n$%d\r\n%63s\r\n$%d\r\n%lld",
                &id_bytes, &id[0], &offset_bytes, &offset) != 4:
        pseudo_master_close(m)
    else:
        continue_server(m, offset)


cdef int select_command(const Member *m, char *out) noexcept nogil:
    """Write a SELECT of the database that the loaded data ends with. Returns its length. `out` has SELECT_ROOM."""
    cdef char database[16]
    cdef int digits = snprintf(database, sizeof(database), "%d", m.effects.database)
    return snprintf(out, SELECT_ROOM, "*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n", digits, &database[0])


cdef void plan_select(Member *m, int64_t offset) noexcept nogil:
    """A server that has loaded an append-only file believes that the stream has selected database 0.

    It counts the SELECT that tells it better, although the chain's stream does not have it there.
    """
    cdef char command[SELECT_ROOM]
    if m.effects.database < 0:
        return
    m.effects.selected_at = offset + select_command(m, command)
    m.effects.shift -= m.effects.selected_at - offset


cdef void say_select(Member *m) noexcept nogil:
    cdef char command[SELECT_ROOM]
    select_command(m, command)
    say_to_server(m, command)


cdef void continue_server(Member *m, int64_t next_offset) noexcept nogil:
    """The server asks for the stream from `next_offset` on; -1: its data is of no stream."""
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef int64_t bytes
    cdef bint selects
    p.asked = next_offset
    if not m.chain.log.streams or (m.chain.me < 0 and not m.chain.learner) or is_native_replica(m):
        return          # answered when this member is in a chain, or with a copy: Redis waits
    p.asked = 0
    if next_offset < 0:
        say_to_server(m, "-NOMASTERLINK this server names no data that it has\r\n")
        m.effects.nameless = True
        return
    if not m.effects.placed:
        place_server(m, m.chain.log.end, next_offset - 1)
        plan_select(m, next_offset - 1)
    bytes = next_offset - 1 + m.effects.shift
    selects = next_offset - 1 < m.effects.selected_at
    if selects:
        bytes = m.chain.executed + 1    # no effect goes before the SELECT
    if not m.chain.log.first <= bytes <= m.chain.log.end:
        m.effects.diverged = True
        RedisModule_Log(m.ctx, "warning", "this server's data ends with byte %lld of the chain's effects, and its log "
                        "has [%lld, %lld): it is to be copied", <long long>bytes, <long long>m.chain.log.first,
                        <long long>m.chain.log.end)
        say_to_server(m, "-NOMASTERLINK the chain's log does not go on from there\r\n")
        return
    pseudo_master_shorten(m)
    say_to_server(m, "+CONTINUE\r\n")
    if p.fd >= 0 and selects:
        say_select(m)
    if p.fd < 0:
        return
    p.fed = bytes
    p.feeding = True
    feed_server(m)


# --------------------------------------------------------------------------------------------------- the stream

cdef void cover_log(Member *m) noexcept nogil:
    """Have a ticket for all that the log has: from now on a request must be answered from data that have it."""
    if tickets_lack(&m.effects.tickets, m.chain.applied):
        open_ticket(m)
        tickets_close(&m.effects.tickets, m.chain.applied)


cdef const char *next_piece(const Member *m, char *record, uint64_t *length) noexcept nogil:
    """Returns the next bytes for our own server, of which there are some.

    After a write that TLS could not finish it wants the same bytes again, in a row as before. In the ring they may lie
    otherwise by then, so they are copied to `record`, which has RECORD_BYTES.
    """
    cdef const PseudoMaster *p = &m.effects.pseudo_master
    cdef const char *place = stream_at(&m.chain.log.stream, p.fed, length)
    cdef uint64_t left = <uint64_t>(m.chain.log.end - p.fed)
    if p.ssl == NULL:
        length[0] = min(length[0], left)
        return place
    length[0] = min(left, <uint64_t>RECORD_BYTES)
    stream_copy_out(&m.chain.log.stream, p.fed, record, length[0])
    return record


cdef void feed_server(Member *m) noexcept nogil:
    """Write what the log has and the server was not given yet.

    The ticket comes before the bytes: once the server has them, replies may show them.
    """
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef int64_t left = FEED_BYTES
    cdef uint64_t length
    cdef char record[RECORD_BYTES]
    cdef const char *piece
    cdef long gone
    cover_log(m)
    if not p.feeding:
        return
    while p.fed < m.chain.log.end and left > 0:
        piece = next_piece(m, record, &length)
        gone = own_write(p.fd, p.ssl, piece, length)
        if gone == 0:
            break
        if gone < 0:
            pseudo_master_close(m)
            return
        p.fed += gone
        left -= gone
    if p.fed < m.chain.log.end:
        pseudo_master_watch(m, REDISMODULE_EVENTLOOP_READABLE | REDISMODULE_EVENTLOOP_WRITABLE)
    else:
        pseudo_master_watch(m, REDISMODULE_EVENTLOOP_READABLE)
