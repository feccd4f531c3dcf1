# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Whether a client's connection has TLS. What the gate has put in the place of its socket does not change that: the
server encrypts what passes through there.
"""

from libc.string cimport memset

from modules.bindings.libc cimport ENOENT, clear_errno, errno
from modules.bindings.redismodule cimport (
    REDISMODULE_CLIENTINFO_FLAG_SSL, REDISMODULE_CLIENTINFO_FLAG_UNIXSOCKET, REDISMODULE_OK, RedisModuleClientInfo,
    RedisModuleCtx, RedisModuleString, RedisModule_FreeString, RedisModule_GetClientInfoById,
    RedisModule_GetClientUserNameById,
)
from modules.core.client_ports cimport CONNECTION_OTHER, CONNECTION_PLAIN, CONNECTION_TLS, Connection


cdef inline bint is_connected(RedisModuleCtx *ctx, unsigned long long client) noexcept nogil:
    cdef RedisModuleString *user
    clear_errno()
    user = RedisModule_GetClientUserNameById(ctx, client)
    if user != NULL:
        RedisModule_FreeString(ctx, user)
    return user != NULL or errno != ENOENT


cdef inline Connection connection_of(RedisModuleCtx *ctx, unsigned long long client) noexcept nogil:
    """The client's connection. A script and a module's call have none, nor has a client that has left.

    Valkey 9.1 ends when it is asked about the connection of a script or a call that runs.
    """
    cdef RedisModuleClientInfo info
    memset(&info, 0, sizeof(info))
    info.version = 1
    if not is_connected(ctx, client) or RedisModule_GetClientInfoById(&info, client) != REDISMODULE_OK:
        return CONNECTION_OTHER
    if info.flags & REDISMODULE_CLIENTINFO_FLAG_SSL:
        return CONNECTION_TLS
    return CONNECTION_OTHER if info.flags & REDISMODULE_CLIENTINFO_FLAG_UNIXSOCKET else CONNECTION_PLAIN
