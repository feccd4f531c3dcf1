# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""What each of Redis's commands does to data: a table of rules by name, read for every command. Used by members and
masters.

Names are in lower case; a subcommand's name is like "xgroup|create". COMMAND says of each command whether it writes or
reads, commands of other modules included. ACL categories would not do, since commands of modules are in none.
"""

from libc.stdint cimport intptr_t
from libc.string cimport memcmp, memcpy, strlen

from modules.bindings.redismodule cimport (
    REDISMODULE_REPLY_ARRAY, RedisModuleCallReply, RedisModuleCommandFilterCtx, RedisModuleCtx, RedisModuleDict,
    RedisModuleString, RedisModule_Call, RedisModule_CallReplyArrayElement, RedisModule_CallReplyLength,
    RedisModule_CallReplyStringPtr, RedisModule_CallReplyType, RedisModule_CommandFilterArgGet,
    RedisModule_CommandFilterArgsCount, RedisModule_DictGetC, RedisModule_DictReplaceC, RedisModule_Log,
    RedisModule_StringPtrLen,
)
from modules.server.redis_calls cimport drop_reply

cdef enum:
    NAME_BYTES = 64             # longer than any command name of Redis, with subcommand
    HAS_SUBCOMMANDS = 128       # a flag, added to the rule of the command without a subcommand
    RECENT_NAMES = 32           # a power of two
    RECENT_BYTES = 16           # of a name that is remembered
    # Indices in an entry of the reply to COMMAND.
    ENTRY_NAME = 0
    ENTRY_FLAGS = 2
    ENTRY_KEYS = 8
    ENTRY_SUBCOMMANDS = 9


cdef enum Rule:
    RULE_NONE                   # may be executed
    RULE_WRITE                  # changes data
    RULE_READ                   # shows data
    RULE_BYPASS                 # changes data, or sends them away, in a way that no replica of Redis hears of
    RULE_FOLLOW                 # makes this server a replica of another, or another a replica of this one
    RULE_SYNC                   # PSYNC, SYNC: asks for this server's data and its effects
    RULE_SUBSCRIBES             # may subscribe to a channel
    RULE_ROLE                   # ROLE: a member replies to it instead of Redis
    RULE_INFO                   # INFO: likewise
    RULE_CLUSTER                # CLUSTER, READONLY, READWRITE, ASKING: likewise, for clients of Redis Cluster
    RULE_WAIT                   # WAIT: the chain answers it
    RULE_WAITAOF                # WAITAOF: the chain has one replica for Redis
    RULE_PAUSE                  # CLIENT PAUSE
    RULE_REPLY                  # CLIENT REPLY
    RULE_TRACKING               # CLIENT TRACKING
    RULE_PUBLISH                # tells subscribers: counts as a write where a filter knows its client
    # From here on: may change users.
    RULE_EXECUTES               # EXEC: the queued commands may subscribe, or be ACL or CONFIG
    RULE_CONFIG                 # CONFIG: may hold passwords, or write the configuration file
    RULE_ACL                    # ACL


cdef struct RecentName:
    char bytes[RECENT_BYTES]
    size_t length               # 0: nothing is remembered here
    Rule rule


cdef struct RecentNames:
    RecentName names[RECENT_NAMES]


cdef inline void table_set(RedisModuleDict *table, const char *name, size_t length, int found) noexcept nogil:
    RedisModule_DictReplaceC(table, <void *>name, length, <void *><intptr_t>found)


cdef inline int table_get(RedisModuleDict *table, const char *name, size_t length) noexcept nogil:
    return <int><intptr_t>RedisModule_DictGetC(table, <void *>name, length, NULL)


# ----------------------------------------------------------------------------------------------- names

cdef inline bint lower_name(const char *bytes, size_t length, char *out, size_t *end) noexcept nogil:
    """Append the bytes in lower case to out[:end]. Returns False if they do not fit: no command has such a name."""
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
    """Returns whether the name begins with the prefix, in any case. The prefix is lower case. The name must not be
    shorter.
    """
    cdef size_t i
    for i in range(length):
        if name[i] | 32 != prefix[i]:
            return False
    return True


cdef inline bint is_ours(const char *name, size_t length) noexcept nogil:
    """Returns whether the command is READ, MEMBER.…, CHAIN.… or MASTER.…, which check the member's state themselves.
    Hot.
    """
    if length == 4:
        return begins_with(name, "read", 4)
    if length < 7:
        return False
    if name[6] == c".":
        return begins_with(name, "member", 6) or begins_with(name, "master", 6)
    return name[5] == c"." and begins_with(name, "chain", 5)


# -------------------------------------------------------------------------------------------- replies of COMMAND

cdef inline bint is_known(RedisModuleCtx *ctx, const char *name, size_t length) noexcept nogil:
    """Returns whether a command has this name for clients."""
    cdef RedisModuleCallReply *reply = RedisModule_Call(ctx, "COMMAND", "cb", b"INFO", name, length)
    cdef bint known = reply != NULL and RedisModule_CallReplyType(
        RedisModule_CallReplyArrayElement(reply, 0)) == REDISMODULE_REPLY_ARRAY
    drop_reply(reply)
    return known


cdef inline bint is_refusable(RedisModuleCtx *ctx, const char *name, size_t length) noexcept nogil:
    """Returns whether the command has this name for clients, so that it was not renamed. If not, logs a warning."""
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
    """Returns the value after `name` in a flat list of names and values. NULL: the name is not there."""
    cdef const char *bytes
    cdef size_t length
    cdef size_t i
    for i in range(0, RedisModule_CallReplyLength(fields), 2):
        bytes = RedisModule_CallReplyStringPtr(RedisModule_CallReplyArrayElement(fields, i), &length)
        if bytes != NULL and length == strlen(name) and memcmp(bytes, name, length) == 0:
            return RedisModule_CallReplyArrayElement(fields, i + 1)
    return NULL


cdef inline bint changes_keys(RedisModuleCallReply *entry) noexcept nogil:
    """Returns whether the command changes its keys. PFCOUNT is flagged `readonly`, but stores a cached count in its
    key.
    """
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
    # A replica that has lost its master follows the same rule: it executes only reads that are flagged `stale`.
    if not has_word(flags, "readonly") or has_word(flags, "stale"):
        return RULE_NONE
    # The key flags of a module's command say that it changes its keys, unless the module sets them. They are ignored.
    return RULE_WRITE if changes_keys(entry) and not has_word(flags, "module") else RULE_READ


cdef inline bint table_note_entry(
    RedisModuleCtx *ctx, RedisModuleDict *table, RedisModuleCallReply *entry,
) noexcept nogil:
    """Enter a command or a subcommand. Returns False if the command writes and was renamed."""
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
    """Enter every command that changes or shows data. Returns False if some write could pass; the reason is logged."""
    cdef RedisModuleCallReply *entries = RedisModule_Call(ctx, "COMMAND", "")
    cdef bint whole = entries != NULL and RedisModule_CallReplyType(entries) == REDISMODULE_REPLY_ARRAY
    if whole:
        whole = table_note_entries(ctx, table, entries)
    else:
        RedisModule_Log(ctx, "warning", "this module cannot do without the command COMMAND")
    drop_reply(entries)
    # Redis does not flag these as writes, but they replace or delete the data.
    table_set(table, "debug", 5, RULE_NONE | HAS_SUBCOMMANDS)
    table_set(table, "debug|reload", 12, RULE_BYPASS)
    table_set(table, "debug|loadaof", 13, RULE_BYPASS)
    table_set(table, "debug|flushall", 14, RULE_BYPASS)
    table_set(table, "debug|populate", 14, RULE_BYPASS)
    table_set(table, "debug|replicate", 15, RULE_BYPASS)
    table_set(table, "debug|change-repl-id", 20, RULE_BYPASS)
    table_set(table, "debug|set-active-expire", 23, RULE_BYPASS)
    table_set(table, "migrate", 7, RULE_BYPASS)
    table_set(table, "replicaof", 9, RULE_FOLLOW)
    table_set(table, "slaveof", 7, RULE_FOLLOW)
    table_set(table, "failover", 8, RULE_FOLLOW)
    return whole


# ------------------------------------------------------------------------------------------------ every command

cdef inline Rule table_find(RedisModuleDict *table, const char *name, size_t length) noexcept nogil:
    return <Rule>(table_get(table, name, length) & ~HAS_SUBCOMMANDS)


cdef inline bint has_subcommands(RedisModuleDict *table, RedisModuleCommandFilterCtx *command) noexcept nogil:
    cdef char name[NAME_BYTES]
    cdef size_t end = 0
    return lower_argument(command, 0, name, &end) and table_get(table, name, end) & HAS_SUBCOMMANDS != 0


cdef inline Rule table_rule(RedisModuleDict *table, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Returns the rule of a command that is about to be executed, or queued after MULTI."""
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


