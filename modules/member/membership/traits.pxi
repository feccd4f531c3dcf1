# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The traits of this server that CHAIN.STATE tells: what the members of a chain of kind `all` must have in common, so
# that each can apply what the head's server has executed (docs/protocol.md, "Views").

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from modules.bindings.redismodule cimport (
    REDISMODULE_REPLY_ARRAY, REDISMODULE_REPLY_INTEGER, RedisModuleCallReply, RedisModuleCtx, RedisModule_Call,
    RedisModule_CallReplyArrayElement, RedisModule_CallReplyInteger, RedisModule_CallReplyLength,
    RedisModule_CallReplyStringPtr, RedisModule_CallReplyType,
)
from modules.core.view cimport kind_name
from modules.member.keyspace.kind cimport own_kind
from modules.member.state.member cimport Member
from modules.server.command_table cimport field_of, is_ours
from modules.server.redis_calls cimport drop_reply, redis_setting, server_version
from modules.server.tls cimport tls_replicates

cdef enum:
    TRAIT_FIELDS = 6
    MODULES_BYTES = 4096        # names and versions of all modules
    MODULE_BYTES = 128          # of one


cdef size_t module_text(RedisModuleCallReply *module, char *out, size_t room) noexcept nogil:
    """Write ` name:version` of an entry of MODULE LIST to `out`. Returns its length; 0: no room, or no such entry."""
    cdef RedisModuleCallReply *name = field_of(module, "name")
    cdef RedisModuleCallReply *version = field_of(module, "ver")
    cdef char text[MODULE_BYTES]
    cdef const char *bytes = NULL
    cdef size_t length
    cdef size_t written
    if name != NULL and version != NULL and RedisModule_CallReplyType(version) == REDISMODULE_REPLY_INTEGER:
        bytes = RedisModule_CallReplyStringPtr(name, &length)
    if bytes == NULL:
        return 0
    written = snprintf(text, MODULE_BYTES, " %.*s:%lld", <int>length, bytes, RedisModule_CallReplyInteger(version))
    if written >= MODULE_BYTES or written >= room:
        return 0
    memcpy(out, text, written + 1)
    return written


cdef void modules_text(RedisModuleCtx *ctx, char *out) noexcept nogil:
    """Write ` name:version` of each loaded module to `out`, which has room for MODULES_BYTES."""
    cdef RedisModuleCallReply *modules = RedisModule_Call(ctx, "MODULE", "c", b"LIST")
    cdef size_t length = 0
    cdef size_t i
    out[0] = 0
    if modules != NULL and RedisModule_CallReplyType(modules) == REDISMODULE_REPLY_ARRAY:
        for i in range(RedisModule_CallReplyLength(modules)):
            length += module_text(
                RedisModule_CallReplyArrayElement(modules, i), &out[length], MODULES_BYTES - length)
    drop_reply(modules)


cdef uint64_t hash_of(const char *name, size_t length) noexcept nogil:
    """FNV-1a."""
    cdef uint64_t found = 14695981039346656037ULL
    cdef size_t i
    for i in range(length):
        found = (found ^ <unsigned char>name[i]) * 1099511628211ULL
    return found


cdef uint64_t writes_digest(RedisModuleCtx *ctx) noexcept nogil:
    """Returns a digest of the names of the write commands that this server has, in whatever order it lists them.

    A command that rename-command has switched off is missing. A renamed one is refused when the module is loaded.
    """
    cdef RedisModuleCallReply *names = RedisModule_Call(
        ctx, "COMMAND", "cccc", b"LIST", b"FILTERBY", b"ACLCAT", b"write")
    cdef uint64_t digest = 0
    cdef const char *name
    cdef size_t length
    cdef size_t i
    if names != NULL and RedisModule_CallReplyType(names) == REDISMODULE_REPLY_ARRAY:
        for i in range(RedisModule_CallReplyLength(names)):
            name = RedisModule_CallReplyStringPtr(RedisModule_CallReplyArrayElement(names, i), &length)
            if name != NULL and not is_ours(name, length):
                digest += hash_of(name, length)
    drop_reply(names)
    return digest


cdef void reply_traits(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Reply with the names and values of TRAIT_FIELDS traits."""
    cdef char version[64]
    cdef char databases[NUMBER_BYTES]
    cdef char modules[MODULES_BYTES]
    cdef char writes[NUMBER_BYTES]
    server_version(ctx, version, sizeof(version))
    modules_text(ctx, modules)
    snprintf(writes, NUMBER_BYTES, "%016llx", <unsigned long long>writes_digest(ctx))
    if not redis_setting(ctx, "databases", databases, sizeof(databases)):
        databases[0] = 0
    state_text(ctx, "kind", kind_name(own_kind(m)))
    state_text(ctx, "version", version)
    state_text(ctx, "databases", databases)
    state_text(ctx, "modules", &modules[1] if modules[0] else modules)
    state_text(ctx, "writes", writes)
    state_number(ctx, "tls", tls_replicates(ctx))
