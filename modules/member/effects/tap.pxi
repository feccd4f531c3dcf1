# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The tap: the head's module is a replica of its own server, and so gets every effect of every command in order.
#
# The tap asks for the stream from its own last byte on, so it never gets a snapshot. What it reads goes straight into
# the log's ring. The log ends where a command or a transaction ends; an incomplete one stays behind its end.

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy, memset, strerror, strlen, strncmp

from modules.bindings.libc cimport close, errno
from modules.bindings.libssl cimport (
    ERR_clear_error, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_VERIFY_NONE, SSL_do_handshake, SSL_free,
    SSL_get_error, SSL_new, SSL_peek, SSL_pending, SSL_set_connect_state, SSL_set_fd, SSL_set_verify,
)
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_EVENTLOOP_WRITABLE, RedisModuleCtx, RedisModuleString,
    RedisModule_AuthenticateClientWithUser, RedisModule_CreateModuleUser, RedisModule_EventLoopAdd,
    RedisModule_EventLoopDel, RedisModule_GetClientId, RedisModule_Log, RedisModule_ReplyWithError,
    RedisModule_SetModuleUserACL, RedisModule_StringPtrLen,
)
from modules.bindings.socket cimport (
    EINPROGRESS, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, connect, sockaddr, socket,
)
from modules.core.effect_scanner cimport scan
from modules.core.effect_stream cimport EffectStream, stream_at, stream_reserve
from modules.core.replication cimport replication_append_own
from modules.member.gate cimport gate_exempt, gate_exempt_no_more, gate_shortcut
from modules.member.replies cimport complain
from modules.member.state.effects cimport LINE_BYTES, TAP_ASKING, TAP_CLOSED, TAP_CONNECTING, TAP_STREAMING, Tap
from modules.member.state.member cimport Member
from modules.member.state.complaint cimport ERROR_BYTES
from modules.server.client_list cimport server_descriptor
from modules.server.own_connection cimport RECORD_BYTES, own_read, own_write
from modules.server.proofs cimport draw_nonce
from modules.server.redis_calls cimport info_field
from modules.server.sockets cimport connect_result, set_no_delay
from modules.server.tls cimport tls_reason, tls_refresh

cdef enum:
    TAP_RETRY_MS = 20
    TAP_READ_BYTES = 256 * 1024     # in one event: clients must be served, too
    ACKNOWLEDGE_MS = 1000
    ANSWER_TICKS = 20               # without an answer for so long, the tap asks anew
    ALONE_MS = 1000                 # without a successor for so long, a server that shuts down waits for nobody
    RUN_ID_ROOM = 41
    NUMBER_ROOM = 48                # of a number as an argument


