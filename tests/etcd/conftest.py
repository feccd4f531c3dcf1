# SPDX-License-Identifier: Apache-2.0
"""Fixtures that start real etcd servers on free ports, and chains in them.

A fixture stops its servers at the end and examines their logs.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chainredis.local_cluster.etcd_cluster import EtcdChain, EtcdServer, start_etcd, url_of
from integration.conftest import _examine, server

__all__ = ["server"]

StartChain = Callable[..., EtcdChain]
# Options of a chain for tests that wait until somebody has been silent for too long.
QUICK: dict[str, Any] = {"timeout_ms": 4000, "heartbeat": "1 4"}
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """One etcd for all tests that do not disturb it. Each test uses a chain with a name of its own."""
    etcd = EtcdServer(tmp_path_factory.mktemp("etcd"))
    etcd.start()
    yield etcd
    etcd.stop()


@pytest.fixture
def url(shared_etcd: EtcdServer) -> str:
    """The URL of a chain whose name no test has used before."""
    return url_of(f"chain-{next(_numbers)}", shared_etcd)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd for one test, which may stop or damage it."""
    etcd = EtcdServer(tmp_path / "etcd")
    etcd.start()
    yield etcd
    etcd.kill()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    """The three servers of one etcd."""
    servers = start_etcd(tmp_path, 3)
    yield servers
    for each in servers:
        each.kill()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[StartChain]:
    """`chain(3, url=url)` starts a master and three members. Options are those of EtcdChain.

    Its timeouts are longer than an etcd on a busy machine takes for an answer, unless `**QUICK`.
    """
    chains: list[EtcdChain] = []

    def start(size: int = 3, *, timeout_ms: int = 20_000, **options: Any) -> EtcdChain:
        config = {"master.heartbeat-timeout": str(timeout_ms), "master.heartbeat-interval": "100"}
        options = {"heartbeat": "1 20", **options, "master_config": config | options.get("master_config", {})}
        chains.append(EtcdChain(size, folder=tmp_path / f"chain-{len(chains) + 1}", **options))
        chains[-1].start()
        return chains[-1]

    yield start
    for each in chains:
        each.stop()
    _examine([server for each in chains for server in each.servers])
