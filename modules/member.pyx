# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""libmember.so: a chain member inside redis-server.

This file registers commands, events and timers with Redis. Each command's handler checks the number of arguments and
calls a room of member/. The protocol is in core/. None of these runs the Python interpreter.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc
from libc.string cimport strerror

from modules.bindings.libc cimport errno
from modules.bindings.redismodule cimport (
    REDISMODULE_CMD_CHANNEL_PUBLISH, REDISMODULE_CMD_KEY_ACCESS, REDISMODULE_CMD_KEY_DELETE, REDISMODULE_CMD_KEY_OW,
    REDISMODULE_CMD_KEY_RM, REDISMODULE_CMD_KEY_RO, REDISMODULE_CMD_KEY_UPDATE, REDISMODULE_ERR, REDISMODULE_OK,
    REDISMODULE_OPTIONS_HANDLE_IO_ERRORS, RedisModuleCmdFunc, RedisModuleCtx, RedisModuleString,
    RedisModule_ChannelAtPosWithFlags, RedisModule_CreateCommand, RedisModule_CreateTimer, RedisModule_Free,
    RedisModule_GetDetachedThreadSafeContext, RedisModule_GetRandomBytes, RedisModule_IsChannelsPositionRequest,
    RedisModule_IsKeysPositionRequest, RedisModule_Log, RedisModule_ReplyWithLongLong, RedisModule_SetModuleOptions,
    RedisModule_TryAlloc, RedisModule_WrongArity,
)
from modules.core.chain cimport chain_init
from modules.core.checkpoint.record_format cimport NOTHING
from modules.core.memory cimport memory_from
from modules.core.messages cimport Limits
from modules.core.view cimport KIND_ALL
from modules.member.clients cimport (
    chain_checkpoint_command, chain_flush_command, chain_page_command, head_flush_command, kept_command, list_command,
    may_write_command, numbered_command, on_native_wait, on_native_wait_any, once_command, once_keys, read_command,
    tail_checkpoint_command, view_command, wait_command, write_command,
)
from modules.member.cluster cimport on_cluster, on_cluster_any
from modules.member.etcd_heartbeat cimport connect_command, heartbeat_init
from modules.member.effects cimport effects_init, follow_while_loading, tap_command
from modules.member.event_loop cimport on_tick, subscribe_events
from modules.member.gate cimport gate_start, unheld_command
from modules.member.keyspace cimport (
    executes_streams, filter_build, on_info_any, on_info_command, on_refused, on_refused_all, on_refused_pause,
    on_refused_read, on_refused_rewrite, on_role, on_role_any,
)
from modules.member.keyspace.kind cimport has_snapshot, own_kind
from modules.member.membership cimport (
    adopt_command, branch_command, copy_command, feed_command, fork_register, join_command, lifelines_init, pin_command,
    poll_command, rejoin_command, state_command, unjoin_command, unpin_command, watch_command, watch_invariants,
)
from modules.member.persistence cimport disk_configure, marker_name, marker_read
from modules.member.replication cimport (
    ack_command, allowed_command, challenge_command, forward_command, greet_command, links_init, prove_command,
)
from modules.member.replies cimport reply_elsewhere, waiting_init
from modules.member.startup cimport (
    config_arguments, config_register, cut_unrecorded, executed_command, kind_is_possible, place_command,
    record_command, replay_misread, snapshot_register,
)
from modules.member.state.event_loop cimport TICK_MS
from modules.member.state.member cimport Member, set_the_member, the_member
from modules.server.acl cimport is_denied, may_administer
from modules.server.allocators cimport allocators_init
from modules.server.api cimport api_init
from modules.server.clock cimport boot_ms
from modules.server.command_info cimport describe
from modules.server.memory_keeper cimport keep_memory
from modules.server.native_replication cimport may_load
from modules.server.redis_calls cimport info_field


cdef extern from *:
    # No user gets a right to this command by its name, so whoever may run it has +@all.
    const char *GIVEN_TO_NOBODY "\"chain.record.place\""


# ---------------------------------------------------------------------------------------- clients' commands

