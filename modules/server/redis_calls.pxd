# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Helpers for calls of Redis's own commands. Used by members and masters."""

from libc.stdio cimport snprintf
from libc.stdlib cimport atoi
from libc.string cimport strcmp

from modules.bindings.redismodule cimport (
    REDISMODULE_REPLY_ARRAY, RedisModule_Call, RedisModule_CallReplyArrayElement, RedisModule_CallReplyLength,
    RedisModule_CallReplyStringPtr, RedisModule_CallReplyType,
    RedisModule_FreeCallReply, RedisModule_FreeServerInfo, RedisModule_GetServerInfo, RedisModule_ServerInfoGetFieldC,
    RedisModuleCallReply, RedisModuleCtx, RedisModuleServerInfoData,
)


cdef inline void drop_reply(RedisModuleCallReply *reply) noexcept nogil:
    if reply != NULL:
        RedisModule_FreeCallReply(reply)


cdef inline bint info_field(
    RedisModuleCtx *ctx, const char *section, const char *field, char *out, size_t room,
) noexcept nogil:
    """Get a field of INFO as text. Returns False if it does not exist."""
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(ctx, section)
    cdef const char *value
    if info == NULL:
        return False
    value = RedisModule_ServerInfoGetFieldC(info, field)
    if value != NULL:
        snprintf(out, room, "%s", value)
    RedisModule_FreeServerInfo(ctx, info)
    return value != NULL


cdef inline void server_version(RedisModuleCtx *ctx, char *out, size_t room) noexcept nogil:
    """Write the server's name and version. Valkey and Redict tell a version of Redis beside their own."""
    cdef char version[32]
    cdef const char *name = "redis"
    if info_field(ctx, "server", "valkey_version", version, sizeof(version)):
        name = "valkey"
    elif info_field(ctx, "server", "redict_version", version, sizeof(version)):
        name = "redict"
    elif not info_field(ctx, "server", "redis_version", version, sizeof(version)):
        version[0] = 0
    snprintf(out, room, "%s %s", name, &version[0])


cdef inline bint redis_setting(RedisModuleCtx *ctx, const char *name, char *out, size_t room) noexcept nogil:
    """Get a setting of Redis as text. Returns False if it does not exist."""
    cdef RedisModuleCallReply *reply = RedisModule_Call(ctx, "CONFIG", "cc", b"GET", name)
    cdef size_t length = 0
    cdef const char *found = NULL
    if (reply != NULL and RedisModule_CallReplyType(reply) == REDISMODULE_REPLY_ARRAY
            and RedisModule_CallReplyLength(reply) == 2):
        found = RedisModule_CallReplyStringPtr(RedisModule_CallReplyArrayElement(reply, 1), &length)
    if found != NULL:
        snprintf(out, room, "%.*s", <int>length, found)
    drop_reply(reply)
    return found != NULL


cdef inline int redis_port(RedisModuleCtx *ctx, const char *name) noexcept nogil:
    """Returns a setting of Redis that is a port. 0: it is not set, or does not exist."""
    cdef char text[16]
    return atoi(text) if redis_setting(ctx, name, text, sizeof(text)) else 0


cdef inline bint is_configured(RedisModuleCtx *ctx, const char *name, const char *value) noexcept nogil:
    cdef char found[64]
    return redis_setting(ctx, name, found, sizeof(found)) and strcmp(found, value) == 0
