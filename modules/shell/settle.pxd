# cython: language_level=3
"""What follows when updates commit: publications, answers to blocked writers, a shorter log.

The outcome travels to the client's reply as the pointer that Redis keeps for a blocked client: a number, so that
nothing is allocated. This is the one place where it becomes words (rule 6).
"""

from libc.stdint cimport int64_t, intptr_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free

from modules.core.chain cimport chain_fenced, chain_is_tail, chain_serves_reads, chain_takes_writes
from modules.core.lease cimport chain_ask, chain_is_answered, chain_may_read
from modules.core.due cimport chain_pop_expired, chain_pop_orphan, chain_pop_settled, chain_pop_trimmed
from modules.core.log cimport Entry, log_epoch_of
from modules.core.records cimport NOTHING
from modules.core.view cimport HOST_BYTES, Node
from modules.redismodule cimport (
    REDISMODULE_READ, RedisModule_CloseKey, RedisModule_OpenKey, RedisModuleKey,
    RedisModule_CreateStringFromLongLong, RedisModule_FreeString, RedisModule_GetBlockedClientPrivateData,
    RedisModule_PublishMessage, RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong, RedisModule_UnblockClient,
    RedisModuleBlockedClient, RedisModuleCtx,
    RedisModuleString,
)
from modules.shell.checkpoint.lookup cimport lookup_start
from modules.shell.checkpoint.state cimport Checkpoint
from modules.shell.checkpoint.track cimport newest_update
from modules.shell.keyspace cimport let_go, release_entry
from modules.shell.libc cimport boot_ms
from modules.shell.state cimport Held, Member, Wait, the_member

cdef enum Outcome:
    # Below OUTCOME_SN; a number from there on is an sn, moved up.
    OUTCOME_NONE            # Redis unblocked the client for reasons of its own
    OUTCOME_UNKNOWN
    OUTCOME_REASSIGNED
    OUTCOME_NOT_APPLIED
    OUTCOME_REDIRECT
    OUTCOME_ELSEWHERE
    OUTCOME_TIMEOUT
    OUTCOME_READ
    OUTCOME_NO_MEMORY
    OUTCOME_SN


cdef inline void *outcome_sn(int64_t sn) noexcept nogil:
    return <void *><intptr_t>(sn + OUTCOME_SN)


cdef inline void unblock(RedisModuleBlockedClient *client, Outcome outcome) noexcept nogil:
    RedisModule_UnblockClient(client, <void *><intptr_t>outcome)


cdef inline int reply_moved(RedisModuleCtx *ctx, const Node *node) noexcept nogil:
    cdef char text[HOST_BYTES + 32]
    snprintf(text, sizeof(text), "MOVED 0 %s:%d", &node.host[0], node.port)
    return RedisModule_ReplyWithError(ctx, text)


cdef inline bint awaits_view(const Member *m) noexcept nogil:
    """A head that has heard of a newer view (rule 2): writers are held back until it has that view."""
    return m.chain.me == 0 and chain_fenced(&m.chain)


