# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What a member does by the clock, ten times a second. The steps of a tick commute, but for the last: no step uses what
# another one leaves.
#
# What a tick makes due (an acknowledgement, an answer, a record) goes out before the loop sleeps (`one_pass.pxi`).

from libc.string cimport strcmp

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleServerInfoData, RedisModule_AvoidReplicaTraffic, RedisModule_CreateTimer,
    RedisModule_FreeServerInfo, RedisModule_GetServerInfo, RedisModule_ServerInfoGetFieldC,
)
from modules.core.hints cimport hints_tick
from modules.core.read_lease cimport read_lease_doubt, read_lease_is_held, read_lease_tick
from modules.core.replication cimport replication_tick
from modules.member.checkpoint cimport checkpoint_tick, is_active
from modules.member.clients cimport direct_tick
from modules.member.effects cimport pseudo_master_tick, tap_tick
from modules.member.keyspace cimport caches_tick, paused_lately
from modules.member.membership cimport join_save, lifelines_tick
from modules.member.persistence cimport disk_tick
from modules.member.replication cimport pump_idle
from modules.member.replies cimport settle_expired
from modules.member.state.event_loop cimport DOUBT_MS, RARE_TICKS, TICK_MS
from modules.member.state.member cimport Member, the_member


cdef void on_tick(RedisModuleCtx *ctx, void *data) noexcept nogil:
    """Paced by a timer of Redis; what a tick does is measured by this member's own clock."""
    RedisModule_CreateTimer(ctx, TICK_MS, on_tick, NULL)
    tick(the_member())


cdef void tick(Member *m) noexcept nogil:
    cdef bint rare = m.heartbeat.pulse & (RARE_TICKS - 1) == 0
    m.event_loop.ticked_ms = m.now_ms
    m.heartbeat.pulse += 1
    settle_expired(m)
    replication_tick(&m.chain)
    doubt(m)
    read_lease_tick(&m.chain, m.now_ms)
    caches_tick(m)
    join_save(m)
    pump_idle(m)
    disk_tick(m, rare)
    pseudo_master_tick(m)
    tap_tick(m)
    lifelines_tick(m)
    if is_active(m):
        checkpoint_tick(m)
    notice_subscribers(m, rare)
    hints_tick(&m.keyspace.hints)
    direct_tick(m)
    # A command that was postponed (CLIENT PAUSE) or renamed changes users without the filter's seeing it.
    m.keyspace.entrance_known = False
    # Last: other steps ask whether there was a pause when the tick before came.
    m.clients.paused = RedisModule_AvoidReplicaTraffic()


cdef void doubt(Member *m) noexcept nogil:
    """Without a lease, the master is away or this member is out of the chain: a neighbour is asked."""
    if m.chain.me >= 0 and m.event_loop.doubt_ms <= m.now_ms and not read_lease_is_held(&m.chain, m.now_ms):
        m.event_loop.doubt_ms = m.now_ms + DOUBT_MS
        read_lease_doubt(&m.chain)


cdef bint is_zero(RedisModuleServerInfoData *info, const char *field) noexcept nogil:
    cdef const char *value = RedisModule_ServerInfoGetFieldC(info, field)
    return value != NULL and strcmp(value, "0") == 0


cdef void notice_subscribers(Member *m, bint rare) noexcept nogil:
    """Without a subscriber nothing needs publishing. The command filter sees a new subscriber before this does.

    It overlooks one whose command was renamed. From Redis 7.2 on it sees a command that CLIENT PAUSE postpones when it
    comes, and not when it runs. So no subscriber is forgotten before the pause is over, and what it postponed has run.
    INFO costs more than all else that a tick does.
    """
    cdef RedisModuleServerInfoData *info
    cdef bint was_paused = paused_lately(m)
    if m.clients.subscribers and (was_paused or not rare):
        return
    if not rare and not m.clients.may_subscribe:
        return
    m.clients.may_subscribe = was_paused
    info = RedisModule_GetServerInfo(m.ctx, "stats")
    m.clients.subscribers = not (is_zero(info, "pubsub_channels") and is_zero(info, "pubsub_patterns"))
    RedisModule_FreeServerInfo(m.ctx, info)
