# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What a master says as a Sentinel besides SENTINEL itself: ROLE, INFO and publications. None of these waits for Python:
# the main thread says what Python has pushed before.

from libc.string cimport memcpy, strlen, strstr

from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_unlock
from modules.bindings.redismodule cimport (
    REDISMODULE_REPLY_STRING, RedisModuleCallReply, RedisModuleCommandFilterCtx, RedisModuleCtx, RedisModuleString,
    RedisModule_Alloc, RedisModule_Call, RedisModule_CallReplyStringPtr, RedisModule_CallReplyType,
    RedisModule_CommandFilterArgReplace, RedisModule_CreateString, RedisModule_EventLoopAddOneShot, RedisModule_Free,
    RedisModule_FreeString, RedisModule_PublishMessage, RedisModule_ReplyWithArray, RedisModule_ReplyWithCString,
    RedisModule_ReplyWithError, RedisModule_ReplyWithVerbatimString, RedisModule_StringAppendBuffer,
    RedisModule_StringPtrLen, RedisModule_WrongArity,
)
from modules.master.info cimport Info
from modules.server.command_table cimport RULE_INFO, RULE_ROLE, Rule, table_rule
from modules.server.logins cimport ENTRANCE_OPEN, ENTRANCE_PASSWORD, Entrance, entrance, has_name, may_ask
from modules.server.passwords cimport strcasecmp
from modules.server.redis_calls cimport drop_reply


# ------------------------------------------------------------------------------------------- instead of Redis's own

cdef Entrance who_enters(RedisModuleCtx *ctx) noexcept nogil:
    cdef Entrance found
    master.sentinel.own_call = True
    found = entrance(ctx)
    master.sentinel.own_call = False
    return found


