# SPDX-License-Identifier: Apache-2.0
"""The walk-through of docs/operations.md, "Masters in etcd", word for word where possible, with its paths."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chainredis.cli.run import ETCD_PORT
from chainredis.local_cluster.etcd_cluster import EtcdServer, url_of
from chainredis.local_cluster.ports import HOST, free_port
from chainredis.local_cluster.server import ROOT
from chainredis.transport.waiting import wait_until
from integration.documented import Start, documented, redis_cli, redis_cli_session
from integration.test_local_cluster import chainredis, free_ports

SERVER = ROOT / "redis/src/redis-server"

pytestmark = pytest.mark.skipif(
    "CHAINREDIS_MODULES" in os.environ or "CHAINREDIS_SERVER" in os.environ,
    reason="the document names build/src and redis/src, and nothing else",
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers in a temporary folder with a link `src` to build/src, so that their data stays out of `build`."""
    (tmp_path / "src").symlink_to(ROOT / "build/src")
    with documented(str(SERVER), tmp_path, tmp_path, lambda _: (), (0, -signal.SIGKILL)) as start:
        yield start


@pytest.mark.parametrize("arguments", ["", " 1 2"])
def test_trying_it_out(etcd: EtcdServer, start: Start, arguments: str) -> None:
    url = url_of("my_cool_chain", etcd)
    master, *members = (free_port() for _ in range(4))
    start(f"src/etcd/libetcd_master.so {url}", master)
    processes = [start(f"src/libmember.so 1{arguments}", port) for port in members]
    for port in members:
        assert redis_cli(master, f"MASTER.ADD 127.0.0.1 {port}") == "OK"
    for port in members:
        assert redis_cli(port, f"MEMBER.CONNECT_TO_MASTER {url}") == "OK"
    assert redis_cli_session(members[0], "MEMBER.PUT a 1\nMEMBER.PUT b 2\n") == ["0", "1"]
    assert redis_cli(members[2], "get a") == "1"
    processes[1].send_signal(signal.SIGKILL)
    wait_until(lambda: redis_cli(master, "MASTER.GET_CHAIN").splitlines() == names(members[0], members[2]), 20)
    assert redis_cli(master, f"MASTER.REMOVE 127.0.0.1 {members[0]}") == "OK"
    assert redis_cli(master, "MASTER.GET_CHAIN").splitlines() == names(members[2])
    assert redis_cli(members[2], "READ b") == "2"


def names(*ports: int) -> list[str]:
    return [f"127.0.0.1:{port}" for port in ports]


def test_run_leaves_an_etcd_alone_that_has_the_usual_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        with suppress(OSError):     # somebody has it already
            taken.bind((HOST, ETCD_PORT))
            taken.listen()
        port = free_ports()
        process = chainredis("run", "--etcd", "--members", 1, "--masters", 1, "--port", port, "--dir", tmp_path)
        assert process.stdout
        said = next(line for line in process.stdout if "starting etcd" in line or "error" in line)
        assert any("epoch=1" in line for line in process.stdout), said
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"on port {ETCD_PORT}" not in said
