# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A connection to another member, made by a thread of its own that blocks. Both sides prove the chain's secret.

Links between members are non-blocking (`member/replication/link.pxi`). What a learner copies from the old tail, a
snapshot and a checkpoint, comes through a connection of this file.
"""

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strcmp, strerror

from modules.bindings.hiredis cimport (
    REDIS_OK, REDIS_REPLY_ARRAY, REDIS_REPLY_ERROR, REDIS_REPLY_STRING, freeReplyObject, redisAppendCommand,
    redisBufferRead, redisBufferWrite, redisConnectNonBlock, redisContext, redisFree, redisGetReplyFromReader,
    redisReply,
)
from modules.bindings.hiredis_ssl cimport redisInitiateSSL
from modules.bindings.libc cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, POLLIN, POLLOUT, close, errno, eventfd, poll, pollfd, write as write_fd,
)
from modules.bindings.libssl cimport (
    ERR_clear_error, ERR_peek_last_error, SSL, SSL_CTX, SSL_CTX_free, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE,
    SSL_do_handshake, SSL_free, SSL_get_error, SSL_new, SSL_pending, SSL_read,
)
from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString, RedisModule_StringPtrLen
from modules.bindings.socket cimport EAGAIN, EINTR, recv
from modules.core.view cimport Node, RUN_ID_BYTES
from modules.server.proofs cimport NONCE_BYTES, PROOF_BYTES, SECRET_BYTES, draw_nonce, proofs_equal, prove_with
from modules.server.sockets cimport connect_result
from modules.server.tls cimport Tls, tls_for_links, tls_reason

cdef enum:
    CALL_TIMEOUT_MS = 15000     # for connecting, and for the next byte of an answer
    CALL_ERROR_BYTES = 256
    MAX_UNPROVEN_BYTES = 64 * 1024      # of an answer before the peer has proved the secret: it is far smaller
    MAX_CALL_ELEMENTS = 256


cdef struct Caller:
    Node peer                   # who is called
    unsigned char secret[SECRET_BYTES]
    char run_id[RUN_ID_BYTES]   # of this member
    char nonce[NONCE_BYTES]
    char *user
    char *password
    SSL_CTX *tls                # NULL: without TLS
    SSL *ssl                    # of the connection, which owns it; NULL: no TLS
    bint proven                 # the peer has proved the secret on this connection
    int off_fd                  # eventfd that becomes readable when the call is off
    char error[CALL_ERROR_BYTES]


# ------------------------------------------------------------------------------------------ on the main thread

cdef inline char *copy_of(const RedisModuleString *setting) noexcept nogil:
    """Returns a copy of the setting, which may have any length. NULL: no memory."""
    cdef size_t length
    cdef const char *text = RedisModule_StringPtrLen(setting, &length)
    cdef char *copy = <char *>calloc(1, length + 1)
    if copy != NULL:
        memcpy(copy, text, length)
    return copy


cdef inline bint caller_init(
    Caller *caller, const Node *peer, const unsigned char *secret, const char *run_id, const RedisModuleString *user,
    const RedisModuleString *password, Tls *tls, RedisModuleCtx *ctx,
) noexcept nogil:
    """Fill in a zeroed Caller. Returns False without memory or descriptors, or certificates if those are needed.
    `caller_free` is to be called anyway.
    """
    caller.peer = peer[0]
    memcpy(caller.secret, secret, SECRET_BYTES)
    memcpy(caller.run_id, run_id, RUN_ID_BYTES)
    draw_nonce(caller.nonce)
    caller.off_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    caller.user = copy_of(user)
    caller.password = copy_of(password)
    return (tls_for_links(tls, ctx, &caller.tls)
            and caller.off_fd >= 0 and caller.user != NULL and caller.password != NULL)


cdef inline void caller_free(Caller *caller) noexcept nogil:
    if caller.off_fd >= 0:
        close(caller.off_fd)
    SSL_CTX_free(caller.tls)
    free(caller.user)
    free(caller.password)


cdef inline void caller_cancel(Caller *caller) noexcept nogil:
    """Stop the thread's wait for the peer."""
    cdef uint64_t one = 1
    write_fd(caller.off_fd, &one, sizeof(one))


# ---------------------------------------------------------------------------------------------- on the thread

cdef inline bint call_fails(Caller *caller, const char *why) noexcept nogil:
    """Returns False, for the caller to return."""
    snprintf(caller.error, CALL_ERROR_BYTES, "%s", why)
    return False


