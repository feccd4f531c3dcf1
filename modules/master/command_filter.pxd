# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""A master holds no data. It refuses all commands that write, so that no client mistakes it for a member.

If libmember.so is in the same server, that module's filter decides instead.
"""

from modules.bindings.redismodule cimport (
    RedisModuleCommandFilterCtx, RedisModuleCtx, RedisModuleDict, RedisModuleString, RedisModule_CommandFilterArgInsert,
    RedisModule_CreateDict, RedisModule_CreateString, RedisModule_DbSize, RedisModule_FreeDict, RedisModule_Log,
    RedisModule_ReplyWithError, RedisModule_SelectDb,
)
from modules.server.acl cimport is_denied
from modules.server.command_table cimport (
    RULE_FOLLOW, RULE_INFO, RULE_ROLE, RULE_WRITE, Rule, is_known, table_fill, table_rule, table_set,
)


cdef inline bint filter_build(RedisModuleCtx *ctx, RedisModuleDict **commands) noexcept nogil:
    """Build the table of refused commands: when the module is loaded, and when another module adds commands.

    Returns False if the table is incomplete, so that native writes would pass.
    """
    cdef RedisModuleDict *table = NULL
    cdef bint whole = True
    if not is_known(ctx, "member.put", 10):
        table = RedisModule_CreateDict(NULL)
        whole = table_fill(ctx, table)
        # Clients' commands at members, which a master does not have, get the same error.
        table_set(table, "read", 4, RULE_WRITE)
        table_set(table, "member.put", 10, RULE_WRITE)
        table_set(table, "member.del", 10, RULE_WRITE)
        table_set(table, "member.once", 11, RULE_WRITE)
        table_set(table, "member.wait", 11, RULE_WRITE)
        table_set(table, "member.view", 11, RULE_WRITE)
        table_set(table, "member.sn", 9, RULE_WRITE)
        table_set(table, "role", 4, RULE_ROLE)
        table_set(table, "info", 4, RULE_INFO)
    if commands[0] != NULL:
        RedisModule_FreeDict(NULL, commands[0])
    commands[0] = table
    return whole


cdef inline void filter_command(RedisModuleDict *commands, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Redirect a refused command to MASTER.REFUSED. Redis calls this for each command, also of scripts and modules."""
    cdef Rule rule
    rule = table_rule(commands, command)
    if rule == RULE_WRITE or rule == RULE_FOLLOW:
        RedisModule_CommandFilterArgInsert(command, 0, RedisModule_CreateString(NULL, "MASTER.REFUSED", 14))


cdef inline int on_refused(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MASTER.REFUSED command … -> ERR | NOPERM"""
    if is_denied(ctx, argv, argc):
        return 0
    return RedisModule_ReplyWithError(
        ctx, "ERR this server is a master and holds no data: write at the head of its chain and read at the tail, "
        "which MASTER.GET_CHAIN names")


cdef inline void warn_of_keys(RedisModuleCtx *ctx) noexcept nogil:
    """Log a warning if the server has keys, from a file in its folder or from before the module was loaded."""
    RedisModule_SelectDb(ctx, 0)
    if RedisModule_DbSize(ctx):
        RedisModule_Log(ctx, "warning", "this server is a master and has %llu keys of its own, from a file in its "
                        "folder or from before: they are in no chain, and only take up memory. Give it another folder",
                        RedisModule_DbSize(ctx))
