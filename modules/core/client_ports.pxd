# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The ports of members, for clients of either kind of connection.

A view names one port of each member, that of links: with TLS or without. A server may have a second one, of the other
kind. Members tell theirs to the master, which tells all of them to all. A port belongs to a process, and so to no
epoch: whoever knows it from an earlier view need not hear of it again.
"""

from libc.string cimport memcpy, strcmp

from modules.core.view cimport MAX_MEMBERS, Node, RUN_ID_BYTES, View, view_index

cdef enum:
    MAX_PORT = 65535


cdef enum Connection:
    CONNECTION_OTHER            # a unix socket, or none: what is told is the port of the view
    CONNECTION_PLAIN
    CONNECTION_TLS


cdef struct ClientPorts:
    # Of one process. 0: it has no such port, or that is the one of the view.
    char run_id[RUN_ID_BYTES]
    int plain
    int tls


cdef struct PortTable:
    int count
    ClientPorts known[MAX_MEMBERS]


cdef inline ClientPorts *ports_place(PortTable *table, const View *view, const char *run_id) noexcept nogil:
    """Returns the place of a process: its own, a free one, or that of a process which is not in the view. NULL: none.
    """
    cdef ClientPorts *place = NULL
    cdef int i
    for i in range(table.count):
        if strcmp(table.known[i].run_id, run_id) == 0:
            return &table.known[i]
        if view_index(view, table.known[i].run_id) < 0:
            place = &table.known[i]
    if table.count < MAX_MEMBERS:
        place = &table.known[table.count]
        table.count += 1
    return place


cdef inline void ports_learn(PortTable *table, const View *view, const ClientPorts *told) noexcept nogil:
    """The master has told the ports of a process. All members of the view have places, others as long as there is room.
    """
    cdef ClientPorts *place = ports_place(table, view, told.run_id)
    if place != NULL:
        memcpy(place, told, sizeof(ClientPorts))


cdef inline const ClientPorts *ports_of(const PortTable *table, const Node *node) noexcept nogil:
    """Returns the second port of this process. NULL: it has none, or nothing is known of one."""
    cdef int i
    for i in range(table.count):
        if strcmp(table.known[i].run_id, node.run_id) == 0:
            return &table.known[i] if table.known[i].plain or table.known[i].tls else NULL
    return NULL


cdef inline int port_for(const PortTable *table, Connection connection, const Node *node) noexcept nogil:
    """Returns the port at which clients with such a connection reach this member; the only one, if it has only one."""
    cdef const ClientPorts *known = ports_of(table, node)
    cdef int second = 0
    if known != NULL and connection == CONNECTION_PLAIN:
        second = known.plain
    elif known != NULL and connection == CONNECTION_TLS:
        second = known.tls
    return second or node.port
