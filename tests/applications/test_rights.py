# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients that log in as the users of docs/operations.md, "Users", word for word."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from applications.test_applications import INSTALLED, PROGRAMS
from applications.test_finding import INTERPRETERS
from chainredis.client import Chain
from chainredis.local_cluster.cluster import Cluster
from integration.conftest import _examine
from integration.test_users import PASSWORD, acl_file

NAME = "orders"
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Nobody gets anywhere without a password."""
    folder = tmp_path_factory.mktemp("guarded")
    logins = {
        kind: {f"{kind}.auth-user": kind, f"{kind}.auth-password": PASSWORD, "aclfile": acl_file(folder, where)}
        for kind, where in (("master", "at every master"), ("member", "at every member"))
    }
    cluster = Cluster(
        2, folder=folder, commands="all", master_config=logins["master"] | {"master.name": NAME},
        member_config=logins["member"] | {"member.cluster-announce": "yes"},
    )  # fmt: skip
    with cluster:
        for server in cluster.servers:
            server.call("ACL", "SETUSER", "default", "resetpass")
        yield cluster
    _examine(cluster.servers)


@pytest.mark.parametrize("protocol", ["sentinel", "cluster"])
@pytest.mark.parametrize("program", sorted((PROGRAMS / "rights").iterdir()), ids=lambda path: path.stem)
def test_applications_may_do_what_their_clients_ask_for(guarded: Cluster, program: Path, protocol: str) -> None:
    servers = [guarded.master] if protocol == "sentinel" else guarded.members
    if not shutil.which(INTERPRETERS[program.suffix]):
        pytest.skip("its interpreter is not installed")
    addresses = ",".join(str(server.endpoint) for server in servers)
    run = INTERPRETERS[program.suffix]
    login = ["application", PASSWORD]
    words: list[str | Path] = [run, program, protocol, addresses, NAME, *login, INSTALLED / "package.json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_so_may_the_client_for_python(guarded: Cluster) -> None:
    addresses = [str(server.endpoint) for server in guarded.members]
    with Chain(addresses, username="application", password=PASSWORD) as chain:
        assert chain.set("app:three", 1)
        assert [chain.get("app:three") for _ in range(4)] == [b"1"] * 4
