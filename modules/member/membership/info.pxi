# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The section `member` of INFO. Redis puts `member_` before the name of each field.

from libc.stdio cimport snprintf

from modules.bindings.pthread cimport pthread_mutex_trylock, pthread_mutex_unlock
from modules.bindings.redismodule cimport (
    REDISMODULE_OK, RedisModuleInfoCtx, RedisModule_DbSize, RedisModule_InfoAddFieldCString,
    RedisModule_InfoAddFieldLongLong, RedisModule_InfoAddFieldULongLong, RedisModule_InfoAddSection,
)
from modules.core.chain cimport chain_predecessor, chain_role, chain_successor
from modules.core.invariant cimport broken_invariants
from modules.core.view cimport HOST_BYTES, Node, kind_name
from modules.member.checkpoint.memtable cimport memtable_bytes, memtable_keys, shown_watermark
from modules.member.clients cimport info_direct, mode_name
from modules.member.gate cimport info_gate
from modules.member.keyspace.kind cimport own_kind
from modules.member.keyspace.serving cimport role_name, serves_in_role
from modules.member.state.checkpoint cimport Checkpoint, STORE_OPEN, STORE_OPENING
from modules.member.state.effects cimport TAP_STREAMING
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_NONE, Membership
from modules.member.state.replication cimport LINK_IDLE, LINK_READY, Link, Replication
from modules.server.clock cimport boot_ms


cdef void info_node(RedisModuleInfoCtx *info, const char *name, const Node *node) noexcept nogil:
    cdef char text[HOST_BYTES + 16]
    text[0] = 0
    if node != NULL:
        snprintf(text, sizeof(text), "%s:%d", &node.host[0], node.port)
    RedisModule_InfoAddFieldCString(info, name, text)


cdef const char *link_state(const Link *link) noexcept nogil:
    if not link.aimed:
        return "none"
    if link.phase == LINK_READY:
        return "ready"
    return "down" if link.phase == LINK_IDLE else "connecting"


