# cython: language_level=3
"""A learner copies the old tail's checkpoint: its writer asks for page after page, and may wait for each.

The tail took the snapshot of its memory before; a key that left its memory since was in that, and one that had left it
before is in the checkpoint. Both go into a fresh database, whose meta record comes last: half a copy is none.
"""

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, strcmp

from modules.core.chain cimport chain_predecessor
from modules.core.records cimport META_KEY_BYTES, Meta, get_big_endian, is_record, meta_key
from modules.core.view cimport Node
from modules.hiredis cimport (
    REDIS_REPLY_ARRAY, REDIS_REPLY_ERROR, REDIS_REPLY_STRING, freeReplyObject, redisCommand, redisConnectWithTimeout,
    redisContext, redisFree, redisReply, redisSetTimeout, timeval,
)
from modules.leveldb cimport (
    leveldb_writebatch_create, leveldb_writebatch_destroy, leveldb_writebatch_put, leveldb_writebatch_t,
)
from modules.redismodule cimport RedisModule_StringPtrLen
from modules.shell.auth cimport draw_nonce, proofs_equal, prove_with
from modules.shell.checkpoint.database cimport database_clear, database_write, meta_moved, parse_meta
from modules.shell.checkpoint.state cimport Database, Job, TEXT_BYTES
from modules.shell.checkpoint.store cimport store_start
from modules.shell.checkpoint.worker cimport worker_put
from modules.shell.state cimport Member, NONCE_BYTES, PROOF_BYTES, SECRET_BYTES

cdef enum:
    PAGE_TIMEOUT_S = 15         # for connecting, and for each page
    CREDENTIAL_BYTES = 512


cdef struct Fetch:
    Job job
    Database *database
    Node tail
    long long epoch
    unsigned char secret[SECRET_BYTES]
    char run_id[41]             # our own
    char nonce[NONCE_BYTES]
    char user[CREDENTIAL_BYTES]
    char password[CREDENTIAL_BYTES]
    bint cancelled              # set by the main thread: the join is off
    uint64_t bytes              # that have come: read by the main thread, for people
    Meta meta                   # the last page's
    bint good
    char error[TEXT_BYTES]


cdef inline bint unfetched(Fetch *fetch, const char *why) noexcept nogil:
    snprintf(fetch.error, TEXT_BYTES, "%s", why)
    return False


# --------------------------------------------------------------------------------------- a proven connection

cdef inline redisReply *answer_to(Fetch *fetch, redisContext *context, void *reply) noexcept nogil:
    """The answer, if it is none of an error; NULL: `error` says what went wrong."""
    cdef redisReply *answer = <redisReply *>reply
    if answer == NULL:
        unfetched(fetch, context.errstr)
        return NULL
    if answer.type == REDIS_REPLY_ERROR:
        unfetched(fetch, answer.str)
        freeReplyObject(answer)
        return NULL
    return answer


cdef inline bint log_in(Fetch *fetch, redisContext *context) noexcept nogil:
    cdef void *reply
    cdef redisReply *answer
    if not fetch.password[0]:
        return True
    if fetch.user[0]:
        reply = redisCommand(context, "AUTH %s %s", &fetch.user[0], &fetch.password[0])
    else:
        reply = redisCommand(context, "AUTH %s", &fetch.password[0])
    answer = answer_to(fetch, context, reply)
    if answer != NULL:
        freeReplyObject(answer)
    return answer != NULL


cdef inline bint is_proof(Fetch *fetch, const redisReply *answer) noexcept nogil:
    """Of the tail, and that it knows the secret."""
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


cdef inline bint prove_each_other(Fetch *fetch, redisContext *context) noexcept nogil:
    cdef char proof[PROOF_BYTES]
    cdef redisReply *answer = answer_to(
        fetch, context, redisCommand(context, "CHAIN.CHALLENGE %s", &fetch.nonce[0]))
    cdef bint good
    if answer == NULL:
        return False
    good = is_proof(fetch, answer)
    if good:
        prove_with(fetch.secret, "prove", answer.element[0].str, fetch.nonce, fetch.run_id, proof)
    freeReplyObject(answer)
    if not good:
        return unfetched(fetch, "what answers at the old tail's address is not that member")
    answer = answer_to(fetch, context, redisCommand(context, "CHAIN.PROVE %s %s", &proof[0], &fetch.run_id[0]))
    if answer != NULL:
        freeReplyObject(answer)
    return answer != NULL


# ----------------------------------------------------------------------------------------------------- pages

