# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Blocked clients: blocking one, unblocking it, and forgetting one that disconnects take constant time each.

from libc.stdlib cimport calloc, free

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_DENY_BLOCKING, REDISMODULE_CTX_FLAGS_LUA, REDISMODULE_CTX_FLAGS_MULTI,
    REDISMODULE_CTX_FLAGS_REPLICATED, RedisModuleBlockedClient, RedisModuleCmdFunc, RedisModuleCtx,
    RedisModule_BlockClient, RedisModule_CreateDict, RedisModule_DictDelC, RedisModule_DictGetC, RedisModule_DictSetC,
    RedisModule_GetClientId, RedisModule_GetContextFlags, RedisModule_SetDisconnectCallback, RedisModule_UnblockClient,
)
from modules.member.keyspace.values cimport let_go
from modules.member.state.member cimport Member, the_member
from modules.member.state.waiter cimport WAIT_FLUSH, WAIT_WORKER, WaitKind, Waiter, list_append, list_remove


cdef void waiting_init(Member *m) noexcept nogil:
    """To be called once, when the module is loaded."""
    m.clients.waiting.by_client = RedisModule_CreateDict(NULL)


cdef bint may_block(RedisModuleCtx *ctx) noexcept nogil:
    """Returns False inside MULTI, a script or another module's call, where a client cannot be blocked; and for what a
    native master sends: Redis would execute nothing more of it, and Valkey 9 gives a module no blocked client.
    """
    return not RedisModule_GetContextFlags(ctx) & (
        REDISMODULE_CTX_FLAGS_MULTI | REDISMODULE_CTX_FLAGS_LUA | REDISMODULE_CTX_FLAGS_DENY_BLOCKING
        | REDISMODULE_CTX_FLAGS_REPLICATED)


# ---------------------------------------------------------------------------------------------------- blocking

cdef Waiter *waiter_new(WaitKind kind) noexcept nogil:
    """Returns a new waiter for the caller to fill in and pass to `wait_for_answer` or `waiter_free`. NULL: no memory.
    """
    cdef Waiter *waiter = <Waiter *>calloc(1, sizeof(Waiter))
    if waiter != NULL:
        waiter.kind = kind
    return waiter


cdef void waiter_free(Waiter *waiter) noexcept nogil:
    """Free a waiter that is in no list, with its references to strings and its answer."""
    let_go(waiter.key)
    let_go(waiter.value)
    let_go(waiter.channel)
    answer_free(NULL, waiter.answer)
    free(waiter)


cdef void wait_with(
    Member *m, RedisModuleCtx *ctx, Waiter *waiter, RedisModuleCmdFunc on_told,
    void (*on_over)(RedisModuleCtx *, void *) noexcept nogil,
) noexcept nogil:
    """Block the client until `tell`. Then Redis calls `on_told`, which replies, and `on_over`, which frees the answer.
    """
    waiter.asker = RedisModule_GetClientId(ctx)
    waiter.client = RedisModule_BlockClient(ctx, on_told, NULL, on_over, 0)
    RedisModule_SetDisconnectCallback(waiter.client, on_gone)
    RedisModule_DictSetC(m.clients.waiting.by_client, &waiter.client, sizeof(waiter.client), waiter)
    list_append(&m.clients.waiting.lists[<int>waiter.kind], waiter)


cdef int wait_for_answer(Member *m, RedisModuleCtx *ctx, Waiter *waiter) noexcept nogil:
    """Block the client until `tell`, which gets an answer of `answer.pxi`."""
    wait_with(m, ctx, waiter, on_answered, answer_free)
    return 0


cdef void wait_on(Member *m, Waiter *waiter, WaitKind kind) noexcept nogil:
    """Move the waiter to the list of another kind."""
    list_remove(&m.clients.waiting.lists[<int>waiter.kind], waiter)
    waiter.kind = kind
    list_append(&m.clients.waiting.lists[<int>kind], waiter)


# ------------------------------------------------------------------------------------------------------- over

cdef void unlist(Member *m, Waiter *waiter) noexcept nogil:
    """Remove the waiter from its list. The client stays blocked, and the caller owns the waiter."""
    RedisModule_DictDelC(m.clients.waiting.by_client, &waiter.client, sizeof(waiter.client), NULL)
    list_remove(&m.clients.waiting.lists[<int>waiter.kind], waiter)


cdef bint tell(Member *m, Waiter *waiter, void *answer) noexcept nogil:
    """Unblock the client, which takes over `answer`, and free the waiter. Returns False if the client has left: the
    caller still owns the answer.
    """
    cdef bint is_there = waiter.client != NULL
    if is_there:
        unlist(m, waiter)
        RedisModule_UnblockClient(waiter.client, answer)
    waiter_free(waiter)
    return is_there


cdef void on_gone(RedisModuleCtx *ctx, RedisModuleBlockedClient *client) noexcept nogil:
    """Forget a blocked client that has disconnected.

    A client without a waiter was unblocked just before, which must not happen twice. Writers whose update is in the log
    have no waiter: they are unblocked when their outcome is known.
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