cdef inline bint call_breaks(Caller *caller, const redisContext *context) noexcept nogil:
    """The connection has failed, or what came is not of Redis's protocol. Returns False, for the caller to return."""
    if caller.ssl == NULL or ERR_peek_last_error() == 0:
        return call_fails(caller, context.errstr)
    tls_reason(caller.ssl, caller.error, CALL_ERROR_BYTES)
    return False


cdef inline bint has_pending(const Caller *caller) noexcept nogil:
    """Returns whether there are bytes to read that the socket does not tell of."""
    return caller.ssl != NULL and SSL_pending(caller.ssl) > 0


cdef inline bint await_socket(Caller *caller, const redisContext *context, short events) noexcept nogil:
    """Wait until the socket is ready. Returns False after the timeout, or if the call is off."""
    cdef pollfd watched[2]
    cdef int ready = -1
    watched[0].fd, watched[0].events = context.fd, events
    watched[1].fd, watched[1].events = caller.off_fd, POLLIN
    while ready < 0:
        ready = poll(watched, 2, CALL_TIMEOUT_MS)
    if ready == 0:
        return call_fails(caller, "no answer in time")
    return watched[1].revents == 0 or call_fails(caller, "the join is off")


cdef inline bint is_connected(Caller *caller, const redisContext *context) noexcept nogil:
    cdef int error
    if context.err:
        return call_fails(caller, context.errstr)
    if not await_socket(caller, context, POLLOUT):
        return False
    error = connect_result(context.fd)
    return error == 0 or call_fails(caller, strerror(error))


cdef inline bint is_secured(Caller *caller, redisContext *context) noexcept nogil:
    """Make the TLS handshake, if TLS is wanted."""
    cdef SSL *ssl
    cdef int result = 0
    cdef int error
    caller.ssl = NULL
    if caller.tls == NULL:
        return True
    ssl = SSL_new(caller.tls)
    if ssl == NULL:
        return call_fails(caller, "out of memory")
    if redisInitiateSSL(context, ssl) != REDIS_OK:
        tls_reason(ssl, caller.error, CALL_ERROR_BYTES)
        SSL_free(ssl)
        return False
    caller.ssl = ssl
    while result != 1:
        ERR_clear_error()
        result = SSL_do_handshake(ssl)
        error = SSL_get_error(ssl, result)
        if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE:
            if not await_socket(caller, context, POLLIN if error == SSL_ERROR_WANT_READ else POLLOUT):
                return False
        elif result != 1:
            tls_reason(ssl, caller.error, CALL_ERROR_BYTES)
            return False
    return True


cdef inline long receive(Caller *caller, int fd, char *out, long most) noexcept nogil:
    """Read bytes that are not replies. Returns 0 if none has come yet, -1 if none will come."""
    cdef long got
    cdef int error
    if caller.ssl == NULL:
        got = recv(fd, out, <size_t>most, 0)
        return 0 if got < 0 and (errno == EAGAIN or errno == EINTR) else -1 if got == 0 else got
    ERR_clear_error()
    got = SSL_read(caller.ssl, out, <int>most)
    error = SSL_get_error(caller.ssl, <int>got)
    return got if got > 0 else 0 if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE else -1


cdef inline bint send_appended(Caller *caller, redisContext *context) noexcept nogil:
    cdef int sent = 0
    while not sent:
        if redisBufferWrite(context, &sent) != REDIS_OK and context.err:
            return call_breaks(caller, context)
        if not sent and not await_socket(caller, context, POLLOUT):
            return False
    return True


cdef inline redisReply *next_answer(Caller *caller, redisContext *context) noexcept nogil:
    """Returns the next reply, which the caller frees. NULL: `error` has the reason."""
    cdef void *reply = NULL
    cdef size_t before
    cdef size_t bytes = 0       # that have come since there was no whole reply
    if redisGetReplyFromReader(context, &reply) != REDIS_OK:
        call_breaks(caller, context)
        return NULL
    while reply == NULL:
        if bytes > MAX_UNPROVEN_BYTES and not caller.proven:
            call_fails(caller, "the answer is too long")
            return NULL
        if not has_pending(caller) and not await_socket(caller, context, POLLIN):
            return NULL
        before = context.reader.len
        if redisBufferRead(context) != REDIS_OK:
            call_breaks(caller, context)
            return NULL
        bytes += context.reader.len - before
        if redisGetReplyFromReader(context, &reply) != REDIS_OK:
            call_breaks(caller, context)
            return NULL
    return <redisReply *>reply


