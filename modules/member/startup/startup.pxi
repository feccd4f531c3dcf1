# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# A server that has started judges the data that it found on its disk, before it serves any client.
#
# A started server is in no view, whatever it was before. A server that lost a chain's data must not pass for a new
# one: it could become the tail of that chain and answer that keys do not exist (rules 3 and 4).

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from modules.bindings.redismodule cimport RedisModule_Call, RedisModule_Log
from modules.core.durability cimport durability_restore, durability_restore_kind
from modules.core.view cimport HISTORY_BYTES, KIND_ALL
from modules.member.effects cimport follow_none, let_server_in
from modules.member.etcd_heartbeat cimport heartbeat_resume
from modules.member.keyspace cimport holds_keys, note_modules, settle_redis_settings
from modules.member.keyspace.kind cimport own_kind
from modules.member.membership cimport empty_log, lifelines_listen
from modules.member.persistence cimport disk_begin_anew, disk_rewritten, marker_take, marker_void, marker_vouches
from modules.member.state.member cimport Member
from modules.server.position cimport Record
from modules.server.redis_calls cimport drop_reply


cdef void weigh_data(Member *m) noexcept nogil:
    """The server has loaded data of a chain. The data may be older than the history if the identity file is missing or
    names another history: then the record does not count as durable.
    """
    if m.disk.record.durable:
        m.disk.claimed = m.disk.record.epoch
    if marker_vouches(m):
        return
    m.disk.record.durable = False
    if not m.disk.marker.found and marker_take(m, m.chain.history, own_kind(m)):
        marker_void(m, m.disk.record.epoch)


cdef void miss_data(Member *m) noexcept nogil:
    """The identity file names a history of which no data was loaded: the server has this history up to sn -1.

    Keys of another origin must not get into the chain and must not be dropped without an order, so a server with such
    keys gets the history of an unknown chain, of zeros.
    """
    cdef uint8_t history[HISTORY_BYTES]
    m.disk.missing = True
    memset(history, 0, HISTORY_BYTES)
    if not holds_keys(m.ctx):
        memcpy(history, m.disk.marker.history, HISTORY_BYTES)
    empty_log(m)
    durability_restore(&m.chain, history, -1, m.chain.log.boundaries, 0)
    RedisModule_Log(
        m.ctx, "warning", "%s says that this server is a member of a chain, and it has no data of that: it serves "
        "nothing until its master takes it in again", &m.disk.marker.name[0])


cdef void disown_data(Member *m) noexcept nogil:
    """A position in the append-only file cannot be right, and Redis has executed the effects behind it, too.

    So the position of the data is not known, and this server has its history up to byte -1: it is to be copied.
    """
    cdef uint8_t history[HISTORY_BYTES]
    memcpy(history, m.chain.history, HISTORY_BYTES)
    durability_restore(&m.chain, history, -1, m.chain.log.boundaries, 0)
    memset(&m.disk.record, 0, sizeof(Record))
    m.disk.missing = True


cdef void start_up(Member *m) noexcept nogil:
    """Judge the loaded data and start what needs it. Called once, when Redis has loaded its files."""
    m.disk.started = True
    note_modules(m)         # Redis does not tell a module that it has been loaded itself
    if m.chain.has_history and m.disk.broken and own_kind(m) == KIND_ALL:
        disown_data(m)
    elif m.chain.has_history:
        weigh_data(m)
    elif m.disk.marker.found:
        miss_data(m)
    elif own_kind(m) == KIND_ALL:
        follow_none(m)      # it has loaded a snapshot that is of no chain
    if m.chain.has_history:
        durability_restore_kind(&m.chain, own_kind(m))
    heartbeat_resume(m)
    recover(m)
    m.disk.counted = m.chain.applied
    if m.chain.has_history:
        settle_redis_settings(m)
    if (m.disk.broken and not m.disk.missing) or m.disk.stale:
        disk_begin_anew(m)
        drop_reply(RedisModule_Call(m.ctx, "BGREWRITEAOF", ""))
    disk_rewritten(m)
    let_server_in(m)
    lifelines_listen(m)     # after Redis has bound its own ports, so that lifelines take none of them
