# cython: language_level=3
"""A link: our connection to another member. Connecting, proving the secret, sending, taking answers in; never waiting.

hiredis does the protocol on a context without callbacks: answers say by themselves what they are, so a peer that
sends what nobody asked for harms nothing (rule 7). What the answers mean is `peers.pxd`'s.
"""

from libc.stdio cimport snprintf
from libc.string cimport strcmp, strerror

from modules.core.chain cimport chain_head_lost, chain_predecessor_lost, chain_successor_lost
from modules.core.view cimport Node, same_place
from modules.hiredis cimport (
    REDIS_ERR_EOF, REDIS_OK, REDIS_REPLY_ARRAY, REDIS_REPLY_ERROR, REDIS_REPLY_STATUS, REDIS_REPLY_STRING,
    freeReplyObject,
    redisAppendCommand, redisAppendFormattedCommand, redisBufferRead, redisBufferWrite, redisConnectNonBlock,
    redisContext, redisFree, redisGetReplyFromReader, redisReply, sdslen,
)
from modules.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_EVENTLOOP_WRITABLE, REDISMODULE_OK, RedisModule_EventLoopAdd,
    RedisModule_EventLoopDel, RedisModule_Log, RedisModule_StringPtrLen, RedisModuleEventLoopFunc, RedisModuleString,
)
from modules.shell.auth cimport draw_nonce, proofs_equal, prove
from modules.shell.keyspace cimport let_go
from modules.shell.libc cimport ECONNRESET, EPIPE, connect_result, errno, set_no_delay, set_user_timeout
from modules.shell.state cimport (
    ERROR_BYTES, LINK_CONNECTING, LINK_IDLE, LINK_PROVING, LINK_READY, Link, Member, PROOF_BYTES,
)

cdef enum:
    RETRY_MS = 100                  # between attempts to connect
    LINK_TIMEOUT_MS = 5000          # for connecting and proving
    SLICE_BYTES = 256 * 1024        # a long value goes out in pieces of this size
    MAX_ANSWER_BYTES = 256 * 1024   # a peer's answer is far smaller: a view of MAX_MEMBERS at the most
    MAX_ANSWER_ELEMENTS = 256


# ----------------------------------------------------------------------------------------- up and down

