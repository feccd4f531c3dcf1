# cython: language_level=3
# A link: our connection to another member. Connecting, proving the secret, sending, taking answers in; never waiting.
#
# hiredis does the protocol on a context without callbacks: answers say by themselves what they are, so a peer that
# sends what nobody asked for harms nothing (rule 7). What the answers mean is `peers.pxd`'s.

from libc.stdio cimport snprintf
from libc.string cimport strcmp, strcspn, strerror

from modules.bindings.hiredis cimport (
    REDIS_ERR_EOF, REDIS_OK, REDIS_REPLY_ARRAY, REDIS_REPLY_ERROR, REDIS_REPLY_STATUS, REDIS_REPLY_STRING,
    freeReplyObject, redisAppendCommand, redisAppendFormattedCommand, redisBufferRead, redisBufferWrite,
    redisConnectNonBlock, redisFree, redisGetReplyFromReader, redisReply, sdslen,
)
from modules.bindings.libc cimport ECONNRESET, EPIPE, errno
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, REDISMODULE_EVENTLOOP_WRITABLE, REDISMODULE_OK, RedisModuleEventLoopFunc,
    RedisModule_EventLoopAdd, RedisModule_EventLoopDel, RedisModule_StringPtrLen,
)
from modules.core.replication cimport replication_head_lost, replication_predecessor_lost, replication_successor_lost
from modules.core.view cimport HOST_BYTES, Node, same_place
from modules.member.keyspace.values cimport let_go
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_LEAVING, JOIN_STARTING
from modules.member.state.replication cimport (
    ANSWER_EXEMPT, ANSWER_LOGIN, ANSWER_PROOF, ANSWER_PROVEN, LINK_CONNECTING, LINK_IDLE, LINK_PROVING, LINK_READY,
    Link, Replication,
)
from modules.server.proofs cimport PROOF_BYTES, draw_nonce, proofs_equal
from modules.server.sockets cimport connect_result, set_no_delay, set_user_timeout

cdef enum:
    RETRY_MS = 100                  # between attempts to connect
    LINK_TIMEOUT_MS = 5000          # for connecting and proving
    SLICE_BYTES = 256 * 1024        # a long value goes out in pieces of this size
    MAX_ANSWER_BYTES = 256 * 1024   # a peer's answer is far smaller: a view of MAX_MEMBERS at the most
    MAX_ANSWER_ELEMENTS = 256
    STRUGGLES = 3                   # failures without anything between them
    STRUGGLE_MS = 2000              # and for so long
    STEADY_MS = 1000


# ----------------------------------------------------------------------------------------- up and down

cdef void links_init(Member *m) noexcept nogil:
    cdef Replication *r = &m.replication
    r.downstream.name, r.upstream.name, r.head_shortcut.name = "down", "up", "head"
    r.downstream.greeted_epoch = r.upstream.greeted_epoch = r.head_shortcut.greeted_epoch = -1


