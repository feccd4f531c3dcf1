# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The port of a member that a client is told: that of its own kind of connection, with TLS or without."""

from modules.core.client_ports cimport port_for, ports_of
from modules.core.view cimport Node
from modules.member.state.member cimport Member
from modules.server.connection_kind cimport connection_of


cdef inline int client_port(const Member *m, unsigned long long asker, const Node *node) noexcept nogil:
    """Returns the port for the client `asker`. Where members have one port each, nobody looks at its connection."""
    if ports_of(&m.replication.ports, node) == NULL:
        return node.port
    return port_for(&m.replication.ports, connection_of(m.ctx, asker), node)
