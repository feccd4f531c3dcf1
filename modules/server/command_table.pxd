# cython: language_level=3
"""What each of Redis's commands does to data: a table of names, asked for every command. Shared by members and masters.

Names are in lower case, those of subcommands as in "xgroup|create". Redis itself tells of each command whether it
writes or reads, those of other modules included; ACL categories do not, since a module's commands are in none.
"""

from libc.stdint cimport intptr_t
from libc.string cimport memcmp, strlen

from modules.bindings.redismodule cimport (
    REDISMODULE_REPLY_ARRAY, RedisModuleCallReply, RedisModuleCommandFilterCtx, RedisModuleCtx, RedisModuleDict,
    RedisModule_Call, RedisModule_CallReplyArrayElement, RedisModule_CallReplyLength, RedisModule_CallReplyStringPtr,
    RedisModule_CallReplyType, RedisModule_CommandFilterArgGet, RedisModule_CommandFilterArgsCount,
    RedisModule_DictGetC, RedisModule_DictReplaceC, RedisModule_Log, RedisModule_StringPtrLen,
)
from modules.server.redis_calls cimport drop_reply

cdef enum:
    NAME_BYTES = 64             # no command of Redis has a longer name, subcommand included
    HAS_SUBCOMMANDS = 128       # beside the rule that holds without one
    # The parts of an entry in what COMMAND replies.
    ENTRY_NAME = 0
    ENTRY_FLAGS = 2
    ENTRY_KEYS = 8
    ENTRY_SUBCOMMANDS = 9


cdef enum Rule:
    RULE_NONE                   # passes
    RULE_WRITE                  # changes data
    RULE_READ                   # shows data
    RULE_FOLLOW                 # makes this server a replica of another, or another a replica of this one
    RULE_SUBSCRIBES             # from now on there may be a subscriber
    RULE_ROLE                   # a member has another answer to it than its Redis
    RULE_INFO                   # likewise
    RULE_EXECUTES               # what was queued, which may subscribe or be CONFIG
    RULE_CONFIG                 # may have passwords in it, and writes the configuration file


cdef inline void table_set(RedisModuleDict *table, const char *name, size_t length, int found) noexcept nogil:
    RedisModule_DictReplaceC(table, <void *>name, length, <void *><intptr_t>found)


cdef inline int table_get(RedisModuleDict *table, const char *name, size_t length) noexcept nogil:
    return <int><intptr_t>RedisModule_DictGetC(table, <void *>name, length, NULL)


# ----------------------------------------------------------------------------------------------- names

cdef inline bint lower_name(const char *bytes, size_t length, char *out, size_t *end) noexcept nogil:
    """Append to out[:end] in lower case. False: it does not fit, and names no command."""
    cdef size_t i
    if length > NAME_BYTES - end[0]:
        return False
    for i in range(length):
        out[end[0] + i] = bytes[i] + 32 if c"A" <= bytes[i] <= c"Z" else bytes[i]
    end[0] += length
    return True


cdef inline bint lower_argument(RedisModuleCommandFilterCtx *command, int i, char *out, size_t *end) noexcept nogil:
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, i), &length)
    return lower_name(bytes, length, out, end)


cdef inline bint begins_with(const char *name, const char *prefix, size_t length) noexcept nogil:
    """The prefix is in lower case, and the name at least as long."""
    cdef size_t i
    for i in range(length):
        if name[i] | 32 != prefix[i]:
            return False
    return True


cdef inline bint is_ours(const char *name, size_t length) noexcept nogil:
    """READ, MEMBER.…, CHAIN.… or MASTER.…: what these do is decided where they are executed. Hot."""
    if length == 4:
        return begins_with(name, "read", 4)
    if length < 7:
        return False
    if name[6] == c".":
        return begins_with(name, "member", 6) or begins_with(name, "master", 6)
    return name[5] == c"." and begins_with(name, "chain", 5)


# ------------------------------------------------------------------------------------------ from what Redis says

cdef inline bint is_known(RedisModuleCtx *ctx, const char *name, size_t length) noexcept nogil:
    """Is there a command that clients call by this name?"""
    cdef RedisModuleCallReply *reply = RedisModule_Call(ctx, "COMMAND", "cb", b"INFO", name, length)
    cdef bint known = reply != NULL and RedisModule_CallReplyType(
        RedisModule_CallReplyArrayElement(reply, 0)) == REDISMODULE_REPLY_ARRAY
    drop_reply(reply)
    return known


cdef inline bint is_refusable(RedisModuleCtx *ctx, const char *name, size_t length) noexcept nogil:
    """Nobody can call it by another name. False: the log says so."""
    if is_known(ctx, name, length):
        return True
    RedisModule_Log(ctx, "warning", "this module cannot do without the command %.*s, nor refuse it under another "
                    "name: use ACLs instead of rename-command", <int>length, name)
    return False


cdef inline bint has_word(RedisModuleCallReply *words, const char *word) noexcept nogil:
    cdef const char *bytes
    cdef size_t length
    cdef size_t i
    if words == NULL or RedisModule_CallReplyType(words) != REDISMODULE_REPLY_ARRAY:
        return False
    for i in range(RedisModule_CallReplyLength(words)):
        bytes = RedisModule_CallReplyStringPtr(RedisModule_CallReplyArrayElement(words, i), &length)
        if bytes != NULL and length == strlen(word) and memcmp(bytes, word, length) == 0:
            return True
    return False