cdef void link_watch(Link *link, int mask, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Have the event loop watch for exactly `mask`."""
    cdef int missing = mask & ~link.watched
    cdef int surplus = link.watched & ~mask
    if surplus:
        RedisModule_EventLoopDel(link.context.fd, surplus)
    if missing and RedisModule_EventLoopAdd(link.context.fd, missing, on_ready, link) != REDISMODULE_OK:
        mask &= ~missing        # more descriptors than Redis has room for: the link times out, and is tried again
    link.watched = mask


cdef void link_close(Member *m, Link *link) noexcept nogil:
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
    link.watched = 0
    if link.down_since_ms == 0:
        link.down_since_ms = m.now_ms
    link.phase = LINK_IDLE
    link.greeted_epoch = -1
    link.view_due = link.allowed = False
    let_go(link.streamed)
    link.streamed = NULL


cdef void link_fail(Member *m, Link *link, const char *why) noexcept nogil:
    """The link is down; it is tried again after a while."""
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
    """It is made again and again, and nothing comes through: a limit of the peer's server closes it, perhaps."""
    return link.setbacks >= STRUGGLES and m.now_ms - link.setback_ms >= STRUGGLE_MS


cdef bint comes_through(const Member *m, const Link *link) noexcept nogil:
    """Updates have been committed since it failed first; or there is nothing to say, and it stands for a while."""
    if m.chain.committed > link.setback_committed:
        return True
    if link.phase != LINK_READY or link.down_since_ms or m.now_ms - link.ready_ms < STEADY_MS:
        return False
    return link != &m.replication.downstream or m.chain.committed == m.chain.applied


cdef void link_tick(Member *m, Link *link) noexcept nogil:
    if link.setbacks == 0 or not comes_through(m, link):
        return
    link.setbacks = 0
    if link.phase == LINK_READY:
        link.error[0] = 0
        stop_complaining(&link.complaint)


cdef void link_lost(Member *m, Link *link) noexcept nogil:
    """The connection has failed by itself. If the peer's side closed it, its process may have ended: look, master!"""
    cdef bint closed = link.context.err == REDIS_ERR_EOF or errno == ECONNRESET or errno == EPIPE
    if link.phase == LINK_READY:
        link.dropped = closed
        m.replication.suspicious = True
    link_fail(m, link, link.context.errstr)


cdef void link_connect(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
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
    """Point the link at this process, or at nobody (NULL). It keeps its connection when it pointed there before."""
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

cdef size_t link_backlog(const Link *link) noexcept nogil:
    """Bytes that wait in our buffer for the peer to take them."""
    return sdslen(link.context.obuf)


cdef bint link_is_free(const Link *link) noexcept nogil:
    """Would the peer take more now?"""
    return link.phase == LINK_READY and link.streamed == NULL and link_backlog(link) == 0


cdef bint link_refill(Link *link) noexcept nogil:
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


cdef bint link_flush(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
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

cdef void link_challenge(Member *m, Link *link, RedisModuleEventLoopFunc on_ready) noexcept nogil:
    """Connected: authenticate to the server if we have what it takes, and ask for its proof."""
    cdef const char *user = RedisModule_StringPtrLen(m.settings.auth_user, NULL)
    cdef const char *password = RedisModule_StringPtrLen(m.settings.auth_password.value.text, NULL)
    cdef int error = connect_result(link.context.fd)
    if error:
        link_fail(m, link, strerror(error))
        return
    link.awaited = ANSWER_LOGIN if password[0] else ANSWER_EXEMPT
    if password[0] and user[0]:
        redisAppendCommand(link.context, "AUTH %s %s", user, password)
    elif password[0]:
        redisAppendCommand(link.context, "AUTH %s", password)
    redisAppendCommand(link.context, "CLIENT NO-EVICT ON")      # `maxmemory-clients` is for clients
    draw_nonce(link.nonce)
    redisAppendCommand(link.context, "CHAIN.CHALLENGE %s", &link.nonce[0])
    link.phase = LINK_PROVING
    link_flush(m, link, on_ready)


cdef bint is_text(const redisReply *reply, size_t length) noexcept nogil:
    return reply.type == REDIS_REPLY_STRING and reply.len == length


cdef void link_prove(Member *m, Link *link, const redisReply *reply) noexcept nogil:
    """An answer while proving."""
    if link.awaited == ANSWER_EXEMPT:       # or not, where our user may not say that: so it was told
        link.awaited = ANSWER_PROOF
    elif reply.type == REDIS_REPLY_ERROR:
        link_fail(m, link, reply.str)
    elif link.awaited == ANSWER_PROOF:
        link_check_proof(m, link, reply)
    elif reply.type != REDIS_REPLY_STATUS:
        link_fail(m, link, "the peer does not speak this protocol")
    elif link.awaited == ANSWER_LOGIN:
        link.awaited = ANSWER_EXEMPT
    else:
        link_proven(m, link)


cdef void link_proven(Member *m, Link *link) noexcept nogil:
    link.phase = LINK_READY
    if link != &m.replication.downstream:     # that one is up when its handshake is complete
        link.down_since_ms = 0
    link.dropped = False
    link.connects += 1
    link.ready_ms = m.now_ms
    if link.setbacks < STRUGGLES:
        link.error[0] = 0
    if m.membership.join == JOIN_LEAVING or m.membership.join == JOIN_STARTING:
        redisAppendCommand(link.context, "CHAIN.ALLOWED PING REPLCONF PSYNC CHAIN.PAGE CHAIN.GREET CHAIN.FORWARD "
                           "CHAIN.ACK CHAIN.ADOPT CHAIN.CHECKPOINT CHAIN.FLUSH")


cdef void link_check_proof(Member *m, Link *link, const redisReply *reply) noexcept nogil:
    """The peer's proof, which ours answers."""
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
    link.awaited = ANSWER_PROVEN
    redisAppendCommand(link.context, "CHAIN.PROVE %s %s", &proof[0], &m.self.run_id[0])


# ------------------------------------------------------------------------------------------- receiving

cdef redisReply *link_next_answer(Member *m, Link *link) noexcept nogil:
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


cdef bint link_read(Member *m, Link *link) noexcept nogil:
    cdef size_t before = link.context.reader.len
    if redisBufferRead(link.context) != REDIS_OK:
        link_lost(m, link)
        return False
    link.unfinished_bytes += link.context.reader.len - before
    return True
