# cython: language_level=3
"""Small things that every caller of Redis's own commands needs. Shared by members and masters."""

from libc.stdio cimport snprintf

from modules.redismodule cimport (
    RedisModule_FreeCallReply, RedisModule_FreeServerInfo, RedisModule_GetServerInfo, RedisModule_ServerInfoGetFieldC,
    RedisModuleCallReply, RedisModuleCtx, RedisModuleServerInfoData,
)


cdef inline void drop_reply(RedisModuleCallReply *reply) noexcept nogil:
    if reply != NULL:
        RedisModule_FreeCallReply(reply)


cdef inline bint info_field(
    RedisModuleCtx *ctx, const char *section, const char *field, char *out, size_t room,
) noexcept nogil:
    """A field of INFO as text; False: there is none."""
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(ctx, section)
    cdef const char *value
    if info == NULL:
        return False
    value = RedisModule_ServerInfoGetFieldC(info, field)
    if value != NULL:
        snprintf(out, room, "%s", value)
    RedisModule_FreeServerInfo(ctx, info)
    return value != NULL
