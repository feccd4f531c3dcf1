# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# A link is this member's connection to another member. This file connects, proves the secret, sends, and reads
# answers, and never blocks.
#
# hiredis handles the protocol on a context without callbacks. Each answer names its own kind, so an answer that this
# member did not ask for does no harm (rule 7). `outbound.pxi` interprets the answers.

from libc.stdio cimport snprintf
from libc.string cimport strcmp, strcspn, strerror, strncmp

from modules.bindings.hiredis cimport (
    REDIS_ERR_EOF, REDIS_OK, REDIS_REPLY_ARRAY, REDIS_REPLY_ERROR, REDIS_REPLY_STATUS, REDIS_REPLY_STRING,
    freeReplyObject, redisAppendCommand, redisAppendFormattedCommand, redisBufferRead, redisBufferWrite,
    redisConnectNonBlock, redisFree, redisGetReplyFromReader, redisReply, sdslen,
)
from modules.bindings.hiredis_ssl cimport redisInitiateSSL
from modules.bindings.libc cimport ECONNRESET, EPIPE, errno
from modules.bindings.libssl cimport (
    ERR_clear_error, ERR_peek_last_error, SSL, SSL_CTX, SSL_CTX_free, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE,
    SSL_do_handshake, SSL_free, SSL_get_error, SSL_new, SSL_pending,
)
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_EVENTLOOP_WRITABLE, REDISMODULE_OK, RedisModuleEventLoopFunc,
    RedisModule_EventLoopAdd, RedisModule_EventLoopDel, RedisModule_StringPtrLen,
)
from modules.core.chain cimport chain_is_all
from modules.core.replication cimport replication_head_lost, replication_predecessor_lost, replication_successor_lost
from modules.core.view cimport HOST_BYTES, Node, same_place
from modules.member.keyspace.values cimport let_go
from modules.member.replies cimport complain, stop_complaining
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_LEAVING, JOIN_STARTING
from modules.member.state.replication cimport (
    ANSWER_EXEMPT, ANSWER_LOGIN, ANSWER_PROOF, ANSWER_UNHELD, LINK_CONNECTING, LINK_IDLE, LINK_PROVING, LINK_READY,
    LINK_SECURING, Link, Replication,
)
from modules.server.proofs cimport PROOF_BYTES, draw_nonce, proofs_equal
from modules.server.sockets cimport connect_result, set_no_delay, set_user_timeout
from modules.server.tls cimport TLS_ERROR_BYTES, tls_for_links, tls_reason

cdef enum:
    RETRY_MS = 100                  # between attempts to connect
    LINK_TIMEOUT_MS = 5000          # for connecting, for TLS, and for the proof of the secret, together
    SLICE_BYTES = 256 * 1024        # a long value is sent in slices of this size
    MAX_ANSWER_BYTES = 256 * 1024   # a peer's answer is far smaller: the longest has a view of MAX_MEMBERS
    MAX_ANSWER_ELEMENTS = 256
    STRUGGLES = 3                   # a link with so many failures in a row struggles ...
    STRUGGLE_MS = 2000              # ... if the first of them is at least so long ago
    STEADY_MS = 1000                # a link that has been ready for so long has recovered


# ------------------------------------------------------------------------------ connecting and closing

cdef void links_init(Member *m) noexcept nogil:
    """Give the links their names. Called once, when the module is loaded."""
    cdef Replication *r = &m.replication
    r.downstream.name, r.upstream.name, r.head_shortcut.name = "down", "up", "head"
    r.downstream.greeted_epoch = r.upstream.greeted_epoch = r.head_shortcut.greeted_epoch = -1