cdef bint tap_open(Member *m) noexcept nogil:
    """Connect to our own server. Returns False if that cannot begin; it is tried again."""
    cdef Tap *tap = &m.effects.tap
    cdef OwnAddress own
    if not own_address(m, &own):
        tap_fail(m, "this server has neither a port nor a unix socket, by which its module could reach it")
        return False
    if own.encrypted and not tls_refresh(&m.tls, m.ctx):
        tap_fail(m, m.tls.error)
        return False
    tap.fd = socket(own.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if tap.fd < 0:
        return False
    set_no_delay(tap.fd)
    if connect(tap.fd, <sockaddr *>&own.storage, own.length) != 0 and errno != EINPROGRESS:
        tap_fail(m, strerror(errno))
        return False
    tap.port = gate_exempt(m, tap.fd)   # before the server can have accepted the connection
    if own.encrypted:
        tap_encrypt(m)
    tap.phase = TAP_CONNECTING
    tap.ticks = 0
    tap.line_length = 0
    tap_watch(m, REDISMODULE_EVENTLOOP_WRITABLE)
    return True


cdef void tap_watch(Member *m, int mask) noexcept nogil:
    cdef Tap *tap = &m.effects.tap
    if tap.watched & ~mask:
        RedisModule_EventLoopDel(tap.fd, tap.watched & ~mask)
    if mask & ~tap.watched:
        RedisModule_EventLoopAdd(tap.fd, mask & ~tap.watched, on_tap, m)
    tap.watched = mask


cdef void tap_close(Member *m) noexcept nogil:
    """Close the tap. An incomplete command that it has read is forgotten: the next tap asks for it again."""
    cdef Tap *tap = &m.effects.tap
    cdef int database = tap.scanner.database    # may be that of the incomplete command, which selects it again
    if tap.fd >= 0:
        tap_watch(m, 0)
        gate_exempt_no_more(m, tap.port)
        close(tap.fd)
    SSL_free(tap.ssl)
    tap.ssl = NULL
    tap.fd = -1
    tap.phase = TAP_CLOSED
    m.chain.log.stream.ahead = 0
    tap.retry_ms = m.now_ms + TAP_RETRY_MS
    memset(&tap.scanner, 0, sizeof(tap.scanner))
    tap.scanner.database = database


cdef void tap_fail(Member *m, const char *why) noexcept nogil:
    complain(m.ctx, &m.effects.tap.complaint, m.now_ms, "the stream of this server's effects", why)
    tap_close(m)


# ------------------------------------------------------------------------------------------------ the handshake

cdef void tap_encrypt(Member *m) noexcept nogil:
    """Speak TLS on the connection. The nonce proves that the other end is our own server, and no certificate has to."""
    cdef Tap *tap = &m.effects.tap
    tap.ssl = SSL_new(m.tls.client)
    if tap.ssl != NULL:
        SSL_set_verify(tap.ssl, SSL_VERIFY_NONE, NULL)
        SSL_set_connect_state(tap.ssl)
        SSL_set_fd(tap.ssl, tap.fd)


cdef bint tap_shakes_hands(Member *m) noexcept nogil:
    """Go on with the handshake of TLS. Returns whether the connection can be used."""
    cdef Tap *tap = &m.effects.tap
    cdef char why[ERROR_BYTES]
    cdef int result
    cdef int error
    ERR_clear_error()
    result = SSL_do_handshake(tap.ssl)
    if result == 1:
        return True
    error = SSL_get_error(tap.ssl, result)
    if error == SSL_ERROR_WANT_READ:
        tap_watch(m, REDISMODULE_EVENTLOOP_READABLE)
    elif error == SSL_ERROR_WANT_WRITE:
        tap_watch(m, REDISMODULE_EVENTLOOP_WRITABLE)
    else:
        tls_reason(tap.ssl, why, sizeof(why))
        tap_fail(m, why)
    return False


cdef void tap_ask(Member *m) noexcept nogil:
    """Ask for the stream from the end of the log on. The server's side knows the tap by the nonce."""
    cdef Tap *tap = &m.effects.tap
    cdef char request[512]
    cdef char id[RUN_ID_ROOM]
    cdef char offset[24]
    cdef int length
    if not info_field(m.ctx, "replication", "master_replid", id, sizeof(id)):
        tap_fail(m, "this server has no replication id")
        return
    draw_nonce(tap.nonce)
    snprintf(offset, sizeof(offset), "%lld", <long long>(m.chain.log.end - m.effects.shift + 1))
    length = snprintf(
        request, sizeof(request),
        "*2\r\n$9\r\nCHAIN.TAP\r\n$%d\r\n%s\r\n*3\r\n$5\r\nPSYNC\r\n$40\r\n%s\r\n$%d\r\n%s\r\n",
        <int>strlen(tap.nonce), &tap.nonce[0], &id[0], <int>strlen(offset), &offset[0])
    if own_write(tap.fd, tap.ssl, request, <size_t>length) != length:
        tap_fail(m, "the server takes no request")
        return
    tap.phase = TAP_ASKING
    tap_watch(m, REDISMODULE_EVENTLOOP_READABLE)


cdef int tap_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.TAP nonce -> nothing: the connection is the tap's, and its next command is PSYNC | ERR

    Redis refuses PSYNC on a connection to which an answer is under way, so there is none.
    """
    cdef Tap *tap = &m.effects.tap
    cdef size_t length
    cdef const char *nonce = RedisModule_StringPtrLen(argv[1], &length)
    if tap.phase != TAP_ASKING or length != strlen(tap.nonce) or memcmp(nonce, tap.nonce, length) != 0:
        return RedisModule_ReplyWithError(ctx, "ERR only this server's own module says this")
    if tap.user == NULL:
        tap.user = RedisModule_CreateModuleUser("chain.tap")
        RedisModule_SetModuleUserACL(tap.user, "on")
        RedisModule_SetModuleUserACL(tap.user, "allcommands")
        RedisModule_SetModuleUserACL(tap.user, "allkeys")
    RedisModule_AuthenticateClientWithUser(ctx, tap.user, NULL, NULL, NULL)
    tap.nonce[0] = 0
    tap_shorten(m, <int64_t>RedisModule_GetClientId(ctx))
    tap.entering = True
    return 0


cdef void tap_shorten(Member *m, int64_t client) noexcept nogil:
    """The server has read all that the tap has sent, and has written nothing but what belongs to the handshake of TLS.
    """
    cdef Tap *tap = &m.effects.tap
    cdef char none
    cdef int end
    if tap.ssl != NULL:
        SSL_peek(tap.ssl, &none, 1)     # reads session tickets, which come behind the handshake
    end = gate_shortcut(m, server_descriptor(m.ctx, client))
    if end < 0:
        return
    if tap.ssl != NULL:
        SSL_set_fd(tap.ssl, end)
    tap_watch(m, 0)
    gate_exempt_no_more(m, tap.port)    # the port is free from now on, and a client may get it
    close(tap.fd)
    tap.fd = end
    tap_watch(m, REDISMODULE_EVENTLOOP_READABLE)


cdef void tap_answered(Member *m, const char *line, int length) noexcept nogil:
    """Take the server's answer, after which the stream begins."""
    cdef char why[LINE_BYTES + 1]
    if strncmp(line, "+CONTINUE", 9) == 0:
        m.effects.tap.phase = TAP_STREAMING
        return
    memcpy(why, line, <size_t>length)
    why[length] = 0
    tap_fail(m, why)
    if strncmp(line, "+FULLRESYNC", 11) == 0:
        RedisModule_Log(m.ctx, "warning", "this head has effects that its log cannot get any more: it leaves the chain")
        lead_no_more(m)
        m.effects.diverged = True


# -------------------------------------------------------------------------------------------------- the stream

cdef void on_tap(int fd, void *data, int mask) noexcept nogil:
    cdef Member *m = <Member *>data
    cdef int failure
    if m.effects.tap.phase == TAP_CONNECTING:
        failure = connect_result(fd)
        if failure:
            tap_fail(m, strerror(failure))
        elif m.effects.tap.ssl == NULL or tap_shakes_hands(m):
            tap_ask(m)
        return
    if m.effects.tap.phase == TAP_ASKING:
        tap_read_answer(m)
    if m.effects.tap.phase == TAP_STREAMING:
        tap_read(m)


cdef void tap_read_answer(Member *m) noexcept nogil:
    """Read the answers byte by byte, because the stream begins right behind the last one."""
    cdef Tap *tap = &m.effects.tap
    cdef char byte
    cdef long got
    while tap.phase == TAP_ASKING:
        got = own_read(tap.fd, tap.ssl, &byte, 1)
        if got == 0:
            return
        if got < 0 or tap.line_length == LINE_BYTES - 1:
            tap_fail(m, "the server closed the connection")
            return
        if byte != c"\n":
            tap.line[tap.line_length] = byte
            tap.line_length += 1
            continue
        tap.line[tap.line_length] = 0
        tap_answered(m, tap.line, tap.line_length - 1)
        tap.line_length = 0


cdef void tap_read(Member *m) noexcept nogil:
    """Read into the log what the server has sent, up to TAP_READ_BYTES, and the rest of a record of TLS.

    Nothing that a former head has done since is the chain's: `settle_role` closes its tap in this pass.
    """
    cdef Tap *tap = &m.effects.tap
    cdef int64_t left = TAP_READ_BYTES
    cdef int64_t end
    cdef int64_t room
    cdef uint64_t run
    cdef char *place
    cdef long got
    while (left > 0 or (tap.ssl != NULL and SSL_pending(tap.ssl) > 0)) and m.chain.me == 0:
        end = m.chain.log.end + m.chain.log.stream.ahead
        if not stream_reserve(&m.chain.log.stream, m.chain.log.first, end, TAP_READ_BYTES):
            return              # tried again in the next event
        place = stream_at(&m.chain.log.stream, end, &run)
        room = min(<int64_t>run, max(left, <int64_t>RECORD_BYTES))
        got = own_read(tap.fd, tap.ssl, place, <size_t>room)
        if got == 0:
            return
        if got < 0:
            tap_fail(m, "the server closed the connection")
            return
        left -= got
        if not tap_take(m, place, got) or (got < room and tap.ssl == NULL):
            return


cdef bint tap_take(Member *m, const char *bytes, int64_t count) noexcept nogil:
    """The log ends after the last whole command among the new bytes. Returns False if the tap has failed."""
    cdef EffectStream *stream = &m.chain.log.stream
    cdef int64_t whole = scan(&m.effects.tap.scanner, bytes, count)
    if whole < 0:
        tap_fail(m, "what the server sends is no stream of commands")
        return False
    if whole and replication_append_own(&m.chain, <uint64_t>(stream.ahead + whole)):
        stream.ahead = count - whole
    else:
        stream.ahead += count
    return True


cdef int64_t to_acknowledge(const Member *m) noexcept nogil:
    """Returns one past the newest byte that the server may take for safe.

    A server that shuts down pauses its clients and waits for that, up to shutdown-timeout: so clients get the replies
    that are held. With `appendfsync always` nothing is committed in a pause but what was recorded before it.
    """
    cdef int64_t down_since_ms = m.replication.downstream.down_since_ms
    if m.disk.waits and m.disk.hindered and m.chain.committed >= m.disk.positioned:
        return m.chain.log.end
    if down_since_ms and m.now_ms - down_since_ms >= ALONE_MS:
        return m.chain.log.end      # all members are being stopped: nothing will be committed
    return m.chain.committed + 1


cdef int put_number(char *out, int64_t number) noexcept nogil:
    """Write a number as an argument of a command. Returns the number of bytes; `out` has NUMBER_ROOM."""
    cdef char digits[24]
    cdef int length = snprintf(digits, sizeof(digits), "%lld", <long long>number)
    return snprintf(out, NUMBER_ROOM, "$%d\r\n%s\r\n", length, &digits[0])


cdef void tap_acknowledge(Member *m) noexcept nogil:
    """Redis closes a replica that acknowledges nothing. WAITAOF counts the tap as one replica: what it has on its disk
    is what all other members have there.

    Redis asks the kernel for the address of a replica that has told none, whenever `server_offset` asks Redis.
    """
    cdef Tap *tap = &m.effects.tap
    cdef char text[192]
    cdef bint known = tap.synced > 0
    cdef int length = snprintf(text, sizeof(text), "*%s\r\n$8\r\nREPLCONF\r\n$10\r\nip-address\r\n$9\r\n127.0.0.1\r\n"
                               "$3\r\nACK\r\n", b"7" if known else b"5")
    length += put_number(&text[length], tap.acknowledged - m.effects.shift)
    if known:
        length += snprintf(&text[length], NUMBER_ROOM, "$4\r\nFACK\r\n")
        length += put_number(&text[length], tap.synced - m.effects.shift)
    if tap.phase == TAP_STREAMING and own_write(tap.fd, tap.ssl, text, <size_t>length) != length:
        tap_fail(m, "the server takes no acknowledgement")


cdef void tap_tick(Member *m) noexcept nogil:
    cdef Tap *tap = &m.effects.tap
    cdef int64_t safe = to_acknowledge(m)
    if tap.phase == TAP_ASKING and tap.entering:
        tap_fail(m, "the server has read a part of the request, and the rest was lost with the first connection")
    elif tap.phase != TAP_CLOSED and tap.phase != TAP_STREAMING and tap.ticks == ANSWER_TICKS:
        # There are as many passes as ticks, in which the server could have answered.
        tap_fail(m, "the server does not answer")
    tap.ticks += 1
    if tap.phase == TAP_STREAMING and (
            tap.acknowledged != safe or tap.synced != m.chain.synced_below + 1
            or m.now_ms - tap.acknowledged_ms >= ACKNOWLEDGE_MS):
        tap.acknowledged = safe
        tap.synced = m.chain.synced_below + 1
        tap.acknowledged_ms = m.now_ms
        tap_acknowledge(m)