cdef inline bint take_record(
    Fetch *fetch, leveldb_writebatch_t *batch, const char *key, size_t key_bytes, const char *value, size_t bytes,
) noexcept nogil:
    if key_bytes == META_KEY_BYTES and memcmp(key, meta_key(), META_KEY_BYTES) == 0:
        if not parse_meta(value, bytes, &fetch.meta, fetch.error):
            return False
    elif not is_record(key, key_bytes):
        return unfetched(fetch, "a page of it is none")
    leveldb_writebatch_put(batch, key, key_bytes, value, bytes)
    return True


cdef inline bint take_records(
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


cdef inline bint take_page(Fetch *fetch, const redisReply *records) noexcept nogil:
    cdef leveldb_writebatch_t *batch = leveldb_writebatch_create()
    cdef bint good = (take_records(fetch, batch, records.str, records.len)
                      and database_write(fetch.database, batch, fetch.error))
    leveldb_writebatch_destroy(batch)
    fetch.bytes += records.len
    return good


cdef inline redisReply *ask_for_page(Fetch *fetch, redisContext *context, const redisReply *before) noexcept nogil:
    """The page after the one `before`, which is freed; NULL: it did not come."""
    cdef const redisReply *cursor = before.element[0] if before != NULL else NULL
    cdef redisReply *page = answer_to(fetch, context, redisCommand(
        context, "CHAIN.PAGE %lld %b", fetch.epoch, cursor.str if cursor != NULL else <char *>b"",
        cursor.len if cursor != NULL else <size_t>0))
    if before != NULL:
        freeReplyObject(<void *>before)
    if page != NULL and (page.type != REDIS_REPLY_ARRAY or page.elements != 2
                         or page.element[0].type != REDIS_REPLY_STRING
                         or page.element[1].type != REDIS_REPLY_STRING):
        unfetched(fetch, "the old tail is in another view by now")
        freeReplyObject(page)
        return NULL
    return page


cdef inline bint fetch_pages(Fetch *fetch, redisContext *context) noexcept nogil:
    cdef redisReply *page = NULL
    cdef bint more = True
    while more:
        page = ask_for_page(fetch, context, page)
        if page == NULL:
            return False
        more = page.element[0].len > 0
        if fetch.cancelled or fetch.database.stopping:
            more = not unfetched(fetch, "the join is off")
        if fetch.error[0] or not take_page(fetch, page.element[1]):
            freeReplyObject(page)
            return False
    freeReplyObject(page)
    return fetch.meta.found or unfetched(fetch, "it came without its meta record")


cdef inline void run_fetch(Job *job) noexcept nogil:
    cdef Fetch *fetch = <Fetch *>job
    cdef redisContext *context
    cdef timeval timeout
    timeout.tv_sec = PAGE_TIMEOUT_S
    timeout.tv_usec = 0
    if not database_clear(fetch.database, fetch.error):
        return
    context = redisConnectWithTimeout(fetch.tail.address, fetch.tail.port, timeout)
    if context == NULL:
        unfetched(fetch, "out of memory")
        return
    if context.err:
        unfetched(fetch, context.errstr)
    else:
        redisSetTimeout(context, timeout)
        fetch.good = log_in(fetch, context) and prove_each_other(fetch, context) and fetch_pages(fetch, context)
    redisFree(context)
    if fetch.good:
        meta_moved(fetch.database, &fetch.meta)


# ------------------------------------------------------------------------------------------ on the main thread

cdef inline Fetch *fetch_begin(Member *m, void (*done)(Job *) noexcept nogil) noexcept nogil:
    """From the tail whose learner this is; `done` is called in the end, and frees it. NULL: it cannot even begin."""
    cdef Fetch *fetch = <Fetch *>calloc(1, sizeof(Fetch))
    if fetch == NULL or not store_start(m):
        free(fetch)
        return NULL
    fetch.job.run = run_fetch
    fetch.job.done = done
    fetch.database = &m.checkpoint.database
    fetch.tail = chain_predecessor(&m.chain)[0]
    fetch.epoch = m.chain.view.epoch
    memcpy(fetch.secret, m.secret, SECRET_BYTES)
    memcpy(fetch.run_id, m.self.run_id, sizeof(fetch.run_id))
    draw_nonce(fetch.nonce)
    snprintf(fetch.user, CREDENTIAL_BYTES, "%s", RedisModule_StringPtrLen(m.settings.auth_user, NULL))
    snprintf(fetch.password, CREDENTIAL_BYTES, "%s", RedisModule_StringPtrLen(m.settings.auth_password, NULL))
    worker_put(&m.checkpoint.writer, &fetch.job)
    return fetch
