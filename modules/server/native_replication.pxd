# cython: language_level=3
"""Redis's own replication and cluster, which must not change what a member or a master is. Shared by both."""

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_CLUSTER, REDISMODULE_CTX_FLAGS_SLAVE, RedisModuleCtx, RedisModule_Call,
    RedisModule_GetContextFlags, RedisModule_Log,
)
from modules.server.redis_calls cimport drop_reply, info_field

cdef enum:
    SOURCE_BYTES = 256


cdef inline bint follows_another(RedisModuleCtx *ctx) noexcept nogil:
    """Is this server a replica of another, in Redis's own sense?"""
    return RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_SLAVE != 0


cdef inline bint follow_nobody(RedisModuleCtx *ctx) noexcept nogil:
    """REPLICAOF NO ONE, past our own filter: the caller sees to that. True: it has been a replica, and is none now."""
    cdef char host[SOURCE_BYTES]
    cdef char port[16]
    if not follows_another(ctx):
        return False
    host[0] = port[0] = 0
    info_field(ctx, "replication", "master_host", host, sizeof(host))
    info_field(ctx, "replication", "master_port", port, sizeof(port))
    drop_reply(RedisModule_Call(ctx, "REPLICAOF", "cc", b"NO", b"ONE"))
    if follows_another(ctx):
        RedisModule_Log(ctx, "warning", "this server is a replica of %s:%s, and REPLICAOF NO ONE failed", host, port)
        return False
    RedisModule_Log(ctx, "warning", "this server was a replica of %s:%s, by its configuration or by a command, and is "
                    "none any more: only its chain changes what it has", host, port)
    return True


cdef inline bint may_load(RedisModuleCtx *ctx) noexcept nogil:
    """False, and a line in the log: this server cannot be what the module would make of it.

    A replica, whatever made it one, is none any more: the event loop, which would connect it, does not run yet.
    """
    if RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_CLUSTER:
        RedisModule_Log(ctx, "warning", "cluster-enabled yes: a server of a Redis Cluster is no chain's, neither a "
                        "member nor a master, since the cluster would redirect its clients: set cluster-enabled no")
        return False
    follow_nobody(ctx)
    return not follows_another(ctx)
