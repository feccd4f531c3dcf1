# SPDX-License-Identifier: Apache-2.0
"""README.md, "Trying it out by hand", word for word where possible: from build/src, with its relative paths."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainredis.local_cluster.server import ROOT, Server
from integration.documented import Start, documented, redis_cli, redis_cli_session

BUILD = ROOT / "build/src"
SERVER = "../../redis/src/redis-server"

pytestmark = pytest.mark.skipif(
    "CHAINREDIS_MODULES" in os.environ or "CHAINREDIS_SERVER" in os.environ,
    reason="the document names build/src and redis/src, and nothing else",
)


@pytest.fixture
def ports(tmp_path: Path) -> list[int]:
    """Four free ports. Nothing else is taken from chainredis.local_cluster."""
    found: list[int] = []
    for number in range(4):
        server = Server(tmp_path / str(number))
        server.start()
        server.stop()
        found.append(server.port)
    return found


@pytest.fixture(params=["", "put"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Start servers in the document's folder, with their data in a temporary folder, in chains of both kinds."""

    def in_a_folder_of_its_own(port: int) -> list[str]:
        folder = tmp_path / f"data-{port}"
        folder.mkdir()
        return ["--dir", str(folder)]

    with documented(SERVER, BUILD, tmp_path, in_a_folder_of_its_own, commands=request.param) as start:
        yield start


def test_trying_it_out(ports: list[int], start: Start) -> None:
    master, first, second, third = ports
    start("libmaster.so", master)
    start("libmember.so", first)
    start("libmember.so", second)
    assert redis_cli(master, f"MASTER.ADD 127.0.0.1 {first}") == "OK"
    assert redis_cli(master, f"MASTER.ADD 127.0.0.1 {second}") == "OK"
    assert redis_cli_session(first, "MEMBER.PUT a 1\nMEMBER.PUT b 2\n") == ["0", "1"]
    start("libmember.so", third)
    assert redis_cli(master, f"MASTER.ADD 127.0.0.1 {third}") == "OK"
    assert redis_cli_session(third, "get a\nget b\n") == ["1", "2"]


def test_redis_cli_finds_the_right_member_from_any(ports: list[int], start: Start) -> None:
    master, *members = ports
    start("libmaster.so", master)
    for port in members:
        start("libmember.so", port)
        assert redis_cli(master, f"MASTER.ADD 127.0.0.1 {port}") == "OK"
    for number, port in enumerate(members):
        assert redis_cli(port, f"MEMBER.PUT key {number}", "-c").splitlines()[-1] == str(number)
        for reader in members:
            assert redis_cli(reader, "READ key", "-c").splitlines()[-1] == str(number)


def test_the_document_can_be_followed_twice_with_the_same_master(ports: list[int], start: Start) -> None:
    """The servers leave no data, so the second time a new history begins (design.md, "Restart")."""
    master, first, second, _ = ports
    start("libmaster.so", master)
    member = start("libmember.so", first)
    assert redis_cli(master, f"MASTER.ADD 127.0.0.1 {first}") == "OK"
    assert redis_cli(first, "MEMBER.PUT a 1") == "0"
    member.send_signal(signal.SIGTERM)
    assert member.wait(20) == 0
    start("libmember.so", second)
    assert redis_cli(master, f"MASTER.ADD 127.0.0.1 {second}") == "OK"
    assert redis_cli(second, "get a") == ""
    assert redis_cli(second, "MEMBER.PUT a 2") == "0"
    assert redis_cli(master, "MASTER.GET_CHAIN") == f"127.0.0.1:{second}"
