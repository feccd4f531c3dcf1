# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Redis's own replication and cluster, which a member or a master must not be part of. Used by both."""

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_CLUSTER, REDISMODULE_CTX_FLAGS_SLAVE, RedisModuleCtx, RedisModule_Call,
    RedisModule_GetContextFlags, RedisModule_Log,
)
from modules.server.redis_calls cimport drop_reply, info_field

cdef enum:
    SOURCE_BYTES = 256


cdef inline bint follows_another(RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether this server is a native Redis replica of another server."""
    return RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_SLAVE != 0


cdef inline bint follow_nobody(RedisModuleCtx *ctx) noexcept nogil:
    """Call REPLICAOF NO ONE. Returns whether this server was a replica and is none now.

    The caller must make the command filter pass the call.
    """
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
    """Returns whether the module may be loaded into this server. If not, logs the reason.

    A server that is a native replica is made a master. It has not connected yet, since the event loop does not run.
    """
    if RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_CLUSTER:
        RedisModule_Log(ctx, "warning", "cluster-enabled yes: a server of a Redis Cluster is no chain's, neither a "
                        "member nor a master, since the cluster would redirect its clients: set cluster-enabled no")
        return False
    follow_nobody(ctx)
    return not follows_another(ctx)
