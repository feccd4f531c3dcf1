# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Events that Redis reports to a module, each handed to the part of the member that it concerns.

from libc.stdint cimport int64_t, uint64_t

from modules.bindings.redismodule cimport (
    REDISMODULE_NOTIFY_EVICTED, REDISMODULE_NOTIFY_EXPIRED, REDISMODULE_OK,
    REDISMODULE_SUBEVENT_CLIENT_CHANGE_CONNECTED, REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED,
    REDISMODULE_SUBEVENT_EVENTLOOP_AFTER_SLEEP, REDISMODULE_SUBEVENT_FLUSHDB_START,
    REDISMODULE_SUBEVENT_LOADING_AOF_START, REDISMODULE_SUBEVENT_LOADING_FAILED, REDISMODULE_SUBEVENT_LOADING_RDB_START,
    REDISMODULE_SUBEVENT_MASTER_LINK_UP, RedisModule_RegisterCommandFilter, RedisModule_RegisterInfoFunc,
    RedisModule_SubscribeToKeyspaceEvents, RedisModule_SubscribeToServerEvent, RedisModuleClientInfo,
    RedisModuleCommandFilterCtx, RedisModuleConfigChange, RedisModuleCtx, RedisModuleEvent,
    RedisModuleEvent_ClientChange, RedisModuleEvent_Config, RedisModuleEvent_EventLoop, RedisModuleEvent_FlushDB,
    RedisModuleEvent_Loading, RedisModuleEvent_MasterLinkChange, RedisModuleEvent_ModuleChange,
    RedisModuleEvent_ReplicationRoleChanged, RedisModuleEvent_Shutdown, RedisModuleEvent_SwapDB, RedisModuleInfoCtx,
    RedisModuleString,
)
from modules.core.view cimport KIND_PUT
from modules.member.checkpoint cimport session_left, store_stop
from modules.member.clients cimport direct_client_gone
from modules.member.effects cimport copy_off
from modules.member.gate cimport gate_client_connected, gate_client_gone, gate_settle, gate_stop
from modules.member.keyspace cimport end_before_loss, filter_build, filter_command, note_modules, settings_care
from modules.member.keyspace.kind cimport own_kind
from modules.member.keyspace.tickets cimport open_ticket
from modules.member.membership cimport (
    empty_log, fetch_off, info_chain, join_fail_load, join_off, join_on_link_up, lifelines_care,
)
from modules.member.persistence cimport disk_cares, disk_configure
from modules.member.replication cimport find_peer, forget_peer
from modules.member.state.member cimport Member, is_native_replica, the_member
from modules.member.state.membership cimport JOIN_COPYING
from modules.member.state.persistence cimport SOURCE_AOF, SOURCE_OTHERS, SOURCE_RDB


cdef void on_event_loop(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t when, void *data) noexcept nogil:
    if when == REDISMODULE_SUBEVENT_EVENTLOOP_AFTER_SLEEP:
        after_sleep(the_member())
    else:
        before_sleep(the_member())
        gate_settle(the_member())


cdef void on_client_change(
    RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data,
) noexcept nogil:
    cdef Member *m = the_member()
    cdef unsigned long long client = (<RedisModuleClientInfo *>data).id
    if what == REDISMODULE_SUBEVENT_CLIENT_CHANGE_CONNECTED:
        gate_client_connected(m, <RedisModuleClientInfo *>data)
    if what != REDISMODULE_SUBEVENT_CLIENT_CHANGE_DISCONNECTED or client == 0:
        return
    gate_client_gone(m, <int64_t>client)
    direct_client_gone(m, <int64_t>client)
    if find_peer(m, client) != NULL:
        session_left(&m.checkpoint, client)
    forget_peer(m, client)
    if m.membership.pin_client == client:
        join_off(m)


cdef void on_flush(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    """FLUSHALL ASYNC frees values on another thread: the log lets go of the shared ones first."""
    cdef Member *m = the_member()
    if what != REDISMODULE_SUBEVENT_FLUSHDB_START:
        return
    if m.chain.log.streams:
        if m.effects.leads:
            open_ticket(m)
    elif not m.chain.has_history:
        empty_log(m)
    elif not m.keyspace.own_call and not is_native_replica(m) and own_kind(m) == KIND_PUT:
        end_before_loss(m)  # the append-only file of the other kind has the FLUSHALLs of the chain


cdef void on_swap(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    """SWAPDB. It may be a command of a script or a transaction, which is not the place to close connections."""
    the_member().keyspace.caches_swapped = True


cdef int on_key_gone(RedisModuleCtx *ctx, int kind, const char *event, RedisModuleString *key) noexcept nogil:
    """A key has expired or was evicted. Replies that show it are held as those of a write."""
    cdef Member *m = the_member()
    if m.effects.leads:
        open_ticket(m)
    return 0


cdef void on_loading(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    cdef Member *m = the_member()
    if what == REDISMODULE_SUBEVENT_LOADING_RDB_START:
        m.disk.source = SOURCE_RDB
    elif what == REDISMODULE_SUBEVENT_LOADING_AOF_START:
        m.disk.source = SOURCE_AOF
    else:
        m.disk.source = SOURCE_OTHERS
    if what == REDISMODULE_SUBEVENT_LOADING_FAILED and m.membership.join == JOIN_COPYING:
        join_fail_load(m)


cdef void on_master_link(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    if what == REDISMODULE_SUBEVENT_MASTER_LINK_UP:
        join_on_link_up(the_member())


cdef void on_native_role(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    the_member().keyspace.role_touched = True


cdef void on_config(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    if settings_care(<RedisModuleConfigChange *>data):
        the_member().keyspace.settings_touched = True
    the_member().direct.distrusted = True
    the_member().direct.settings_known = False
    the_member().membership.second_port_known = False
    if lifelines_care(<RedisModuleConfigChange *>data):
        the_member().lifelines.rebind = True
    if disk_cares(<RedisModuleConfigChange *>data):
        disk_configure(the_member())


cdef void on_shutdown(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) noexcept nogil:
    fetch_off(the_member())
    copy_off(the_member())
    store_stop(&the_member().checkpoint)
    gate_stop(the_member())


cdef void on_module_change(
    RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data,
) noexcept nogil:
    filter_build(the_member())
    note_modules(the_member())


cdef void on_command(RedisModuleCommandFilterCtx *command) noexcept nogil:
    filter_command(the_member(), command)


cdef void on_info(RedisModuleInfoCtx *info, int for_crash_report) noexcept nogil:
    info_chain(the_member(), info)


cdef bint subscribe_events(RedisModuleCtx *ctx) noexcept nogil:
    """Have Redis call these functions. Returns False if it refuses."""
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_EventLoop, on_event_loop)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_ClientChange, on_client_change)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_FlushDB, on_flush)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_SwapDB, on_swap)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_Loading, on_loading)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_MasterLinkChange, on_master_link)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_ModuleChange, on_module_change)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_Config, on_config)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_ReplicationRoleChanged, on_native_role)
    RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_Shutdown, on_shutdown)
    # A key that expires while it is read changes data in a command that is known to be read-only.
    RedisModule_SubscribeToKeyspaceEvents(ctx, REDISMODULE_NOTIFY_EXPIRED | REDISMODULE_NOTIFY_EVICTED, on_key_gone)
    return (RedisModule_RegisterCommandFilter(ctx, on_command, 0) != NULL
            and RedisModule_RegisterInfoFunc(ctx, on_info) == REDISMODULE_OK)
