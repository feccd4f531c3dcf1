# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# A learner copies the old tail's checkpoint. Its writer thread asks for one page after another, and blocks until each
# arrives or the join is cancelled.
#
# The learner has copied a snapshot of the tail's memory before. A key that the tail evicted after that snapshot is in
# the snapshot. A key that the tail evicted before is in the checkpoint. The pages go into an empty database. Its meta
# record is written last, so an incomplete copy is not taken for a checkpoint.

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from modules.bindings.hiredis cimport (
    REDIS_REPLY_ARRAY, REDIS_REPLY_STRING, freeReplyObject, redisAppendCommand, redisContext, redisFree, redisReply,
)
from modules.bindings.leveldb cimport (
    leveldb_writebatch_create, leveldb_writebatch_destroy, leveldb_writebatch_put, leveldb_writebatch_t,
)
from modules.core.chain cimport chain_predecessor
from modules.core.checkpoint.record_format cimport (
    APART_RECORD_BYTES, FORMAT_APART, FORMAT_INLINE, META_KEY_BYTES, RECORD_VALUE, get_big_endian, is_record, meta_key,
    record_kind,
)
from modules.member.state.checkpoint cimport Database, Job
from modules.member.state.member cimport Member
from modules.server.proven_connection cimport (
    ask, call_fails, call_peer, caller_cancel, caller_free, caller_init,
)


# ----------------------------------------------------------------------------------------------------- pages

cdef bint take_last(Fetch *fetch, leveldb_writebatch_t *batch, const char *text, size_t bytes) noexcept nogil:
    """Take the meta record. It counts all values that were copied."""
    cdef Database *d = fetch.database
    if not parse_meta(text, bytes, &fetch.meta, fetch.caller.error):
        return False
    if fetch.meta.format != FORMAT_INLINE:
        return call_fails(&fetch.caller, "its values do not come with it")
    if d.values.number:
        fetch.meta.format = FORMAT_APART
    if not put_files(d, batch, fetch.caller.error):
        return False
    return put_meta(batch, &fetch.meta) or call_fails(&fetch.caller, "no memory for its meta record")


cdef bint take_record(
    Fetch *fetch, leveldb_writebatch_t *batch, const char *key, size_t key_bytes, const char *value, size_t bytes,
) noexcept nogil:
    """Take a record whose value is in it. Here it may be apart: the page is kept until the batch is written."""
    cdef char record[APART_RECORD_BYTES]
    if not is_record(key, key_bytes) or record_kind(value, bytes) != RECORD_VALUE:
        return call_fails(&fetch.caller, "a page of it is none")
    if not is_apart(bytes - 1):
        leveldb_writebatch_put(batch, key, key_bytes, value, bytes)
        return True
    if not value_append(fetch.database, value + 1, bytes - 1, record, fetch.caller.error):
        return False
    leveldb_writebatch_put(batch, key, key_bytes, record, APART_RECORD_BYTES)
    return True


cdef bint take_row(
    Fetch *fetch, leveldb_writebatch_t *batch, const char *key, size_t key_bytes, const char *value, size_t bytes,
) noexcept nogil:
    if key_bytes == META_KEY_BYTES and memcmp(key, meta_key(), META_KEY_BYTES) == 0:
        return take_last(fetch, batch, value, bytes)
    return take_record(fetch, batch, key, key_bytes, value, bytes)


cdef bint take_records(
    Fetch *fetch, leveldb_writebatch_t *batch, const char *at, size_t length,
) noexcept nogil:
    cdef uint64_t key_bytes
    cdef uint64_t value_bytes
    while length:
        if length < 8:
            return call_fails(&fetch.caller, "a page of it is none")
        key_bytes = get_big_endian(at, 4)
        value_bytes = get_big_endian(at + 4, 4)
        if length - 8 < key_bytes + value_bytes:
            return call_fails(&fetch.caller, "a page of it is none")
        if not take_row(fetch, batch, at + 8, key_bytes, at + 8 + key_bytes, value_bytes):
            return False
        at += 8 + key_bytes + value_bytes
        length -= 8 + key_bytes + value_bytes
    return True


cdef bint take_page(Fetch *fetch, const redisReply *records) noexcept nogil:
    cdef leveldb_writebatch_t *batch = leveldb_writebatch_create()
    cdef bint good = (take_records(fetch, batch, records.str, records.len)
                      and database_write(fetch.database, batch, fetch.caller.error))
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
    page = ask(&fetch.caller, context)
    if page != NULL and (page.type != REDIS_REPLY_ARRAY or page.elements != 2
                         or page.element[0].type != REDIS_REPLY_STRING
                         or page.element[1].type != REDIS_REPLY_STRING):
        call_fails(&fetch.caller, "the old tail is in another view by now")
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
    return fetch.meta.found or call_fails(&fetch.caller, "it came without its meta record")


cdef void run_fetch(Job *job) noexcept nogil:
    cdef Fetch *fetch = <Fetch *>job
    cdef redisContext *context
    if not database_clear(fetch.database, fetch.caller.error):
        return
    fetch.database.counted = False      # nobody counts what comes
    context = call_peer(&fetch.caller, False)
    if context == NULL:
        return
    fetch.good = fetch_pages(fetch, context)
    redisFree(context)
    if fetch.good:
        meta_moved(fetch.database, &fetch.meta)
    else:
        database_spoil(fetch.database)      # values of a page that is gone may be pending


# ------------------------------------------------------------------------------------------ on the main thread

cdef void fetch_free(Fetch *fetch) noexcept nogil:
    caller_free(&fetch.caller)
    free(fetch)


cdef void fetch_cancel(Fetch *fetch) noexcept nogil:
    """Stop the writer's wait for the tail. `done` is called as always."""
    caller_cancel(&fetch.caller)


cdef Fetch *fetch_begin(Member *m, void (*done)(Job *) noexcept nogil) noexcept nogil:
    """Begin to copy from the tail whose learner this member is. Returns NULL if that fails.

    `done` is called on the main thread at the end, and must call `fetch_free`.
    """
    cdef Fetch *fetch = <Fetch *>calloc(1, sizeof(Fetch))
    if fetch == NULL:
        return NULL
    if not caller_init(
            &fetch.caller, chain_predecessor(&m.chain), m.replication.secret, m.self.run_id, m.settings.auth_user,
            m.settings.auth_password.value.text, &m.tls, m.ctx) or not store_start(m):
        fetch_free(fetch)
        return NULL
    fetch.job.run = run_fetch
    fetch.job.done = done
    fetch.database = &m.checkpoint.database
    fetch.epoch = m.chain.view.epoch
    worker_put(&m.checkpoint.writer, &fetch.job)
    return fetch