cdef void link_watch(Link *link, int mask, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Let the event loop watch the link's socket for exactly the events of `mask`."""
    cdef int missing = mask & ~link.watched
    cdef int surplus = link.watched & ~mask
    if surplus:
        RedisModule_EventLoopDel(link.context.fd, surplus)
    if missing and RedisModule_EventLoopAdd(link.context.fd, missing, on_ready, link) != REDISMODULE_OK:
        mask &= ~missing        # Redis has no room for this descriptor: the link times out and is tried again
    link.watched = mask


cdef void link_close(Member *m, Link *link) noexcept nogil:
    """Close the connection and free what belongs to it. The link keeps its target."""
    if link == &m.replication.downstream:
        replication_successor_lost(&m.chain)
    elif link == &m.replication.upstream:
        replication_predecessor_lost(&m.chain)
    else:
        replication_head_lost(&m.chain)
    if link.context != NULL:
        if link.watched:
            RedisModule_EventLoopDel(link.context.fd, link.watched)
        redisFree(link.context)
    link.context = NULL
    link.ssl = NULL
    link.watched = 0
    if link.down_since_ms == 0:
        link.down_since_ms = m.now_ms
    link.phase = LINK_IDLE
    link.greeted_epoch = -1
    link.view_due = link.allowed = link.terse = False
    let_go(link.streamed)
    link.streamed = NULL
    link.parted.count = 0


cdef void link_fail(Member *m, Link *link, const char *why) noexcept nogil:
    """Log `why`, close the link, and let it be tried again after RETRY_MS."""
    cdef char what[HOST_BYTES + 32]
    snprintf(what, sizeof(what), "link %s to %s:%d", link.name, &link.target.host[0], link.target.port)
    snprintf(link.error, ERROR_BYTES, "%.*s", <int>strcspn(why, "\r\n"), why)
    complain(m.ctx, &link.complaint, m.now_ms, what, link.error)
    link_close(m, link)
    if link.setbacks == 0 or m.chain.committed > link.setback_committed:
        link.setbacks = 0
        link.setback_ms = m.now_ms
        link.setback_committed = m.chain.committed
    link.setbacks += 1
    link.failures += 1
    link.retry_ms = m.now_ms + RETRY_MS


cdef bint link_struggles(const Member *m, const Link *link) noexcept nogil:
    """Returns whether the link fails repeatedly without any progress between the failures.

    A limit of the peer's server, such as `client-output-buffer-limit`, can be the reason.
    """
    return link.setbacks >= STRUGGLES and m.now_ms - link.setback_ms >= STRUGGLE_MS


cdef bint comes_through(const Member *m, const Link *link) noexcept nogil:
    """Returns whether the link makes progress again: updates have been committed since its first failure, or it has
    been ready for STEADY_MS with no update to commit.
    """
    if m.chain.committed > link.setback_committed:
        return True
    if link.phase != LINK_READY or link.down_since_ms or m.now_ms - link.ready_ms < STEADY_MS:
        return False
    return link != &m.replication.downstream or m.chain.committed == m.chain.applied


cdef void link_tick(Member *m, Link *link) noexcept nogil:
    """Forget the failures of a link that makes progress again. Called regularly."""
    if link.setbacks == 0 or not comes_through(m, link):
        return
    link.setbacks = 0
    if link.phase == LINK_READY:
        link.error[0] = 0
        stop_complaining(&link.complaint)


cdef void link_lost(Member *m, Link *link) noexcept nogil:
    """The connection has failed. If the peer's side closed it, the peer's process may have ended, so the master is
    asked to look (`settle_watches`).
    """
    cdef bint closed = link.context.err == REDIS_ERR_EOF or errno == ECONNRESET or errno == EPIPE
    cdef char why[TLS_ERROR_BYTES]
    if link.phase == LINK_READY:
        link.dropped = closed
        m.replication.suspicious = True
    if link.ssl != NULL and ERR_peek_last_error():
        tls_reason(link.ssl, why, sizeof(why))
        link_fail(m, link, why)
    elif closed and link.phase == LINK_PROVING and link.is_unanswered and link.ssl != NULL:
        link_fail(m, link, "TLS: the peer closed the connection at once: does it refuse this server's certificate?")
    elif closed and link.phase == LINK_PROVING and link.is_unanswered:
        link_fail(m, link, "the peer closed the connection at once: perhaps that is its TLS port")
    else:
        link_fail(m, link, link.context.errstr)


cdef void link_connect(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Begin to connect to the link's target; `on_ready` is called when the attempt has ended."""
    link.context = redisConnectNonBlock(link.target.address, link.target.port)
    if link.context == NULL:
        link_fail(m, link, "out of memory")
        return
    if link.context.err:
        link_fail(m, link, link.context.errstr)
        return
    link.phase = LINK_CONNECTING
    link.retry_ms = m.now_ms + LINK_TIMEOUT_MS
    link.unfinished_bytes = 0
    link.context.reader.maxelements = MAX_ANSWER_ELEMENTS
    set_no_delay(link.context.fd)
    set_user_timeout(link.context.fd, LINK_TIMEOUT_MS)
    link_watch(link, REDISMODULE_EVENTLOOP_WRITABLE, on_ready)


cdef void link_aim(Member *m, Link *link, const Node *target) noexcept nogil:
    """Set the link's target; NULL: no target. The connection is kept if the target stays the same process."""
    if target == NULL and not link.aimed:
        return
    if target != NULL and link.aimed and same_place(target, &link.target):
        return
    link_close(m, link)
    link.aimed = target != NULL
    link.error[0] = 0
    link.setbacks = 0
    stop_complaining(&link.complaint)
    link.retry_ms = 0
    link.down_since_ms = m.now_ms
    link.dropped = False
    if target != NULL:
        link.target = target[0]


# --------------------------------------------------------------------------------------------- sending

cdef void link_clear_errors(const Link *link) noexcept nogil:
    """OpenSSL keeps a list of errors for each thread, and takes an old one, also of Redis's own TLS, for a new one."""
    if link.ssl != NULL:
        ERR_clear_error()


cdef size_t link_backlog(const Link *link) noexcept nogil:
    """Returns the number of bytes in the send buffer, which the peer has not taken yet."""
    return sdslen(link.context.obuf)


cdef bint link_is_free(const Link *link) noexcept nogil:
    """Returns whether the link is ready and everything before has been written to the socket."""
    return link.phase == LINK_READY and link.streamed == NULL and link.parted.count == 0 and link_backlog(link) == 0


cdef bint link_refill(Member *m, Link *link) noexcept nogil:
    """Append the next slice of a long value, or part of a long batch, to the send buffer, which is empty. Returns False
    if none is left.
    """
    cdef size_t length
    cdef const char *bytes
    cdef size_t slice
    if link.parted.count:
        return send_part(m, link)
    if link.streamed == NULL:
        return False
    bytes = RedisModule_StringPtrLen(link.streamed, &length)
    slice = min(<size_t>SLICE_BYTES, length - link.streamed_to)
    redisAppendFormattedCommand(link.context, bytes + link.streamed_to, slice)
    link.streamed_to += slice
    if link.streamed_to == length:
        redisAppendFormattedCommand(link.context, "\r\n", 2)
        let_go(link.streamed)
        link.streamed = NULL
    return True


cdef bint link_flush(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Write as much as the socket takes. Returns True if everything has been written, so that more may be appended."""
    cdef int done
    while link_backlog(link) or link_refill(m, link):
        done = 0
        link_clear_errors(link)
        # Some versions of hiredis return an error without setting one when the socket takes nothing at present.
        if redisBufferWrite(link.context, &done) != REDIS_OK and link.context.err:
            link_lost(m, link)
            return False
        if not done:
            link_watch(link, REDISMODULE_EVENTLOOP_READABLE | REDISMODULE_EVENTLOOP_WRITABLE, on_ready)
            return False
    link_watch(link, REDISMODULE_EVENTLOOP_READABLE, on_ready)
    return True


# ------------------------------------------------------------------------------------------------- TLS

cdef void link_connected(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """The attempt to connect has ended. With `tls-replication yes` the TLS handshake comes first."""
    cdef int error = connect_result(link.context.fd)
    cdef SSL_CTX *context
    if error:
        link_fail(m, link, strerror(error))
    elif not tls_for_links(&m.tls, m.ctx, &context):
        link_fail(m, link, m.tls.error)
    elif context == NULL:
        link_challenge(m, link, on_ready)
    else:
        link_begin_tls(m, link, context, on_ready)
        SSL_CTX_free(context)


cdef void link_begin_tls(Member *m, Link *link, SSL_CTX *context, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Let hiredis use TLS on the connection, which begins the handshake."""
    cdef char why[TLS_ERROR_BYTES]
    cdef SSL *ssl = SSL_new(context)
    if ssl == NULL:
        link_fail(m, link, "out of memory")
    elif redisInitiateSSL(link.context, ssl) != REDIS_OK:
        tls_reason(ssl, why, sizeof(why))
        SSL_free(ssl)
        link_fail(m, link, why)
    else:
        link.ssl = ssl
        link.phase = LINK_SECURING
        link_shake_hands(m, link, on_ready)


cdef void link_shake_hands(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Go on with the handshake as far as the socket allows. hiredis would go on with it, too, but could not tell what
    the socket is to be watched for.
    """
    cdef char why[TLS_ERROR_BYTES]
    cdef int result
    cdef int error
    ERR_clear_error()
    result = SSL_do_handshake(link.ssl)
    error = SSL_get_error(link.ssl, result)
    if result == 1:
        link_challenge(m, link, on_ready)
    elif error == SSL_ERROR_WANT_READ:
        link_watch(link, REDISMODULE_EVENTLOOP_READABLE, on_ready)
    elif error == SSL_ERROR_WANT_WRITE:
        link_watch(link, REDISMODULE_EVENTLOOP_WRITABLE, on_ready)
    else:
        tls_reason(link.ssl, why, sizeof(why))
        link_fail(m, link, why)


# ------------------------------------------------------------------------------------ proving the secret

cdef void link_challenge(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """The connection is made: log in if `member.auth-password` is set, and challenge the peer to prove the secret.

    All of this is one write. The peer's gate must see MEMBER.UNHELD before it holds any reply (docs/protocol.md).
    """
    cdef const char *user = RedisModule_StringPtrLen(m.settings.auth_user, NULL)
    cdef const char *password = RedisModule_StringPtrLen(m.settings.auth_password.value.text, NULL)
    link.awaited = ANSWER_LOGIN if password[0] else ANSWER_UNHELD
    if password[0] and user[0]:
        redisAppendCommand(link.context, "AUTH %s %s", user, password)
    elif password[0]:
        redisAppendCommand(link.context, "AUTH %s", password)
    redisAppendCommand(link.context, "MEMBER.UNHELD")
    redisAppendCommand(link.context, "CLIENT NO-EVICT ON")      # `maxmemory-clients` must not close links
    draw_nonce(link.nonce)
    redisAppendCommand(link.context, "CHAIN.CHALLENGE %s", &link.nonce[0])
    link.phase = LINK_PROVING
    link.is_unanswered = True
    link_flush(m, link, on_ready)


cdef bint is_text(const redisReply *reply, size_t length) noexcept nogil:
    return reply.type == REDIS_REPLY_STRING and reply.len == length


cdef void link_prove(Member *m, Link *link, const redisReply *reply) noexcept nogil:
    """Handle an answer that arrives before both sides have proved the secret."""
    link.is_unanswered = False
    if link.awaited == ANSWER_UNHELD and may_be_held(m, reply):
        link.awaited = ANSWER_EXEMPT
    elif link.awaited == ANSWER_EXEMPT:     # an error is ignored: the user may lack the right to CLIENT NO-EVICT
        link.awaited = ANSWER_PROOF
    elif reply.type == REDIS_REPLY_ERROR:
        link_fail(m, link, reply.str)
    elif link.awaited == ANSWER_PROOF:
        link_check_proof(m, link, reply)
    elif reply.type != REDIS_REPLY_STATUS:
        link_fail(m, link, "the peer does not speak this protocol")
    elif link.awaited == ANSWER_LOGIN:
        link.awaited = ANSWER_UNHELD
    else:
        link.awaited = ANSWER_EXEMPT


cdef bint may_be_held(const Member *m, const redisReply *reply) noexcept nogil:
    """Returns whether an error reply to MEMBER.UNHELD does no harm: a peer without the command holds nothing, nor does
    one in a chain of kind `put`, whose user may lack the right.
    """
    if reply.type != REDIS_REPLY_ERROR:
        return False
    return strncmp(reply.str, "ERR unknown command", 19) == 0 or (
        strncmp(reply.str, "NOPERM", 6) == 0 and not chain_is_all(&m.chain))


cdef void link_proven(Member *m, Link *link) noexcept nogil:
    """The peer has proved the secret, and reads this member's proof before anything else: the link is ready. An error
    in the answer to the proof is one like any other.
    """
    link.phase = LINK_READY
    if link != &m.replication.downstream:     # which counts as up only after its handshake
        link.down_since_ms = 0
    link.dropped = False
    link.connects += 1
    link.ready_ms = m.now_ms
    if link.setbacks < STRUGGLES:
        link.error[0] = 0
    if m.membership.join == JOIN_LEAVING or m.membership.join == JOIN_STARTING:
        redisAppendCommand(link.context, "CHAIN.ALLOWED PING REPLCONF PSYNC %s CHAIN.GREET CHAIN.FORWARD CHAIN.ACK "
                           "CHAIN.ADOPT CHAIN.CHECKPOINT CHAIN.FLUSH",
                           "CHAIN.COPY" if m.chain.log.streams else "CHAIN.PAGE")


cdef void link_check_proof(Member *m, Link *link, const redisReply *reply) noexcept nogil:
    """Check the peer's proof and send this member's own."""
    cdef char proof[PROOF_BYTES]
    cdef redisReply **parts = reply.element
    if (reply.type != REDIS_REPLY_ARRAY or reply.elements != 3 or not is_text(parts[0], 32)
            or not is_text(parts[1], 40) or not is_text(parts[2], 64)):
        link_fail(m, link, "the peer does not speak this protocol")
        return
    if strcmp(parts[1].str, link.target.run_id) != 0:
        link_fail(m, link, "another process than the member of the view answers there")
        return
    prove(m, "answer", link.nonce, parts[0].str, parts[1].str, proof)
    if not proofs_equal(parts[2].str, parts[2].len, proof):
        link_fail(m, link, "the peer does not know the chain's secret")
        return
    prove(m, "prove", parts[0].str, link.nonce, m.self.run_id, proof)
    redisAppendCommand(link.context, "CHAIN.PROVE %s %s", &proof[0], &m.self.run_id[0])
    link_proven(m, link)


# ------------------------------------------------------------------------------------------- receiving

cdef redisReply *link_next_answer(Member *m, Link *link) noexcept nogil:
    """Returns the next complete answer, which the caller frees with freeReplyObject.

    NULL: no answer is complete yet, or the link has just failed.
    """
    cdef void *reply = NULL
    if redisGetReplyFromReader(link.context, &reply) != REDIS_OK:
        link_fail(m, link, link.context.errstr)
        return NULL
    if reply != NULL:
        link.unfinished_bytes = 0
    elif link.unfinished_bytes > MAX_ANSWER_BYTES:
        link_fail(m, link, "the peer's answer is too long")
    return <redisReply *>reply


cdef bint link_read(Member *m, Link *link) noexcept nogil:
    """Read what the socket has into the reader. Returns False if the link has failed."""
    cdef size_t before = link.context.reader.len
    cdef bint more = True
    link_clear_errors(link)
    while more:
        if redisBufferRead(link.context) != REDIS_OK:
            link_lost(m, link)
            return False
        more = link.ssl != NULL and SSL_pending(link.ssl) > 0      # the socket would not tell of these
    link.unfinished_bytes += link.context.reader.len - before
    return True
