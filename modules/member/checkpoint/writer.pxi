# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The main thread's part of a checkpoint. At some sequence number the memtable is frozen, and a new one takes the later
# updates. When the frozen table's updates are committed, the writer writes it.
#
# Data from before the tracking (`track_begin`) is listed first. Each of its values is replaced by a string that the
# keyspace and the table share. Both are done one slice in each pass.

from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strcmp

from modules.bindings.redismodule cimport (
    REDISMODULE_KEYTYPE_STRING, REDISMODULE_READ, REDISMODULE_WRITE, RedisModuleCtx, RedisModuleKey, RedisModuleString,
    RedisModule_CloseKey, RedisModule_CreateString, RedisModule_GetRandomBytes, RedisModule_KeyType, RedisModule_Log,
    RedisModule_OpenKey, RedisModule_Scan, RedisModule_ScanCursorCreate, RedisModule_ScanCursorDestroy,
    RedisModule_SelectDb, RedisModule_StringDMA, RedisModule_StringSet,
)
from modules.core.checkpoint.candidates cimport candidates_clear
from modules.core.checkpoint.memtable cimport (
    MEMTABLE_DELETED, MEMTABLE_LACKING, MEMTABLE_VALUE, Memtable, MemtableEntry, memtable_at, memtable_new,
)
from modules.core.checkpoint.record_format cimport NOTHING
from modules.core.invariant cimport INVARIANT
from modules.core.log cimport Boundary
from modules.core.view cimport HISTORY_BYTES
from modules.member.checkpoint.memtable cimport entry_assign, newest_update, track_failed, track_loaded, track_spend
from modules.member.keyspace.values cimport let_go
from modules.member.state.checkpoint cimport Checkpoint, Job, MODE_NORMAL, STORE_OPEN, TEXT_BYTES
from modules.member.state.member cimport Member, the_member
from modules.server.clock cimport monotonic_us


# ------------------------------------------------------------------------------------------------ tracking

cdef bint track_resume(Member *m) noexcept nogil:
    """Begin to track updates, with an empty memtable. Returns False without memory."""
    cdef Checkpoint *c = &m.checkpoint
    if not c.seed:
        RedisModule_GetRandomBytes(<unsigned char *>&c.seed, sizeof(uint64_t))
    c.memtable = memtable_new(c.seed, 0)
    c.tracking = c.memtable != NULL
    c.lacking_from = 0
    memcpy(c.history, m.chain.history, HISTORY_BYTES)
    if not c.tracking:
        track_failed(c)
    return c.tracking


cdef void track_loaded_data(Member *m) noexcept nogil:
    """Track the updates that follow the data that was just loaded. The table has no older keys, so a checkpoint counts
    only if its watermark is `applied` or higher.
    """
    if m.settings.gcs_mode != MODE_NORMAL and track_resume(m):
        m.checkpoint.since = m.chain.applied


cdef void track_begin(Member *m) noexcept nogil:
    """Track updates from now on, and list the keys that exist. The database is emptied, whatever it had."""
    cdef Checkpoint *c = &m.checkpoint
    if not track_resume(m):
        return
    c.incomplete = False
    c.others = False
    c.watermark = NOTHING
    c.since = m.chain.applied
    c.base = RedisModule_ScanCursorCreate()
    store_clear(c)


cdef void track_end(Member *m) noexcept nogil:
    """Stop tracking, because this member's data is dropped. A table that the writer is using is freed when it is done.
    """
    cdef Checkpoint *c = &m.checkpoint
    free(m.disk.unproven)
    m.disk.unproven = NULL
    c.incarnation += 1
    c.tracking = False
    c.incomplete = False
    track_spend(c, c.memtable)
    if not c.writing:
        track_spend(c, c.frozen)
    c.memtable = c.frozen = NULL
    candidates_clear(&c.candidates)
    c.watermark = NOTHING
    c.asked = NOTHING
    if c.base != NULL:
        RedisModule_ScanCursorDestroy(c.base)
        c.base = NULL


cdef void on_listed(
    RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data,
) noexcept nogil:
    cdef Member *m = <Member *>data
    if key != NULL and RedisModule_KeyType(key) != REDISMODULE_KEYTYPE_STRING:
        m.checkpoint.others = True
    elif m.checkpoint.tracking and newest_update(&m.checkpoint, name) == NULL:
        track_loaded(&m.checkpoint, name, m.chain.applied, False)


cdef bint list_slice(Member *m, int64_t until_us) noexcept nogil:
    """List one slice of the keys from before the tracking. Returns whether there are more."""
    cdef Checkpoint *c = &m.checkpoint
    RedisModule_SelectDb(m.ctx, 0)
    while RedisModule_Scan(m.ctx, c.base, on_listed, m):
        if monotonic_us() >= until_us:
            return True
    RedisModule_ScanCursorDestroy(c.base)
    c.base = NULL
    return False


