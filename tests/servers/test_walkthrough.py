"""The original document's "Trying it out", word for word where a test can: from build/src, with its relative paths."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chainredis.launcher import HOST, ROOT, Server
from chainredis.waiting import wait_until

BUILD = ROOT / "build/src"
REDIS_CLI = ROOT / "redis/src/redis-cli"
SERVER = "../../redis/src/redis-server"

Start = Callable[[str, int], "subprocess.Popen[bytes]"]

pytestmark = pytest.mark.skipif(
    "CHAINREDIS_MODULES" in os.environ or "CHAINREDIS_SERVER" in os.environ,
    reason="the document names build/src and redis/src, and nothing else",
)


@pytest.fixture
def ports(tmp_path: Path) -> list[int]:
    """Four free ones: the launcher's way of finding them is the only thing taken from it."""
    found: list[int] = []
    for number in range(4):
        server = Server(tmp_path / str(number))
        server.start()
        server.stop()
        found.append(server.port)
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start("libmember.so", 6370)`: the document's command, in the document's folder.

    Unlike there the data goes to a temporary folder, nothing is saved at the end, and the server dies with the test.
    """
    processes: list[subprocess.Popen[bytes]] = []
    setpriv = shutil.which("setpriv")

    def launch(module: str, port: int) -> "subprocess.Popen[bytes]":
        folder = tmp_path / f"data-{port}"
        folder.mkdir()
        document = [SERVER, "--loadmodule", module, "--port", str(port)]
        ours = ["--dir", str(folder), "--save", "", "--logfile", str(folder / "log"), "--bind", HOST]
        parent = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        process = subprocess.Popen([*parent, *document, *ours], cwd=BUILD)
        processes.append(process)
        wait_until(lambda: process.poll() is not None or _answers(port), 30)
        assert process.poll() is None, (folder / "log").read_text()
        return process

    yield launch
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        assert process.wait(20) == 0
    for log in tmp_path.glob("data-*/log"):
        assert not re.search("BUG REPORT|Exception ignored|Traceback", log.read_text()), log.read_text()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def redis_cli(port: int, command: str, *options: str) -> str:
    """As typed at a shell; what it prints."""
    done = subprocess.run(
        [REDIS_CLI, *options, "-p", str(port), *command.split()], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.rstrip("\n")


def redis_cli_session(port: int, lines: str) -> list[str]:
    """As typed at redis-cli's own prompt."""
    done = subprocess.run(
        [REDIS_CLI, "-p", str(port)], input=lines, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


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
    """Its servers leave no data, so at the second time a new history begins (DESIGN.md, "Restart")."""
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
