# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Loading of a master: registers commands, settings and events with Redis, and starts the coordinator.

from libc.string cimport strchr

from modules.bindings.redismodule cimport (
    REDISMODULE_ERR, REDISMODULE_OK, RedisModuleCallReply, RedisModuleCmdFunc, RedisModuleCtx,
    RedisModuleEvent_Config, RedisModuleEvent_Loading, RedisModuleEvent_ModuleChange, RedisModuleString,
    RedisModule_Call, RedisModule_CreateCommand, RedisModule_CreateSubcommand, RedisModule_FreeCallReply,
    RedisModule_GetCommand, RedisModule_GetDetachedThreadSafeContext,
    RedisModule_Log, RedisModule_RegisterCommandFilter, RedisModule_RegisterInfoFunc,
    RedisModule_SubscribeToServerEvent,
)
from modules.master.command_filter cimport filter_build, on_refused, warn_of_keys
from modules.master.info cimport info_init
from modules.master.jobs cimport queue_init
from modules.master.state cimport COMMAND_COUNT, Kind
from modules.server.api cimport api_init
from modules.server.command_info cimport describe
from modules.server.memory_keeper cimport keep_memory
from modules.server.native_replication cimport may_load
from modules.server.position cimport position_register


cdef bint create_command(
    RedisModuleCtx *ctx, const char *name, const char *syntax, RedisModuleCmdFunc handler, const char *flags,
    const char *categories, const char *summary,
) noexcept nogil:
    return (RedisModule_CreateCommand(ctx, name, handler, flags, 0, 0, 0) == REDISMODULE_OK
            and describe(ctx, name, syntax, 0, categories, summary))


cdef bint create_sentinel(
    RedisModuleCtx *ctx, const char *name, const char *syntax, const char *summary,
) noexcept nogil:
    """Create the subcommand that stands after `sentinel|` in `name`."""
    cdef const char *flags = b"readonly deny-script blocking"
    return (RedisModule_CreateSubcommand(RedisModule_GetCommand(ctx, b"sentinel"), strchr(name, c"|") + 1,
                                         handle_sentinel, flags, 0, 0, 0) == REDISMODULE_OK
            and describe(ctx, name, syntax, 0, b"read slow blocking", summary))


cdef bint create_sentinel_commands(RedisModuleCtx *ctx) noexcept nogil:
    """Create the commands of clients of Sentinels. Redis has its own only in a server that is a Sentinel.

    `sentinel` by itself has no function to call. Redis refuses it because of the number of its arguments.
    """
    cdef const char *flags = b"readonly deny-script blocking"
    return (
        create_command(ctx, b"sentinel", b"subcommand [argument]", NULL, flags, b"read slow blocking",
                       b"What a Sentinel is asked")
        and create_sentinel(ctx, b"sentinel|masters", b"", b"The one chain, and its head's state")
        and create_sentinel(ctx, b"sentinel|master", b"name", b"The state of the head")
        and create_sentinel(ctx, b"sentinel|get-master-addr-by-name", b"name", b"The head's host and port")
        and create_sentinel(ctx, b"sentinel|replicas", b"name", b"The members behind the head")
        and create_sentinel(ctx, b"sentinel|slaves", b"name", b"The members behind the head")
        and create_sentinel(ctx, b"sentinel|sentinels", b"name", b"The other masters")
        and create_sentinel(ctx, b"sentinel|ckquorum", b"name", b"Whether the chain can be changed now")
        and create_sentinel(ctx, b"sentinel|myid", b"", b"The run_id of this master")
        and create_sentinel(ctx, b"sentinel|help", b"", b"Text about these subcommands")
    )


