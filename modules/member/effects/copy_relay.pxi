# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The copy of a learner in a chain of all commands. A thread takes the old tail's snapshot from a proven connection, and
# passes it to our own server, which takes this module for its master and so never connects to another machine.
#
# It is a thread, because our own server blocks in its main thread while it waits for more of the snapshot. The thread
# keeps one buffer: it reads from the tail only when our own server has taken what was read before.

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf, sscanf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove, memset, strlen, strncmp

from modules.bindings.atomics cimport observe, publish
from modules.bindings.descriptors cimport SHUT_RDWR, shutdown
from modules.bindings.hiredis cimport redisAppendCommand, redisContext, redisFree
from modules.bindings.libc cimport F_DUPFD_CLOEXEC, POLLIN, POLLOUT, close, fcntl, poll, pollfd
from modules.bindings.libssl cimport SSL_free, SSL_set_fd, SSL_up_ref
from modules.bindings.redismodule cimport RedisModule_EventLoopAddOneShot
from modules.core.chain cimport chain_predecessor
from modules.member.keyspace cimport redis_number
from modules.member.state.effects cimport LINE_BYTES, PseudoMaster
from modules.member.state.member cimport Member, the_member
from modules.server.own_connection cimport own_read, own_write
from modules.server.proven_connection cimport (
    CALL_ERROR_BYTES, ask, call_fails, call_peer, caller_cancel, caller_free, caller_init, has_pending, is_answered,
    next_answer, receive, send_appended,
)
from modules.server.redis_calls cimport info_field
from modules.server.threads cimport thread_start

cdef enum:
    COPY_BYTES = 256 * 1024
    MARK_BYTES = 40             # a snapshot without a known length ends with so many bytes, which its header names
    AGAIN_MS = 100              # between attempts, while the tail cannot begin
    ATTEMPTS = 100


# -------------------------------------------------------------------------------------------------- on the thread

cdef bint hear_own(Copy *copy) noexcept nogil:
    """Drop what our own server says: newlines while it loads. Returns False if it has closed the connection."""
    cdef char junk[256]
    cdef long got = 1
    while got > 0:
        got = own_read(copy.own_fd, copy.own_ssl, junk, sizeof(junk))
    return got == 0 or call_fails(&copy.caller, "this server has closed the connection of its own copy: see its log")


cdef bint copy_wait(Copy *copy, int tail_fd, short own_events) noexcept nogil:
    """Wait until the tail has sent something, or our own server takes more. A `tail_fd` of -1 is not waited for.

    Returns False if nothing moves for too long, the join is off, or our own server is gone.
    """
    cdef pollfd watched[3]
    cdef char why[CALL_ERROR_BYTES]
    cdef int ready = -1
    if tail_fd >= 0 and has_pending(&copy.caller):
        return True
    watched[0].fd, watched[0].events = tail_fd, POLLIN
    watched[1].fd, watched[1].events = copy.own_fd, POLLIN | own_events
    watched[2].fd, watched[2].events = copy.caller.off_fd, POLLIN
    while ready < 0:
        ready = poll(watched, 3, 1000 * copy.quiet_s)
    if ready == 0:
        snprintf(why, sizeof(why), "%s for %d s", "the old tail sends nothing" if tail_fd >= 0
                 else "this server takes nothing of its copy", copy.quiet_s)
        return call_fails(&copy.caller, why)
    if watched[2].revents:
        return call_fails(&copy.caller, "the join is off")
    return not watched[1].revents & ~POLLOUT or hear_own(copy)


cdef bint pass_on(Copy *copy, const char *bytes, long count) noexcept nogil:
    """Give bytes to our own server. The call returns when it has taken all of them. False: it cannot."""
    cdef long gone
    while count:
        gone = own_write(copy.own_fd, copy.own_ssl, bytes, <size_t>count)
        if gone > 0:
            bytes += gone
            count -= gone
        elif gone < 0:
            return hear_own(copy) and call_fails(&copy.caller, "this server takes nothing of its copy: see its log")
        elif not copy_wait(copy, -1, POLLOUT):
            return False
    return True


cdef long copy_read(Copy *copy, int tail_fd, char *out, long most) noexcept nogil:
    """Read what the tail has sent, at least a byte. Returns 0 if that fails."""
    cdef long got
    while copy_wait(copy, tail_fd, 0):
        got = receive(&copy.caller, tail_fd, out, most)
        if got > 0:
            return got
        if got < 0:
            call_fails(&copy.caller, "the old tail has closed the connection of the copy")
            return 0
    return 0