cdef int on_put(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.PUT key value [client_id] -> integer sn | MOVED | ERR | UNKNOWN"""
    if RedisModule_IsChannelsPositionRequest(ctx):
        if argc == 4:
            RedisModule_ChannelAtPosWithFlags(ctx, 3, REDISMODULE_CMD_CHANNEL_PUBLISH)
        return REDISMODULE_OK
    if argc < 3 or argc > 4:
        return RedisModule_WrongArity(ctx)
    return write_command(the_member(), ctx, argv[1], argv[2], argv[3] if argc == 4 else NULL)


cdef int on_del(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.DEL key [client_id] -> integer sn | MOVED | ERR | UNKNOWN"""
    if RedisModule_IsChannelsPositionRequest(ctx):
        if argc == 3:
            RedisModule_ChannelAtPosWithFlags(ctx, 2, REDISMODULE_CMD_CHANNEL_PUBLISH)
        return REDISMODULE_OK
    if argc < 2 or argc > 3:
        return RedisModule_WrongArity(ctx)
    return write_command(the_member(), ctx, argv[1], NULL, argv[2] if argc == 3 else NULL)


cdef int on_once(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if RedisModule_IsKeysPositionRequest(ctx):
        return once_keys(ctx, argv, argc)
    return once_command(the_member(), ctx, argv, argc) if argc >= 3 else RedisModule_WrongArity(ctx)


cdef int on_wait(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.WAIT sn [timeout_ms [epoch]] -> integer committed | MOVED | ERR | UNKNOWN"""
    if argc < 2 or argc > 4:
        return RedisModule_WrongArity(ctx)
    return wait_command(the_member(), ctx, argv, argc)


cdef int on_read(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """READ key -> value | nil | MOVED | ERR"""
    return read_command(the_member(), ctx, argv[1])


cdef int on_elsewhere(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.ELSEWHERE command …: replies for MEMBER.PUT and MEMBER.DEL where Redis would say READONLY -> MOVED | NOPERM
    """
    return (0 if executes_streams(ctx, argv, argc) or is_denied(ctx, argv, argc)
            else reply_elsewhere(the_member(), ctx, &argv[1], argc - 1))


cdef int on_sn(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.SN -> integer applied"""
    cdef Member *m = the_member()
    return RedisModule_ReplyWithLongLong(ctx, m.effects.numbers.newest if m.chain.log.streams else m.chain.applied)


cdef int on_view(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return view_command(the_member(), ctx, argv, argc) if argc <= 3 else RedisModule_WrongArity(ctx)


cdef int on_connect(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.CONNECT_TO_MASTER host:port | host port | etcd_host:etcd_port[,…]/chain_name -> OK | ERR"""
    if not may_administer(ctx, GIVEN_TO_NOBODY, "member.connect_to_master"):
        return REDISMODULE_OK
    if argc != 2 and argc != 3:
        return RedisModule_WrongArity(ctx)
    return connect_command(the_member(), ctx, argv, argc)


cdef int on_unheld(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """MEMBER.UNHELD -> OK | ERR"""
    if not may_administer(ctx, GIVEN_TO_NOBODY, "member.unheld"):
        return REDISMODULE_OK
    return unheld_command(the_member(), ctx) if argc == 1 else RedisModule_WrongArity(ctx)


cdef int on_tail_checkpoint(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if not may_administer(ctx, GIVEN_TO_NOBODY, "tail.checkpoint"):
        return REDISMODULE_OK
    return tail_checkpoint_command(the_member(), ctx)


cdef int on_head_flush(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if not may_administer(ctx, GIVEN_TO_NOBODY, "head.flush"):
        return REDISMODULE_OK
    if argc > 2:
        return RedisModule_WrongArity(ctx)
    return head_flush_command(the_member(), ctx, argv, argc)


cdef int on_list_checkpoint(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc > 2:
        return RedisModule_WrongArity(ctx)
    return list_command(the_member(), ctx, argv, argc)


# --------------------------------------------------------------------------- commands of members and the master

cdef int on_challenge(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if not may_administer(ctx, GIVEN_TO_NOBODY, "chain.challenge"):
        return REDISMODULE_OK
    return challenge_command(the_member(), ctx, argv) if argc == 2 else RedisModule_WrongArity(ctx)


cdef int on_prove(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return prove_command(the_member(), ctx, argv) if argc == 3 else RedisModule_WrongArity(ctx)


cdef int on_idle(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.IDLE -> nothing; keeps the connection of a peer or a master from being closed as idle"""
    return REDISMODULE_OK if argc == 1 else RedisModule_WrongArity(ctx)


cdef int on_numbered_put(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc != 5 and argc != 6:
        return RedisModule_WrongArity(ctx)
    return numbered_command(the_member(), ctx, argv, argv[4], argv[5] if argc == 6 else NULL)


cdef int on_numbered_del(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc != 4 and argc != 5:
        return RedisModule_WrongArity(ctx)
    return numbered_command(the_member(), ctx, argv, NULL, argv[4] if argc == 5 else NULL)


cdef int on_kept(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return kept_command(the_member(), ctx, argv, argc)


cdef int on_tap_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return tap_command(the_member(), ctx, argv) if argc == 2 else RedisModule_WrongArity(ctx)


cdef int on_allowed(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return allowed_command(the_member(), ctx, argv, argc)


cdef int on_greet(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return greet_command(the_member(), ctx, argv) if argc == 5 else RedisModule_WrongArity(ctx)


cdef int on_forward(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    cdef bint fits = argc == 3 or 10 <= argc <= 12
    return forward_command(the_member(), ctx, argv, argc) if fits else RedisModule_WrongArity(ctx)


cdef int on_ack(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return ack_command(the_member(), ctx, argv, argc) if argc in (2, 5, 6) else RedisModule_WrongArity(ctx)


cdef int on_adopt(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if not may_administer(ctx, GIVEN_TO_NOBODY, "chain.adopt"):
        return REDISMODULE_OK
    return adopt_command(the_member(), ctx, argv, argc)


cdef int on_join(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if not may_administer(ctx, GIVEN_TO_NOBODY, "chain.join"):
        return REDISMODULE_OK
    return join_command(the_member(), ctx, argv, argc)


cdef int on_rejoin(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if not may_administer(ctx, GIVEN_TO_NOBODY, "chain.rejoin"):
        return REDISMODULE_OK
    return rejoin_command(the_member(), ctx, argv, argc)


cdef int on_branch(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if not may_administer(ctx, GIVEN_TO_NOBODY, "chain.branch"):
        return REDISMODULE_OK
    if argc != 2 and argc != 3:
        return RedisModule_WrongArity(ctx)
    return branch_command(the_member(), ctx, argv, argc)


cdef int on_pin(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc != 1 and argc != 3:
        return RedisModule_WrongArity(ctx)
    return pin_command(the_member(), ctx, argv, argc)


cdef int on_copy(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return copy_command(the_member(), ctx) if argc == 1 else RedisModule_WrongArity(ctx)


cdef int on_feed(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return feed_command(the_member(), ctx, argv) if argc == 5 else RedisModule_WrongArity(ctx)


cdef int on_unpin(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return unpin_command(the_member(), ctx) if argc == 1 else RedisModule_WrongArity(ctx)


cdef int on_unjoin(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return unjoin_command(the_member(), ctx) if argc == 1 else RedisModule_WrongArity(ctx)


cdef int on_state(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if not may_administer(ctx, GIVEN_TO_NOBODY, "chain.state"):
        return REDISMODULE_OK
    return state_command(the_member(), ctx) if argc == 1 else RedisModule_WrongArity(ctx)


cdef int on_poll(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return poll_command(the_member(), ctx, argv, argc) if argc >= 4 and argc % 3 == 1 else RedisModule_WrongArity(ctx)


cdef int on_watch(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return watch_command(the_member(), ctx) if argc == 1 else RedisModule_WrongArity(ctx)


cdef int on_chain_checkpoint(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return chain_checkpoint_command(the_member(), ctx, argv) if argc == 2 else RedisModule_WrongArity(ctx)


cdef int on_chain_flush(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return chain_flush_command(the_member(), ctx, argv) if argc == 3 else RedisModule_WrongArity(ctx)


cdef int on_chain_page(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    return chain_page_command(the_member(), ctx, argv) if argc == 3 else RedisModule_WrongArity(ctx)


cdef int on_record(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc != 5:
        return replay_misread(the_member(), ctx)
    return record_command(the_member(), ctx, argv)


cdef int on_record_place(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc != 8:
        return replay_misread(the_member(), ctx)
    return place_command(the_member(), ctx, argv)


cdef int on_record_executed(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc != 3 and argc != 10:
        return replay_misread(the_member(), ctx)
    return executed_command(the_member(), ctx, argv, argc)


# ------------------------------------------------------------------------------------------------- loading

cdef bint create(
    RedisModuleCtx *ctx, const char *name, const char *syntax, RedisModuleCmdFunc run, const char *flags,
    uint64_t key_flags, const char *categories, const char *summary,
) noexcept nogil:
    return (RedisModule_CreateCommand(ctx, name, run, flags, 0, 0, 0) == REDISMODULE_OK
            and describe(ctx, name, syntax, key_flags, categories, summary))


cdef bint create_client_commands(RedisModuleCtx *ctx) noexcept nogil:
    cdef uint64_t put = REDISMODULE_CMD_KEY_OW | REDISMODULE_CMD_KEY_UPDATE
    cdef uint64_t delete = REDISMODULE_CMD_KEY_RM | REDISMODULE_CMD_KEY_DELETE
    cdef uint64_t read = REDISMODULE_CMD_KEY_RO | REDISMODULE_CMD_KEY_ACCESS
    cdef const char *looks = "readonly fast allow-loading allow-stale"
    cdef const char *unheld = "admin deny-script allow-loading allow-stale allow-busy fast"
    cdef const char *once = "write deny-script no-mandatory-keys getkeys-api"
    cdef const char *refuses = "allow-loading allow-stale no-auth"
    return (
        create(ctx, "member.put", "key value [client_id]", on_put, "write deny-oom deny-script getchannels-api", put,
               "write slow blocking", "Sets a key. The sequence number, once it is committed; with client_id at once")
        and create(ctx, "member.del", "key [client_id]", on_del, "write deny-script getchannels-api", delete,
                   "write slow blocking", "Deletes a key. Answers as MEMBER.PUT")
        and create(ctx, "member.once", NULL, on_once, once, 0, "write slow",
                   "Runs a command unless it was run already: client_id, sequence, command. The command's reply")
        and create(ctx, "member.wait", "sn# [timeout_ms# [epoch#]]", on_wait, "readonly deny-script", 0,
                   "read slow blocking", "Waits until a sequence number is committed, and returns the newest that is")
        and create(ctx, "read", "key", on_read, "readonly fast", read, "read fast",
                   "The committed value of a key, wherever it is")
        and create(ctx, "member.sn", "", on_sn, looks, 0, "read fast", "The highest sequence number applied here")
        and create(ctx, "member.view", "[epoch# [timeout_ms#]]", on_view, looks, 0, "read fast blocking",
                   "The epoch, then the members, head first. With an epoch, when there is a newer one")
        and create(ctx, "member.connect_to_master", "url [port#]", on_connect, "admin deny-script", 0,
                   "admin dangerous slow blocking", "Which master this member belongs to; starts heartbeats to etcd")
        and create(ctx, "member.unheld", "", on_unheld, unheld, 0, "admin dangerous fast",
                   "From now on replies on this connection are not held until they are committed")
        and create(ctx, "tail.checkpoint", "", on_tail_checkpoint, "readonly deny-script", 0,
                   "admin dangerous slow blocking", "Writes a checkpoint. How many sequence numbers are new in it")
        and create(ctx, "head.flush", "[max#]", on_head_flush, "readonly deny-script", 0,
                   "admin dangerous slow blocking", "Drops keys from memory. How many have left it")
        and create(ctx, "list.checkpoint", "[cursor]", on_list_checkpoint, "readonly deny-script", 0,
                   "read dangerous slow blocking", "A page of the checkpoint: the next cursor, then keys and values")
        and create(ctx, "chain.role", NULL, on_role, "fast allow-loading allow-stale", 0, "fast", "Answers for ROLE")
        and create(ctx, "chain.role.any", NULL, on_role_any, "fast allow-loading allow-stale no-auth", 0, "fast", "so")
        and create(ctx, "chain.info", NULL, on_info_command, "allow-loading allow-stale", 0, "slow", "Answers for INFO")
        and create(ctx, "chain.info.any", NULL, on_info_any, "allow-loading allow-stale no-auth", 0, "slow", "As it")
        and create(ctx, "chain.cluster", NULL, on_cluster, "allow-loading allow-stale", 0, "slow", "For CLUSTER")
        and create(ctx, "chain.cluster.any", NULL, on_cluster_any, refuses, 0, "slow", "As it")
        and create(ctx, "chain.refused", NULL, on_refused, refuses, 0, "slow", "Answers for native writes")
        and create(ctx, "chain.refused.all", NULL, on_refused_all, refuses, 0, "slow", "Answers for what bypasses")
        and create(ctx, "chain.elsewhere", NULL, on_elsewhere, refuses, 0, "slow", "Answers where the head is not")
        and create(ctx, "chain.refused.pause", NULL, on_refused_pause, refuses, 0, "slow", "Answers for CLIENT PAUSE")
        and create(ctx, "chain.wait", NULL, on_native_wait, "deny-script", 0, "slow blocking", "Answers for WAIT")
        and create(ctx, "chain.wait.any", NULL, on_native_wait_any, "deny-script no-auth", 0, "slow blocking", "As it")
        and create(ctx, "chain.refused.read", NULL, on_refused_read, refuses, 0, "slow", "Answers for native reads")
        and create(ctx, "chain.refused.rewrite", NULL, on_refused_rewrite, refuses, 0, "slow", "Answers for rewrites")
    )


cdef bint create_internal(
    RedisModuleCtx *ctx, const char *name, RedisModuleCmdFunc run, const char *flags,
) noexcept nogil:
    return create(ctx, name, NULL, run, flags, 0, "admin dangerous slow", "Between members and masters")


cdef bint create_internal_commands(RedisModuleCtx *ctx, bint all) noexcept nogil:
    """Create the commands of members and masters.

    None has the flag write or deny-oom: a successor must never refuse an update that its predecessor has applied.
    """
    cdef const char *flags = "admin deny-script no-monitor no-slowlog allow-stale"
    cdef const char *early = "admin deny-script no-monitor no-slowlog allow-stale allow-loading"
    # In a chain of all commands these change the log alone, so that they may run amid a script. In the other kind an
    # update is applied. While clients are paused nothing can go into the append-only file, so none may be then.
    cdef const char *busy = "admin deny-script no-monitor no-slowlog allow-stale allow-busy"
    cdef const char *postponed = "admin deny-script no-monitor no-slowlog allow-stale may-replicate"
    cdef const char *idle = "admin deny-script no-monitor no-slowlog allow-stale allow-loading allow-busy fast"
    return (
        create_internal(ctx, "chain.challenge", on_challenge, early)
        and create_internal(ctx, "chain.prove", on_prove, early)
        and create_internal(ctx, "chain.allowed", on_allowed, early)
        and create_internal(ctx, "chain.tap", on_tap_command, "admin deny-script no-monitor no-slowlog no-auth")
        and create_internal(ctx, "chain.put", on_numbered_put, "write admin deny-script no-monitor no-slowlog")
        and create_internal(ctx, "chain.del", on_numbered_del, "write admin deny-script no-monitor no-slowlog")
        and create_internal(ctx, "chain.once", on_kept, "write admin deny-script no-monitor no-slowlog")
        and create_internal(ctx, "chain.idle", on_idle, idle)
        and create_internal(ctx, "chain.maywrite", may_write_command, "write deny-oom admin no-monitor no-slowlog")
        and create_internal(ctx, "chain.state", on_state, early)
        and create_internal(ctx, "chain.record", on_record, early)
        and create_internal(ctx, "chain.record.place", on_record_place, early)
        and create_internal(ctx, "chain.record.executed", on_record_executed, early)
        and create_internal(ctx, "chain.greet", on_greet, flags)
        and create_internal(ctx, "chain.forward", on_forward, busy if all else postponed)
        and create_internal(ctx, "chain.ack", on_ack, busy if all else flags)
        and create_internal(ctx, "chain.adopt", on_adopt, flags)
        and create_internal(ctx, "chain.join", on_join, flags)
        and create_internal(ctx, "chain.rejoin", on_rejoin, flags)
        and create_internal(ctx, "chain.branch", on_branch, flags)
        and create_internal(ctx, "chain.poll", on_poll, flags)
        and create_internal(ctx, "chain.watch", on_watch, flags)
        and create_internal(ctx, "chain.pin", on_pin, flags)
        and create_internal(ctx, "chain.copy", on_copy, flags)
        and create_internal(ctx, "chain.feed", on_feed, flags)
        and create_internal(ctx, "chain.checkpoint", on_chain_checkpoint, flags)
        and create_internal(ctx, "chain.page", on_chain_page, flags)
        and create_internal(ctx, "chain.flush", on_chain_flush, flags)
        and create_internal(ctx, "chain.unpin", on_unpin, flags)
        and create_internal(ctx, "chain.unjoin", on_unjoin, early)
    )


cdef Member *new_member(RedisModuleCtx *ctx) noexcept nogil:
    cdef Member *m = <Member *>calloc(1, sizeof(Member))
    cdef Limits limits
    if m == NULL:
        return NULL
    limits.log_bytes = limits.backlog_bytes = limits.join_bytes = 0     # `config_register` sets them
    chain_init(&m.chain, &limits)
    m.ctx = RedisModule_GetDetachedThreadSafeContext(ctx)
    m.now_ms = boot_ms()
    RedisModule_GetRandomBytes(<unsigned char *>&m.clients.once.key, sizeof(m.clients.once.key))
    waiting_init(m)
    m.checkpoint.watermark = m.checkpoint.asked = NOTHING
    m.clients.subscribers = True        # until the first tick has counted them
    links_init(m)
    info_field(ctx, "server", "run_id", m.self.run_id, sizeof(m.self.run_id))
    marker_name(m)
    lifelines_init(m)
    effects_init(m)
    marker_read(&m.disk.marker)     # before Redis loads data, whose history the identity file may map to another
    disk_configure(m)
    return m if heartbeat_init(m) else NULL


cdef public int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    cdef Member *m
    if not allocators_init() or not api_init(ctx, "member", "libmember.so"):
        return REDISMODULE_ERR
    memory_from(RedisModule_TryAlloc, RedisModule_Free)     # so that tables count in the server's used_memory
    m = new_member(ctx) if may_load(ctx) else NULL
    set_the_member(m)
    watch_invariants()
    if (m == NULL or not config_register(m, ctx) or not config_arguments(m, ctx, argv, argc)
            or not kind_is_possible(m, ctx) or not cut_unrecorded(m)):
        return REDISMODULE_ERR
    RedisModule_SetModuleOptions(ctx, REDISMODULE_OPTIONS_HANDLE_IO_ERRORS)
    if (not create_client_commands(ctx) or not create_internal_commands(ctx, own_kind(m) == KIND_ALL)
            or not snapshot_register(ctx)):
        RedisModule_Log(ctx, "warning", "libmember.so: a command or data type of that name exists already")
        return REDISMODULE_ERR
    # The filter needs the table.
    if not filter_build(m) or not subscribe_events(ctx) or not fork_register():
        return REDISMODULE_ERR
    if not gate_start(m, own_kind(m) == KIND_ALL):
        RedisModule_Log(ctx, "warning", "libmember.so: the gate, which holds replies until they are committed, cannot "
                        "start: %s. With member.gate no, or member.commands put, there is none",
                        &m.gate.error[0] if m.gate.error[0] else strerror(errno))
        return REDISMODULE_ERR
    RedisModule_CreateTimer(ctx, TICK_MS, on_tick, NULL)
    keep_memory(ctx)
    if own_kind(m) == KIND_ALL and (m.disk.marker.found or has_snapshot(ctx)):
        follow_while_loading(m)
    return REDISMODULE_OK