cdef bint create_commands(RedisModuleCtx *ctx) noexcept nogil:
    cdef const char *changes = b"admin deny-script blocking"
    cdef const char *asks = b"readonly deny-script blocking"
    cdef const char *dangerous = b"admin dangerous slow blocking"
    cdef const char *harmless = b"read slow blocking"
    return (
        create_command(ctx, b"master.add", b"host port# [DISCARD]", handle_add, changes, dangerous,
                       b"Makes a server the new tail of the chain")
        and create_command(ctx, b"master.remove", b"host port#", handle_remove, changes, dangerous,
                           b"Takes a member out of the chain")
        and create_command(ctx, b"master.form", b"host port#", handle_form, changes, dangerous,
                           b"Forms a chain that has died again from one survivor")
        and create_command(ctx, b"master.refresh_head", b"", handle_refresh_head, asks, harmless,
                           b"The head, just found alive")
        and create_command(ctx, b"master.refresh_tail", b"", handle_refresh_tail, asks, harmless,
                           b"The tail, just found alive")
        and create_command(ctx, b"master.get_chain", b"", handle_get_chain, asks, harmless,
                           b"The members of the chain, head first")
        and create_sentinel_commands(ctx)
        and create_command(ctx, b"master.role", NULL, on_role, b"fast allow-loading allow-stale", b"fast",
                           b"Answers for ROLE")
        and create_command(ctx, b"master.role.any", NULL, on_role_any, b"fast allow-loading allow-stale no-auth",
                           b"fast", b"So")
        and create_command(ctx, b"master.info", NULL, on_info, b"allow-loading allow-stale", b"slow",
                           b"Answers for INFO")
        and create_command(ctx, b"master.info.any", NULL, on_info_any, b"allow-loading allow-stale no-auth", b"slow",
                           b"As it")
        and create_command(ctx, b"master.refused", NULL, on_refused, b"allow-loading allow-stale no-auth", b"slow",
                           b"Answers for commands that a master refuses")
        and create_command(ctx, GIVEN_TO_NOBODY, b"", do_nothing, changes, dangerous,
                           b"Nothing: no user is given this one by name, so who may run it has +@all")
    )


cdef bint watch_commands(RedisModuleCtx *ctx) noexcept nogil:
    """Refuse commands that write from now on. Returns False if Redis refuses the filter."""
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_Loading, on_loading)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_ModuleChange, on_module_change)
    return (filter_build(ctx, &master.commands)
            and RedisModule_RegisterCommandFilter(ctx, on_command, 0) != NULL)


cdef void keep_off_disk(RedisModuleCtx *ctx) noexcept nogil:
    """Let the server load an RDB of a member without failing, and never save one.

    A master holds no data and may share its folder with members, whose RDB it must not replace.
    """
    cdef RedisModuleCallReply *reply
    if not position_register(ctx, NULL):
        RedisModule_Log(ctx, b"warning", b"an RDB that a member left in this folder would be fatal: see "
                        b"docs/redis.md")
    reply = RedisModule_Call(ctx, b"CONFIG", b"ccc", b"SET", b"save", b"")
    if reply != NULL:
        RedisModule_FreeCallReply(reply)


cdef int master_load(
    RedisModuleCtx *ctx, RedisModuleString **argv, int argc, const Kind *kind,
) noexcept nogil:
    """The RedisModule_OnLoad of a master of this kind. Returns REDISMODULE_OK or REDISMODULE_ERR, with a log line."""
    cdef int lane
    if not api_init(ctx, b"master", kind.library):
        return REDISMODULE_ERR
    if not may_load(ctx) or not kind.take_arguments(ctx, argv, argc):
        return REDISMODULE_ERR
    if master.running:
        RedisModule_Log(ctx, b"warning", b"this server's master runs already")
        return REDISMODULE_ERR
    master.kind = kind
    master.ctx = RedisModule_GetDetachedThreadSafeContext(ctx)
    for lane in range(<int>COMMAND_COUNT):
        queue_init(&master.queues[lane])
    info_init(&master.info)
    info_init(&master.sentinel.info)
    info_init(&master.sentinel.chain)
    if not create_commands(ctx) or not load_settings(ctx) or not prepare_python(ctx):
        return REDISMODULE_ERR
    if RedisModule_RegisterInfoFunc(ctx, show_info) == REDISMODULE_ERR:
        return REDISMODULE_ERR
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_Config, on_config)
    keep_off_disk(ctx)
    warn_of_keys(ctx)
    if not watch_commands(ctx):
        return REDISMODULE_ERR
    take_tls(ctx)
    master.running = start_master(ctx)      # last, because a module that fails to load must have no threads
    if not master.running:
        return REDISMODULE_ERR
    keep_memory(ctx)
    return REDISMODULE_OK


cdef int master_unload(RedisModuleCtx *ctx) noexcept nogil:
    RedisModule_Log(ctx, b"warning", b"%s cannot be unloaded: its threads run until the server ends",
                    master.kind.library)
    return REDISMODULE_ERR