cdef inline int reply_not_head(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Where to write instead."""
    if m.chain.me > 0 or m.chain.learner:
        return reply_moved(ctx, &m.chain.view.members[0])
    return RedisModule_ReplyWithError(
        ctx, "ERR this member is in no chain at present: nothing was written. MASTER.ADD takes it in again; its file "
        "chain.member.<port> says more")


cdef inline int reply_wait_elsewhere(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """To MEMBER.WAIT: what has an sn is never said to have failed (rule 6)."""
    if m.chain.me > 0 or m.chain.learner:
        return reply_moved(ctx, &m.chain.view.members[0])
    return RedisModule_ReplyWithError(
        ctx, "UNKNOWN this member is the head no more: whether that update survives is not known here")


cdef inline int reply_not_tail(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Where to read instead."""
    if m.chain.learner or 0 <= m.chain.me < m.chain.view.count - 1:
        return reply_moved(ctx, &m.chain.view.members[m.chain.view.count - 1])
    if m.chain.me >= 0:
        return RedisModule_ReplyWithError(
            ctx, "ERR this tail may not answer now: it holds no lease, or is not in step, and not all members answer")
    return RedisModule_ReplyWithError(
        ctx, "ERR this member is in no chain at present: it answers no READ. MASTER.ADD takes it in again; its file "
        "chain.member.<port> says more")


cdef inline int reply_outcome(RedisModuleCtx *ctx) noexcept nogil:
    """The answer to a client that was blocked."""
    cdef intptr_t outcome = <intptr_t>RedisModule_GetBlockedClientPrivateData(ctx)
    if outcome >= OUTCOME_SN:
        return RedisModule_ReplyWithLongLong(ctx, outcome - OUTCOME_SN)
    if outcome == OUTCOME_NOT_APPLIED:
        return RedisModule_ReplyWithError(
            ctx, "ERR not written: held back until the write timeout: members do not keep up, or the view is old")
    if outcome == OUTCOME_REDIRECT:
        return reply_not_head(the_member(), ctx)
    if outcome == OUTCOME_ELSEWHERE:
        return reply_wait_elsewhere(the_member(), ctx)
    if outcome == OUTCOME_TIMEOUT:
        return RedisModule_ReplyWithError(ctx, "ERR timeout: not committed yet")
    if outcome == OUTCOME_NO_MEMORY:
        return RedisModule_ReplyWithError(ctx, "ERR not written: out of memory")
    if outcome == OUTCOME_REASSIGNED:
        return RedisModule_ReplyWithError(
            ctx, "UNKNOWN that sequence number now belongs to an update of a later epoch: yours was lost or renumbered")
    return RedisModule_ReplyWithError(
        ctx, "UNKNOWN the write was not known to be committed in time: it may or may not survive")


# ----------------------------------------------------------------------------------------- publications

cdef inline bint publishes(const Member *m) noexcept nogil:
    """The tail does; who was tail goes on, since subscribers may still be there (DESIGN.md, "Publications")."""
    return m.subscribers and (not m.chain.has_history or chain_is_tail(&m.chain) or (m.was_tail and m.chain.me >= 0))


cdef inline void publish(Member *m, RedisModuleString *channel, int64_t sn) noexcept nogil:
    cdef RedisModuleString *text = RedisModule_CreateStringFromLongLong(NULL, sn)
    RedisModule_PublishMessage(m.ctx, channel, text)
    RedisModule_FreeString(NULL, text)


# ------------------------------------------------------------------------------------- after every event

cdef inline void settle(Member *m) noexcept nogil:
    """Carry out what the chain has made due: to be called after whatever may have moved `committed` or the view."""
    cdef bint publishing = publishes(m)
    cdef Entry *entry
    cdef Entry gone
    cdef void *waiter
    cdef int64_t sn
    while True:
        entry = chain_pop_settled(&m.chain, &sn)
        if entry == NULL:
            break
        if entry.waiter != NULL:
            RedisModule_UnblockClient(<RedisModuleBlockedClient *>entry.waiter, outcome_sn(sn))
            entry.waiter = NULL
        if publishing and entry.client != NULL:
            # It leaves this process at the end of the pass; before, nobody hears from a tail that it is committed:
            # or a new tail would not know that it has to publish it again.
            m.chain.published = min(m.chain.published, sn - 1)
            publish(m, <RedisModuleString *>entry.client, sn)
    while True:
        waiter = chain_pop_orphan(&m.chain)
        if waiter == NULL:
            break
        m.unknown_outcomes += 1
        unblock(<RedisModuleBlockedClient *>waiter, OUTCOME_UNKNOWN)
    while chain_pop_trimmed(&m.chain, &gone):
        release_entry(&gone)


cdef inline void settle_expired(Member *m) noexcept nogil:
    """Writers whose time is over before the commit is known."""
    cdef void *waiter = chain_pop_expired(&m.chain, m.now_ms)
    while waiter != NULL:
        m.unknown_outcomes += 1
        unblock(<RedisModuleBlockedClient *>waiter, OUTCOME_UNKNOWN)
        waiter = chain_pop_expired(&m.chain, m.now_ms)


# -------------------------------------------------------------------------------------- MEMBER.WAIT, READ

cdef inline Outcome wait_outcome(const Member *m, const Wait *wait) noexcept nogil:
    """OUTCOME_NONE: still to wait."""
    if not chain_takes_writes(&m.chain) and not awaits_view(m):
        return OUTCOME_ELSEWHERE
    if wait.sn <= m.chain.committed:
        if wait.epoch >= 0 and log_epoch_of(&m.chain.log, wait.sn) > wait.epoch:
            return OUTCOME_REASSIGNED
        return OUTCOME_SN
    if wait.deadline_ms and wait.deadline_ms <= m.now_ms:
        return OUTCOME_TIMEOUT
    return OUTCOME_NONE


cdef inline void settle_waits(Member *m) noexcept nogil:
    cdef Wait **place = &m.waits
    cdef Wait *wait
    cdef Outcome outcome
    while place[0] != NULL:
        wait = place[0]
        outcome = wait_outcome(m, wait)
        if outcome == OUTCOME_NONE:
            place = &wait.next
            continue
        if outcome == OUTCOME_SN:
            RedisModule_UnblockClient(wait.waiter, outcome_sn(m.chain.committed))
        else:
            unblock(wait.waiter, outcome)
        place[0] = wait.next
        free(wait)


cdef inline bint read_permitted(Member *m, Wait *read, int64_t now_ms) noexcept nogil:
    """Rule 4 for a READ that waits: by a lease that came, or an answered question, asked now if it was not before."""
    if chain_may_read(&m.chain, now_ms):
        return True
    if not chain_serves_reads(&m.chain):
        return False
    if read.sn == 0 or read.epoch != m.chain.view.epoch:
        read.epoch = m.chain.view.epoch
        read.sn = chain_ask(&m.chain)
    return chain_is_answered(&m.chain, read.epoch, read.sn)


cdef inline bint memory_tells(const Checkpoint *c, RedisModuleString *key) noexcept nogil:
    """Of a key that is not in memory: is there none, whatever the checkpoint says?"""
    return not c.tracking or c.watermark == NOTHING or newest_update(c, key) != NULL


cdef inline bint is_at_hand(Member *m, RedisModuleString *key) noexcept nogil:
    """Can a READ of it be answered without the checkpoint?"""
    cdef RedisModuleKey *handle = RedisModule_OpenKey(m.ctx, key, REDISMODULE_READ)
    RedisModule_CloseKey(handle)
    return handle != NULL or memory_tells(&m.checkpoint, key)


cdef inline void settle_reads(Member *m) noexcept nogil:
    """READs that came before this tail had the right to answer: it has now, or is tail no more, or it is too late."""
    cdef Wait **place = &m.reads
    cdef Wait *read
    cdef int64_t now_ms = boot_ms()
    cdef bint permitted
    while place[0] != NULL:
        read = place[0]
        permitted = read_permitted(m, read, now_ms)
        if not permitted and chain_is_tail(&m.chain) and read.deadline_ms > now_ms:
            place = &read.next
            continue
        place[0] = read.next
        if not permitted or is_at_hand(m, read.key) or not lookup_start(&m.checkpoint, read.key, read.waiter):
            unblock(read.waiter, OUTCOME_READ if permitted else OUTCOME_NONE)
        let_go(read.key)
        free(read)


cdef inline void free_held(Held *held) noexcept nogil:
    let_go(held.key)
    let_go(held.value)
    let_go(held.client)
    free(held)


cdef inline void drop_held(Held *held, Outcome outcome) noexcept nogil:
    """A held writer is refused: its update has no sn, so that is a definite failure."""
    unblock(held.writer, outcome)
    free_held(held)
