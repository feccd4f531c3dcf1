# SPDX-License-Identifier: Apache-2.0
"""What befalls a chain while clients write: its members die, come back, and all its processes are restarted."""

from chainredis.local_cluster.cluster import Cluster
from integration.helpers import await_all, await_chain

RESTART_S = 60


def kill(cluster: Cluster, place: int) -> None:
    """Kill the member at this place. Returns when the others are the chain."""
    dead = cluster.members.pop(place)
    dead.kill()
    await_chain(cluster, *cluster.members)


def come_back(cluster: Cluster) -> None:
    """Start a member that was killed, and add it as the new tail."""
    dead = next(server for server in cluster.servers if not server.running)
    dead.start()
    cluster.add(dead)


def restart_all(cluster: Cluster) -> None:
    """Kill all members and the master, and start them at once. Returns when they are a chain again."""
    for server in (*cluster.members, cluster.master):
        server.kill()
    for server in (cluster.master, *cluster.members):
        server.spawn()
    for server in (cluster.master, *cluster.members):
        server.await_answer()
    await_all(cluster, timeout_s=RESTART_S)
