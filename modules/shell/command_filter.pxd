# cython: language_level=3
"""Copies must not differ by Redis's own doing: native writes, and what else would change a chained member's data behind
the chain's back, are refused (DESIGN.md, section 4).
"""

from libc.string cimport strchr, strlen, strncmp, strspn, strstr

from modules.command_table cimport (
    RULE_INFO, RULE_ROLE, RULE_SUBSCRIBES, RULE_WRITE, Rule, is_known, is_ours, table_note, table_note_writes,
    table_rule,
)
from modules.redis_calls cimport drop_reply
from modules.redismodule cimport (
    RedisModule_Call, RedisModule_CommandFilterArgGet, RedisModule_CommandFilterArgReplace, RedisModule_CreateDict,
    RedisModule_CreateString, RedisModule_CreateStringFromCallReply, RedisModule_FreeCallReply, RedisModule_FreeDict,
    RedisModule_FreeString, RedisModule_StringPtrLen, RedisModuleCallReply, RedisModuleCommandFilterCtx,
    RedisModuleCtx, RedisModuleDict, RedisModuleString,
)
from modules.shell.redis_role cimport ENTRANCE_PASSWORD, entrance
from modules.shell.state cimport Member


cdef inline bint filter_build(Member *m) noexcept nogil:
    """At loading, and again when another module brings commands. False: native writes would pass."""
    cdef RedisModuleDict *table = RedisModule_CreateDict(NULL)
    cdef bint whole = table_note_writes(m.ctx, table)
    # What joining and settling in call.
    whole = (whole and is_known(m.ctx, "config", 6) and is_known(m.ctx, "client", 6)
             and is_known(m.ctx, "replicaof", 9))
    table_note(table, "replicaof", 9, RULE_WRITE)
    table_note(table, "slaveof", 7, RULE_WRITE)
    table_note(table, "failover", 8, RULE_WRITE)
    table_note(table, "subscribe", 9, RULE_SUBSCRIBES)
    table_note(table, "psubscribe", 10, RULE_SUBSCRIBES)
    table_note(table, "exec", 4, RULE_SUBSCRIBES)           # of either
    table_note(table, "role", 4, RULE_ROLE)
    table_note(table, "info", 4, RULE_INFO)
    if m.write_commands != NULL:
        RedisModule_FreeDict(NULL, m.write_commands)
    m.write_commands = table
    return whole


cdef inline void replace_name(RedisModuleCommandFilterCtx *command, const char *name) noexcept nogil:
    RedisModule_CommandFilterArgReplace(command, 0, RedisModule_CreateString(NULL, name, strlen(name)))


cdef inline void replace_asked(Member *m, RedisModuleCommandFilterCtx *command, Rule rule) noexcept nogil:
    """ROLE and INFO: to what is answered by `redis_role`, as far as Redis lets the same clients ask for that."""
    cdef bint everybody = entrance(m) != ENTRANCE_PASSWORD
    if rule == RULE_ROLE:
        replace_name(command, "CHAIN.ROLE.ANY" if everybody else "CHAIN.ROLE")
    else:
        replace_name(command, "CHAIN.INFO.ANY" if everybody else "CHAIN.INFO")


cdef inline void filter_command(Member *m, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Redis asks for every command, those from scripts and other modules too: what is refused becomes CHAIN.REFUSED."""
    cdef size_t length
    cdef const char *name = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, 0), &length)
    cdef Rule rule
    if m.own_call or is_ours(name, length):
        return
    rule = table_rule(m.write_commands, command)
    if rule == RULE_SUBSCRIBES:
        m.subscribers = True
    elif rule == RULE_WRITE and m.chain.has_history:
        replace_name(command, "CHAIN.REFUSED")
    elif (rule == RULE_ROLE or rule == RULE_INFO) and (m.chain.has_history or m.disk.marker.found):
        replace_asked(m, command, rule)


# ------------------------------------------------------------------------------- writes queued before chaining

cdef inline bint in_transaction(const char *line) noexcept nogil:
    """A line of CLIENT LIST: multi=-1 means no MULTI."""
    cdef const char *multi = strstr(line, " multi=")
    return multi != NULL and multi[7] != c"-"


cdef inline void kill_client(Member *m, const char *line) noexcept nogil:
    cdef size_t digits = strspn(line + 3, "0123456789")     # the line begins with "id="
    drop_reply(RedisModule_Call(m.ctx, "CLIENT", "ccb", b"KILL", b"ID", line + 3, digits))


cdef inline void end_transactions(Member *m, RedisModuleCtx *ctx) noexcept nogil:
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
            kill_client(m, line)
        line = next + 1 if next != NULL else NULL
    RedisModule_FreeString(NULL, list)
