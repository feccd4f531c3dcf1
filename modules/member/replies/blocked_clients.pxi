# cython: language_level=3
# Clients are blocked, told, and forgotten when they leave: each in constant time, however many wait.

from libc.stdlib cimport calloc, free

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_DENY_BLOCKING, REDISMODULE_CTX_FLAGS_LUA, REDISMODULE_CTX_FLAGS_MULTI,
    RedisModuleBlockedClient, RedisModuleCmdFunc, RedisModuleCtx, RedisModule_BlockClient, RedisModule_CreateDict,
    RedisModule_DictDelC, RedisModule_DictGetC, RedisModule_DictSetC, RedisModule_GetContextFlags,
    RedisModule_SetDisconnectCallback, RedisModule_UnblockClient,
)
from modules.member.keyspace.values cimport let_go
from modules.member.state.member cimport Member, the_member
from modules.member.state.waiter cimport WAIT_FLUSH, WAIT_WORKER, WaitKind, Waiter, list_append, list_remove


cdef void waiting_init(Member *m) noexcept nogil:
    m.clients.waiting.by_client = RedisModule_CreateDict(NULL)


cdef bint may_block(RedisModuleCtx *ctx) noexcept nogil:
    """False inside MULTI, a script or another module's call: these want their answer at once."""
    return not RedisModule_GetContextFlags(ctx) & (
        REDISMODULE_CTX_FLAGS_MULTI | REDISMODULE_CTX_FLAGS_LUA | REDISMODULE_CTX_FLAGS_DENY_BLOCKING)


cdef Waiter *first_waiting(const Member *m, WaitKind kind) noexcept nogil:
    return m.clients.waiting.lists[<int>kind].first


# ---------------------------------------------------------------------------------------------------- blocking

cdef Waiter *waiter_new(WaitKind kind) noexcept nogil:
    """To be filled in, and then for `wait_for_answer`, or `waiter_free`. NULL: no memory."""
    cdef Waiter *waiter = <Waiter *>calloc(1, sizeof(Waiter))
    if waiter != NULL:
        waiter.kind = kind
    return waiter


cdef void waiter_free(Waiter *waiter) noexcept nogil:
    let_go(waiter.key)
    let_go(waiter.value)
    let_go(waiter.channel)
    free(waiter)


cdef void wait_with(
    Member *m, RedisModuleCtx *ctx, Waiter *waiter, RedisModuleCmdFunc on_told,
    void (*on_over)(RedisModuleCtx *, void *) noexcept nogil,
) noexcept nogil:
    """Block the client until `tell`; `on_told` replies to it then, and `on_over` frees what it was told."""
    waiter.client = RedisModule_BlockClient(ctx, on_told, NULL, on_over, 0)
    RedisModule_SetDisconnectCallback(waiter.client, on_gone)
    RedisModule_DictSetC(m.clients.waiting.by_client, &waiter.client, sizeof(waiter.client), waiter)
    list_append(&m.clients.waiting.lists[<int>waiter.kind], waiter)


cdef int wait_for_answer(Member *m, RedisModuleCtx *ctx, Waiter *waiter) noexcept nogil:
    """Block the client until `tell`, with an answer of answer.pxd."""
    wait_with(m, ctx, waiter, on_answered, answer_free)
    return 0


cdef void wait_on(Member *m, Waiter *waiter, WaitKind kind) noexcept nogil:
    """For something else than before."""
    list_remove(&m.clients.waiting.lists[<int>waiter.kind], waiter)
    waiter.kind = kind
    list_append(&m.clients.waiting.lists[<int>kind], waiter)


# ------------------------------------------------------------------------------------------------------- over

cdef void unlist(Member *m, Waiter *waiter) noexcept nogil:
    RedisModule_DictDelC(m.clients.waiting.by_client, &waiter.client, sizeof(waiter.client), NULL)
    list_remove(&m.clients.waiting.lists[<int>waiter.kind], waiter)


cdef bint tell(Member *m, Waiter *waiter, void *answer) noexcept nogil:
    """Unblock the client, which has the answer then; the waiter is no more. False: the client has left, and whoever
    did the job still has the answer.
    """
    cdef bint is_there = waiter.client != NULL
    if is_there:
        unlist(m, waiter)
        RedisModule_UnblockClient(waiter.client, answer)
    waiter_free(waiter)
    return is_there


cdef void on_gone(RedisModuleCtx *ctx, RedisModuleBlockedClient *client) noexcept nogil:
    """A client that waits has disconnected. One that is found nowhere has been told just before, which must not happen
    twice.

    Writers that wait for their commit are not among these: they are told, or not, when that is known.
    """
    cdef Member *m = the_member()
    cdef Waiter *waiter = <Waiter *>RedisModule_DictGetC(m.clients.waiting.by_client, &client, sizeof(client), NULL)
    if waiter == NULL:
        return
    unlist(m, waiter)
    waiter.client = NULL
    if waiter.kind == WAIT_FLUSH and m.checkpoint.flush.waiter == waiter:
        m.checkpoint.flush.waiter = NULL
    if waiter.kind != WAIT_WORKER:
        waiter_free(waiter)
    RedisModule_UnblockClient(client, NULL)
