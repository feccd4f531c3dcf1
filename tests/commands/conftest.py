# SPDX-License-Identifier: Apache-2.0
"""Fixture: a plain server and a chain of the same version, kept for all cases of a version."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from integration.conftest import _examine
from integration.helpers import PATIENT
from servers import use

CONFIG = {"enable-debug-command": "yes", "latency-monitor-threshold": "1000"}
# PFSELFTEST occupies a server for seconds, on a busy machine for longer than a lease.
MASTER = {"master.auto-return": "no"} | PATIENT


class Pair:
    """A plain server and a chain of the same version, one of SERVERS."""

    def __init__(self, version: str, folder: Path) -> None:
        self.plain = Server(folder / "plain", config=CONFIG)
        self.chain = Cluster(3, folder=folder, commands="all", member_config=CONFIG, master_config=MASTER)
        with pytest.MonkeyPatch.context() as patch:
            use(version, patch)
            self.plain.start()
            self.chain.start()


@pytest.fixture(scope="session")
def pair_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Pair]]:
    """`pair_of(version)` starts the servers of a version once; they are kept for all its cases."""
    pairs: dict[str, Pair] = {}

    def start(version: str) -> Pair:
        if version not in pairs:
            pairs[version] = Pair(version, tmp_path_factory.mktemp(version))
        return pairs[version]

    yield start
    for pair in pairs.values():
        pair.chain.stop()
        pair.plain.stop()
    _examine([server for pair in pairs.values() for server in [pair.plain, *pair.chain.servers]])
