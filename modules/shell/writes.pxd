# cython: language_level=3
"""Updates from clients at the head: MEMBER.PUT, MEMBER.DEL and MEMBER.WAIT."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from modules.core.chain cimport chain_assign, chain_fits, chain_has_room, chain_takes_writes
from modules.core.log cimport Entry, log_at
from modules.redismodule cimport (
    REDISMODULE_CTX_FLAGS_DENY_BLOCKING, REDISMODULE_CTX_FLAGS_LUA, REDISMODULE_CTX_FLAGS_MULTI, REDISMODULE_ERR,
    RedisModule_BlockClient, RedisModule_GetContextFlags, RedisModule_GetSelectedDb, RedisModule_ReplyWithError,
    RedisModule_ReplyWithLongLong, RedisModule_StringToLongLong,
    RedisModule_SetDisconnectCallback, RedisModule_UnblockClient, RedisModuleBlockedClient, RedisModuleCmdFunc,
    RedisModuleCtx, RedisModuleString,
)
from modules.shell.checkpoint.asked cimport asked_forget
from modules.shell.checkpoint.track cimport track
from modules.shell.keyspace cimport keep, keep_value, keyspace_apply, let_go, string_length, strings_equal
from modules.shell.record cimport record
from modules.shell.settle cimport (
    OUTCOME_NO_MEMORY, OUTCOME_NONE, OUTCOME_NOT_APPLIED, OUTCOME_REDIRECT, OUTCOME_SN,
    Outcome, awaits_view, drop_held, free_held, outcome_sn, reply_not_head, reply_outcome, reply_wait_elsewhere,
    settle, wait_outcome,
)
from modules.shell.state cimport Held, Member, Wait, the_member
from modules.shell.wakeup cimport wake


cdef enum:
    MAX_TIMEOUT_MS = 1000000000
    MAX_UPDATE_BYTES = 511 * 1024 * 1024    # it has to fit into one argument (`settle_redis_settings`)


cdef inline int on_unblocked(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return reply_outcome(ctx)


cdef inline RedisModuleString *shared_client(Member *m, RedisModuleString *client) noexcept nogil:
    """The channel as the log keeps it: updates of one client in a row share one string."""
    cdef RedisModuleString *last = NULL
    if client == NULL:
        return NULL
    if m.chain.log.end > m.chain.log.first:
        last = <RedisModuleString *>log_at(&m.chain.log, m.chain.log.end - 1).client
    return keep(last if last != NULL and strings_equal(last, client) else client)


cdef inline uint64_t update_bytes(
    const RedisModuleString *key, const RedisModuleString *value, const RedisModuleString *client,
) noexcept nogil:
    cdef uint64_t bytes = string_length(key)
    if value != NULL:
        bytes += string_length(value)
    if client != NULL:
        bytes += string_length(client)
    return bytes


cdef inline int64_t assign_and_apply(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, RedisModuleString *client,
    void *waiter, int64_t deadline_ms, uint64_t bytes,
) noexcept nogil:
    """The update's sn, now applied here and on its way; -1 when memory is exhausted. Takes references of its own."""
    cdef Entry entry
    cdef int64_t sn
    entry.key = key
    entry.value = value
    entry.client = shared_client(m, client)
    entry.waiter = waiter
    entry.deadline_ms = deadline_ms
    entry.bytes = bytes
    sn = chain_assign(&m.chain, &entry)
    if sn < 0:
        let_go(<RedisModuleString *>entry.client)
        return -1
    keep(key)
    if value != NULL:
        keep_value(value, bytes)
    keyspace_apply(ctx, key, value, m.checkpoint.tracking)
    if m.checkpoint.tracking:
        track(&m.checkpoint, sn, key, value)
    m.writes += 1
    return sn


# ------------------------------------------------------------------------------- refusals before an sn

cdef inline bint may_block(RedisModuleCtx *ctx) noexcept nogil:
    """False inside MULTI, a script or another module's call: these want their answer at once."""
    return not RedisModule_GetContextFlags(ctx) & (
        REDISMODULE_CTX_FLAGS_MULTI | REDISMODULE_CTX_FLAGS_LUA | REDISMODULE_CTX_FLAGS_DENY_BLOCKING)