cdef inline Rule recent_rule(
    RecentNames *recent, RedisModuleDict *table, RedisModuleCommandFilterCtx *command, const char *name, size_t length,
) noexcept nogil:
    """Returns the same as `table_rule`. `name`, as the client has spelled it, is looked up in the table only if the
    last command with the same place was another one. Hot.

    A name that needs a subcommand is not remembered. Whoever changes the table empties `recent`.
    """
    cdef RecentName *place
    if length == 0 or length > RECENT_BYTES:
        return table_rule(table, command)
    place = &recent.names[(name[0] + 8 * name[length - 1] + 3 * length) & (RECENT_NAMES - 1)]
    if place.length == length and memcmp(place.bytes, name, length) == 0:
        return place.rule
    if has_subcommands(table, command):
        return table_rule(table, command)
    place.length = length
    memcpy(place.bytes, name, length)
    place.rule = table_rule(table, command)
    return place.rule


cdef inline Rule table_rule_of(RedisModuleDict *table, RedisModuleString **argv, int argc) noexcept nogil:
    """Returns the rule of a command that is an argument of another one."""
    cdef char name[NAME_BYTES]
    cdef size_t end = 0
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(argv[0], &length)
    cdef int found
    if not lower_name(bytes, length, name, &end):
        return RULE_NONE
    found = table_get(table, name, end)
    if not found & HAS_SUBCOMMANDS or argc == 1:
        return <Rule>(found & ~HAS_SUBCOMMANDS)
    bytes = RedisModule_StringPtrLen(argv[1], &length)
    if not lower_name("|", 1, name, &end) or not lower_name(bytes, length, name, &end):
        return RULE_NONE
    return table_find(table, name, end)