cdef bint is_logged_in(RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether the client has logged in; needed for commands that Redis runs without a login. If it has not,
    replies the error that Redis gives.
    """
    if has_name(ctx) or who_enters(ctx) == ENTRANCE_OPEN:
        return True
    RedisModule_ReplyWithError(ctx, b"NOAUTH Authentication required.")
    return False


cdef bint replace_asked(RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Replace ROLE and INFO with the commands of this file. Returns False for any other command.

    The variant .ANY needs no login, as far as Redis's own command needs none.
    """
    cdef Rule rule = table_rule(master.commands, command)
    cdef const char *name
    if rule != RULE_ROLE and rule != RULE_INFO:
        return False
    if who_enters(master.ctx) == ENTRANCE_PASSWORD:
        name = b"MASTER.ROLE" if rule == RULE_ROLE else b"MASTER.INFO"
    else:
        name = b"MASTER.ROLE.ANY" if rule == RULE_ROLE else b"MASTER.INFO.ANY"
    RedisModule_CommandFilterArgReplace(command, 0, RedisModule_CreateString(NULL, name, strlen(name)))
    return True


cdef int on_role(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.ROLE, in place of ROLE -> [sentinel, [name]], as a Sentinel's ROLE"""
    cdef Info *chain = &master.sentinel.chain
    if argc != 1:
        return RedisModule_WrongArity(ctx)
    if not may_ask(ctx, b"role"):
        return 0
    RedisModule_ReplyWithArray(ctx, 2)
    RedisModule_ReplyWithCString(ctx, b"sentinel")
    pthread_mutex_lock(&chain.mutex)
    RedisModule_ReplyWithArray(ctx, 1 if chain.bytes > 1 else 0)
    if chain.bytes > 1:
        RedisModule_ReplyWithCString(ctx, chain.fields)
    pthread_mutex_unlock(&chain.mutex)
    return 0


cdef int on_role_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return on_role(ctx, argv, argc) if is_logged_in(ctx) else 0


# ------------------------------------------------------------------------------------------------------------ INFO

cdef void append(RedisModuleString *out, const char *text) noexcept nogil:
    RedisModule_StringAppendBuffer(NULL, out, text, strlen(text))


cdef void append_section(RedisModuleString *out) noexcept nogil:
    """Append the section that a Sentinel's INFO ends with."""
    cdef Info *info = &master.sentinel.info
    cdef const char *name = info.fields
    append(out, b"\r\n# Sentinel\r\n")
    pthread_mutex_lock(&info.mutex)
    while name < info.fields + info.bytes:
        append(out, name)
        append(out, b":")
        name += strlen(name) + 1
        append(out, name)
        append(out, b"\r\n")
        name += strlen(name) + 1
    pthread_mutex_unlock(&info.mutex)


cdef bint wants_section(RedisModuleString **argv, int argc) noexcept nogil:
    cdef const char *section
    cdef int i
    for i in range(1, argc):
        section = RedisModule_StringPtrLen(argv[i], NULL)
        if (strcasecmp(section, b"sentinel") == 0 or strcasecmp(section, b"all") == 0
                or strcasecmp(section, b"everything") == 0 or strcasecmp(section, b"default") == 0):
            return True
    return argc == 1


cdef void append_native(RedisModuleString *out, const char *text) noexcept nogil:
    """Append the native text of INFO, with a Sentinel's `redis_mode`, which Valkey calls `server_mode`."""
    cdef const char *mode = strstr(text, b"_mode:standalone\r\n")
    if mode != NULL:
        RedisModule_StringAppendBuffer(NULL, out, text, mode - text)
        append(out, b"_mode:sentinel\r\n")
        text = mode + strlen(b"_mode:standalone\r\n")
    append(out, text)


cdef int on_info(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.INFO [section …], in place of INFO -> as Redis's own INFO, with the section of a Sentinel"""
    cdef RedisModuleCallReply *reply
    cdef RedisModuleString *native
    cdef RedisModuleString *out
    cdef const char *bytes
    cdef size_t length
    if not may_ask(ctx, b"info"):
        return 0
    master.sentinel.own_call = True
    reply = RedisModule_Call(ctx, b"INFO", b"v", &argv[1], <size_t>(argc - 1))
    master.sentinel.own_call = False
    if reply == NULL or RedisModule_CallReplyType(reply) != REDISMODULE_REPLY_STRING:
        drop_reply(reply)
        return RedisModule_ReplyWithError(ctx, b"ERR this server has no command INFO")
    bytes = RedisModule_CallReplyStringPtr(reply, &length)
    native = RedisModule_CreateString(NULL, bytes, length)      # a module string ends with a zero byte
    drop_reply(reply)
    out = RedisModule_CreateString(NULL, b"", 0)
    append_native(out, RedisModule_StringPtrLen(native, NULL))
    if wants_section(argv, argc):
        append_section(out)
    bytes = RedisModule_StringPtrLen(out, &length)
    RedisModule_ReplyWithVerbatimString(ctx, bytes, length)
    RedisModule_FreeString(NULL, out)
    RedisModule_FreeString(NULL, native)
    return 0


cdef int on_info_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return on_info(ctx, argv, argc) if is_logged_in(ctx) else 0


# ---------------------------------------------------------------------------------------------------- publications

cdef void publish_now(void *data) noexcept nogil:
    """Publish a message on the main thread. `data` is the channel and the message, each with its NUL."""
    cdef const char *channel = <const char *>data
    cdef const char *message = channel + strlen(channel) + 1
    cdef RedisModuleString *name = RedisModule_CreateString(NULL, channel, strlen(channel))
    cdef RedisModuleString *text = RedisModule_CreateString(NULL, message, strlen(message))
    RedisModule_PublishMessage(master.ctx, name, text)
    RedisModule_FreeString(NULL, name)
    RedisModule_FreeString(NULL, text)
    RedisModule_Free(data)


def publish_event(event):
    """Publish a channel and a message soon, on the main thread. May be called on any thread."""
    cdef bytes both = b"".join(one_line(part) + b"\0" for part in event)
    cdef char *data = <char *>RedisModule_Alloc(len(both))
    memcpy(data, <const char *>both, len(both))
    RedisModule_EventLoopAddOneShot(publish_now, data)