cdef inline void link_watch(Link *link, int mask, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Have the event loop watch for exactly `mask`."""
    cdef int missing = mask & ~link.watched
    cdef int surplus = link.watched & ~mask
    if surplus:
        RedisModule_EventLoopDel(link.context.fd, surplus)
    if missing and RedisModule_EventLoopAdd(link.context.fd, missing, on_ready, link) != REDISMODULE_OK:
        mask &= ~missing        # more descriptors than Redis has room for: the link times out, and is tried again
    link.watched = mask


cdef inline void link_close(Member *m, Link *link) noexcept nogil:
    if link == &m.down:
        chain_successor_lost(&m.chain)
    elif link == &m.up:
        chain_predecessor_lost(&m.chain)
    else:
        chain_head_lost(&m.chain)
    if link.context != NULL:
        if link.watched:
            RedisModule_EventLoopDel(link.context.fd, link.watched)
        redisFree(link.context)
    link.context = NULL
    link.watched = 0
    if link.down_since_ms == 0:
        link.down_since_ms = m.now_ms
    link.phase = LINK_IDLE
    link.greeted_epoch = -1
    link.view_due = False
    let_go(link.streamed)
    link.streamed = NULL


cdef inline void link_fail(Member *m, Link *link, const char *why) noexcept nogil:
    """The link is down; it is tried again after a while. A reason is logged once, not at every attempt."""
    if strcmp(link.error, why) != 0:
        snprintf(link.error, ERROR_BYTES, "%s", why)
        RedisModule_Log(m.ctx, "notice", "link %s to %s:%d: %s", link.name, &link.target.host[0], link.target.port, why)
    link_close(m, link)
    link.failures += 1
    link.retry_ms = m.now_ms + RETRY_MS


cdef inline void link_lost(Member *m, Link *link) noexcept nogil:
    """The connection has failed by itself. If the peer's side closed it, its process may have ended: look, master!"""
    cdef bint closed = link.context.err == REDIS_ERR_EOF or errno == ECONNRESET or errno == EPIPE
    if link.phase == LINK_READY:
        link.dropped = closed
        m.suspicious = True
    link_fail(m, link, link.context.errstr)


cdef inline void link_connect(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
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


cdef inline void link_aim(Member *m, Link *link, const Node *target) noexcept nogil:
    """Point the link at this process, or at nobody (NULL). It keeps its connection when it pointed there before."""
    if target == NULL and not link.aimed:
        return
    if target != NULL and link.aimed and same_place(target, &link.target):
        return
    link_close(m, link)
    link.aimed = target != NULL
    link.error[0] = 0
    link.retry_ms = 0
    link.down_since_ms = m.now_ms
    link.dropped = False
    if target != NULL:
        link.target = target[0]


# --------------------------------------------------------------------------------------------- sending

cdef inline size_t link_backlog(const Link *link) noexcept nogil:
    """Bytes that wait in our buffer for the peer to take them."""
    return sdslen(link.context.obuf)


cdef inline bint link_refill(Link *link) noexcept nogil:
    """The next slice of a long value into the emptied buffer; False: there is none."""
    cdef size_t length
    cdef const char *bytes
    cdef size_t slice
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


cdef inline bint link_flush(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Write what is there. True: all of it is gone, more may be appended."""
    cdef int done
    while link_backlog(link) or link_refill(link):
        done = 0
        # Some versions of hiredis return an error without setting one when the socket takes nothing at present.
        if redisBufferWrite(link.context, &done) != REDIS_OK and link.context.err:
            link_lost(m, link)
            return False
        if not done:
            link_watch(link, REDISMODULE_EVENTLOOP_READABLE | REDISMODULE_EVENTLOOP_WRITABLE, on_ready)
            return False
    link_watch(link, REDISMODULE_EVENTLOOP_READABLE, on_ready)
    return True


# ------------------------------------------------------------------------------------ proving the secret

cdef inline void link_challenge(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Connected: authenticate to the server if we have what it takes, and ask for its proof."""
    cdef const char *user = RedisModule_StringPtrLen(m.settings.auth_user, NULL)
    cdef const char *password = RedisModule_StringPtrLen(m.settings.auth_password.value.text, NULL)
    cdef int error = connect_result(link.context.fd)
    if error:
        link_fail(m, link, strerror(error))
        return
    if password[0] and user[0]:
        redisAppendCommand(link.context, "AUTH %s %s", user, password)
    elif password[0]:
        redisAppendCommand(link.context, "AUTH %s", password)
    draw_nonce(link.nonce)
    redisAppendCommand(link.context, "CHAIN.CHALLENGE %s", &link.nonce[0])
    link.phase = LINK_PROVING
    link_flush(m, link, on_ready)


cdef inline bint is_text(const redisReply *reply, size_t length) noexcept nogil:
    return reply.type == REDIS_REPLY_STRING and reply.len == length


cdef inline void link_prove(Member *m, Link *link, const redisReply *reply) noexcept nogil:
    """An answer while proving: first the peer's proof, then its word on ours."""
    cdef char proof[PROOF_BYTES]
    cdef redisReply **parts = reply.element
    if reply.type == REDIS_REPLY_ERROR:
        link_fail(m, link, reply.str)
        return
    if reply.type == REDIS_REPLY_STATUS:
        if not link.nonce[0]:       # OK to CHAIN.PROVE; with a nonce outstanding it is the OK to AUTH
            link.phase = LINK_READY
            if link != &m.down:     # that one is up when its handshake is complete
                link.down_since_ms = 0
            link.dropped = False
            link.connects += 1
            link.error[0] = 0
        return
    if (reply.type != REDIS_REPLY_ARRAY or reply.elements != 3 or not is_text(parts[0], 32)
            or not is_text(parts[1], 40) or not is_text(parts[2], 64) or not link.nonce[0]):
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
    link.nonce[0] = 0
    redisAppendCommand(link.context, "CHAIN.PROVE %s %s", &proof[0], &m.self.run_id[0])


# ------------------------------------------------------------------------------------------- receiving

cdef inline redisReply *link_next_answer(Member *m, Link *link) noexcept nogil:
    """The next whole answer, to be freed with freeReplyObject; NULL: none yet, or the link has just failed."""
    cdef void *reply = NULL
    if redisGetReplyFromReader(link.context, &reply) != REDIS_OK:
        link_fail(m, link, link.context.errstr)
        return NULL
    if reply != NULL:
        link.unfinished_bytes = 0
    elif link.unfinished_bytes > MAX_ANSWER_BYTES:
        link_fail(m, link, "the peer's answer is too long")
    return <redisReply *>reply


cdef inline bint link_read(Member *m, Link *link) noexcept nogil:
    cdef size_t before = link.context.reader.len
    if redisBufferRead(link.context) != REDIS_OK:
        link_lost(m, link)
        return False
    link.unfinished_bytes += link.context.reader.len - before
    return True
