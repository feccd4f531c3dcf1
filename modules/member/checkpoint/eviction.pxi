# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Eviction: keys leave memory whose newest update is in this member's checkpoint. A scan finds them, one slice in each
# pass.
#
# Keys are evicted only here, in the before-sleep event. Code that has found a key in memory may rely on it until the
# event loop sleeps.

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from modules.bindings.redismodule cimport (
    REDISMODULE_KEYTYPE_STRING, REDISMODULE_READ, REDISMODULE_WRITE, RedisModuleCtx, RedisModuleKey, RedisModuleString,
    RedisModule_CloseKey, RedisModule_KeyType, RedisModule_OpenKey, RedisModule_Scan, RedisModule_ScanCursorCreate,
    RedisModule_ScanCursorDestroy, RedisModule_SelectDb, RedisModule_UnlinkKey, RedisModule_ValueLength,
)
from modules.core.checkpoint.record_format cimport NOTHING
from modules.core.invariant cimport INVARIANT
from modules.member.checkpoint.memtable cimport newest_update
from modules.member.keyspace.values cimport keep, let_go, string_length
from modules.member.state.checkpoint cimport Checkpoint, Flush, MODE_CHECKPOINT_FLUSH, MODE_FLUSH_UNSAFE, STORE_OPEN
from modules.member.state.member cimport Member, the_member
from modules.member.state.waiter cimport Waiter
from modules.server.clock cimport monotonic_us

cdef enum:
    # keys collected in one step of the scan; further keys of the same hash bucket wait for the next scan
    FOUND_AT_ONCE = 128
    KEY_OVERHEAD = 96           # estimated bytes that a key costs in memory, besides its name and value


cdef struct Found:
    int count
    RedisModuleString *names[FOUND_AT_ONCE]


cdef bint may_flush(const Member *m) noexcept nogil:
    """Returns whether keys may be evicted now."""
    cdef const Checkpoint *c = &m.checkpoint
    if not c.tracking and not c.incomplete:
        return m.settings.gcs_mode == MODE_FLUSH_UNSAFE
    return (m.settings.gcs_mode >= MODE_CHECKPOINT_FLUSH and c.tracking and c.store == STORE_OPEN
            and not c.error[0] and c.watermark != NOTHING and m.chain.applied >= c.watermark)


cdef void on_scanned(
    RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data,
) noexcept nogil:
    """Collect the name of a key that may be evicted. Redis has the key open here, so it cannot be deleted yet."""
    cdef Found *found = <Found *>data
    cdef const Checkpoint *c = &the_member().checkpoint
    if key == NULL or RedisModule_KeyType(key) != REDISMODULE_KEYTYPE_STRING or found.count == FOUND_AT_ONCE:
        return
    if not c.tracking or newest_update(c, name) == NULL:
        found.names[found.count] = keep(name)
        found.count += 1


cdef void evict(Member *m, RedisModuleString *name) noexcept nogil:
    cdef RedisModuleKey *key = RedisModule_OpenKey(m.ctx, name, REDISMODULE_READ | REDISMODULE_WRITE)
    # A learner's checkpoint may be ahead of its memory for a while: the old tail went on writing while it was copied.
    INVARIANT(
        not m.checkpoint.tracking or m.checkpoint.watermark <= m.chain.applied,
        "rule 3: keys leave memory only when all that the checkpoint has is applied")
    m.checkpoint.flush.bytes += RedisModule_ValueLength(key) + string_length(name) + KEY_OVERHEAD
    RedisModule_UnlinkKey(key)
    RedisModule_CloseKey(key)
    m.checkpoint.flush.evicted += 1
    m.checkpoint.flushed_keys += 1
    m.checkpoint.incomplete = m.checkpoint.incomplete or m.checkpoint.tracking


cdef bint is_enough(const Flush *flush) noexcept nogil:
    return flush.evicted >= flush.most or (flush.goal and flush.bytes >= flush.goal)


cdef bint flush_some(Member *m) noexcept nogil:
    """Evict the keys of one step of the scan. Returns False at the end of the scan, or if enough keys were evicted."""
    cdef Flush *flush = &m.checkpoint.flush
    cdef Found found
    cdef bint more
    cdef int i
    found.count = 0
    more = RedisModule_Scan(m.ctx, flush.cursor, on_scanned, &found) != 0
    for i in range(found.count):
        if not is_enough(flush):
            evict(m, found.names[i])
        let_go(found.names[i])
    return more and not is_enough(flush)


cdef void flush_begin(Member *m, uint64_t most, uint64_t goal, Waiter *waiter) noexcept nogil:
    """Begin an eviction of at most `most` keys, or `goal` bytes of memory (0: no limit). waiter: the client of a
    HEAD.FLUSH, or NULL.
    """
    cdef Flush *flush = &m.checkpoint.flush
    memset(flush, 0, sizeof(Flush))
    flush.most = most
    flush.goal = goal
    flush.waiter = waiter
    flush.cursor = RedisModule_ScanCursorCreate()


cdef bint flush_slice(Member *m, int64_t until_us) noexcept nogil:
    """Evict until `until_us`. Returns whether there is more to do; if not, `flush.cursor` is NULL."""
    cdef Flush *flush = &m.checkpoint.flush
    cdef bint more = may_flush(m)
    RedisModule_SelectDb(m.ctx, 0)
    while more:
        more = flush_some(m)
        if more and monotonic_us() >= until_us:
            return True
    if not is_enough(flush):
        m.checkpoint.flushed_at = m.checkpoint.watermark
    RedisModule_ScanCursorDestroy(flush.cursor)
    flush.cursor = NULL
    return False
