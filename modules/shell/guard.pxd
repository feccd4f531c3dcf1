# cython: language_level=3
"""Copies must not differ by Redis's own doing: native writes, and what else would change a chained member's data behind
the chain's back, are refused (DESIGN.md, section 4).
"""

from libc.stdint cimport intptr_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcpy, strchr, strcmp, strncmp, strspn, strstr

from modules.redismodule cimport (
    REDISMODULE_NO_EXPIRE, REDISMODULE_REPLY_ARRAY, RedisModule_AvoidReplicaTraffic, RedisModule_Call,
    RedisModule_CallReplyArrayElement, RedisModule_CallReplyLength, RedisModule_CallReplyStringPtr,
    RedisModule_CallReplyType, RedisModule_CommandFilterArgGet, RedisModule_CommandFilterArgReplace,
    RedisModule_CommandFilterArgsCount, RedisModule_CreateDict, RedisModule_CreateString,
    RedisModule_CreateStringFromCallReply, RedisModule_DbSize, RedisModule_DictGetC, RedisModule_DictReplaceC,
    RedisModule_FreeCallReply, RedisModule_FreeDict, RedisModule_FreeServerInfo, RedisModule_FreeString,
    RedisModule_GetExpire, RedisModule_GetServerInfo, RedisModule_Log, RedisModule_Scan,
    RedisModule_ScanCursorCreate, RedisModule_ScanCursorDestroy, RedisModule_SelectDb,
    RedisModule_ServerInfoGetFieldC, RedisModule_StringPtrLen, RedisModuleCallReply, RedisModuleCommandFilterCtx,
    RedisModuleConfigChange, RedisModuleCtx, RedisModuleDict, RedisModuleKey, RedisModuleScanCursor,
    RedisModuleServerInfoData, RedisModuleString,
)
from modules.shell.state cimport ERROR_BYTES, Member

cdef enum:
    NAME_BYTES = 64             # no command of Redis has a longer name, subcommand included
    GUARD_REFUSED = 1           # in the table: refused on a chained member
    GUARD_CONTAINER = 2         # some of its subcommands are
    SCAN_STEPS = 10000          # some milliseconds
    MAX_DATABASES = 256         # how many are looked at when a server enters a chain
    GUARD_SUBSCRIBES = 3        # passes; from now on there may be a subscriber


# ---------------------------------------------------------------------------------------- the table of names

cdef inline void drop_reply(RedisModuleCallReply *reply) noexcept nogil:
    if reply != NULL:
        RedisModule_FreeCallReply(reply)


cdef inline void guard_note(RedisModuleDict *table, const char *name, size_t length, int what) noexcept nogil:
    RedisModule_DictReplaceC(table, <void *>name, length, <void *><intptr_t>what)


cdef inline int guard_lookup(Member *m, char *name, size_t length) noexcept nogil:
    return <int><intptr_t>RedisModule_DictGetC(m.write_commands, name, length, NULL)


cdef inline bint guard_knows(Member *m, const char *name, size_t length) noexcept nogil:
    """Is there a command that clients call by this name?"""
    cdef RedisModuleCallReply *reply = RedisModule_Call(m.ctx, "COMMAND", "cb", b"INFO", name, length)
    cdef bint known = reply != NULL and RedisModule_CallReplyType(
        RedisModule_CallReplyArrayElement(reply, 0)) == REDISMODULE_REPLY_ARRAY
    drop_reply(reply)
    if not known:
        RedisModule_Log(m.ctx, "warning", "a member cannot do without the command %.*s, nor refuse it under another "
                        "name: use ACLs instead of rename-command", <int>length, name)
    return known


