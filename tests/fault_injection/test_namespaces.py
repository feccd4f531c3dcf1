# SPDX-License-Identifier: Apache-2.0
"""Real partitions between servers, on machines that permit network namespaces."""

import subprocess
from pathlib import Path

from chainredis.local_cluster.server import ROOT, Server
from chainredis.transport.waiting import wait_until
from fault_injection.conftest import examined
from fault_injection.namespaces import RoutedCluster, Router
from integration.helpers import ask, assert_serves

REDIS_CLI = ROOT / "vendor/redis/src/redis-cli"


def test_a_partition_in_one_way(router: Router, tmp_path: Path) -> None:
    """Packets from the head are lost, packets to it arrive; then the network heals. Clients reach all members."""
    cluster = RoutedCluster(router, 2, folder=tmp_path, member_config={"member.write-timeout": "300"})
    with examined(cluster):
        head, tail = cluster.head, cluster.tail
        router.drop(cluster.host_of[head], cluster.host_of[tail])
        assert ask(head, "MEMBER.PUT", "k", "v").startswith("UNKNOWN ")
        assert ask(tail, "GET", "k") is None
        router.heal()
        wait_until(lambda: ask(tail, "GET", "k") == b"v", 30)
        assert_serves(cluster)


def test_the_master_can_be_cut_off(router: Router, tmp_path: Path) -> None:
    """The master is cut off from a member that clients still reach."""
    cluster = RoutedCluster(router, 2, folder=tmp_path)
    with examined(cluster):
        master, tail = cluster.host_of[cluster.master], cluster.host_of[cluster.tail]
        router.drop(master, tail)
        router.drop(tail, master)
        assert not reaches(cluster, cluster.master, cluster.tail)
        wait_until(lambda: reaches(cluster, cluster.head, cluster.tail), 30)
        router.heal()
        wait_until(lambda: reaches(cluster, cluster.master, cluster.tail), 30)


def reaches(cluster: RoutedCluster, sender: Server, receiver: Server) -> bool:
    """Whether a client on the sender's host gets an answer of the receiver."""
    ping = [str(REDIS_CLI), "-h", receiver.endpoint.host, "-p", str(receiver.port), "PING"]
    try:
        subprocess.run([*cluster.router.inside(cluster.host_of[sender]), *ping], check=True, timeout=2)
    except subprocess.TimeoutExpired:
        return False
    return True
