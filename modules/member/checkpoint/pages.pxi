# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Pages of the checkpoint: for people (LIST.CHECKPOINT), and for a learner that copies it (CHAIN.PAGE).
#
#     page = record key length, value length (32 bits each, big-endian), record key, value; …
#
# The records are those of the database: the newest record of each key that has a value, which is in the record here,
# wherever the database has it. All pages of a learner are from one snapshot, which exists as long as the learner's
# connection. A learner's last page also has the meta record.

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from modules.bindings.leveldb cimport (
    leveldb_create_snapshot, leveldb_iter_next, leveldb_iter_seek, leveldb_iterator_t, leveldb_release_snapshot,
    leveldb_snapshot_t,
)
from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.core.checkpoint.record_format cimport (
    FORMAT_INLINE, META_BYTES, META_KEY_BYTES, Meta, NOTHING, RECORD_APART, RECORD_DAMAGED, RECORD_DELETED, RecordKind,
    is_record, meta_key, of_same_key, put_big_endian, record_kind, record_sn,
)
from modules.core.checkpoint.value_place cimport ValuePlace, get_place
from modules.member.replies cimport tell
from modules.member.state.checkpoint cimport Checkpoint, Database, Job, MAX_SESSIONS, Session
from modules.member.state.member cimport the_member
from modules.member.state.waiter cimport Waiter

cdef enum:
    PAGE_BYTES = 1024 * 1024    # a longer record has a page of its own
    PAGE_STEPS = 20000          # records read for one page, superseded records included


cdef void page_free(Page *page) noexcept nogil:
    free(page.cursor.bytes)
    free(page.records.bytes)
    free(page.newest.bytes)
    free(page)


# --------------------------------------------------------------------------------------------------- sessions

cdef Session *find_session(Database *d, unsigned long long client) noexcept nogil:
    cdef int i
    for i in range(MAX_SESSIONS):
        if d.sessions[i].client == client:
            return &d.sessions[i]
    return NULL


cdef void end_session(Database *d, unsigned long long client) noexcept nogil:
    cdef Session *session = find_session(d, client)
    if session != NULL and client:
        leveldb_release_snapshot(d.db, session.snapshot)
        session.client = 0


cdef bint page_snapshot(Page *page, const leveldb_snapshot_t **out) noexcept nogil:
    """Get the snapshot for the page; a learner's first page takes it. Returns False if the snapshot is gone, or if
    there is no free session.
    """
    cdef Database *d = page.database
    cdef Session *session
    out[0] = NULL
    if not page.session:
        return True
    if page.cursor.length == 0:
        end_session(d, page.session)
        session = find_session(d, 0)
        if session != NULL:
            session.client = page.session
            session.snapshot = leveldb_create_snapshot(d.db)
    session = find_session(d, page.session)
    if session != NULL:
        out[0] = session.snapshot
    return session != NULL or damaged(page.error, "what was being copied has been replaced")


# ----------------------------------------------------------------------------------------------------- pages

cdef char *page_add(Page *page, const char *key, size_t key_bytes, size_t value_bytes) noexcept nogil:
    """Add a record without its value. Returns where the value goes; NULL: no memory."""
    cdef Buffer *records = &page.records
    cdef char *record
    if not buffer_room(records, 8 + key_bytes + value_bytes):
        damaged(page.error, "no memory for a page of it")
        return NULL
    record = &records.bytes[records.length]
    put_big_endian(record, key_bytes, 4)
    put_big_endian(&record[4], value_bytes, 4)
    memcpy(&record[8], key, key_bytes)
    records.length += 8 + key_bytes + value_bytes
    page.count += 1
    return &record[8 + key_bytes]


cdef size_t whole_bytes(const Row *row, RecordKind kind) noexcept nogil:
    """Returns how many bytes the record's value has in a page."""
    cdef ValuePlace place
    if kind != RECORD_APART:
        return row.value_bytes
    get_place(row.value, &place)
    return 1 + <size_t>place.length


cdef bint page_put(Page *page, const Row *row, RecordKind kind) noexcept nogil:
    cdef char *value = page_add(page, row.key, row.key_bytes, whole_bytes(row, kind))
    cdef ValuePlace place
    if value == NULL:
        return False
    if kind != RECORD_APART:
        memcpy(value, row.value, row.value_bytes)
        return True
    get_place(row.value, &place)
    value[0] = c"v"
    return value_read(page.database, &page.database.read, &place, &value[1], page.error)


cdef bint set_cursor(Page *page, const char *key, size_t key_bytes) noexcept nogil:
    """Set the record key at which the page begins. Returns False without memory."""
    return buffer_set(&page.cursor, key, key_bytes) or damaged(page.error, "no memory for a page of it")


cdef bint is_full(const Page *page, int64_t steps, size_t more) noexcept nogil:
    return (page.count >= page.most or steps >= PAGE_STEPS
            or (page.records.length and page.records.length + more > PAGE_BYTES))


cdef bint is_current(const Page *page, const Row *row, int64_t watermark) noexcept nogil:
    """Returns whether the record is the newest of its key up to the watermark."""
    return (record_sn(row.key, row.key_bytes) <= watermark
            and not of_same_key(row.key, row.key_bytes, page.newest.bytes, page.newest.length))