cdef inline bint guard_note_writes(
    Member *m, RedisModuleDict *table, RedisModuleCallReply *names,
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
        whole = guard_knows(m, name, length) and whole
        guard_note(table, name, length, GUARD_REFUSED)
        bar = <const char *>memchr(name, c"|", length)
        if bar != NULL:
            guard_note(table, name, bar - name, GUARD_CONTAINER)
    return whole


cdef inline bint is_ours(const char *name, size_t length) noexcept nogil:
    """READ, MEMBER.… or CHAIN.…: no other command has a dot at either place and these letters around it."""
    if length == 4:
        return name[0] | 32 == c"r" and name[1] | 32 == c"e" and name[2] | 32 == c"a" and name[3] | 32 == c"d"
    if length < 7:
        return False
    if name[6] == c".":
        return name[0] | 32 == c"m" and name[5] | 32 == c"r"
    return name[5] == c"." and name[0] | 32 == c"c" and name[4] | 32 == c"n"


cdef inline bint guard_build(Member *m) noexcept nogil:
    """At loading, and again when another module brings commands. False: the table would let native writes pass."""
    cdef RedisModuleDict *table = RedisModule_CreateDict(NULL)
    cdef RedisModuleCallReply *names = RedisModule_Call(
        m.ctx, "COMMAND", "cccc", b"LIST", b"FILTERBY", b"ACLCAT", b"write")
    cdef bint whole = names != NULL and RedisModule_CallReplyType(names) == REDISMODULE_REPLY_ARRAY
    if whole:
        whole = guard_note_writes(m, table, names)
    else:
        RedisModule_Log(m.ctx, "warning", "a member cannot do without the command COMMAND")
    drop_reply(names)
    # What joining and settling in call.
    whole = whole and guard_knows(m, "config", 6) and guard_knows(m, "client", 6) and guard_knows(m, "replicaof", 9)
    # Not writes to Redis, but they replace or drop the data all the same.
    guard_note(table, "replicaof", 9, GUARD_REFUSED)
    guard_note(table, "slaveof", 7, GUARD_REFUSED)
    guard_note(table, "failover", 8, GUARD_REFUSED)
    guard_note(table, "debug|reload", 12, GUARD_REFUSED)
    guard_note(table, "debug|loadaof", 13, GUARD_REFUSED)
    guard_note(table, "debug|flushall", 14, GUARD_REFUSED)
    guard_note(table, "debug|populate", 14, GUARD_REFUSED)
    guard_note(table, "debug", 5, GUARD_CONTAINER)
    guard_note(table, "pfcount", 7, GUARD_REFUSED)          # a read that writes its cached count into the value
    guard_note(table, "subscribe", 9, GUARD_SUBSCRIBES)
    guard_note(table, "psubscribe", 10, GUARD_SUBSCRIBES)
    guard_note(table, "exec", 4, GUARD_SUBSCRIBES)          # of either
    if m.write_commands != NULL:
        RedisModule_FreeDict(NULL, m.write_commands)
    m.write_commands = table
    return whole


# -------------------------------------------------------------------------------------------- every command

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


cdef inline void guard_filter(Member *m, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Redis asks for every command, those from scripts and other modules too: what is refused becomes CHAIN.REFUSED."""
    cdef char name[NAME_BYTES]
    cdef size_t length
    cdef int what
    cdef const RedisModuleString *argument = RedisModule_CommandFilterArgGet(command, 0)
    cdef const char *bytes = RedisModule_StringPtrLen(argument, &length)
    if m.own_call or is_ours(bytes, length):
        return
    length = lower_name(argument, name, 0)
    if length == 0:
        return
    what = guard_lookup(m, name, length)
    if what == GUARD_SUBSCRIBES:
        m.subscribers = True
    elif what == GUARD_CONTAINER and RedisModule_CommandFilterArgsCount(command) > 1 and length < NAME_BYTES:
        name[length] = c"|"
        length = lower_name(RedisModule_CommandFilterArgGet(command, 1), name, length + 1)
        what = guard_lookup(m, name, length) if length else 0
    if what == GUARD_REFUSED and m.chain.has_history:
        RedisModule_CommandFilterArgReplace(command, 0, RedisModule_CreateString(NULL, "CHAIN.REFUSED", 13))


# ----------------------------------------------------------------------------- what a server must be like to join

cdef struct Expiring:
    int count
    int length
    char names[ERROR_BYTES - 96]


cdef inline void note_expiring(
    RedisModuleCtx *ctx, RedisModuleString *name, RedisModuleKey *key, void *data,
) noexcept nogil:
    cdef Expiring *found = <Expiring *>data
    cdef size_t length
    cdef const char *bytes = RedisModule_StringPtrLen(name, &length)
    if key == NULL or RedisModule_GetExpire(key) == REDISMODULE_NO_EXPIRE:
        return
    found.count += 1
    if found.length + length + 2 < sizeof(found.names):
        if found.length:
            found.names[found.length] = c" "
            found.length += 1
        memcpy(&found.names[found.length], bytes, length)
        found.length += <int>length


cdef inline void find_expiring(RedisModuleCtx *ctx, Expiring *found) noexcept nogil:
    """Some of their names: it is for people, and must not hold up the event loop (rule 8)."""
    cdef RedisModuleScanCursor *cursor = RedisModule_ScanCursorCreate()
    cdef int steps = 0
    found.count = 0
    found.length = 0
    while found.count < 10 and steps < SCAN_STEPS and RedisModule_Scan(ctx, cursor, note_expiring, found):
        steps += 1
    RedisModule_ScanCursorDestroy(cursor)
    found.names[found.length] = 0


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


cdef inline bint other_databases(RedisModuleCtx *ctx) noexcept nogil:
    cdef RedisModuleServerInfoData *info = RedisModule_GetServerInfo(ctx, "keyspace")
    cdef char field[16]
    cdef bint found = False
    cdef int i
    for i in range(1, MAX_DATABASES):
        snprintf(field, sizeof(field), "db%d", i)
        if RedisModule_ServerInfoGetFieldC(info, field) != NULL:
            found = True
    RedisModule_FreeServerInfo(ctx, info)
    return found


cdef inline bint holds_keys(RedisModuleCtx *ctx) noexcept nogil:
    """In any database."""
    RedisModule_SelectDb(ctx, 0)
    return RedisModule_DbSize(ctx) != 0 or other_databases(ctx)


cdef inline bint guard_chainable(RedisModuleCtx *ctx, char *why) noexcept nogil:
    """May this server's own data become a chain's? False with the reason in `why`, ERROR_BYTES long."""
    cdef char text[ERROR_BYTES]
    cdef Expiring found
    cdef const char *expires
    if RedisModule_AvoidReplicaTraffic():
        snprintf(why, ERROR_BYTES, "the clients of this server are paused: CLIENT UNPAUSE first")
        return False
    if info_field(ctx, "replication", "role", text, sizeof(text)) and strcmp(text, "master") != 0:
        snprintf(why, ERROR_BYTES, "this server is a replica of another: REPLICAOF NO ONE first")
        return False
    if not info_field(ctx, "keyspace", "db0", text, sizeof(text)):
        text[0] = 0
    if other_databases(ctx):
        snprintf(why, ERROR_BYTES, "a chain has database 0 only, and other databases of this server hold keys")
        return False
    expires = strstr(text, "expires=")
    if expires != NULL and strncmp(expires, "expires=0", 9) != 0:
        find_expiring(ctx, &found)
        snprintf(why, ERROR_BYTES,
                 "keys with a time to live cannot enter a chain: PERSIST or delete them first (TTL finds them): %s",
                 found.names)
        return False
    return True


cdef inline void guard_config(Member *m, const char *name, const char *value) noexcept nogil:
    drop_reply(RedisModule_Call(m.ctx, "CONFIG", "ccc", b"SET", name, value))


cdef inline void guard_settle_in(Member *m) noexcept nogil:
    """What a chained member needs: nothing evicted, room for the longest update, a learner's copy begun at once, and a
    position in the append-only file.
    """
    guard_config(m, b"maxmemory-policy", b"noeviction")
    guard_config(m, b"proto-max-bulk-len", b"512mb")
    guard_config(m, b"client-query-buffer-limit", b"1gb")
    guard_config(m, b"repl-diskless-sync-delay", b"0")
    guard_config(m, b"aof-use-rdb-preamble", b"yes")
    m.settings_touched = False      # by ourselves just now


cdef inline bint guard_cares(const RedisModuleConfigChange *change) noexcept nogil:
    cdef unsigned int i
    for i in range(change.num_changes):
        if (strcmp(change.config_names[i], "maxmemory-policy") == 0
                or strcmp(change.config_names[i], "proto-max-bulk-len") == 0
                or strcmp(change.config_names[i], "client-query-buffer-limit") == 0
                or strcmp(change.config_names[i], "aof-use-rdb-preamble") == 0):
            return True
    return False


cdef inline void guard_step(Member *m) noexcept nogil:
    """In the before-sleep event: what could not be done where it was noticed."""
    if m.settings_touched and m.chain.has_history:
        RedisModule_Log(m.ctx, "warning", "a chained member evicts nothing, takes long updates and saves its position: "
                        "set back again: maxmemory-policy, proto-max-bulk-len, client-query-buffer-limit, "
                        "aof-use-rdb-preamble")
        guard_settle_in(m)
    if m.subscribers_misled:
        drop_reply(RedisModule_Call(m.ctx, "CLIENT", "ccc", b"KILL", b"TYPE", b"pubsub"))
        m.subscribers_misled = False


# ------------------------------------------------------------------------------- writes queued before chaining

cdef inline bint in_transaction(const char *line) noexcept nogil:
    """A line of CLIENT LIST: multi=-1 means no MULTI."""
    cdef const char *multi = strstr(line, " multi=")
    return multi != NULL and multi[7] != c"-"


cdef inline void guard_kill(Member *m, const char *line) noexcept nogil:
    cdef size_t digits = strspn(line + 3, "0123456789")     # the line begins with "id="
    drop_reply(RedisModule_Call(m.ctx, "CLIENT", "ccb", b"KILL", b"ID", line + 3, digits))


cdef inline void guard_end_transactions(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Native writes queued in a MULTI passed before this server was chained: their clients are disconnected instead."""
    cdef RedisModuleCallReply *reply = RedisModule_Call(ctx, "CLIENT", "c", b"LIST")
    cdef RedisModuleString *list
    cdef const char *line
    cdef const char *next
    if reply == NULL:
        return
    list = RedisModule_CreateStringFromCallReply(reply)
    RedisModule_FreeCallReply(reply)
    if list == NULL:
        return
    line = RedisModule_StringPtrLen(list, NULL)
    while line != NULL and strncmp(line, "id=", 3) == 0:
        next = strchr(line, c"\n")
        if next != NULL and strstr(line, " multi=") < next and in_transaction(line):
            guard_kill(m, line)
        line = next + 1 if next != NULL else NULL
    RedisModule_FreeString(NULL, list)
