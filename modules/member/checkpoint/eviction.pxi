# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Eviction: keys leave memory whose newest update is in this member's checkpoint. A scan finds them, one slice in each
# pass. Each eviction goes on where the last one has ended, like the hand of a clock.
#
# At the tail a key that was used lately stays when its turn comes: what is read and written again remains in memory.
# Which keys that are is decided by the time that Redis keeps with each value: a quarter of the keys met have a shorter
# one. To other members no READ comes: a look at a key that stays would cost more than it brings.
#
# Keys are evicted only here, in the before-sleep event. Code that has found a key in memory may rely on it until the
# event loop sleeps.

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memset

from modules.bindings.redismodule cimport (
    REDISMODULE_KEYTYPE_STRING, REDISMODULE_READ, REDISMODULE_WRITE, RedisModuleCtx, RedisModuleKey, RedisModuleString,
    RedisModule_CloseKey, RedisModule_GetLRU, RedisModule_KeyType, RedisModule_OpenKey, RedisModule_Scan,
    RedisModule_ScanCursorCreate, RedisModule_ScanCursorRestart, RedisModule_SelectDb, RedisModule_UnlinkKey,
    RedisModule_ValueLength,
)
from modules.core.chain cimport chain_is_tail
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
    # of the typical idle time, for each key that leaves: it follows idle times of all sizes within some hundred keys
    LEAST_STEP_MS = 4
    STEP_BITS = 7
    LEAVING = 3                 # keys that leave for each one that is spared, which has cost a look for nothing


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


cdef bint is_spared(Checkpoint *c, RedisModuleKey *key) noexcept nogil:
    """Returns whether the key stays because it was used lately. Its idle time moves the typical one towards itself.

    With a maxmemory-policy of the kind LFU, Redis keeps no idle time: the order is then that of the scan.
    """
    cdef int64_t step = LEAST_STEP_MS + (max(c.typical_idle_ms, <int64_t>0) >> STEP_BITS)
    cdef long long idle_ms = -1
    RedisModule_GetLRU(key, &idle_ms)
    if idle_ms < 0:
        return False
    if idle_ms >= c.typical_idle_ms:
        c.typical_idle_ms += step
        return False
    c.typical_idle_ms = max(c.typical_idle_ms - LEAVING * step, <int64_t>-LEAVING * LEAST_STEP_MS)
    c.flush.spared = True
    return True


cdef void on_scanned(
    RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data,
) noexcept nogil:
    """Collect the name of a key that may be evicted. Redis has the key open here, so it cannot be deleted yet."""
    cdef Found *found = <Found *>data
    cdef Checkpoint *c = &the_member().checkpoint
    if key == NULL or RedisModule_KeyType(key) != REDISMODULE_KEYTYPE_STRING or found.count == FOUND_AT_ONCE:
        return
    if not (c.flush.sparing and is_spared(c, key)) and (not c.tracking or newest_update(c, name) == NULL):
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


cdef bint is_over(const Flush *flush) noexcept nogil:
    return flush.ends == 0 or is_enough(flush)


cdef void came_to_end(Checkpoint *c) noexcept nogil:
    """Let the scan begin anew at the end of the keyspace: once more for what was spared, if nothing else is left."""
    cdef Flush *flush = &c.flush
    RedisModule_ScanCursorRestart(c.hand)
    flush.ends -= 1
    if flush.ends == 0 and flush.spared:
        flush.sparing = flush.spared = False
        flush.ends = 1


cdef bint flush_some(Member *m) noexcept nogil:
    """Evict the keys of one step of the scan. Returns whether there is more to do."""
    cdef Flush *flush = &m.checkpoint.flush
    cdef Found found
    cdef int i
    found.count = 0
    if not RedisModule_Scan(m.ctx, m.checkpoint.hand, on_scanned, &found):
        came_to_end(&m.checkpoint)
    for i in range(found.count):
        if not is_enough(flush):
            evict(m, found.names[i])
        let_go(found.names[i])
    return not is_over(flush)


cdef void flush_begin(Member *m, uint64_t most, uint64_t goal, Waiter *waiter) noexcept nogil:
    """Begin an eviction of at most `most` keys, or `goal` bytes of memory (0: no limit). waiter: the client of a
    HEAD.FLUSH, or NULL.

    With a limit the scan goes from the hand to the end, and then from the beginning to the end.
    """
    cdef Checkpoint *c = &m.checkpoint
    cdef Flush *flush = &c.flush
    cdef bint limited = goal != 0 or most < <uint64_t>INT64_MAX
    memset(flush, 0, sizeof(Flush))
    flush.most = most
    flush.goal = goal
    flush.waiter = waiter
    flush.running = True
    flush.sparing = limited and chain_is_tail(&m.chain)
    flush.ends = 2 if limited else 1
    if c.hand == NULL:
        c.hand = RedisModule_ScanCursorCreate()
    elif not limited:
        RedisModule_ScanCursorRestart(c.hand)


cdef bint flush_slice(Member *m, int64_t until_us) noexcept nogil:
    """Evict until `until_us`. Returns whether there is more to do; if not, `flush.running` is False."""
    cdef Flush *flush = &m.checkpoint.flush
    cdef bint more = may_flush(m)
    RedisModule_SelectDb(m.ctx, 0)
    while more:
        more = flush_some(m)
        if more and monotonic_us() >= until_us:
            return True
    if not is_enough(flush):
        m.checkpoint.flushed_at = m.checkpoint.watermark
    flush.running = False
    return False