cdef inline redisReply *good_answer(Caller *caller, redisContext *context) noexcept nogil:
    """Like `next_answer`, but returns NULL for an error reply, too."""
    cdef redisReply *answer = next_answer(caller, context)
    if answer != NULL and answer.type == REDIS_REPLY_ERROR:
        call_fails(caller, answer.str)
        freeReplyObject(answer)
        return NULL
    return answer


cdef inline redisReply *ask(Caller *caller, redisContext *context) noexcept nogil:
    """Send the appended command. Returns its reply, which is no error. NULL: `error` has the reason."""
    return good_answer(caller, context) if send_appended(caller, context) else NULL


cdef inline bint is_answered(redisReply *answer) noexcept nogil:
    """Free the answer, of which only its being there counts."""
    if answer != NULL:
        freeReplyObject(answer)
    return answer != NULL


cdef inline bint log_in(Caller *caller, redisContext *context, bint unheld) noexcept nogil:
    """Log in, and ask for exemption from `maxmemory-clients`. If `unheld`, the peer's gate must hold nothing.

    All of this is one write: the gate must see MEMBER.UNHELD before it holds any reply. An error reply to CLIENT
    NO-EVICT is ignored: our user may lack the right.
    """
    if caller.password[0] and caller.user[0]:
        redisAppendCommand(context, "AUTH %s %s", caller.user, caller.password)
    elif caller.password[0]:
        redisAppendCommand(context, "AUTH %s", caller.password)
    if unheld:
        redisAppendCommand(context, "MEMBER.UNHELD")
    redisAppendCommand(context, "CLIENT NO-EVICT ON")
    if not send_appended(caller, context):
        return False
    if caller.password[0] and not is_answered(good_answer(caller, context)):
        return False
    if unheld and not is_answered(good_answer(caller, context)):
        return False
    return is_answered(next_answer(caller, context))


cdef inline bint is_proof(Caller *caller, const redisReply *answer) noexcept nogil:
    """Returns whether the reply is from the peer and proves that it knows the secret."""
    cdef char proof[PROOF_BYTES]
    cdef redisReply **parts = answer.element
    cdef int i
    if answer.type != REDIS_REPLY_ARRAY or answer.elements != 3:
        return False
    for i in range(3):
        if parts[i].type != REDIS_REPLY_STRING:
            return False
    if parts[0].len != NONCE_BYTES - 1 or strcmp(parts[1].str, caller.peer.run_id) != 0:
        return False
    prove_with(caller.secret, "answer", caller.nonce, parts[0].str, parts[1].str, proof)
    return proofs_equal(parts[2].str, parts[2].len, proof)


cdef inline bint prove_each_other(Caller *caller, redisContext *context) noexcept nogil:
    cdef char proof[PROOF_BYTES]
    cdef redisReply *answer
    cdef bint good
    redisAppendCommand(context, "CHAIN.CHALLENGE %s", &caller.nonce[0])
    answer = ask(caller, context)
    if answer == NULL:
        return False
    good = is_proof(caller, answer)
    caller.proven = good
    if good:
        prove_with(caller.secret, "prove", answer.element[0].str, caller.nonce, caller.run_id, proof)
    freeReplyObject(answer)
    if not good:
        return call_fails(caller, "what answers at the old tail's address is not that member")
    redisAppendCommand(context, "CHAIN.PROVE %s %s", &proof[0], &caller.run_id[0])
    return is_answered(ask(caller, context))


cdef inline redisContext *call_peer(Caller *caller, bint unheld) noexcept nogil:
    """Returns a connection on which both sides have proved the secret, for the caller to free. NULL: `error` has the
    reason.
    """
    cdef redisContext *context = redisConnectNonBlock(caller.peer.address, caller.peer.port)
    if context == NULL:
        call_fails(caller, "out of memory")
        return NULL
    caller.proven = False
    context.reader.maxelements = MAX_CALL_ELEMENTS
    if (is_connected(caller, context) and is_secured(caller, context) and log_in(caller, context, unheld)
            and prove_each_other(caller, context)):
        return context
    redisFree(context)
    caller.ssl = NULL
    return NULL
