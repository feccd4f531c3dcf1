# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# A learner copies the old tail's checkpoint. Its writer thread asks for one page after another, and blocks until each
# arrives or the join is cancelled.
#
# The learner has copied a snapshot of the tail's memory before. A key that the tail evicted after that snapshot is in
# the snapshot. A key that the tail evicted before is in the checkpoint. The pages go into an empty database. Its meta
# record is written last, so an incomplete copy is not taken for a checkpoint.

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, strcmp, strerror

from modules.bindings.hiredis cimport (
    REDIS_OK, REDIS_REPLY_ARRAY, REDIS_REPLY_ERROR, REDIS_REPLY_STRING, freeReplyObject, redisAppendCommand,
    redisBufferRead, redisBufferWrite, redisConnectNonBlock, redisContext, redisFree, redisGetReplyFromReader,
    redisReply,
)
from modules.bindings.leveldb cimport (
    leveldb_writebatch_create, leveldb_writebatch_destroy, leveldb_writebatch_put, leveldb_writebatch_t,
)
from modules.bindings.libc cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, POLLIN, POLLOUT, close, eventfd, poll, pollfd, write as write_fd,
)
from modules.bindings.redismodule cimport RedisModuleString, RedisModule_StringPtrLen
from modules.core.chain cimport chain_predecessor
from modules.core.checkpoint.record_format cimport META_KEY_BYTES, get_big_endian, is_record, meta_key
from modules.member.state.checkpoint cimport Job, TEXT_BYTES
from modules.member.state.member cimport Member
from modules.server.proofs cimport NONCE_BYTES, PROOF_BYTES, SECRET_BYTES, draw_nonce, proofs_equal, prove_with
from modules.server.sockets cimport connect_result

cdef enum:
    PAGE_TIMEOUT_MS = 15000     # for connecting, and for the next byte of a page


cdef bint unfetched(Fetch *fetch, const char *why) noexcept nogil:
    snprintf(fetch.error, TEXT_BYTES, "%s", why)
    return False


# --------------------------------------------------------------------------------------- a proven connection

cdef bint await_socket(Fetch *fetch, const redisContext *context, short events) noexcept nogil:
    """Wait until the socket is ready. Returns False after the timeout, or if the join is cancelled."""
    cdef pollfd watched[2]
    cdef int ready = -1
    watched[0].fd, watched[0].events = context.fd, events
    watched[1].fd, watched[1].events = fetch.off_fd, POLLIN
    while ready < 0:
        ready = poll(watched, 2, PAGE_TIMEOUT_MS)
    if ready == 0:
        return unfetched(fetch, "no answer in time")
    return watched[1].revents == 0 or unfetched(fetch, "the join is off")


cdef bint is_connected(Fetch *fetch, const redisContext *context) noexcept nogil:
    cdef int error
    if context.err:
        return unfetched(fetch, context.errstr)
    if not await_socket(fetch, context, POLLOUT):
        return False
    error = connect_result(context.fd)
    return error == 0 or unfetched(fetch, strerror(error))


cdef redisReply *exchange(Fetch *fetch, redisContext *context) noexcept nogil:
    """Send the appended command. Returns the reply, which the caller frees. NULL: `error` has the reason."""
    cdef void *reply = NULL
    cdef int sent = 0
    while not sent:
        if redisBufferWrite(context, &sent) != REDIS_OK and context.err:
            unfetched(fetch, context.errstr)
            return NULL
        if not sent and not await_socket(fetch, context, POLLOUT):
            return NULL
    while reply == NULL:
        if not await_socket(fetch, context, POLLIN):
            return NULL
        if redisBufferRead(context) != REDIS_OK or redisGetReplyFromReader(context, &reply) != REDIS_OK:
            unfetched(fetch, context.errstr)
            return NULL
    return <redisReply *>reply


cdef redisReply *ask(Fetch *fetch, redisContext *context) noexcept nogil:
    """Like `exchange`, but returns NULL for an error reply, too."""
    cdef redisReply *answer = exchange(fetch, context)
    if answer != NULL and answer.type == REDIS_REPLY_ERROR:
        unfetched(fetch, answer.str)
        freeReplyObject(answer)
        return NULL
    return answer


