# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# READ of a key that is not in memory: the reader thread looks the key up in the checkpoint.
#
# The answer is the newest value up to a watermark that the checkpoint had while the client waited. So the value was the
# newest committed one at some moment of the READ: an update that the checkpoint lacked when the READ arrived would have
# been found in memory, and an update that the checkpoint got later was committed during the READ. This holds whatever
# becomes of this member before the answer is sent, with one exception: if its data is dropped, the checkpoint may
# become another chain's. `incarnation` detects that.
#
# Where memory has a limit, the value also comes back into memory: what is read now will be read again. The next
# eviction makes room for it.

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp

from modules.bindings.leveldb cimport leveldb_iter_next, leveldb_iter_seek, leveldb_iterator_t
from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.bindings.redismodule cimport (
    REDISMODULE_KEYTYPE_EMPTY, REDISMODULE_READ, REDISMODULE_WRITE, RedisModuleKey, RedisModuleString,
    RedisModule_CloseKey, RedisModule_KeyType, RedisModule_OpenKey, RedisModule_SelectDb, RedisModule_StringPtrLen,
)
from modules.core.checkpoint.record_format cimport (
    NOTHING, RECORD_APART, RECORD_DAMAGED, RECORD_VALUE, RecordKind, VERSION_BYTES, record_key_room, record_kind,
    record_prefix, record_sn,
)
from modules.core.checkpoint.value_place cimport ValuePlace, get_place
from modules.member.checkpoint.memtable cimport newest_update
from modules.member.keyspace.values cimport keep, let_go, set_value
from modules.member.replies cimport (
    OUTCOME_NIL, answer_error, answer_free, answer_outcome, answer_value, tell, value_in,
)
from modules.member.state.checkpoint cimport Checkpoint, Database, Job, TEXT_BYTES
from modules.member.state.member cimport Member, the_member
from modules.member.state.waiter cimport Waiter


cdef void lookup_free(Lookup *lookup) noexcept nogil:
    let_go(lookup.key)
    free(lookup.prefix)
    free(lookup)


# ------------------------------------------------------------------------------------------ on the reader's thread

cdef bint is_of(const Lookup *lookup, const Row *row) noexcept nogil:
    """Returns whether the record is one of the key."""
    return (row.key_bytes == lookup.prefix_bytes + VERSION_BYTES
            and memcmp(row.key, lookup.prefix, lookup.prefix_bytes) == 0)


cdef bint take_value_apart(Lookup *lookup, Database *d, const Row *row) noexcept nogil:
    cdef ValuePlace place
    cdef char *bytes
    get_place(row.value, &place)
    bytes = <char *>malloc(<size_t>place.length + 1)
    if bytes == NULL:
        return damaged(lookup.error, "no memory for a value of it")
    if value_read(d, &d.read, &place, bytes, lookup.error):
        lookup.answer = answer_value(bytes, place.length)
    free(bytes)
    return lookup.answer != NULL


cdef bint take_value(Lookup *lookup, Database *d, const Row *row) noexcept nogil:
    cdef RecordKind kind = record_kind(row.value, row.value_bytes)
    if kind == RECORD_APART:
        return take_value_apart(lookup, d, row)
    if kind == RECORD_VALUE:
        lookup.answer = answer_value(row.value + 1, row.value_bytes - 1)
    return kind != RECORD_DAMAGED or damaged(lookup.error, "a record is none")


cdef bint look_up(Lookup *lookup, Database *d) noexcept nogil:
    """Find the newest record of the key up to the watermark. Returns False on an error.

    The watermark is read after the iterator was made: compaction keeps the newest record up to the watermark, so the
    iterator has it.
    """
    cdef leveldb_iterator_t *iterator = database_scan(d, NULL, True)
    cdef int64_t watermark = d.watermark
    cdef Row row
    cdef bint good = True
    leveldb_iter_seek(iterator, lookup.prefix, lookup.prefix_bytes)
    while row_at(iterator, &row) and is_of(lookup, &row):
        if record_sn(row.key, row.key_bytes) <= watermark:
            good = take_value(lookup, d, &row)
            break
        leveldb_iter_next(iterator)
    return scan_ended(iterator, lookup.error) and good


