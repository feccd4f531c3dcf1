# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Whether this module may read from sockets of clients and of other members by itself, in the server's place (decision
# 16).

from modules.bindings.redismodule cimport RedisModule_AvoidReplicaTraffic
from modules.member.state.member cimport Member
from modules.server.command_table cimport is_refusable
from modules.server.redis_calls cimport is_configured


cdef void read_server_settings(Member *m) noexcept nogil:
    """Note whether the server's settings leave nothing to it that it does for each command.

    Threads of Redis read requests themselves. A client with a timeout, or one of a server with a limit of memory, must
    be seen by Redis. Users change unseen where ACL has another name.
    """
    m.direct.settings_permit = (
        is_configured(m.ctx, "io-threads", "1") and is_configured(m.ctx, "timeout", "0")
        and is_configured(m.ctx, "maxmemory", "0") and is_refusable(m.ctx, "acl", 3)
        and is_refusable(m.ctx, "client", 6))
    m.direct.settings_known = True


cdef bint paused_lately(const Member *m) noexcept nogil:
    """Returns whether commands are postponed, or may be run now that were. These may change rights, and the command
    filter saw them when they came. A tick that finds the pause over is followed by one before which they have run.
    """
    return m.clients.paused or RedisModule_AvoidReplicaTraffic()


cdef bint permits_direct_reading(Member *m) noexcept nogil:
    """Returns whether no setting and no pause is against it."""
    if not m.direct.settings_known:
        read_server_settings(m)
    return m.settings.direct_clients > 0 and m.direct.settings_permit and not paused_lately(m)