cdef inline bint refused(Member *m, RedisModuleCtx *ctx, uint64_t bytes) noexcept nogil:
    """Everything that can be said before the update has an sn (rule 6). True: an error has been replied."""
    if not chain_takes_writes(&m.chain) and not awaits_view(m):
        reply_not_head(m, ctx)
        return True
    if not may_block(ctx):
        RedisModule_ReplyWithError(
            ctx, "ERR a chain commits each update by itself: not inside MULTI, a script or a module's call")
        return True
    if RedisModule_GetSelectedDb(ctx) != 0:
        RedisModule_ReplyWithError(ctx, "ERR a chain has database 0 only")
        return True
    if bytes > MAX_UPDATE_BYTES or not chain_fits(&m.chain, bytes):
        RedisModule_ReplyWithError(ctx, "ERR too large: the update exceeds member.log-limit, or 511 MiB")
        return True
    return False


# ------------------------------------------------------------------------------------- PUT and DEL

cdef inline int hold(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, RedisModuleString *client,
) noexcept nogil:
    """No room in the log or in memory (rule 9), or a newer view is on its way: the writer waits, without an sn."""
    cdef Held *held = <Held *>calloc(1, sizeof(Held))
    if held == NULL:
        return RedisModule_ReplyWithError(ctx, "ERR not written: out of memory")
    held.key = keep(key)
    held.value = keep(value) if value != NULL else NULL
    held.client = keep(client) if client != NULL else NULL
    held.deadline_ms = m.now_ms + m.settings.write_timeout
    held.writer = RedisModule_BlockClient(ctx, on_unblocked, NULL, NULL, 0)
    RedisModule_SetDisconnectCallback(held.writer, on_gone)
    if m.held_last != NULL:
        m.held_last.next = held
    else:
        m.held_first = held
    m.held_last = held
    return 0


cdef inline int write(
    Member *m, RedisModuleCtx *ctx, RedisModuleString *key, RedisModuleString *value, RedisModuleString *client,
) noexcept nogil:
    """One update by a client: replied at once with its sn, or when it is committed, or with why not."""
    cdef uint64_t bytes = update_bytes(key, value, client)
    cdef int64_t sn
    if refused(m, ctx, bytes):
        return 0
    if m.held_first != NULL or not chain_has_room(&m.chain, bytes) or awaits_view(m) or m.checkpoint.full:
        return hold(m, ctx, key, value, client)
    sn = assign_and_apply(m, ctx, key, value, client, NULL, 0, bytes)
    if sn < 0:
        return RedisModule_ReplyWithError(ctx, "ERR not written: out of memory")
    if m.chain.recorded < sn and not m.chain.has_history:
        record(m)       # at once, for the order among native writes
    if client != NULL or sn <= m.chain.committed:
        RedisModule_ReplyWithLongLong(ctx, sn)
    else:
        await_commit(m, ctx, sn)
    if sn <= m.chain.committed:
        settle(m)
    wake(m)
    return 0


cdef inline void await_commit(Member *m, RedisModuleCtx *ctx, int64_t sn) noexcept nogil:
    cdef Entry *entry = log_at(&m.chain.log, sn)
    entry.waiter = RedisModule_BlockClient(ctx, on_unblocked, NULL, NULL, 0)
    entry.deadline_ms = m.now_ms + m.settings.write_timeout


# -------------------------------------------------------------------------------------- held writers

cdef inline void apply_held(Member *m, Held *held) noexcept nogil:
    """There is room now: the update gets its sn."""
    cdef void *waiter = held.writer if held.client == NULL else NULL
    cdef int64_t sn = assign_and_apply(
        m, m.ctx, held.key, held.value, held.client, waiter, held.deadline_ms,
        update_bytes(held.key, held.value, held.client))
    if sn < 0:
        drop_held(held, OUTCOME_NO_MEMORY)
        return
    if waiter == NULL:
        RedisModule_UnblockClient(held.writer, outcome_sn(sn))
    free_held(held)


cdef inline void serve_held(Member *m) noexcept nogil:
    """In their order: those with room are applied, those too late or at the wrong member now are refused."""
    cdef Held *held = m.held_first
    while held != NULL:
        if held.deadline_ms <= m.now_ms:
            m.held_first = held.next
            drop_held(held, OUTCOME_NOT_APPLIED)
        elif awaits_view(m) or m.checkpoint.full:
            return
        elif not chain_takes_writes(&m.chain):
            m.held_first = held.next
            drop_held(held, OUTCOME_REDIRECT)
        elif chain_has_room(&m.chain, update_bytes(held.key, held.value, held.client)):
            m.held_first = held.next
            apply_held(m, held)
            settle(m)
        else:
            return
        held = m.held_first
    m.held_last = NULL