cdef void info_chain(Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    """Add all fields of the section."""
    if RedisModule_InfoAddSection(info, "") != REDISMODULE_OK:
        return      # INFO was called for other sections
    RedisModule_InfoAddFieldCString(info, "role", role_name(chain_role(&m.chain)))
    RedisModule_InfoAddFieldLongLong(info, "serving", serves_in_role(m))
    RedisModule_InfoAddFieldCString(info, "kind", kind_name(own_kind(m)))
    RedisModule_InfoAddFieldLongLong(info, "epoch", m.chain.view.epoch)
    RedisModule_InfoAddFieldLongLong(info, "newest_epoch", m.chain.newest_epoch)
    RedisModule_InfoAddFieldLongLong(info, "members", m.chain.view.count)
    info_node(info, "predecessor", chain_predecessor(&m.chain))
    info_node(info, "successor", chain_successor(&m.chain))
    RedisModule_InfoAddFieldLongLong(info, "applied", m.chain.applied)
    RedisModule_InfoAddFieldLongLong(info, "committed", m.chain.committed)
    RedisModule_InfoAddFieldLongLong(info, "lease_ms", max(0, m.chain.lease_until - boot_ms()))
    info_log(m, info)
    info_disk(m, info)
    info_checkpoint(m, info)
    info_links(m, info)
    info_joining(m, info)
    info_lifelines(m, info)
    info_heartbeat(m, info)
    info_gate(m, info)
    info_direct(m, info)
    info_counters(m, info)


cdef void info_log(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    RedisModule_InfoAddFieldLongLong(info, "log_length", m.chain.log.end - m.chain.log.first)
    RedisModule_InfoAddFieldULongLong(info, "log_bytes", m.chain.log.bytes)
    RedisModule_InfoAddFieldULongLong(info, "uncommitted_bytes", m.chain.unsettled_bytes)
    RedisModule_InfoAddFieldLongLong(info, "pinned", m.chain.pinned)


cdef void info_disk(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    RedisModule_InfoAddFieldLongLong(info, "waits_for_disk", m.disk.waits)
    RedisModule_InfoAddFieldLongLong(info, "on_disk", min(m.chain.on_disk, m.chain.applied))
    RedisModule_InfoAddFieldLongLong(info, "record_epoch", m.disk.record.epoch)
    RedisModule_InfoAddFieldCString(info, "record_run_id", m.disk.record.run_id)
    RedisModule_InfoAddFieldLongLong(info, "record_durable", m.disk.record.durable)


cdef const char *checkpoint_state(const Checkpoint *c) noexcept nogil:
    if c.error[0]:
        return "failed"
    if c.writing:
        return "writing"
    if c.store == STORE_OPENING:
        return "opening"
    return "open" if c.store == STORE_OPEN else "none"


cdef void info_checkpoint(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    cdef const Checkpoint *c = &m.checkpoint
    RedisModule_InfoAddFieldCString(info, "gcs_mode", mode_name(m.settings.gcs_mode))
    RedisModule_InfoAddFieldCString(info, "checkpoint", checkpoint_state(c))
    RedisModule_InfoAddFieldCString(info, "checkpoint_error", c.error)
    RedisModule_InfoAddFieldLongLong(info, "checkpointed", shown_watermark(c))
    RedisModule_InfoAddFieldULongLong(info, "dirty_keys", memtable_keys(c))
    RedisModule_InfoAddFieldULongLong(info, "dirty_bytes", memtable_bytes(c))
    RedisModule_InfoAddFieldULongLong(info, "checkpoints", c.checkpoints)
    RedisModule_InfoAddFieldULongLong(info, "checkpoint_records", c.records)
    RedisModule_InfoAddFieldULongLong(info, "checkpoint_sweeps", c.sweeps)
    RedisModule_InfoAddFieldULongLong(info, "checkpoint_failures", c.failures)
    RedisModule_InfoAddFieldULongLong(info, "checkpoint_reads", c.lookups)
    RedisModule_InfoAddFieldULongLong(info, "flushed_keys", c.flushed_keys)
    RedisModule_InfoAddFieldULongLong(info, "recalled_keys", c.recalled_keys)
    RedisModule_InfoAddFieldLongLong(info, "flushing", c.flush.running)
    RedisModule_InfoAddFieldLongLong(info, "writers_held_for_memory", c.full)


cdef const char *own_link_error(const Member *m) noexcept nogil:
    """Returns why this server and its module do not reach each other; empty: they do, or are not to."""
    if m.effects.tap.phase != TAP_STREAMING and m.effects.tap.complaint.why[0] and m.chain.me == 0:
        return m.effects.tap.complaint.why
    return m.effects.pseudo_master.error


cdef void info_links(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    cdef const Replication *links = &m.replication
    RedisModule_InfoAddFieldCString(info, "link_down", link_state(&links.downstream))
    RedisModule_InfoAddFieldCString(info, "link_down_error", links.downstream.error)
    RedisModule_InfoAddFieldLongLong(info, "streaming", m.chain.streaming)
    RedisModule_InfoAddFieldCString(info, "link_up", link_state(&links.upstream))
    RedisModule_InfoAddFieldCString(info, "link_up_error", links.upstream.error)
    RedisModule_InfoAddFieldLongLong(info, "in_step", m.chain.in_step)
    RedisModule_InfoAddFieldCString(info, "link_head", link_state(&links.head_shortcut))
    RedisModule_InfoAddFieldCString(info, "link_own_error", own_link_error(m))


cdef void info_joining(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    cdef const Membership *own = &m.membership
    RedisModule_InfoAddFieldCString(info, "join", join_name(m))
    RedisModule_InfoAddFieldCString(info, "join_error", own.join_error)
    RedisModule_InfoAddFieldULongLong(info, "join_keys", RedisModule_DbSize(m.ctx) if own.join != JOIN_NONE else 0)
    RedisModule_InfoAddFieldULongLong(info, "join_keys_total", own.copied_keys)
    RedisModule_InfoAddFieldULongLong(info, "join_checkpoint_bytes", fetched_bytes(m))
    RedisModule_InfoAddFieldULongLong(info, "joins_by_copy", own.copied_joins)
    RedisModule_InfoAddFieldULongLong(info, "joins_by_log", own.resumed_joins)
    RedisModule_InfoAddFieldLongLong(
        info, "joined_from", own.learned_from if own.copied_joins or own.resumed_joins else -1)


cdef void info_lifelines(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    RedisModule_InfoAddFieldLongLong(info, "lifeline_port", m.lifelines.port)
    RedisModule_InfoAddFieldCString(info, "lifeline_error", m.lifelines.error)
    RedisModule_InfoAddFieldLongLong(info, "lifelines", lifelines_held(m))


cdef void info_heartbeat(Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    RedisModule_InfoAddFieldCString(info, "master", m.heartbeat.master)
    if pthread_mutex_trylock(&m.heartbeat.mutex) != 0:
        return      # a crash report must not block on the mutex
    RedisModule_InfoAddFieldCString(info, "heartbeat", m.heartbeat.state)
    RedisModule_InfoAddFieldCString(info, "leader", m.heartbeat.leader)
    pthread_mutex_unlock(&m.heartbeat.mutex)


cdef void info_counters(const Member *m, RedisModuleInfoCtx *info) noexcept nogil:
    cdef const Replication *links = &m.replication
    RedisModule_InfoAddFieldULongLong(info, "broken_invariants", broken_invariants())
    RedisModule_InfoAddFieldULongLong(info, "writes", m.clients.writes)
    RedisModule_InfoAddFieldULongLong(info, "unreplicated_writes", m.keyspace.unreplicated_writes)
    RedisModule_InfoAddFieldULongLong(info, "roles_undone", m.keyspace.roles_undone)
    RedisModule_InfoAddFieldULongLong(info, "reads", m.clients.reads_served)
    RedisModule_InfoAddFieldULongLong(info, "unknown_outcomes", m.clients.unknown_outcomes)
    RedisModule_InfoAddFieldULongLong(info, "once_clients", m.clients.once.count)
    RedisModule_InfoAddFieldULongLong(info, "once_bytes", m.clients.once.bytes)
    RedisModule_InfoAddFieldULongLong(info, "once_repetitions", m.clients.once_repetitions)
    RedisModule_InfoAddFieldULongLong(info, "resent", m.chain.resent)
    RedisModule_InfoAddFieldULongLong(info, "refused_stale", m.chain.refused_stale)
    RedisModule_InfoAddFieldULongLong(info, "refused_unproven", m.replication.refused_unproven)
    RedisModule_InfoAddFieldULongLong(info, "view_changes", m.chain.view_changes)
    RedisModule_InfoAddFieldULongLong(info, "batches_sent", links.batches_sent)
    RedisModule_InfoAddFieldULongLong(info, "batches_received", links.batches_received)
    RedisModule_InfoAddFieldULongLong(info, "direct_messages", links.taken_directly)
    RedisModule_InfoAddFieldULongLong(
        info, "link_connects", links.downstream.connects + links.upstream.connects + links.head_shortcut.connects)
    RedisModule_InfoAddFieldULongLong(
        info, "link_failures", links.downstream.failures + links.upstream.failures + links.head_shortcut.failures)