cdef bint log_in(Fetch *fetch, redisContext *context) noexcept nogil:
    cdef redisReply *answer
    if not fetch.password[0]:
        return True
    if fetch.user[0]:
        redisAppendCommand(context, "AUTH %s %s", fetch.user, fetch.password)
    else:
        redisAppendCommand(context, "AUTH %s", fetch.password)
    answer = ask(fetch, context)
    if answer != NULL:
        freeReplyObject(answer)
    return answer != NULL


cdef bint be_exempt(Fetch *fetch, redisContext *context) noexcept nogil:
    """Ask for exemption from `maxmemory-clients`. An error reply is ignored: our user may lack the right. Returns False
    if the connection is lost.
    """
    cdef redisReply *answer
    redisAppendCommand(context, "CLIENT NO-EVICT ON")
    answer = exchange(fetch, context)
    if answer != NULL:
        freeReplyObject(answer)
    return answer != NULL


cdef bint is_proof(Fetch *fetch, const redisReply *answer) noexcept nogil:
    """Returns whether the reply is from the tail and proves that it knows the secret."""
    cdef char proof[PROOF_BYTES]
    cdef redisReply **parts = answer.element
    cdef int i
    if answer.type != REDIS_REPLY_ARRAY or answer.elements != 3:
        return False
    for i in range(3):
        if parts[i].type != REDIS_REPLY_STRING:
            return False
    if parts[0].len != NONCE_BYTES - 1 or strcmp(parts[1].str, fetch.tail.run_id) != 0:
        return False
    prove_with(fetch.secret, "answer", fetch.nonce, parts[0].str, parts[1].str, proof)
    return proofs_equal(parts[2].str, parts[2].len, proof)


cdef bint prove_each_other(Fetch *fetch, redisContext *context) noexcept nogil:
    cdef char proof[PROOF_BYTES]
    cdef redisReply *answer
    cdef bint good
    redisAppendCommand(context, "CHAIN.CHALLENGE %s", &fetch.nonce[0])
    answer = ask(fetch, context)
    if answer == NULL:
        return False
    good = is_proof(fetch, answer)
    if good:
        prove_with(fetch.secret, "prove", answer.element[0].str, fetch.nonce, fetch.run_id, proof)
    freeReplyObject(answer)
    if not good:
        return unfetched(fetch, "what answers at the old tail's address is not that member")
    redisAppendCommand(context, "CHAIN.PROVE %s %s", &proof[0], &fetch.run_id[0])
    answer = ask(fetch, context)
    if answer != NULL:
        freeReplyObject(answer)
    return answer != NULL


# ----------------------------------------------------------------------------------------------------- pages

cdef bint take_record(
    Fetch *fetch, leveldb_writebatch_t *batch, const char *key, size_t key_bytes, const char *value, size_t bytes,
) noexcept nogil:
    if key_bytes == META_KEY_BYTES and memcmp(key, meta_key(), META_KEY_BYTES) == 0:
        if not parse_meta(value, bytes, &fetch.meta, fetch.error):
            return False
    elif not is_record(key, key_bytes):
        return unfetched(fetch, "a page of it is none")
    leveldb_writebatch_put(batch, key, key_bytes, value, bytes)
    return True


cdef bint take_records(
    Fetch *fetch, leveldb_writebatch_t *batch, const char *at, size_t length,
) noexcept nogil:
    cdef uint64_t key_bytes
    cdef uint64_t value_bytes
    while length:
        if length < 8:
            return unfetched(fetch, "a page of it is none")
        key_bytes = get_big_endian(at, 4)
        value_bytes = get_big_endian(at + 4, 4)
        if length - 8 < key_bytes + value_bytes:
            return unfetched(fetch, "a page of it is none")
        if not take_record(fetch, batch, at + 8, key_bytes, at + 8 + key_bytes, value_bytes):
            return False
        at += 8 + key_bytes + value_bytes
        length -= 8 + key_bytes + value_bytes
    return True


cdef bint take_page(Fetch *fetch, const redisReply *records) noexcept nogil:
    cdef leveldb_writebatch_t *batch = leveldb_writebatch_create()
    cdef bint good = (take_records(fetch, batch, records.str, records.len)
                      and database_write(fetch.database, batch, fetch.error))
    leveldb_writebatch_destroy(batch)
    fetch.bytes += records.len
    return good


