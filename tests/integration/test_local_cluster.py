# SPDX-License-Identifier: Apache-2.0
"""chainredis.local_cluster: no process outlives it, and its errors are clear."""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST, free_port, is_free
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import ROOT, Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer


def test_processes_side_by_side_find_different_ports() -> None:
    """Each of pytest's workers, each run of them, and each benchmark that a test starts."""
    program = """
from chainredis.local_cluster.ports import free_port
print(*(free_port() for _ in range(500)), flush=True)
input()
"""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)) for _ in "ab"]
        found = []
        for process in processes:
            assert process.stdout
            found.append(process.stdout.readline().split())
        for process in processes:
            process.communicate("\n")
    assert [len(set(ports)) for ports in found] == [500, 500]
    assert not set(found[0]) & set(found[1])


def test_a_server_comes_back_on_its_port_as_another_process(server: StartServer) -> None:
    one = server()
    pid, port = one.pid, one.port
    one.kill()
    assert not one.running
    with pytest.raises(redis.ConnectionError):
        one.client().ping()
    one.start()
    assert one.port == port
    assert one.pid != pid
    assert one.client().ping()


def test_a_paused_server_is_stopped(server: StartServer) -> None:
    one = server()
    one.pause()
    one.stop()
    assert not one.running


def test_a_busy_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LauncherError, match=f"port {port} is in use"):
            Server(tmp_path, port=port).start()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    one = Server(tmp_path, config={"maxmemory-policy": "nonsense"})
    with pytest.raises(LauncherError, match="maxmemory-policy"):
        one.start()


def test_a_missing_module_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINREDIS_MODULES", str(tmp_path))
    with pytest.raises(LauncherError, match=r"libmaster.so does not exist: `make` builds it"), Cluster(1):
        pass


def test_a_chain_that_cannot_be_built_leaves_nothing_running(tmp_path: Path) -> None:
    cluster = Cluster(2, folder=tmp_path, member_config={"maxclients": "nonsense"})
    with pytest.raises(LauncherError), cluster:
        pass
    assert cluster.servers
    assert not any(server.running for server in cluster.servers)


def test_complaints(tmp_path: Path) -> None:
    one = Server(tmp_path)
    one.start()
    assert one.complaints() == []
    one.signal(signal.SIGSEGV)
    wait_until(lambda: not one.running, 30)
    assert any("BUG REPORT START" in line for line in one.complaints())
    assert any("ended by itself" in line for line in one.complaints())


def test_growing_and_shrinking(chain: StartChain) -> None:
    cluster = chain(1)
    tail = cluster.grow()
    assert cluster.head.call("MEMBER.PUT", "key", "value") == 0
    assert tail.call("READ", "key") == b"value"
    cluster.remove(cluster.head)
    assert cluster.members == [tail]
    assert cluster.command("MASTER.GET_CHAIN") == [str(tail.endpoint).encode()]
    with pytest.raises(LauncherError, match="only member"):
        cluster.remove(tail)


# ------------------------------------------------------------------------------------------- the command line


def chainredis(*arguments: str | int | Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("chainredis")), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def free_ports() -> int:
    """The first of three free ports in a row."""
    while True:
        port = free_port()
        if is_free(port + 1) and is_free(port + 2):
            return port


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_run_shows_the_chain_and_takes_it_with_it(tmp_path: Path, ending: signal.Signals) -> None:
    port = free_ports()
    process = chainredis("run", "--members", 2, "--port", port, "--dir", tmp_path)
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "epoch=2" in line:
            break
    text = "".join(lines)
    assert f"redis-cli -p {port + 1} SET a 1" in text
    assert f"{HOST}:{port + 1} head epoch=2 applied=-1" in text
    servers = psutil.Process(process.pid).children()
    assert len(servers) == 3
    process.send_signal(ending)
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if ending == signal.SIGKILL else 0)
    _, alive = psutil.wait_procs(servers, timeout=30)
    assert not alive


def test_run_says_which_port_is_busy(server: StartServer, tmp_path: Path) -> None:
    taken = server()
    output, _ = chainredis("run", "--port", taken.port, "--dir", tmp_path).communicate(timeout=60)
    assert f"error: port {taken.port} is in use" in output


@pytest.mark.parametrize("arguments", [["--members", "0"], ["--members", "33"], ["--port", "x"], ["--port", "65535"]])
def test_run_refuses_nonsense(arguments: list[str]) -> None:
    process = chainredis("run", *arguments)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "is not a number from 1 to" in output
