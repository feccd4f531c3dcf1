# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The state of a chain member: the pure chain, and one part for each room that ties the chain to Redis.

A server is at most one member, so there is one Member. Functions get it as `m`. Callbacks of Redis that carry no data
of ours call `the_member()`. Only the Redis main thread reads and writes a Member, except where a field says otherwise.
"""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleCtx
from modules.core.chain cimport Chain
from modules.core.view cimport Node
from modules.member.state.checkpoint cimport Checkpoint
from modules.member.state.clients cimport Clients
from modules.member.state.direct cimport Direct
from modules.member.state.effects cimport Effects
from modules.member.state.event_loop cimport EventLoop
from modules.member.state.gate cimport Gate
from modules.member.state.heartbeat cimport Heartbeat
from modules.member.state.keyspace cimport Keyspace
from modules.member.state.membership cimport JOIN_COPYING, JOIN_FAILING, JOIN_LOADED, Lifelines, Membership
from modules.member.state.persistence cimport Disk
from modules.member.state.replication cimport Replication
from modules.member.state.settings cimport Settings
from modules.server.tls cimport Tls


cdef struct Member:
    RedisModuleCtx *ctx         # detached context: for logs, publications and whatever happens outside a command
    Chain chain                 # state of the protocol (modules/core)
    Node self                   # only `run_id` is set: a server does not know the address by which others reach it
    Settings settings
    Tls tls                     # of connections that this module makes or accepts
    int64_t now_ms              # since boot, time suspended included; read once when the event loop wakes
    EventLoop event_loop
    Gate gate
    Keyspace keyspace
    Effects effects
    Disk disk
    Checkpoint checkpoint
    Replication replication
    Clients clients
    Direct direct
    Membership membership
    Lifelines lifelines
    Heartbeat heartbeat


cdef inline bint is_native_replica(const Member *m) noexcept nogil:
    """Returns whether this member is a Redis replica because it is joining by copy: of the old tail, or of its own
    module, which passes the old tail's snapshot on.
    """
    return m.membership.join == JOIN_COPYING or m.membership.join == JOIN_LOADED or m.membership.join == JOIN_FAILING


cdef extern from *:
    """
    __attribute__((weak, visibility("hidden"))) void *chain_the_member;     /* one server, one member */
    """
    void *chain_the_member


cdef inline Member *the_member() noexcept nogil:
    return <Member *>chain_the_member


cdef inline void set_the_member(Member *m) noexcept nogil:
    global chain_the_member
    chain_the_member = m