cdef void share_value(Member *m, MemtableEntry *entry) noexcept nogil:
    """Put a value's copy under the key and into the table, so that both share it. A key without a value was deleted."""
    cdef RedisModuleString *name = RedisModule_CreateString(NULL, entry.bytes, entry.length)
    cdef RedisModuleKey *key = RedisModule_OpenKey(m.ctx, name, REDISMODULE_READ | REDISMODULE_WRITE)
    cdef RedisModuleString *value = NULL
    cdef size_t length
    cdef const char *bytes
    if RedisModule_KeyType(key) == REDISMODULE_KEYTYPE_STRING:
        bytes = RedisModule_StringDMA(key, &length, REDISMODULE_READ)
        value = RedisModule_CreateString(NULL, bytes, length)
        RedisModule_StringSet(key, value)
    RedisModule_CloseKey(key)
    let_go(name)
    entry_assign(m.checkpoint.memtable, entry, entry.sn, MEMTABLE_DELETED if value == NULL else MEMTABLE_VALUE, value)


cdef bint share_slice(Member *m, int64_t until_us) noexcept nogil:
    """Share one slice of the values that the table lacks. Returns whether it lacks more."""
    cdef Checkpoint *c = &m.checkpoint
    RedisModule_SelectDb(m.ctx, 0)
    while c.memtable.lacking:
        if memtable_at(c.memtable, c.lacking_from).kind == MEMTABLE_LACKING:
            share_value(m, memtable_at(c.memtable, c.lacking_from))
        c.lacking_from += 1
        if monotonic_us() >= until_us:
            return c.memtable.lacking != 0
    c.lacking_from = 0
    return False


# ---------------------------------------------------------------------------------------------- one checkpoint

cdef bint is_wanted(const Checkpoint *c) noexcept nogil:
    return c.tracking and c.asked > c.watermark


cdef void freeze(Member *m) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    c.frozen = c.memtable
    c.frozen_to = m.chain.applied
    c.memtable = memtable_new(c.seed, c.frozen.count)
    if c.memtable == NULL:
        c.memtable = c.frozen
        c.frozen = NULL
        track_failed(c)


cdef void name_boundaries(const Member *m, WriteJob *write) noexcept nogil:
    """Set the epoch boundaries of the updates in the checkpoint."""
    cdef const Boundary *boundaries = &m.chain.log.boundaries[0]
    cdef int count = 0
    while count < m.chain.log.boundary_count and boundaries[count].first_sn <= write.meta.watermark:
        write.meta.boundaries[count] = boundaries[count]
        count += 1
    write.meta.boundary_count = count


cdef void save_failed(Member *m, const char *why) noexcept nogil:
    """Note that a checkpoint failed. The same reason is logged once. The next attempt writes the frozen table again."""
    cdef Checkpoint *c = &m.checkpoint
    if strcmp(c.error, why) != 0:
        snprintf(c.error, TEXT_BYTES, "%s", why)
        RedisModule_Log(m.ctx, "warning", "no checkpoint: %s. Memory keeps everything", why)
    c.failures += 1
    c.asked = NOTHING


cdef void saved(Member *m, const WriteJob *write) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    INVARIANT(write.meta.watermark <= m.chain.committed, "rule 3: a checkpoint holds committed updates only")
    if c.error[0]:
        RedisModule_Log(m.ctx, "notice", "checkpoints succeed again")
        c.error[0] = 0
    c.watermark = c.since = write.meta.watermark
    c.checkpoints += 1
    c.records = write.meta.records
    track_spend(c, c.frozen)
    c.frozen = NULL
    if write.sweep_pays:
        sweep_if_due(c, write.meta.records, write.meta.swept)


cdef void done_write(Job *job) noexcept nogil:
    cdef WriteJob *write = <WriteJob *>job
    cdef Member *m = the_member()
    m.checkpoint.writing = False
    if write.table != m.checkpoint.frozen:
        track_spend(&m.checkpoint, <Memtable *>write.table)     # the table's data was dropped meanwhile
    elif write.good:
        saved(m, write)
    else:
        save_failed(m, write.error)
    free(write)


cdef void write_frozen(Member *m) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    cdef WriteJob *write = <WriteJob *>calloc(1, sizeof(WriteJob))
    if write == NULL:
        save_failed(m, "out of memory")
        return
    write.job.run = run_write
    write.job.done = done_write
    write.database = &c.database
    write.table = c.frozen
    write.before = c.watermark
    write.meta.found = True
    write.meta.after = max(c.watermark, -1)
    write.meta.watermark = c.frozen_to
    write.meta.others = c.others
    memcpy(write.meta.history, c.history, HISTORY_BYTES)
    name_boundaries(m, write)
    c.writing = True
    worker_put(&c.writer, &write.job)


cdef bint save_step(Member *m, int64_t until_us) noexcept nogil:
    """Do one slice of the checkpoint that is asked for. Returns whether the next pass has more to do."""
    cdef Checkpoint *c = &m.checkpoint
    if c.base != NULL:
        return list_slice(m, until_us)
    if not is_wanted(c) or c.writing:
        return False
    if c.frozen == NULL:
        if share_slice(m, until_us):
            return True
        freeze(m)
    if c.frozen != NULL and c.store == STORE_OPEN and m.chain.committed >= c.frozen_to:
        write_frozen(m)
    return False