# ---------------------------------------------------------------------------- clients that leave while they wait

cdef inline bint forget_wait(Wait **place, const RedisModuleBlockedClient *client) noexcept nogil:
    cdef Wait *wait
    while place[0] != NULL:
        wait = place[0]
        if wait.waiter == client:
            place[0] = wait.next
            let_go(wait.key)
            free(wait)
            return True
        place = &wait.next
    return False


cdef inline bint forget_held(Member *m, const RedisModuleBlockedClient *client) noexcept nogil:
    """Its update has no sn and gets none."""
    cdef Held **place = &m.held_first
    cdef Held *held
    cdef Held *before = NULL
    while place[0] != NULL and place[0].writer != client:
        before = place[0]
        place = &before.next
    held = place[0]
    if held == NULL:
        return False
    place[0] = held.next
    if m.held_last == held:
        m.held_last = before
    free_held(held)
    return True


cdef inline void on_gone(RedisModuleCtx *ctx, RedisModuleBlockedClient *client) noexcept nogil:
    """A client that waits for something else than its update's commit has disconnected: those go at the write timeout.

    One that is found nowhere has been unblocked just before, which must not happen twice.
    """
    cdef Member *m = the_member()
    if (forget_wait(&m.waits, client) or forget_wait(&m.reads, client) or forget_wait(&m.watches, client)
            or forget_wait(&m.checkpoint_waits, client) or forget_wait(&m.flush_waits, client)
            or forget_held(m, client)):
        RedisModule_UnblockClient(client, NULL)
    elif asked_forget(&m.checkpoint, client):
        RedisModule_UnblockClient(client, NULL)


# --------------------------------------------------------------------------------------------- WAIT

cdef inline int wait_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    cdef long long sn
    cdef long long timeout = 0
    cdef long long epoch = -1
    cdef Wait wait
    cdef Outcome outcome
    if RedisModule_StringToLongLong(argv[1], &sn) == REDISMODULE_ERR or sn < 0:
        return RedisModule_ReplyWithError(ctx, "ERR sn is not a sequence number: an integer from 0")
    if argc > 2 and (RedisModule_StringToLongLong(argv[2], &timeout) == REDISMODULE_ERR or timeout < 0
                     or timeout > MAX_TIMEOUT_MS):
        return RedisModule_ReplyWithError(ctx, "ERR timeout_ms is not a number of milliseconds; 0 waits for ever")
    if argc > 3 and (RedisModule_StringToLongLong(argv[3], &epoch) == REDISMODULE_ERR or epoch < 0):
        return RedisModule_ReplyWithError(ctx, "ERR epoch is not an epoch: an integer from 0")
    if not chain_takes_writes(&m.chain) and not awaits_view(m):
        return reply_wait_elsewhere(m, ctx)
    memset(&wait, 0, sizeof(Wait))
    wait.sn = sn
    wait.epoch = epoch
    wait.deadline_ms = m.now_ms + timeout if timeout else 0
    outcome = wait_outcome(m, &wait)
    if outcome == OUTCOME_SN:
        return RedisModule_ReplyWithLongLong(ctx, m.chain.committed)
    if outcome != OUTCOME_NONE:
        return RedisModule_ReplyWithError(ctx, "UNKNOWN that sequence number now belongs to an update of a later epoch")
    if not may_block(ctx):
        return RedisModule_ReplyWithError(
            ctx, "ERR MEMBER.WAIT would block: not inside MULTI, a script or a module's call")
    return add_wait(m, ctx, &m.waits, &wait, on_unblocked)


cdef inline int add_wait(
    Member *m, RedisModuleCtx *ctx, Wait **list, const Wait *wait, RedisModuleCmdFunc on_over,
) noexcept nogil:
    cdef Wait *added = <Wait *>calloc(1, sizeof(Wait))
    if added == NULL:
        return RedisModule_ReplyWithError(ctx, "ERR out of memory")
    added[0] = wait[0]
    added.next = list[0]
    added.waiter = RedisModule_BlockClient(ctx, on_over, NULL, NULL, 0)
    RedisModule_SetDisconnectCallback(added.waiter, on_gone)
    list[0] = added
    return 0