cdef inline RedisModuleCallReply *field_of(RedisModuleCallReply *fields, const char *name) noexcept nogil:
    """The value after that name in a flat list; NULL: it is not there."""
    cdef const char *bytes
    cdef size_t length
    cdef size_t i
    for i in range(0, RedisModule_CallReplyLength(fields), 2):
        bytes = RedisModule_CallReplyStringPtr(RedisModule_CallReplyArrayElement(fields, i), &length)
        if bytes != NULL and length == strlen(name) and memcmp(bytes, name, length) == 0:
            return RedisModule_CallReplyArrayElement(fields, i + 1)
    return NULL


cdef inline bint changes_keys(RedisModuleCallReply *entry) noexcept nogil:
    """Redis says that PFCOUNT reads, and that it changes its key: its cached count is there."""
    cdef RedisModuleCallReply *specs = RedisModule_CallReplyArrayElement(entry, ENTRY_KEYS)
    cdef RedisModuleCallReply *flags
    cdef size_t i
    for i in range(RedisModule_CallReplyLength(specs)):
        flags = field_of(RedisModule_CallReplyArrayElement(specs, i), "flags")
        if has_word(flags, "RW") or has_word(flags, "OW") or has_word(flags, "RM"):
            return True
    return False


cdef inline Rule rule_of(RedisModuleCallReply *entry) noexcept nogil:
    cdef RedisModuleCallReply *flags = RedisModule_CallReplyArrayElement(entry, ENTRY_FLAGS)
    if has_word(flags, "write"):
        return RULE_WRITE
    # Redis's own rule for what a replica without its master may show: only what is flagged `stale`.
    if not has_word(flags, "readonly") or has_word(flags, "stale"):
        return RULE_NONE
    # Of a module's keys Redis says so by default, whatever its command does.
    return RULE_WRITE if changes_keys(entry) and not has_word(flags, "module") else RULE_READ


cdef inline bint table_note_entry(
    RedisModuleCtx *ctx, RedisModuleDict *table, RedisModuleCallReply *entry,
) noexcept nogil:
    """A command, or a subcommand. False: it writes, and clients know it by another name."""
    cdef RedisModuleCallReply *subcommands = RedisModule_CallReplyArrayElement(entry, ENTRY_SUBCOMMANDS)
    cdef Rule rule = rule_of(entry)
    cdef char name[NAME_BYTES]
    cdef size_t end = 0
    cdef size_t length
    cdef const char *bytes = RedisModule_CallReplyStringPtr(
        RedisModule_CallReplyArrayElement(entry, ENTRY_NAME), &length)
    if bytes == NULL or is_ours(bytes, length) or not lower_name(bytes, length, name, &end):
        return True
    table_set(table, name, end, rule)
    if subcommands != NULL and RedisModule_CallReplyLength(subcommands):
        table_set(table, name, end, rule | HAS_SUBCOMMANDS)
        return table_note_entries(ctx, table, subcommands)
    return rule != RULE_WRITE or is_refusable(ctx, name, end)


cdef inline bint table_note_entries(
    RedisModuleCtx *ctx, RedisModuleDict *table, RedisModuleCallReply *entries,
) noexcept nogil:
    cdef bint whole = True
    cdef size_t i
    for i in range(RedisModule_CallReplyLength(entries)):
        whole = table_note_entry(ctx, table, RedisModule_CallReplyArrayElement(entries, i)) and whole
    return whole


cdef inline bint table_fill(RedisModuleCtx *ctx, RedisModuleDict *table) noexcept nogil:
    """Every command that changes or shows data. False: the table would let some write; the log says why."""
    cdef RedisModuleCallReply *entries = RedisModule_Call(ctx, "COMMAND", "")
    cdef bint whole = entries != NULL and RedisModule_CallReplyType(entries) == REDISMODULE_REPLY_ARRAY
    if whole:
        whole = table_note_entries(ctx, table, entries)
    else:
        RedisModule_Log(ctx, "warning", "this module cannot do without the command COMMAND")
    drop_reply(entries)
    # Not writes to Redis, but they replace or drop the data all the same.
    table_set(table, "debug", 5, RULE_NONE | HAS_SUBCOMMANDS)
    table_set(table, "debug|reload", 12, RULE_WRITE)
    table_set(table, "debug|loadaof", 13, RULE_WRITE)
    table_set(table, "debug|flushall", 14, RULE_WRITE)
    table_set(table, "debug|populate", 14, RULE_WRITE)
    table_set(table, "debug|replicate", 15, RULE_WRITE)
    table_set(table, "replicaof", 9, RULE_FOLLOW)
    table_set(table, "slaveof", 7, RULE_FOLLOW)
    table_set(table, "failover", 8, RULE_FOLLOW)
    return whole


# ------------------------------------------------------------------------------------------------ every command

cdef inline Rule table_find(RedisModuleDict *table, const char *name, size_t length) noexcept nogil:
    return <Rule>(table_get(table, name, length) & ~HAS_SUBCOMMANDS)


cdef inline Rule table_rule(RedisModuleDict *table, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Of a command that is about to be executed, or queued in a MULTI."""
    cdef char name[NAME_BYTES]
    cdef size_t end = 0
    cdef int found
    if not lower_argument(command, 0, name, &end):
        return RULE_NONE
    found = table_get(table, name, end)
    if not found & HAS_SUBCOMMANDS or RedisModule_CommandFilterArgsCount(command) == 1:
        return <Rule>(found & ~HAS_SUBCOMMANDS)
    if not lower_name("|", 1, name, &end) or not lower_argument(command, 1, name, &end):
        return RULE_NONE
    return table_find(table, name, end)
