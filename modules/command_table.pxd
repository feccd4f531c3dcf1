# cython: language_level=3
"""Which of Redis's commands a server refuses: a table of names, asked for every command. Shared by members and masters.

Names are in lower case, those of subcommands as in "xgroup|create".
"""

from libc.stdint cimport intptr_t
from libc.string cimport memchr

from modules.redis_calls cimport drop_reply
from modules.redismodule cimport (
    REDISMODULE_REPLY_ARRAY, RedisModule_Call, RedisModule_CallReplyArrayElement, RedisModule_CallReplyLength,
    RedisModule_CallReplyStringPtr, RedisModule_CallReplyType, RedisModule_CommandFilterArgGet,
    RedisModule_CommandFilterArgsCount, RedisModule_DictGetC, RedisModule_DictReplaceC, RedisModule_Log,
    RedisModule_StringPtrLen, RedisModuleCallReply, RedisModuleCommandFilterCtx, RedisModuleCtx, RedisModuleDict,
    RedisModuleString,
)

cdef enum:
    NAME_BYTES = 64             # no command of Redis has a longer name, subcommand included


cdef enum Rule:
    RULE_NONE                   # passes
    RULE_WRITE                  # changes data: refused where that may not be
    RULE_CONTAINER              # some of its subcommands have a rule
    RULE_SUBSCRIBES             # passes; from now on there may be a subscriber
    RULE_ROLE                   # a member has another answer to it than its Redis
    RULE_INFO                   # likewise


cdef inline void table_note(RedisModuleDict *table, const char *name, size_t length, Rule rule) noexcept nogil:
    RedisModule_DictReplaceC(table, <void *>name, length, <void *><intptr_t>rule)


cdef inline Rule table_find(RedisModuleDict *table, char *name, size_t length) noexcept nogil:
    return <Rule><intptr_t>RedisModule_DictGetC(table, name, length, NULL)


# ------------------------------------------------------------------------------------------ from what Redis says

cdef inline bint is_known(RedisModuleCtx *ctx, const char *name, size_t length) noexcept nogil:
    """Is there a command that clients call by this name?"""
    cdef RedisModuleCallReply *reply = RedisModule_Call(ctx, "COMMAND", "cb", b"INFO", name, length)
    cdef bint known = reply != NULL and RedisModule_CallReplyType(
        RedisModule_CallReplyArrayElement(reply, 0)) == REDISMODULE_REPLY_ARRAY
    drop_reply(reply)
    if not known:
        RedisModule_Log(ctx, "warning", "a member cannot do without the command %.*s, nor refuse it under another "
                        "name: use ACLs instead of rename-command", <int>length, name)
    return known


cdef inline bint is_ours(const char *name, size_t length) noexcept nogil:
    """READ, MEMBER.… or CHAIN.…: no other command has a dot at either place and these letters around it."""
    if length == 4:
        return name[0] | 32 == c"r" and name[1] | 32 == c"e" and name[2] | 32 == c"a" and name[3] | 32 == c"d"
    if length < 7:
        return False
    if name[6] == c".":
        return name[0] | 32 == c"m" and name[5] | 32 == c"r"
    return name[5] == c"." and name[0] | 32 == c"c" and name[4] | 32 == c"n"


cdef inline bint table_note_each(
    RedisModuleCtx *ctx, RedisModuleDict *table, RedisModuleCallReply *names,
) noexcept nogil:
    """Every command of the category @write. "xgroup|create" makes "xgroup" a container. False: one was renamed."""
    cdef bint whole = True
    cdef const char *name
    cdef const char *bar
    cdef size_t length
    cdef size_t i
    for i in range(RedisModule_CallReplyLength(names)):
        name = RedisModule_CallReplyStringPtr(RedisModule_CallReplyArrayElement(names, i), &length)
        if name == NULL or length >= NAME_BYTES or is_ours(name, length):
            continue
        whole = is_known(ctx, name, length) and whole
        table_note(table, name, length, RULE_WRITE)
        bar = <const char *>memchr(name, c"|", length)
        if bar != NULL:
            table_note(table, name, bar - name, RULE_CONTAINER)
    return whole


cdef inline bint table_note_writes(RedisModuleCtx *ctx, RedisModuleDict *table) noexcept nogil:
    """Every native command that changes data. False: the table would let some pass; the log says why."""
    cdef RedisModuleCallReply *names = RedisModule_Call(
        ctx, "COMMAND", "cccc", b"LIST", b"FILTERBY", b"ACLCAT", b"write")
    cdef bint whole = names != NULL and RedisModule_CallReplyType(names) == REDISMODULE_REPLY_ARRAY
    if whole:
        whole = table_note_each(ctx, table, names)
    else:
        RedisModule_Log(ctx, "warning", "a member cannot do without the command COMMAND")
    drop_reply(names)
    table_note(table, "pfcount", 7, RULE_WRITE)             # a read that writes its cached count into the value
    # Not writes to Redis, but they replace or drop the data all the same.
    table_note(table, "debug|reload", 12, RULE_WRITE)
    table_note(table, "debug|loadaof", 13, RULE_WRITE)
    table_note(table, "debug|flushall", 14, RULE_WRITE)
    table_note(table, "debug|populate", 14, RULE_WRITE)
    table_note(table, "debug", 5, RULE_CONTAINER)
    return whole


# ------------------------------------------------------------------------------------------------ every command

cdef inline size_t lower_name(const RedisModuleString *argument, char *out, size_t at) noexcept nogil:
    """Append to out[:at] in lower case; the new length, 0 when it does not fit."""
    cdef size_t length
    cdef size_t i
    cdef const char *bytes = RedisModule_StringPtrLen(argument, &length)
    if at + length > NAME_BYTES:
        return 0
    for i in range(length):
        out[at + i] = bytes[i] + 32 if c"A" <= bytes[i] <= c"Z" else bytes[i]
    return at + length


cdef inline Rule table_rule(RedisModuleDict *table, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Of a command that is about to be executed; never RULE_CONTAINER."""
    cdef char name[NAME_BYTES]
    cdef size_t length = lower_name(RedisModule_CommandFilterArgGet(command, 0), name, 0)
    cdef Rule rule
    if length == 0:
        return RULE_NONE
    rule = table_find(table, name, length)
    if rule != RULE_CONTAINER:
        return rule
    if RedisModule_CommandFilterArgsCount(command) == 1 or length == NAME_BYTES:
        return RULE_NONE
    name[length] = c"|"
    length = lower_name(RedisModule_CommandFilterArgGet(command, 1), name, length + 1)
    return table_find(table, name, length) if length else RULE_NONE
