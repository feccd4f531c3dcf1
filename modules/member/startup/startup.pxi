# cython: language_level=3
# A server that has started weighs what it found on its disk, before it hears any client (design.md, "Restart").
#
# Whatever it was before, it is in no view now. What it must not do is pass for a server without a past: one that lost
# its data would answer for a chain that has it.

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from modules.bindings.redismodule cimport RedisModule_Call, RedisModule_Log
from modules.core.durability cimport durability_restore
from modules.core.view cimport HISTORY_BYTES
from modules.member.etcd_heartbeat cimport heartbeat_resume
from modules.member.keyspace cimport holds_keys, settle_redis_settings
from modules.member.membership cimport empty_log, lifelines_listen
from modules.member.persistence cimport disk_begin_anew, disk_rewritten, marker_take, marker_void, marker_vouches
from modules.member.state.member cimport Member
from modules.server.redis_calls cimport drop_reply


cdef void weigh_data(Member *m) noexcept nogil:
    """It has data of a chain. Beside another marker, or none, nobody knows what has become of it since."""
    if m.disk.record.durable:
        m.disk.claimed = m.disk.record.epoch
    if marker_vouches(m):
        return
    m.disk.record.durable = False
    if not m.disk.marker.found and marker_take(m, m.chain.history):
        marker_void(m, m.disk.record.epoch)


cdef void miss_data(Member *m) noexcept nogil:
    """It was a chain's, says the marker, and has no data of it: it is as one that has this history up to sn -1.

    Keys that came from elsewhere must not get among the chain's, nor be lost unasked: they are an unknown chain's.
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


cdef void start_up(Member *m) noexcept nogil:
    m.disk.started = True
    if m.chain.has_history:
        weigh_data(m)
    elif m.disk.marker.found:
        miss_data(m)
    heartbeat_resume(m)
    recover(m)
    m.disk.counted = m.chain.applied
    if m.chain.has_history:
        settle_redis_settings(m)
    if m.disk.broken or m.disk.stale:
        disk_begin_anew(m)
        drop_reply(RedisModule_Call(m.ctx, "BGREWRITEAOF", ""))
    disk_rewritten(m)
    lifelines_listen(m)     # after the server: no port of its own is taken
