"""Real etcd servers for tests, on free ports; chains in them, stopped at the end, their logs looked through."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chainredis.local_cluster.etcd_cluster import EtcdChain, EtcdServer, start_etcd, url_of
from integration.conftest import _examine, server

__all__ = ["server"]

StartChain = Callable[..., EtcdChain]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """For tests that do it no harm: each has a chain of another name in it."""
    etcd = EtcdServer(tmp_path_factory.mktemp("etcd"))
    etcd.start()
    yield etcd
    etcd.stop()


@pytest.fixture
def url(shared_etcd: EtcdServer) -> str:
    """Of a chain that nobody has used before."""
    return url_of(f"chain-{next(_numbers)}", shared_etcd)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    """One that is to suffer."""
    etcd = EtcdServer(tmp_path / "etcd")
    etcd.start()
    yield etcd
    etcd.kill()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    """Servers of one etcd."""
    servers = start_etcd(tmp_path, 3)
    yield servers
    for each in servers:
        each.kill()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[StartChain]:
    """`chain(3, url=url)` starts a master and three members; options are those of EtcdChain."""
    chains: list[EtcdChain] = []

    def start(size: int = 3, *, timeout_ms: int = 2000, **options: Any) -> EtcdChain:
        config = {"master.heartbeat-timeout": str(timeout_ms), "master.heartbeat-interval": "100"}
        options = {"heartbeat": "1 2", "master_config": config, **options}
        chains.append(EtcdChain(size, folder=tmp_path / f"chain-{len(chains) + 1}", **options))
        chains[-1].start()
        return chains[-1]

    yield start
    for each in chains:
        each.stop()
    _examine([server for each in chains for server in each.servers])
