# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# A server that has started compares its checkpoint with the data that it has loaded, before it serves any client.
#
# The main thread blocks until the checkpoint is open, as it does while Redis loads data.

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy, memset

from modules.bindings.redismodule cimport (
    REDISMODULE_KEYTYPE_STRING, RedisModuleCtx, RedisModuleKey, RedisModuleScanCursor, RedisModuleString,
    RedisModule_KeyType, RedisModule_Log, RedisModule_Scan, RedisModule_ScanCursorCreate, RedisModule_ScanCursorDestroy,
    RedisModule_SelectDb,
)
from modules.core.checkpoint.record_format cimport Meta
from modules.core.checkpoint.recovery cimport (
    Loaded, RECOVERY_AHEAD, RECOVERY_ANEW, RECOVERY_BOTH, RECOVERY_LOST, Recovery, weigh_recovery,
)
from modules.core.durability cimport durability_restore
from modules.core.view cimport HISTORY_BYTES
from modules.member.checkpoint.memtable cimport take_both
from modules.member.checkpoint cimport (
    finished_take, keeps_checkpoint, store_exists, store_open, store_rename, track_end, track_resume,
)
from modules.member.keyspace cimport drop_data
from modules.member.membership cimport empty_log
from modules.member.persistence cimport marker_renames
from modules.member.state.checkpoint cimport Checkpoint, Job, STORE_FAILED, STORE_NONE, STORE_OPEN, STORE_OPENING
from modules.member.state.member cimport Member
from modules.server.position cimport Position, Record


# --------------------------------------------------------------------------------------------- the result

cdef void take_ahead(Member *m, const Meta *meta) noexcept nogil:
    """The checkpoint is newer than the loaded data: drop that data. All keys count as flushed."""
    RedisModule_Log(
        m.ctx, "warning", "the checkpoint goes up to sn %lld, and what was loaded only to %lld: the keys are in the "
        "checkpoint", <long long>meta.watermark, <long long>m.chain.applied)
    drop_memory(m)
    durability_restore(&m.chain, meta.history, meta.watermark, meta.boundaries, meta.boundary_count)
    m.disk.missing = False
    m.disk.record.durable = False
    m.disk.stale = True
    if track_resume(m):
        m.checkpoint.watermark = m.checkpoint.since = meta.watermark
        m.checkpoint.incomplete = True


cdef void drop_memory(Member *m) noexcept nogil:
    track_end(m)
    empty_log(m)
    drop_data(m)


cdef void lose(Member *m) noexcept nogil:
    """Flushed keys are lost. To other members this server has its history only up to sn -1.

    The loaded data stays in memory and is saved with its old position: the checkpoint may only be out of reach, and may
    be back at the next start.
    """
    cdef uint8_t history[HISTORY_BYTES]
    cdef const char *why = m.checkpoint.error
    cdef Position *position = <Position *>calloc(1, sizeof(Position))
    if not why[0]:
        why = "it is another one, or older"
    RedisModule_Log(
        m.ctx, "warning", "some of this member's keys were in its checkpoint alone, and that is lost or does not "
        "belong to what was loaded (%s): it serves nothing until MASTER.ADD has given it a copy", why)
    if position != NULL:
        snapshot_save(position)
    m.disk.unproven = position
    empty_log(m)
    memcpy(history, m.chain.history, HISTORY_BYTES)
    durability_restore(&m.chain, history, -1, m.chain.log.boundaries, 0)
    memset(&m.disk.record, 0, sizeof(Record))
    m.disk.missing = True


# ----------------------------------------------------------------------------------------------- the comparison

cdef void on_any(
    RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data,
) noexcept nogil:
    if key != NULL and RedisModule_KeyType(key) != REDISMODULE_KEYTYPE_STRING:
        (<bint *>data)[0] = True


cdef bint holds_others(Member *m) noexcept nogil:
    """Returns whether there are keys that are not strings. A checkpoint contains strings only."""
    cdef RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate()
    cdef bint found = False
    RedisModule_SelectDb(m.ctx, 0)
    while not found and RedisModule_Scan(m.ctx, cursor, on_any, &found):
        pass
    RedisModule_ScanCursorDestroy(cursor)
    return found


cdef void await_store(Checkpoint *c) noexcept nogil:
    """Block until the checkpoint has been opened, or has failed to open."""
    cdef Job *job
    while c.store == STORE_OPENING:
        job = finished_take(&c.finished, True)
        job.done(job)


cdef Recovery judge(Member *m) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    cdef Loaded loaded
    loaded.tracked = c.tracking
    loaded.watermark = c.since
    loaded.incomplete = c.incomplete or m.disk.missing
    loaded.others = c.others or holds_others(m)
    if c.store != STORE_OPEN:
        memset(&c.database.meta, 0, sizeof(Meta))
    elif marker_renames(m, c.database.meta.history, c.database.meta.watermark):
        store_rename(c, m.disk.marker.history)
    return weigh_recovery(&m.chain, &loaded, &c.database.meta)


cdef void recover(Member *m) noexcept nogil:
    """Bring the loaded data and the checkpoint together, if this server keeps a checkpoint or has one."""
    cdef Checkpoint *c = &m.checkpoint
    cdef Recovery recovery
    if not keeps_checkpoint(m) and not c.tracking and not store_exists(m):
        return
    store_open(m, False)
    await_store(c)
    recovery = judge(m)
    if recovery == RECOVERY_BOTH:
        take_both(c, c.database.meta.watermark)
    elif recovery == RECOVERY_AHEAD:
        take_ahead(m, &c.database.meta)
    elif recovery == RECOVERY_LOST and not m.disk.missing:
        lose(m)
    elif recovery == RECOVERY_ANEW:
        track_end(m)
        if c.store == STORE_FAILED:
            c.store = STORE_NONE