cdef bint copy_line(Copy *copy, int tail_fd, char *line) noexcept nogil:
    """Read a line of less than LINE_BYTES, byte by byte, because the snapshot begins right behind it.

    An empty line means that the tail is alive and prepares the snapshot. Our own server is told so.
    """
    cdef int length = 0
    while copy_read(copy, tail_fd, &line[length], 1):
        if line[length] == c"\r":
            pass
        elif line[length] != c"\n":
            length += 1
            if length == LINE_BYTES:
                return call_fails(&copy.caller, "the old tail does not speak Redis's replication protocol")
        elif length:
            line[length] = 0
            return True
        elif not pass_on(copy, "\n", 1):
            return False
    return False


cdef bint pass_line(Copy *copy, const char *line) noexcept nogil:
    return pass_on(copy, line, <long>strlen(line)) and pass_on(copy, "\r\n", 2)


cdef bint pass_counted(Copy *copy, int tail_fd, int64_t left) noexcept nogil:
    """Pass on a snapshot of known length. The stream of effects may follow it, and is not read."""
    cdef long got
    while left:
        got = copy_read(copy, tail_fd, copy.buffer, <long>min(left, <int64_t>COPY_BYTES))
        if got == 0 or not pass_on(copy, copy.buffer, got):
            return False
        left -= got
    return True


cdef bint pass_marked(Copy *copy, int tail_fd, const char *mark) noexcept nogil:
    """Pass on a snapshot that ends with the mark. The tail sends nothing behind it, since nobody acknowledges it."""
    cdef char last[MARK_BYTES]
    cdef long got
    memset(last, 0, sizeof(last))
    while memcmp(last, mark, MARK_BYTES) != 0:
        got = copy_read(copy, tail_fd, copy.buffer, COPY_BYTES)
        if got == 0 or not pass_on(copy, copy.buffer, got):
            return False
        if got >= MARK_BYTES:
            memcpy(last, &copy.buffer[got - MARK_BYTES], MARK_BYTES)
        else:
            memmove(last, &last[got], <size_t>(MARK_BYTES - got))
            memcpy(&last[MARK_BYTES - got], copy.buffer, <size_t>got)
    return True


cdef bint ask_for_snapshot(Copy *copy, redisContext *context) noexcept nogil:
    """Redis refuses PSYNC on a connection to which an answer is under way, so each answer is awaited. CHAIN.COPY has
    none.
    """
    redisAppendCommand(context, "REPLCONF capa eof capa psync2")
    if not is_answered(ask(&copy.caller, context)):
        return False
    if copy.version[0]:     # Valkey adapts the snapshot to the version; others may answer with an error
        redisAppendCommand(context, "REPLCONF version %s", &copy.version[0])
        if not send_appended(&copy.caller, context) or not is_answered(next_answer(&copy.caller, context)):
            return False
    redisAppendCommand(context, "CHAIN.COPY")
    redisAppendCommand(context, "PSYNC ? -1")
    return send_appended(&copy.caller, context)


cdef bint pass_snapshot(Copy *copy, int tail_fd) noexcept nogil:
    """Pass on the tail's answer to PSYNC and its snapshot."""
    cdef char line[LINE_BYTES]
    cdef long long length = -1
    if not copy_line(copy, tail_fd, line):
        return False
    if strncmp(line, "+FULLRESYNC ", 12) != 0:
        # It is refused, too, when another client's command came between CHAIN.COPY and PSYNC.
        copy.again = (strncmp(line, "-NOMASTERLINK", 13) == 0 or strncmp(line, "-LOADING", 8) == 0
                      or strncmp(line, "-ERR refused", 12) == 0)
        return call_fails(&copy.caller, &line[1])
    if not pass_line(copy, line) or not copy_line(copy, tail_fd, line):
        return False
    if strncmp(line, "$EOF:", 5) == 0 and strlen(line) == 5 + MARK_BYTES:
        return pass_line(copy, line) and pass_marked(copy, tail_fd, &line[5])
    if sscanf(line, "$%lld", &length) == 1 and length >= 0:
        return pass_line(copy, line) and pass_counted(copy, tail_fd, length)
    return call_fails(&copy.caller, &line[1])


cdef bint copy_once(Copy *copy) noexcept nogil:
    cdef redisContext *context = call_peer(&copy.caller, True)
    cdef bint good
    copy.again = False
    if context == NULL:
        return False
    good = ask_for_snapshot(copy, context) and pass_snapshot(copy, context.fd)
    shutdown(context.fd, SHUT_RDWR)     # a child that saves data may have the socket, too
    redisFree(context)
    return good


cdef bint copy_pause(Copy *copy) noexcept nogil:
    """Wait for AGAIN_MS, and let our own server know that its master is alive. Returns False if the join is off."""
    cdef pollfd off
    off.fd, off.events = copy.caller.off_fd, POLLIN
    return poll(&off, 1, AGAIN_MS) == 0 and pass_on(copy, "\n", 1)


