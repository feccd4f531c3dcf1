# SPDX-License-Identifier: Apache-2.0
"""Random series of faults under load. No committed write is lost, every answer is true, and the chain becomes whole.

Each series prints its seed. `FAULT_SEED=n` repeats a series, as far as the timing of processes allows. `MINUTES=n`
sets the time of all series together.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.etcd_cluster import EtcdChain, EtcdServer, url_of
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from fault_injection.conftest import examined
from fault_injection.crowd import Crowd
from fault_injection.fronted import FrontedCluster
from fault_injection.kinds import CHECKPOINTS, DISKS, ETCD, LINKS, PROCESSES, Fault
from fault_injection.namespaces import RoutedCluster, Router
from fault_injection.nemesis import Nemesis
from fault_injection.proxy import Network
from integration.helpers import ask, assert_serves, member_number

SERIES_S = 15
SERIES = 7  # the number of series in this file
TIMEOUT_S = 1.0
SIZES = [3, 4, 5]
MASTER = {"master.heartbeat-timeout": f"{TIMEOUT_S * 1000:.0f}", "master.heartbeat-interval": "100"}
# The delay makes a copy and a save of few keys take some time, so that faults can happen during one.
MEMBER = {"member.write-timeout": "1000", "rdb-key-save-delay": "20000"}
FLUSHING = {"member.gcs-mode": "checkpoint-flush", "member.checkpoint-interval": "30"}
ROUNDS = max(1, round(float(os.environ.get("MINUTES", "0")) * 60 / (SERIES * (SERIES_S + 5))))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SERIES_S + 200),
    pytest.mark.parametrize("round_", range(ROUNDS)),
]


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("FAULT_SEED") or secrets.randbelow(1 << 32))
    print(f"FAULT_SEED={seed}")
    return seed


def options(seed: int, **config: str) -> dict[str, Any]:
    """The options of the cluster. After a short absence, a short backlog leads to a copy, and a long one to a log."""
    dice = Random(seed)
    backlog = {"member.backlog-limit": dice.choice(["0", "20kb", "8mb"])}
    return {
        "size": dice.choice(SIZES),
        "master_config": MASTER,
        "member_config": {**MEMBER, **backlog, **config},
    }


def run(cluster: Cluster, seed: int, menu: Sequence[type[Fault]], *, flushing: bool = False) -> None:
    """Run one series. Raises AssertionError if something is wrong; the history is then saved."""
    with examined(cluster):
        crowd = Crowd(map(cluster.endpoint_of, cluster.members), seed)
        if flushing:
            crowd.employ()
        try:
            with Nemesis(cluster, Random(seed), crowd.history, menu, TIMEOUT_S) as nemesis, crowd.at_work():
                await_work(crowd)
                nemesis.torment(SERIES_S)
                nemesis.make_whole()
                await_work(crowd)
                if flushing:
                    await_flushed_reads(nemesis.members)
            crowd.judge()
            assert nemesis.struck > SERIES_S / 4
            order = [name.decode() for name in ask(cluster.master, "MASTER.GET_CHAIN")]
            cluster.members = sorted(nemesis.members, key=lambda server: order.index(str(cluster.endpoint_of(server))))
            assert_serves(cluster)
        except BaseException as error:
            error.add_note(f"FAULT_SEED={seed}; what clients saw: {crowd.save()}")
            raise


def await_work(crowd: Crowd) -> None:
    """Wait, up to a time limit, until every client has done some more operations."""
    before = len(crowd.history.operations)
    names = {client.name for client in crowd.clients}
    wait_until(lambda: names == crowd.successful_since(before), 30)


def await_flushed_reads(members: Sequence[Server]) -> None:
    """Wait until clients have read flushed keys, which come from checkpoints."""
    wait_until(lambda: any(member_number(member, "checkpoint_reads") for member in members), 30)


def test_processes(tmp_path: Path, seed: int, round_: int) -> None:
    """Members and the master die, hang, are removed, and return, empty or with the data of their RDB."""
    run(Cluster(folder=tmp_path, **options(seed)), seed, PROCESSES)


@pytest.mark.parametrize("disk", [{}, {"appendonly": "yes", "appendfsync": "always"}], ids=["memory", "disk"])
def test_checkpoints(tmp_path: Path, seed: int, round_: int, disk: dict[str, str]) -> None:
    """Keys are checkpointed and flushed all the time. Members die and return with a checkpoint that may be damaged."""
    cluster = Cluster(folder=tmp_path, **options(seed, **FLUSHING, **disk))
    run(cluster, seed, CHECKPOINTS, flushing=True)


def test_disks(tmp_path: Path, seed: int, round_: int) -> None:
    """Updates are on disk before they are acknowledged, so all members may be killed at once."""
    run(Cluster(folder=tmp_path, **options(seed, appendonly="yes", appendfsync="always")), seed, DISKS)


def test_etcd(tmp_path: Path, three: list[EtcdServer], seed: int, round_: int) -> None:
    """The view is in an etcd of three servers. The etcd servers and the masters die and hang as well."""
    url = url_of("chain", *three)
    run(EtcdChain(url=url, etcd=three, masters=2, heartbeat="1 2", folder=tmp_path, **options(seed)), seed, ETCD)


def test_links(tmp_path: Path, network: Network, seed: int, round_: int) -> None:
    """Proxies between all servers hold and slow bytes, in one direction or both; processes die as well."""
    run(FrontedCluster(network, folder=tmp_path, **options(seed)), seed, LINKS)


def test_partitions(tmp_path: Path, router: Router, seed: int, round_: int) -> None:
    """Real partitions, between servers on hosts of their own."""
    run(RoutedCluster(router, folder=tmp_path, **options(seed)), seed, LINKS)
