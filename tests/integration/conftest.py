# SPDX-License-Identifier: Apache-2.0
"""Fixtures that start real servers, each in its own folder and on a free port.

A fixture stops its servers at the end and examines their logs.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import ROOT, Server

StartChain = Callable[..., Cluster]
StartServer = Callable[..., Server]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[StartChain]:
    """`chain(3)` starts a master and three members and makes them a chain. Options are those of Cluster, such as
    `commands="all"` for a chain that takes any command.

    Members do not return to the chain by themselves, unless `master_config={"master.auto-return": "yes"}`.
    """
    clusters: list[Cluster] = []

    def start(size: int = 3, **options: Any) -> Cluster:
        options["master_config"] = {"master.auto-return": "no", **options.get("master_config", {})}
        cluster = Cluster(size, folder=tmp_path / f"chain-{len(clusters) + 1}", **options)
        clusters.append(cluster)
        cluster.start()
        return cluster

    yield start
    for cluster in clusters:
        cluster.stop()
    _examine([server for cluster in clusters for server in cluster.servers])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StartServer]:
    """`server(MEMBER, requirepass="x")` starts a server with these modules and configuration (`_` stands for `-`).

    A member is of chains of kind put unless `member.commands` says otherwise.
    """
    servers: list[Server] = []

    def start(*modules: str, **config: str) -> Server:
        lines = {name.replace("_", "-"): value for name, value in config.items()}
        if any("libmember" in module for module in modules):
            lines = {"member.commands": "put", **lines}
        servers.append(Server(tmp_path / f"server-{len(servers) + 1}", modules=modules, config=lines))
        servers[-1].start()
        return servers[-1]

    yield start
    for each in servers:
        each.stop()
    _examine(servers)


@pytest.fixture(scope="session")
def foreign_module(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a module that is not of this project, compiled from foreign_module.c."""
    library = tmp_path_factory.mktemp("foreign") / "foreign.so"
    source, header = Path(__file__).with_name("foreign_module.c"), ROOT / "vendor/redis-api/src"
    subprocess.run(["cc", "-std=gnu11", "-shared", "-fPIC", "-I", header, source, "-o", library], check=True)
    return str(library)


def _examine(servers: list[Server]) -> None:
    for each in servers:
        print(f"---- {each}\n{each.log_tail()}")  # pytest shows it when the test fails
    complaints = [f"{each.folder.name}: {line}" for each in servers for line in each.complaints()]
    if complaints:
        pytest.fail("\n".join(complaints))
