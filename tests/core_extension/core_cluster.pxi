# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Chains as clients of Redis Cluster see them: included by core_wire.pxi.

from libc.string cimport strcpy

cimport modules.core.client_ports as client_ports
cimport modules.core.cluster_map as cluster_map
cimport modules.core.reply_items as reply_items


CONNECTION_OTHER = client_ports.CONNECTION_OTHER
CONNECTION_PLAIN = client_ports.CONNECTION_PLAIN
CONNECTION_TLS = client_ports.CONNECTION_TLS


cdef class PortTable:
    """What a member knows of second ports."""

    cdef client_ports.PortTable table

    def learn(self, members, bytes run_id, int plain, int tls):
        """members: the run_ids of the member's view, at most MAX_MEMBERS."""
        cdef view.View seen
        cdef client_ports.ClientPorts told
        memset(&seen, 0, sizeof(seen))
        seen.count = len(members)
        for i, member in enumerate(members):
            strcpy(seen.members[i].run_id, <bytes>member)
        memset(&told, 0, sizeof(told))
        strcpy(told.run_id, run_id)
        told.plain, told.tls = plain, tls
        client_ports.ports_learn(&self.table, &seen, &told)

    def port_for(self, int connection, bytes run_id, int port):
        """port: of the view."""
        cdef view.Node node
        memset(&node, 0, sizeof(node))
        strcpy(node.run_id, run_id)
        node.port = port
        return client_ports.port_for(&self.table, <client_ports.Connection>connection, &node)


def cluster_reply(
    str question, shards, bytes run_id, int port, bytes asked=b"", bint speaks_tls=False, PortTable ports=None,
    int connection=client_ports.CONNECTION_OTHER,
):
    """The parts of the reply to CLUSTER and the question, each a letter and a text; or the text of an error.

    shards: pairs of slots and members, which are (host, address, port, run_id), head first.
    """
    cdef view.View views[4]
    cdef cluster_map.Shard parts[4]
    cdef cluster_map.ClusterMap found
    cdef reply_items.Items items
    cdef const char *error = NULL
    memset(&items, 0, sizeof(items))
    for i, (slots, members) in enumerate(shards):
        memset(&views[i], 0, sizeof(view.View))
        views[i].epoch, views[i].count = 7, len(members)
        for j, (host, address, its_port, its_run_id) in enumerate(members):
            strcpy(views[i].members[j].host, <bytes>host)
            strcpy(views[i].members[j].address, <bytes>address)
            strcpy(views[i].members[j].run_id, <bytes>its_run_id)
            views[i].members[j].port = its_port
        parts[i].view = &views[i]
        parts[i].first_slot, parts[i].last_slot = slots
        parts[i].offset = 99
    found.shards, found.count, found.run_id, found.port = parts, len(shards), run_id, port
    ports = ports or PortTable()
    found.speaks_tls, found.ports = speaks_tls, &ports.table
    found.connection = <client_ports.Connection>connection
    if question == "SLOTS":
        cluster_map.cluster_slots(&found, &items)
    elif question == "SHARDS":
        cluster_map.cluster_shards(&found, &items)
    elif question == "NODES":
        cluster_map.cluster_nodes(&found, &items)
    elif question == "REPLICAS":
        error = cluster_map.cluster_replicas(&found, asked, &items)
    else:
        cluster_map.cluster_info(&found, &items)
    texts = [] if items.bytes == NULL else PyBytes_FromStringAndSize(items.bytes, items.used).split(b"\0")[:-1]
    reply_items.items_drop(&items)
    return texts if error == NULL else error
