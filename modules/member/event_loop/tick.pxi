# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What a member does by the clock, ten times a second. The steps of a tick commute: no step uses what another leaves.
#
# What a tick makes due (an acknowledgement, an answer, a record) goes out before the loop sleeps (`one_pass.pxi`).

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModule_CreateTimer
from modules.core.read_lease cimport read_lease_doubt, read_lease_is_held, read_lease_tick
from modules.core.replication cimport replication_tick
from modules.member.checkpoint cimport checkpoint_tick, is_active
from modules.member.effects cimport tap_tick
from modules.member.membership cimport join_save, lifelines_tick
from modules.member.persistence cimport disk_tick
from modules.member.replication cimport pump_idle
from modules.member.replies cimport settle_expired
from modules.member.state.event_loop cimport DOUBT_MS, TICK_MS
from modules.member.state.member cimport Member, the_member
from modules.server.redis_calls cimport info_field


cdef void on_tick(RedisModuleCtx *ctx, void *data) noexcept nogil:
    """Paced by a timer of Redis; what a tick does is measured by this member's own clock."""
    RedisModule_CreateTimer(ctx, TICK_MS, on_tick, NULL)
    tick(the_member())


cdef void tick(Member *m) noexcept nogil:
    m.event_loop.ticked_ms = m.now_ms
    m.heartbeat.pulse += 1
    settle_expired(m)
    replication_tick(&m.chain)
    doubt(m)
    read_lease_tick(&m.chain, m.now_ms)
    join_save(m)
    pump_idle(m)
    disk_tick(m)
    tap_tick(m)
    lifelines_tick(m)
    if is_active(m):
        checkpoint_tick(m)
    notice_subscribers(m)
    # A command that was postponed (CLIENT PAUSE) or renamed changes users without the filter's seeing it.
    m.keyspace.entrance_known = False


cdef void doubt(Member *m) noexcept nogil:
    """Without a lease, the master is away or this member is out of the chain: a neighbour is asked."""
    if m.chain.me >= 0 and m.event_loop.doubt_ms <= m.now_ms and not read_lease_is_held(&m.chain, m.now_ms):
        m.event_loop.doubt_ms = m.now_ms + DOUBT_MS
        read_lease_doubt(&m.chain)


cdef void notice_subscribers(Member *m) noexcept nogil:
    """Without a subscriber nothing needs publishing. The command filter sees a new subscriber before this does."""
    cdef char channels[32]
    cdef char patterns[32]
    if (info_field(m.ctx, "stats", "pubsub_channels", channels, sizeof(channels))
            and info_field(m.ctx, "stats", "pubsub_patterns", patterns, sizeof(patterns))):
        m.clients.subscribers = channels[0] != c"0" or patterns[0] != c"0"