cdef bint fill_page(Page *page, leveldb_iterator_t *iterator, int64_t watermark) noexcept nogil:
    """Add records from the iterator's position on. Sets the cursor to the first record of the next page, or to empty at
    the end. Returns False on an error.
    """
    cdef int64_t steps = 0
    cdef Row row
    cdef RecordKind kind
    while row_at(iterator, &row):
        kind = record_kind(row.value, row.value_bytes)
        if not is_record(row.key, row.key_bytes) or kind == RECORD_DAMAGED:
            return damaged(page.error, "a record is none")
        steps += 1
        if is_current(page, &row, watermark):
            if is_full(page, steps, row.key_bytes + whole_bytes(&row, kind)):
                return set_cursor(page, row.key, row.key_bytes)
            if not buffer_set(&page.newest, row.key, row.key_bytes):
                return damaged(page.error, "no memory for a page of it")
            if kind != RECORD_DELETED and not page_put(page, &row, kind):
                return False
        leveldb_iter_next(iterator)
    page.cursor.length = 0
    return True


cdef bint seek_meta(Page *page, leveldb_iterator_t *iterator, Row *out) noexcept nogil:
    """Move the iterator to the meta record. Returns False if there is none."""
    leveldb_iter_seek(iterator, meta_key(), META_KEY_BYTES)
    if (not row_at(iterator, out) or out.key_bytes != META_KEY_BYTES
            or memcmp(out.key, meta_key(), META_KEY_BYTES) != 0):
        return damaged(page.error, "it has no meta record")
    return True


cdef bint put_last(Page *page, Meta *meta) noexcept nogil:
    """Add the meta record to a learner's last page, as one of records that have their values in them."""
    cdef char *text
    cdef char *value
    cdef size_t length
    if not page.session or page.cursor.length:
        return True
    text = <char *>malloc(META_BYTES)
    if text == NULL:
        return damaged(page.error, "no memory for a page of it")
    meta.format = FORMAT_INLINE
    length = print_meta(meta, text)
    value = page_add(page, meta_key(), META_KEY_BYTES, length)
    if value != NULL:
        memcpy(value, text, length)
    free(text)
    return value != NULL


cdef bint make_page(Page *page) noexcept nogil:
    cdef const leveldb_snapshot_t *snapshot
    cdef leveldb_iterator_t *iterator
    cdef Meta *meta
    cdef Row row
    cdef bint good
    if not page_snapshot(page, &snapshot):
        return False
    meta = <Meta *>malloc(sizeof(Meta))
    if meta == NULL:
        return damaged(page.error, "no memory for a page of it")
    iterator = database_scan(page.database, snapshot, False)
    good = seek_meta(page, iterator, &row) and parse_meta(row.value, row.value_bytes, meta, page.error)
    if good:
        if page.cursor.length:
            leveldb_iter_seek(iterator, page.cursor.bytes, page.cursor.length)
        else:
            leveldb_iter_seek(iterator, b"\x01", 1)
        good = fill_page(page, iterator, meta.watermark) and put_last(page, meta)
    free(meta)
    if not page.cursor.length:
        end_session(page.database, page.session)
    return scan_ended(iterator, page.error) and good


cdef void run_page(Job *job) noexcept nogil:
    cdef Page *page = <Page *>job
    cdef Database *d = page.database
    pthread_mutex_lock(&d.mutex)
    if d.db == NULL:
        damaged(page.error, "it is not open")
    elif d.watermark == NOTHING:
        page.good = not page.session or damaged(page.error, "it has no data yet")
        page.cursor.length = 0
    else:
        page.good = make_page(page)
    pthread_mutex_unlock(&d.mutex)


# ------------------------------------------------------------------------------------------- on the main thread

cdef void done_page(Job *job) noexcept nogil:
    cdef Page *page = <Page *>job
    if not tell(the_member(), page.waiter, page):
        page_free(page)


cdef Page *page_new(Checkpoint *c, unsigned long long session, uint64_t most) noexcept nogil:
    """Returns a new page for the caller to give a cursor and pass to `page_start` or `page_free`. NULL: no memory."""
    cdef Page *page = <Page *>calloc(1, sizeof(Page))
    if page != NULL:
        page.database = &c.database
        page.session = session
        page.most = most
        page.job.run = run_page
        page.job.done = done_page
    return page


cdef void page_start(Checkpoint *c, Page *page, Waiter *waiter) noexcept nogil:
    """Let the reader fill the page for a client that waits with WAIT_WORKER. The page becomes the client's answer."""
    page.waiter = waiter
    worker_put(&c.reader, &page.job)


# ------------------------------------------------------------------------------------- a learner that disconnects

cdef struct Leaving:
    Job job
    Database *database
    unsigned long long client


cdef void run_leaving(Job *job) noexcept nogil:
    cdef Leaving *leaving = <Leaving *>job
    pthread_mutex_lock(&leaving.database.mutex)
    end_session(leaving.database, leaving.client)
    pthread_mutex_unlock(&leaving.database.mutex)


cdef void done_leaving(Job *job) noexcept nogil:
    free(job)


cdef void session_left(Checkpoint *c, unsigned long long client) noexcept nogil:
    """End the session of a connection that was closed. The connection may have had no session."""
    cdef Leaving *leaving
    if not c.reader.running:
        return
    leaving = <Leaving *>calloc(1, sizeof(Leaving))
    if leaving == NULL:
        return
    leaving.job.run = run_leaving
    leaving.job.done = done_leaving
    leaving.database = &c.database
    leaving.client = client
    worker_put(&c.reader, &leaving.job)
