# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Chains as clients of Redis Cluster see them: a chain is a shard, its head the master, the others are its replicas.

The forms are those of CLUSTER SLOTS, SHARDS, NODES, REPLICAS and INFO in Redis. A map has one shard today, with all
slots; the functions are written for several.
"""

from libc.stdint cimport int64_t
from libc.string cimport strcmp

from modules.core.client_ports cimport ClientPorts, Connection, PortTable, port_for, ports_of
from modules.core.key_slot cimport SLOTS
from modules.core.reply_items cimport (
    Items, add, add_number, field_number, field_text, item_begin, item_end, item_number, item_text,
)
from modules.core.view cimport Node, View, view_index

cdef enum:
    BUS_OFFSET = 10000      # of the port that Redis Cluster has for its own messages; nobody listens there


cdef struct Shard:
    const View *view
    int first_slot
    int last_slot
    int64_t offset          # what all of its members have, as ROLE counts it


cdef struct ClusterMap:
    # shards: a member that is in no chain knows of none. run_id, port: of the member that is asked. connection: of the
    # client that asks.
    const Shard *shards
    int count
    const char *run_id
    int port
    bint speaks_tls         # at the ports of the view
    const PortTable *ports
    Connection connection


cdef inline bint has_host_name(const Node *node) noexcept nogil:
    return strcmp(node.host, node.address) != 0


# -------------------------------------------------------------------------------------------------- CLUSTER SLOTS

cdef inline void put_slots_node(const ClusterMap *map, Items *out, const Node *node) noexcept nogil:
    item_number(out, c"*", 4)
    item_text(out, node.host)
    item_number(out, c":", port_for(map.ports, map.connection, node))
    item_text(out, node.run_id)
    item_number(out, c"%", 1 if has_host_name(node) else 0)
    if has_host_name(node):
        field_text(out, "ip", node.address)


cdef inline void cluster_slots(const ClusterMap *map, Items *out) noexcept nogil:
    cdef const Shard *shard
    cdef int i
    cdef int j
    item_number(out, c"*", map.count)
    for i in range(map.count):
        shard = &map.shards[i]
        item_number(out, c"*", 2 + shard.view.count)
        item_number(out, c":", shard.first_slot)
        item_number(out, c":", shard.last_slot)
        for j in range(shard.view.count):
            put_slots_node(map, out, &shard.view.members[j])


# -------------------------------------------------------------------------------------------------- CLUSTER SHARDS

cdef inline void put_both_ports(Items *out, int plain, int tls) noexcept nogil:
    field_number(out, "port", plain)
    field_number(out, "tls-port", tls)


cdef inline void put_ports(const ClusterMap *map, Items *out, const Node *node) noexcept nogil:
    """Put all ports of a member, whoever asks. The one in the view is of the kind that the second one is not of."""
    cdef const ClientPorts *known = ports_of(map.ports, node)
    if known != NULL and known.plain:
        put_both_ports(out, known.plain, node.port)
    elif known != NULL:
        put_both_ports(out, node.port, known.tls)
    elif map.speaks_tls:
        field_number(out, "tls-port", node.port)
    else:
        field_number(out, "port", node.port)


cdef inline void put_shards_node(const ClusterMap *map, Items *out, const Shard *shard, int place) noexcept nogil:
    cdef const Node *node = &shard.view.members[place]
    item_number(out, c"%", 7 + has_host_name(node) + (ports_of(map.ports, node) != NULL))
    field_text(out, "id", node.run_id)
    put_ports(map, out, node)
    field_text(out, "ip", node.address)
    field_text(out, "endpoint", node.host)
    if has_host_name(node):
        field_text(out, "hostname", node.host)
    field_text(out, "role", "replica" if place else "master")
    field_number(out, "replication-offset", shard.offset)
    field_text(out, "health", "online")


cdef inline void cluster_shards(const ClusterMap *map, Items *out) noexcept nogil:
    cdef const Shard *shard
    cdef int i
    cdef int j
    item_number(out, c"*", map.count)
    for i in range(map.count):
        shard = &map.shards[i]
        item_number(out, c"%", 2)
        item_text(out, "slots")
        item_number(out, c"*", 2)
        item_number(out, c":", shard.first_slot)
        item_number(out, c":", shard.last_slot)
        item_text(out, "nodes")
        item_number(out, c"*", shard.view.count)
        for j in range(shard.view.count):
            put_shards_node(map, out, shard, j)


# ------------------------------------------------------------------------------------ CLUSTER NODES and REPLICAS

cdef inline void add_slots(Items *out, const Shard *shard) noexcept nogil:
    add(out, " ")
    add_number(out, shard.first_slot)
    if shard.last_slot != shard.first_slot:
        add(out, "-")
        add_number(out, shard.last_slot)


cdef inline void add_place(Items *out, const char *address, int port) noexcept nogil:
    add(out, " ")
    add(out, address)
    add(out, ":")
    add_number(out, port)
    add(out, "@")
    add_number(out, port + BUS_OFFSET)


cdef inline void add_node(Items *out, const ClusterMap *map, const Shard *shard, int place) noexcept nogil:
    """Append `id ip:port@bus[,host] flags master ping pong epoch link [slots]`."""
    cdef const Node *node = &shard.view.members[place]
    add(out, node.run_id)
    add_place(out, node.address, port_for(map.ports, map.connection, node))
    if has_host_name(node):
        add(out, ",")
        add(out, node.host)
    add(out, " myself," if strcmp(node.run_id, map.run_id) == 0 else " ")
    if place:
        add(out, "slave ")
        add(out, shard.view.members[0].run_id)
    else:
        add(out, "master -")
    add(out, " 0 0 ")
    add_number(out, shard.view.epoch)
    add(out, " connected")
    if place == 0:
        add_slots(out, shard)


cdef inline void add_alone(Items *out, const ClusterMap *map) noexcept nogil:
    """Append the line of a member that is in no chain. Like a new node of Redis it does not know its address."""
    add(out, map.run_id)
    add_place(out, "", map.port)
    add(out, " myself,master - 0 0 0 connected\n")


cdef inline void cluster_nodes(const ClusterMap *map, Items *out) noexcept nogil:
    cdef const Shard *shard
    cdef int i
    cdef int j
    item_begin(out, c"=")
    if map.count == 0:
        add_alone(out, map)
    for i in range(map.count):
        shard = &map.shards[i]
        for j in range(shard.view.count):
            add_node(out, map, shard, j)
            add(out, "\n")
    item_end(out)


cdef inline const char *cluster_replicas(const ClusterMap *map, const char *run_id, Items *out) noexcept nogil:
    """Returns the error of Redis if the node is not known, or is no master; otherwise NULL."""
    cdef const Shard *shard
    cdef int place
    cdef int i
    cdef int j
    for i in range(map.count):
        shard = &map.shards[i]
        place = view_index(shard.view, run_id)
        if place > 0:
            return "ERR The specified node is not a master"
        if place == 0:
            item_number(out, c"*", shard.view.count - 1)
            for j in range(1, shard.view.count):
                item_begin(out, c"$")
                add_node(out, map, shard, j)
                item_end(out)
            return NULL
    return "ERR Unknown node"


# -------------------------------------------------------------------------------------------------- CLUSTER INFO

cdef inline void add_line(Items *out, const char *name, int64_t value) noexcept nogil:
    add(out, name)
    add(out, ":")
    add_number(out, value)
    add(out, "\r\n")


cdef inline void cluster_info(const ClusterMap *map, Items *out) noexcept nogil:
    cdef int64_t slots = 0
    cdef int64_t nodes = 0
    cdef int64_t epoch = 0
    cdef int i
    for i in range(map.count):
        slots += map.shards[i].last_slot - map.shards[i].first_slot + 1
        nodes += map.shards[i].view.count
        epoch = max(epoch, map.shards[i].view.epoch)
    item_begin(out, c"=")
    add(out, "cluster_state:")
    add(out, "ok\r\n" if slots == SLOTS else "fail\r\n")
    add_line(out, "cluster_slots_assigned", slots)
    add_line(out, "cluster_slots_ok", slots)
    add_line(out, "cluster_slots_pfail", 0)
    add_line(out, "cluster_slots_fail", 0)
    add_line(out, "cluster_known_nodes", max(nodes, 1))
    add_line(out, "cluster_size", map.count)
    add_line(out, "cluster_current_epoch", epoch)
    add_line(out, "cluster_my_epoch", epoch)
    add_line(out, "cluster_stats_messages_sent", 0)
    add_line(out, "cluster_stats_messages_received", 0)
    add_line(out, "total_cluster_links_buffer_limit_exceeded", 0)
    item_end(out)
