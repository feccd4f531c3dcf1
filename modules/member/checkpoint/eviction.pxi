# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Eviction: keys leave memory whose newest update is in this member's checkpoint, one slice in each pass.
#
# The first to be examined are those that finished checkpoints have written, in that order (`Candidates`). What was
# written side by side also lies side by side in memory, so that this waits for memory less than a scan does. When no
# candidate is left a scan goes on where the last one has ended, like the hand of a clock: it finds what has come to
# memory otherwise, and what was spared.
#
# At the tail a key that was used lately stays when its turn comes: what is read and written again remains in memory.
# Redis keeps with each value when it was used. A candidate stays that was used since it is one; of the keys that the
# scan meets, the quarter does that was used last. To other members no READ comes: a look at a key that stays would cost
# more than it brings.
#
# Keys are evicted only here, in the before-sleep event. Code that has found a key in memory may rely on it until the
# event loop sleeps.

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from modules.bindings.redismodule cimport (
    REDISMODULE_KEYTYPE_STRING, REDISMODULE_OPEN_KEY_NOTOUCH, REDISMODULE_READ, REDISMODULE_WRITE, RedisModuleCtx,
    RedisModuleKey, RedisModuleString, RedisModule_CloseKey, RedisModule_CreateString, RedisModule_GetLRU,
    RedisModule_KeyType, RedisModule_OpenKey, RedisModule_Scan, RedisModule_ScanCursorCreate,
    RedisModule_ScanCursorRestart, RedisModule_SelectDb, RedisModule_UnlinkKey, RedisModule_ValueLength,
)
from modules.core.chain cimport chain_is_tail
from modules.core.checkpoint.candidates cimport Candidate, candidates_drop, candidates_look
from modules.core.checkpoint.memtable cimport memtable_hash
from modules.core.checkpoint.record_format cimport NOTHING
from modules.core.invariant cimport INVARIANT
from modules.member.checkpoint.memtable cimport fetch_newest, newest_by_hash, newest_update
from modules.member.keyspace.values cimport keep, let_go, string_length
from modules.member.state.checkpoint cimport Checkpoint, Flush, MODE_CHECKPOINT_FLUSH, MODE_FLUSH_UNSAFE, STORE_OPEN
from modules.member.state.member cimport Member, the_member
from modules.member.state.waiter cimport Waiter
from modules.server.clock cimport monotonic_us

cdef enum:
    # keys collected in one step of the scan; further keys of the same hash bucket wait for the next scan
    FOUND_AT_ONCE = 128
    EXAMINED_AT_ONCE = 16       # candidates between two looks at the clock
    KEY_OVERHEAD = 96           # estimated bytes that a key costs in memory, besides its name and value
    # of the typical idle time, for each key that leaves: it follows idle times of all sizes within some hundred keys
    LEAST_STEP_MS = 4
    STEP_BITS = 7
    IDLE_ROUNDED_MS = 1200      # an idle time is wrong by so much at the most
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


cdef bint is_used_since(const Member *m, RedisModuleKey *key, int64_t since_ms) noexcept nogil:
    """Returns whether the key was certainly used after that time. Redis knows it to the second."""
    cdef long long idle_ms = -1
    RedisModule_GetLRU(key, &idle_ms)
    return idle_ms >= 0 and m.now_ms - idle_ms > since_ms + IDLE_ROUNDED_MS


cdef void drop(Member *m, RedisModuleKey *key, uint64_t name_bytes) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    # A learner's checkpoint may be ahead of its memory for a while: the old tail went on writing while it was copied.
    INVARIANT(
        not c.tracking or c.watermark <= m.chain.applied,
        "rule 3: keys leave memory only when all that the checkpoint has is applied")
    c.flush.bytes += RedisModule_ValueLength(key) + name_bytes + KEY_OVERHEAD
    RedisModule_UnlinkKey(key)
    c.flush.evicted += 1
    c.flushed_keys += 1
    c.incomplete = c.incomplete or c.tracking


cdef void evict(Member *m, RedisModuleString *name, int64_t unused_ms) noexcept nogil:
    """Drop a key whose newest update is in the checkpoint, if memory has it and it was not used after `unused_ms`.
    0: however lately it was used.

    This look does not count as a use.
    """
    cdef RedisModuleKey *key = RedisModule_OpenKey(
        m.ctx, name, REDISMODULE_READ | REDISMODULE_WRITE | REDISMODULE_OPEN_KEY_NOTOUCH)
    if RedisModule_KeyType(key) == REDISMODULE_KEYTYPE_STRING:
        if unused_ms and is_used_since(m, key, unused_ms):
            m.checkpoint.flush.spared = True
        else:
            drop(m, key, string_length(name))
    RedisModule_CloseKey(key)


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


cdef void examine(Member *m, const Candidate *candidate, uint32_t hash) noexcept nogil:
    cdef Checkpoint *c = &m.checkpoint
    cdef RedisModuleString *name
    if c.tracking and newest_by_hash(c, candidate.key, candidate.length, hash) != NULL:
        return
    name = RedisModule_CreateString(NULL, candidate.key, candidate.length)
    evict(m, name, candidate.added_ms if c.flush.sparing else 0)
    let_go(name)


cdef void examine_candidates(Member *m) noexcept nogil:
    """Evict those of the oldest candidates that may go."""
    cdef Checkpoint *c = &m.checkpoint
    cdef Candidate found[EXAMINED_AT_ONCE]
    cdef uint32_t hashes[EXAMINED_AT_ONCE]
    cdef int count = candidates_look(&c.candidates, found, EXAMINED_AT_ONCE)
    cdef int i
    for i in range(count):
        hashes[i] = memtable_hash(found[i].key, found[i].length, c.seed)
        fetch_newest(c, hashes[i])
    for i in range(count):
        if is_enough(&c.flush):
            return
        examine(m, &found[i], hashes[i])
        candidates_drop(&c.candidates)


cdef void scan_some(Member *m) noexcept nogil:
    """Evict the keys of one step of the scan."""
    cdef Flush *flush = &m.checkpoint.flush
    cdef Found found
    cdef int i
    found.count = 0
    if not RedisModule_Scan(m.ctx, m.checkpoint.hand, on_scanned, &found):
        came_to_end(&m.checkpoint)
    for i in range(found.count):
        if not is_enough(flush):
            evict(m, found.names[i], 0)
        let_go(found.names[i])


cdef bint flush_some(Member *m) noexcept nogil:
    """Evict some keys. Returns whether there is more to do."""
    if m.checkpoint.candidates.bytes:
        examine_candidates(m)
    else:
        scan_some(m)
    return not is_over(&m.checkpoint.flush)


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
