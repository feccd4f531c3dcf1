# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The handlers of the MASTER commands, on the Redis main thread. Each blocks its client and queues a job, and never
# enters the interpreter.

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_DENY_BLOCKING, REDISMODULE_CTX_FLAGS_REPLICATED, REDISMODULE_OK, RedisModuleBlockedClient,
    RedisModuleCtx, RedisModuleString, RedisModule_BlockClient, RedisModule_GetContextFlags, RedisModule_Log,
    RedisModule_ReplyWithError, RedisModule_SetDisconnectCallback, RedisModule_WrongArity,
)
from modules.master.jobs cimport Job, Queue, job_new, job_note_asker, outcome_free, outcome_reply, queue_full, queue_put
from modules.master.state cimport ADD, Command, FORM, GET_CHAIN, REFRESH_HEAD, REFRESH_TAIL, REMOVE, SENTINEL
from modules.server.acl cimport may_administer


cdef extern from *:
    const char *GIVEN_TO_NOBODY "\"master.nothing\""


cdef int submit(RedisModuleCtx *ctx, RedisModuleString **argv, int argc, Command command) noexcept nogil:
    """Queue the command and block its client until the job has an outcome. Returns REDISMODULE_OK."""
    cdef Queue *queue = &master.queues[master.lane[<int>command]]
    cdef Job *job
    if RedisModule_GetContextFlags(ctx) & (REDISMODULE_CTX_FLAGS_DENY_BLOCKING | REDISMODULE_CTX_FLAGS_REPLICATED):
        return RedisModule_ReplyWithError(
            ctx, b"ERR this command waits: not inside MULTI, a script or a module's call, nor from a native master")
    if queue_full(queue):
        return RedisModule_ReplyWithError(ctx, b"ERR too many commands are waiting for the master; nothing was done")
    job = job_new(command, argv, argc)
    if job == NULL:
        return RedisModule_ReplyWithError(ctx, b"ERR an argument is too long")
    job_note_asker(job, ctx)
    job.client = RedisModule_BlockClient(ctx, outcome_reply, NULL, outcome_free, 0)
    RedisModule_SetDisconnectCallback(job.client, on_client_gone)
    queue_put(queue, job)
    return REDISMODULE_OK


cdef void on_client_gone(RedisModuleCtx *ctx, RedisModuleBlockedClient *client) noexcept nogil:
    RedisModule_Log(master.ctx, b"notice", b"a client has gone without waiting for its command, which goes on: INFO "
                    b"master shows how")


cdef int handle_add(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.ADD host port [DISCARD | ADOPT [INCOMPLETE]]

    OK        the member serves as the new tail
    ERR       the member is not in the chain; the text says why
    UNKNOWN   it may or may not be in the chain: MASTER.GET_CHAIN shows it
    """
    if argc < 3 or argc > 5:
        return RedisModule_WrongArity(ctx)
    if not may_administer(ctx, GIVEN_TO_NOBODY, b"master.add"):
        return REDISMODULE_OK
    return submit(ctx, argv, argc, ADD)


cdef int handle_remove(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.REMOVE host port: as MASTER.ADD; OK when the chain serves without it."""
    if argc != 3:
        return RedisModule_WrongArity(ctx)
    if not may_administer(ctx, GIVEN_TO_NOBODY, b"master.remove"):
        return REDISMODULE_OK
    return submit(ctx, argv, argc, REMOVE)


cdef int handle_form(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.FORM host port: as MASTER.ADD; OK when that one survivor is the chain."""
    if argc != 3:
        return RedisModule_WrongArity(ctx)
    if not may_administer(ctx, GIVEN_TO_NOBODY, b"master.form"):
        return REDISMODULE_OK
    return submit(ctx, argv, argc, FORM)


cdef int handle_refresh_head(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.REFRESH_HEAD: host:port of a head that has just been found alive, or ERR."""
    if argc != 1:
        return RedisModule_WrongArity(ctx)
    return submit(ctx, argv, argc, REFRESH_HEAD)


cdef int handle_refresh_tail(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.REFRESH_TAIL: host:port of a tail that has just been found alive, or ERR."""
    if argc != 1:
        return RedisModule_WrongArity(ctx)
    return submit(ctx, argv, argc, REFRESH_TAIL)


cdef int handle_get_chain(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.GET_CHAIN: array of host:port, head first."""
    if argc != 1:
        return RedisModule_WrongArity(ctx)
    return submit(ctx, argv, argc, GET_CHAIN)


cdef int handle_sentinel(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """SENTINEL subcommand [name]: the reply of Redis's own Sentinel. Redis has checked the number of arguments."""
    return submit(ctx, argv, argc, SENTINEL)