cdef redisReply *ask_for_page(Fetch *fetch, redisContext *context, const redisReply *before) noexcept nogil:
    """Returns the page after `before`, which is freed. NULL: `error` has the reason."""
    cdef const redisReply *cursor = before.element[0] if before != NULL else NULL
    cdef redisReply *page
    redisAppendCommand(
        context, "CHAIN.PAGE %lld %b", fetch.epoch, cursor.str if cursor != NULL else <char *>b"",
        cursor.len if cursor != NULL else <size_t>0)
    if before != NULL:
        freeReplyObject(<void *>before)
    page = ask(fetch, context)
    if page != NULL and (page.type != REDIS_REPLY_ARRAY or page.elements != 2
                         or page.element[0].type != REDIS_REPLY_STRING
                         or page.element[1].type != REDIS_REPLY_STRING):
        unfetched(fetch, "the old tail is in another view by now")
        freeReplyObject(page)
        return NULL
    return page


cdef bint fetch_pages(Fetch *fetch, redisContext *context) noexcept nogil:
    cdef redisReply *page = NULL
    cdef bint more = True
    while more:
        page = ask_for_page(fetch, context, page)
        if page == NULL:
            return False
        more = page.element[0].len > 0
        if not take_page(fetch, page.element[1]):
            freeReplyObject(page)
            return False
    freeReplyObject(page)
    return fetch.meta.found or unfetched(fetch, "it came without its meta record")


cdef void run_fetch(Job *job) noexcept nogil:
    cdef Fetch *fetch = <Fetch *>job
    cdef redisContext *context
    if not database_clear(fetch.database, fetch.error):
        return
    context = redisConnectNonBlock(fetch.tail.address, fetch.tail.port)
    if context == NULL:
        unfetched(fetch, "out of memory")
        return
    fetch.good = (is_connected(fetch, context) and log_in(fetch, context) and be_exempt(fetch, context)
                  and prove_each_other(fetch, context) and fetch_pages(fetch, context))
    redisFree(context)
    if fetch.good:
        meta_moved(fetch.database, &fetch.meta)


# ------------------------------------------------------------------------------------------ on the main thread

cdef char *copy_of(const RedisModuleString *setting) noexcept nogil:
    """Returns a copy of the setting, which may have any length. NULL: no memory."""
    cdef size_t length
    cdef const char *text = RedisModule_StringPtrLen(setting, &length)
    cdef char *copy = <char *>calloc(1, length + 1)
    if copy != NULL:
        memcpy(copy, text, length)
    return copy


cdef void fetch_free(Fetch *fetch) noexcept nogil:
    if fetch.off_fd >= 0:
        close(fetch.off_fd)
    free(fetch.user)
    free(fetch.password)
    free(fetch)


cdef void fetch_cancel(Fetch *fetch) noexcept nogil:
    """Stop the writer's wait for the tail. `done` is called as always."""
    cdef uint64_t one = 1
    write_fd(fetch.off_fd, &one, sizeof(one))


cdef Fetch *fetch_begin(Member *m, void (*done)(Job *) noexcept nogil) noexcept nogil:
    """Begin to copy from the tail whose learner this member is. Returns NULL if that fails.

    `done` is called on the main thread at the end, and must call `fetch_free`.
    """
    cdef Fetch *fetch = <Fetch *>calloc(1, sizeof(Fetch))
    if fetch == NULL:
        return NULL
    fetch.off_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    fetch.user = copy_of(m.settings.auth_user)
    fetch.password = copy_of(m.settings.auth_password.value.text)
    if fetch.off_fd < 0 or fetch.user == NULL or fetch.password == NULL or not store_start(m):
        fetch_free(fetch)
        return NULL
    fetch.job.run = run_fetch
    fetch.job.done = done
    fetch.database = &m.checkpoint.database
    fetch.tail = chain_predecessor(&m.chain)[0]
    fetch.epoch = m.chain.view.epoch
    memcpy(fetch.secret, m.replication.secret, SECRET_BYTES)
    memcpy(fetch.run_id, m.self.run_id, sizeof(fetch.run_id))
    draw_nonce(fetch.nonce)
    worker_put(&m.checkpoint.writer, &fetch.job)
    return fetch