cdef void *copy_main(void *data) noexcept nogil:
    cdef Copy *copy = <Copy *>data
    cdef int attempts = ATTEMPTS
    copy.good = copy_once(copy)
    while not copy.good and copy.again and attempts and copy_pause(copy):
        copy.good = copy_once(copy)
        attempts -= 1
    publish(&copy.over, 1)
    if not copy.good:
        shutdown(copy.own_fd, SHUT_RDWR)    # our own server may wait for more of the snapshot
    close(copy.own_fd)
    SSL_free(copy.own_ssl)
    RedisModule_EventLoopAddOneShot(on_copy_over, copy)
    return NULL


# ---------------------------------------------------------------------------------------------- on the main thread

cdef void copy_free(Copy *copy) noexcept nogil:
    caller_free(&copy.caller)
    free(copy.buffer)
    free(copy)


cdef void on_copy_over(void *data) noexcept nogil:
    """The thread has ended. `join_step` takes the outcome, unless the join was called off."""
    cdef Copy *copy = <Copy *>data
    copy.reported = True
    if the_member().effects.copy != copy:
        copy_free(copy)


cdef bint copy_is_asked_for(const Member *m) noexcept nogil:
    """Returns whether our own server has asked its pseudo-master for a stream, and waits for the answer."""
    return m.effects.pseudo_master.fd >= 0 and m.effects.pseudo_master.asked != 0


cdef bint lend_tls(Copy *copy, PseudoMaster *p) noexcept nogil:
    """Let the thread alone encrypt what our own server gets, through its own descriptor."""
    copy.own_ssl = p.ssl
    return p.ssl == NULL or (SSL_up_ref(p.ssl) == 1 and SSL_set_fd(p.ssl, copy.own_fd) == 1)


cdef void take_tls_back(PseudoMaster *p) noexcept nogil:
    """The thread has ended, or has not begun."""
    if p.ssl != NULL:
        SSL_set_fd(p.ssl, p.fd)


cdef bint copy_begin(Member *m) noexcept nogil:
    """Begin to answer our own server with the snapshot of the tail whose learner this member is. Returns False without
    memory, descriptors or threads.

    The thread has a descriptor of its own for the connection, which the main thread does not watch any more.
    """
    cdef PseudoMaster *p = &m.effects.pseudo_master
    cdef Copy *copy = <Copy *>calloc(1, sizeof(Copy))
    if copy == NULL:
        return False
    copy.quiet_s = <int>max(<int64_t>1, redis_number(m, b"repl-timeout"))
    copy.buffer = <char *>calloc(1, COPY_BYTES)
    pseudo_master_shorten(m)
    copy.own_fd = fcntl(p.fd, F_DUPFD_CLOEXEC, 0)
    info_field(m.ctx, "server", "valkey_version", copy.version, sizeof(copy.version))
    if (caller_init(&copy.caller, chain_predecessor(&m.chain), m.replication.secret, m.self.run_id,
                    m.settings.auth_user, m.settings.auth_password.value.text, &m.tls, m.ctx)
            and copy.buffer != NULL and copy.own_fd >= 0 and lend_tls(copy, p)
            and thread_start(&copy.thread, copy_main, copy, True)):
        pseudo_master_watch(m, 0)
        p.asked = 0
        m.effects.copy = copy
        # With the copy this server gets the tail's offset, and saves its data before the copy is over.
        m.effects.placed = False
        return True
    if copy.own_fd >= 0:
        close(copy.own_fd)
    SSL_free(copy.own_ssl)
    take_tls_back(p)
    copy_free(copy)
    return False


cdef bint copy_has_begun(const Member *m) noexcept nogil:
    return m.effects.copy != NULL


cdef bint copy_is_over(const Member *m) noexcept nogil:
    return m.effects.copy != NULL and (<const Copy *>m.effects.copy).reported


cdef const char *copy_trouble(const Member *m) noexcept nogil:
    """Returns why the thread could not pass the snapshot on; NULL: it could, or is still at it."""
    cdef const Copy *copy = <const Copy *>m.effects.copy
    return &copy.caller.error[0] if copy != NULL and observe(&copy.over) and not copy.good else NULL


cdef void copy_off(Member *m) noexcept nogil:
    """Forget the copy, and stop it if it is running. `on_copy_over` frees it then."""
    cdef Copy *copy = <Copy *>m.effects.copy
    m.effects.copy = NULL
    if copy == NULL:
        return
    if copy.reported:
        copy_free(copy)
    else:
        caller_cancel(&copy.caller)


cdef void copy_taken(Member *m) noexcept nogil:
    """Our own server has loaded the snapshot: it gets the log from there on, on the same connection."""
    copy_off(m)
    place_server(m, m.chain.applied + 1, server_offset(m))
    if m.effects.pseudo_master.fd >= 0:
        take_tls_back(&m.effects.pseudo_master)
        m.effects.pseudo_master.fed = m.chain.applied + 1
        m.effects.pseudo_master.feeding = True
        feed_server(m)
