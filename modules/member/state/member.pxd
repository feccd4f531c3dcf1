# cython: language_level=3
"""What a server that is a chain member keeps: the pure chain, and everything that ties it to Redis.

One server is one member, so there is one of these; functions get it as `m`, callbacks of Redis that carry
nothing of ours ask `the_member()`. Everything here belongs to the Redis main thread.
"""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleCtx
from modules.core.chain cimport Chain
from modules.core.view cimport Node
from modules.member.state.checkpoint cimport Checkpoint
from modules.member.state.clients cimport Clients
from modules.member.state.event_loop cimport EventLoop
from modules.member.state.heartbeat cimport Heartbeat
from modules.member.state.keyspace cimport Keyspace
from modules.member.state.membership cimport JOIN_COPYING, JOIN_FAILING, JOIN_LOADED, Lifelines, Membership
from modules.member.state.persistence cimport Disk
from modules.member.state.replication cimport Replication
from modules.member.state.settings cimport Settings


cdef struct Member:
    RedisModuleCtx *ctx         # detached: for logs, publications and what happens outside a command
    Chain chain                 # the protocol's state
    Node self                   # only run_id is known to us
    Settings settings
    int64_t now_ms              # since boot, suspend included; read when the event loop wakes
    EventLoop event_loop
    Keyspace keyspace
    Disk disk
    Checkpoint checkpoint
    Replication replication
    Clients clients
    Membership membership
    Lifelines lifelines
    Heartbeat heartbeat


cdef inline bint is_native_replica(const Member *m) noexcept nogil:
    """Of the old tail, by our own doing."""
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
