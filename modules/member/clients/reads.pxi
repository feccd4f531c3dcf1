# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# READ returns committed values, at the tail. A key that is not in memory is looked up in the checkpoint.
#
# A READ that had to wait gets the value as of the moment in which rule 4 was established. Later this member may have
# stopped being the tail, and may have applied updates that are not committed.

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport (
    REDISMODULE_ERRORMSG_WRONGTYPE, REDISMODULE_READ, RedisModuleCtx, RedisModuleKey, RedisModuleString,
    RedisModule_CloseKey, RedisModule_GetSelectedDb, RedisModule_OpenKey, RedisModule_ReplyWithError,
    RedisModule_ReplyWithStringBuffer, RedisModule_StringDMA,
)
from modules.core.chain cimport chain_has_uncommitted, chain_is_tail, chain_serves_reads
from modules.core.invariant cimport INVARIANT
from modules.core.read_lease cimport read_lease_ask, read_lease_is_answered, read_lease_may_read
from modules.member.checkpoint.memtable cimport may_be_flushed
from modules.member.checkpoint cimport Lookup, lookup_free, lookup_new, lookup_start
from modules.member.keyspace.values cimport keep
from modules.member.persistence.wakeup cimport wake
from modules.member.replies cimport (
    OUTCOME_LOST_CHECKPOINT, OUTCOME_NIL, OUTCOME_NONE, OUTCOME_NO_MEMORY, OUTCOME_WRONG_TYPE, Outcome,
    answer_not_tail, answer_outcome, answer_value, came_too_early_ms, may_block, reply_not_tail, reply_outcome,
    tell, wait_for_answer, wait_on, waiter_free, waiter_new,
)
from modules.member.replies.waiting cimport first_waiting
from modules.member.state.checkpoint cimport Checkpoint
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport WAIT_RIGHT, WAIT_SHOWN, WAIT_WORKER, Waiter
from modules.server.clock cimport boot_ms


# -------------------------------------------------------------------------------------------------- in memory

cdef bint reply_from_memory(RedisModuleCtx *ctx, RedisModuleString *name) noexcept nogil:
    """Reply with the value of the key. Returns False, with no reply, if the key is not in memory."""
    cdef size_t length = 0
    cdef const char *value
    cdef RedisModuleKey *key = RedisModule_OpenKey(ctx, name, REDISMODULE_READ)
    if key == NULL:
        return False
    value = RedisModule_StringDMA(key, &length, REDISMODULE_READ)
    if value == NULL:
        RedisModule_ReplyWithError(ctx, REDISMODULE_ERRORMSG_WRONGTYPE)
    else:
        RedisModule_ReplyWithStringBuffer(ctx, value, length)
    RedisModule_CloseKey(key)
    return True


cdef void *answer_from_memory(Member *m, RedisModuleString *name) noexcept nogil:
    """Returns an answer with a copy of the value, or with the error of a wrong type; NULL: the key is not in memory."""
    cdef size_t length = 0
    cdef const char *value
    cdef void *answer = NULL
    cdef RedisModuleKey *key = RedisModule_OpenKey(m.ctx, name, REDISMODULE_READ)
    if key == NULL:
        return NULL
    value = RedisModule_StringDMA(key, &length, REDISMODULE_READ)
    answer = answer_value(value, length) if value != NULL else answer_outcome(OUTCOME_WRONG_TYPE)
    RedisModule_CloseKey(key)
    return answer


cdef Outcome absence(const Checkpoint *c, RedisModuleString *key) noexcept nogil:
    """Returns the outcome of a READ whose key is not in memory.

    OUTCOME_NIL: the key does not exist. OUTCOME_LOST_CHECKPOINT: the key may be in a checkpoint that is lost.
    OUTCOME_NONE: the key may have been flushed, so it must be looked up in the checkpoint.
    """
    if c.incomplete and not c.tracking:
        return OUTCOME_LOST_CHECKPOINT
    if not may_be_flushed(c, key):
        return OUTCOME_NIL
    return OUTCOME_NONE


# ------------------------------------------------------------------------------------------- READs that wait

cdef bint read_permitted(Member *m, Waiter *read, int64_t now_ms) noexcept nogil:
    """Returns whether a READ that waits may be answered (rule 4): a lease has come, or the members have answered the
    question of this epoch. The question is asked here unless it has been asked in this epoch.
    """
    if read_lease_may_read(&m.chain, now_ms):
        return True
    if not chain_serves_reads(&m.chain):
        return False
    if read.sn == 0 or read.epoch != m.chain.view.epoch:
        read.epoch = m.chain.view.epoch
        read.sn = read_lease_ask(&m.chain)
    return read_lease_is_answered(&m.chain, read.epoch, read.sn)


cdef void answer_read(Member *m, Waiter *read) noexcept nogil:
    """Answer a READ that rule 4 permits: from memory, or through a worker from the checkpoint."""
    cdef void *answer = answer_from_memory(m, read.key)
    cdef Outcome absent = absence(&m.checkpoint, read.key) if answer == NULL else OUTCOME_NIL
    cdef Lookup *lookup = lookup_new(&m.checkpoint, read.key) if absent == OUTCOME_NONE else NULL
    INVARIANT(chain_serves_reads(&m.chain), "rule 4: only a tail that is in step answers READs")
    if lookup != NULL:
        wait_on(m, read, WAIT_WORKER)
        lookup_start(&m.checkpoint, lookup, read)
        return
    if absent == OUTCOME_NONE:
        absent = OUTCOME_NO_MEMORY
    m.clients.reads_served += absent == OUTCOME_NIL
    show(m, read, answer if answer != NULL else answer_outcome(absent))