cdef void run_lookup(Job *job) noexcept nogil:
    cdef Lookup *lookup = <Lookup *>job
    cdef Database *d = lookup.database
    cdef bint good = False
    pthread_mutex_lock(&d.mutex)
    if d.db == NULL or d.watermark == NOTHING:
        damaged(lookup.error, "it is not open")
    else:
        good = look_up(lookup, d)
    pthread_mutex_unlock(&d.mutex)
    if not good:
        answer_free(NULL, lookup.answer)
        lookup.answer = NULL
    elif lookup.answer == NULL:
        lookup.answer = answer_outcome(OUTCOME_NIL)


# ------------------------------------------------------------------------------------------- on the main thread

cdef void *failed_answer(const Lookup *lookup) noexcept nogil:
    cdef char text[TEXT_BYTES + 64]
    snprintf(text, sizeof(text), "ERR the checkpoint, where that key may be, cannot be read: %s", &lookup.error[0])
    return answer_error(text)


cdef bint may_recall(const Member *m, const Lookup *lookup) noexcept nogil:
    """Returns whether what was found may come back into memory: it is the newest update that was applied.

    An update since the READ is in a memtable, or it is in the checkpoint by now, whose watermark has moved then.
    """
    cdef const Checkpoint *c = &m.checkpoint
    return (m.settings.flush_above != 0 and may_flush(m) and not c.full and lookup.watermark == c.watermark
            and newest_update(c, lookup.key) == NULL)


cdef void recall(Member *m, const Lookup *lookup) noexcept nogil:
    """Bring the value that was found back into memory, unless another READ has done so."""
    cdef size_t length
    cdef const char *value = value_in(lookup.answer, &length)
    cdef RedisModuleKey *key
    if value == NULL or not may_recall(m, lookup):
        return
    RedisModule_SelectDb(m.ctx, 0)
    key = RedisModule_OpenKey(m.ctx, lookup.key, REDISMODULE_READ | REDISMODULE_WRITE)
    if RedisModule_KeyType(key) == REDISMODULE_KEYTYPE_EMPTY:
        set_value(key, NULL, value, length, NULL, 0)
        m.checkpoint.recalled_keys += 1
        m.checkpoint.flushed_at = NOTHING
    RedisModule_CloseKey(key)


cdef void done_lookup(Job *job) noexcept nogil:
    cdef Lookup *lookup = <Lookup *>job
    cdef Member *m = the_member()
    if lookup.incarnation != m.checkpoint.incarnation:
        answer_free(NULL, lookup.answer)
        lookup.answer = answer_error("ERR this member's data was replaced meanwhile: READ it again")
    elif lookup.answer == NULL:
        lookup.answer = failed_answer(lookup)
    else:
        m.clients.reads_served += 1
        recall(m, lookup)
    if not tell(m, lookup.waiter, lookup.answer):
        answer_free(NULL, lookup.answer)
    lookup_free(lookup)


cdef Lookup *lookup_new(Checkpoint *c, RedisModuleString *key) noexcept nogil:
    """Returns a lookup for `lookup_start` or `lookup_free`. NULL: no memory, or the reader thread does not run."""
    cdef Lookup *lookup = <Lookup *>calloc(1, sizeof(Lookup)) if c.reader.running else NULL
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(key, &length)
    if lookup == NULL:
        return NULL
    lookup.prefix = <char *>malloc(record_key_room(length))
    if lookup.prefix == NULL:
        free(lookup)
        return NULL
    lookup.prefix_bytes = record_prefix(lookup.prefix, bytes, length)
    lookup.database = &c.database
    lookup.key = keep(key)
    lookup.incarnation = c.incarnation
    lookup.watermark = c.watermark
    lookup.job.run = run_lookup
    lookup.job.done = done_lookup
    return lookup


cdef void lookup_start(Checkpoint *c, Lookup *lookup, Waiter *waiter) noexcept nogil:
    """Let the reader look the key up for a client that waits with WAIT_WORKER."""
    lookup.waiter = waiter
    c.lookups += 1
    worker_put(&c.reader, &lookup.job)