cdef void show(Member *m, Waiter *read, void *answer) noexcept nogil:
    """Tell the client what this member's memory shows, when all of that is committed (rule 3).

    What the checkpoint shows needs no wait: a checkpoint has committed updates only.
    """
    if not chain_has_uncommitted(&m.chain):
        tell(m, read, answer)
        return
    read.answer = answer
    read.sn = m.chain.applied
    wait_on(m, read, WAIT_SHOWN)


cdef void settle_shown(Member *m) noexcept nogil:
    """Answer the READs whose answers show what is committed by now.

    What a tail has applied stays in its log while it is the tail: an update of the same number is the same update.
    """
    cdef Waiter *read = first_waiting(m, WAIT_SHOWN)
    cdef void *answer
    while read != NULL and (read.sn <= m.chain.committed or read.since_ms <= came_too_early_ms(m)
                            or not chain_is_tail(&m.chain)):
        if chain_is_tail(&m.chain) and read.sn <= m.chain.committed:
            answer = read.answer
            read.answer = NULL
        else:
            answer = answer_not_tail(m, read)
        tell(m, read, answer)
        read = first_waiting(m, WAIT_SHOWN)


cdef void settle_reads(Member *m) noexcept nogil:
    """Answer the READs that wait for a commit, or for the right to an answer, if that is established.

    READs get an error if this member is no longer the tail, or if they have waited for too long.
    """
    cdef Waiter *read = first_waiting(m, WAIT_RIGHT)
    cdef Waiter *next
    cdef int64_t now_ms
    settle_shown(m)
    if read == NULL:
        return
    now_ms = boot_ms()
    while read != NULL:
        next = read.next
        if read_permitted(m, read, now_ms):
            answer_read(m, read)
        elif not chain_is_tail(&m.chain) or read.since_ms <= came_too_early_ms(m):
            tell(m, read, answer_not_tail(m, read))
        read = next


cdef int read_later(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """Block the READ at a tail that may soon have the right to answer: by a lease, or by asking the other members."""
    cdef Waiter *read = waiter_new(WAIT_RIGHT)
    if read == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    read.key = keep(key)
    read.since_ms = m.now_ms
    wait_for_answer(m, ctx, read)
    wake(m)
    return 0


cdef int read_ahead(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """Look the key up now, at a tail that has the right to answer, and answer when that is committed."""
    cdef Waiter *read
    if not may_block(ctx):
        return reply_not_tail(m, ctx)
    read = waiter_new(WAIT_RIGHT)
    if read == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    read.key = keep(key)
    read.since_ms = m.now_ms
    wait_for_answer(m, ctx, read)
    answer_read(m, read)
    return 0


# ------------------------------------------------------------------------------------------------ the command

cdef int look_up_later(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """Block the READ until a worker has looked the key up in the checkpoint."""
    cdef Waiter *read
    cdef Lookup *lookup
    if not may_block(ctx):
        return RedisModule_ReplyWithError(
            ctx, "ERR that key is in the checkpoint: READ it outside MULTI, a script or a module's call")
    read = waiter_new(WAIT_WORKER)
    lookup = lookup_new(&m.checkpoint, key)
    if read == NULL or lookup == NULL:
        if read != NULL:
            waiter_free(read)
        if lookup != NULL:
            lookup_free(lookup)
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    wait_for_answer(m, ctx, read)
    lookup_start(&m.checkpoint, lookup, read)
    return 0


cdef int reply_absent(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """Reply to a READ whose key is not in memory, now or after a look into the checkpoint."""
    cdef Outcome absent = absence(&m.checkpoint, key)
    if absent == OUTCOME_NONE:
        return look_up_later(m, ctx, key)
    m.clients.reads_served += absent == OUTCOME_NIL
    count_request(m, ctx)
    return reply_outcome(ctx, absent)


cdef int read_command(Member *m, RedisModuleCtx *ctx, RedisModuleString *key) noexcept nogil:
    """READ key -> value | nil | MOVED | ERR

    The lease is compared with the clock as of now, not as of this pass: the process may have been stopped meanwhile.
    """
    if RedisModule_GetSelectedDb(ctx) != 0:
        return RedisModule_ReplyWithError(ctx, "ERR a chain has database 0 only")
    if not read_lease_may_read(&m.chain, boot_ms()):
        if chain_is_tail(&m.chain) and may_block(ctx):
            return read_later(m, ctx, key)
        return reply_not_tail(m, ctx)
    INVARIANT(chain_serves_reads(&m.chain), "rule 4: only a tail that is in step answers READs")
    if chain_has_uncommitted(&m.chain):
        return read_ahead(m, ctx, key)
    if not reply_from_memory(ctx, key):
        return reply_absent(m, ctx, key)
    m.clients.reads_served += 1
    count_request(m, ctx)
    return 0
