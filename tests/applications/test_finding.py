# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients that find the head by themselves, while members die, leave, come and restart.

All clients write at the same time. What one was told to be written is there at the end.
"""

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from applications.test_applications import INSTALLED
from chainredis.local_cluster.cluster import Cluster
from chainredis.transport.waiting import WaitTimeout, wait_until
from commands.run import same_data
from integration.conftest import _examine
from integration.disks import ALWAYS
from integration.upheavals import come_back, kill, restart_all

# What runs a program with this ending. Those that are not installed are left out.
INTERPRETERS = {".py": str(INSTALLED / "bin/python"), ".mjs": "node", ".php": "php", ".rb": "ruby"}
ONE_PROTOCOL = {"django_redis_cache": "sentinel", "valkey_glide": "cluster"}
PROGRAMS = Path(__file__).with_name("programs") / "finding"
NAME = "orders"
MEMBERS = ALWAYS | {"member.cluster-announce": "yes"}
PROGRESS = 20  # writes of each client between two events
PATIENCE_S = 60


class Client:
    """A program that writes numbers, and prints each that was acknowledged."""

    def __init__(self, program: Path, protocol: str, addresses: str) -> None:
        self.key = f"{protocol}:{program.stem}"
        more = [INSTALLED / "package.json"] if program.suffix == ".mjs" else []
        run = INTERPRETERS[program.suffix]
        words: list[str | Path] = [run, program, protocol, addresses, NAME, self.key, *more]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.acknowledged = 0
        self.longest_s = 0.0
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, lines: TextIO) -> None:
        last = time.monotonic()
        for line in lines:
            now = time.monotonic()
            if self.acknowledged:
                self.longest_s = max(self.longest_s, now - last)
            assert int(line) == self.acknowledged
            self.acknowledged, last = self.acknowledged + 1, now

    def stop(self) -> str:
        """Returns the program's errors. `communicate` would take lines from the thread that reads them."""
        self.process.kill()
        self._reader.join()
        return self.process.communicate()[1]


def go_on(clients: list[Client], what: str) -> None:
    """Wait until each client has written some more, and print its longest pause."""
    before = [client.acknowledged for client in clients]

    def laggards() -> list[Client]:
        return [each for each, had in zip(clients, before, strict=True) if each.acknowledged < had + PROGRESS]

    def ended() -> list[Client]:
        return [each for each in clients if each.process.poll() is not None]

    with contextlib.suppress(WaitTimeout):
        wait_until(lambda: not laggards() or bool(ended()), PATIENCE_S)
    for each in ended() + laggards():
        pytest.fail(f"{each.key} after {what}: {each.stop()[-4000:]}")
    print(what, {each.key: f"{each.longest_s * 1000:.0f} ms" for each in clients})
    for each in clients:
        each.longest_s = 0.0


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    started: list[Client] = []
    yield started
    for each in started:
        each.stop()


def programs() -> list[Path]:
    return [path for path in sorted(PROGRAMS.iterdir()) if shutil.which(INTERPRETERS[path.suffix])]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Members do not come back by themselves: the test says when."""
    masters = {"master.name": NAME, "master.auto-return": "no"}
    with Cluster(3, folder=tmp_path, commands="all", member_config=MEMBERS, master_config=masters) as started:
        yield started
    _examine(started.servers)


@pytest.mark.timeout(300)
def test_clients_find_the_head(cluster: Cluster, clients: list[Client]) -> None:
    places = {"sentinel": [cluster.master], "cluster": cluster.members}
    for protocol, servers in places.items():
        addresses = ",".join(str(server.endpoint) for server in servers)
        those = [program for program in programs() if ONE_PROTOCOL.get(program.stem, protocol) == protocol]
        clients += [Client(program, protocol, addresses) for program in those]
    go_on(clients, "start")
    for what, event in EVENTS.items():
        event(cluster)
        go_on(clients, what)
    for each in clients:
        each.stop()
    head = cluster.head.client()
    for each in clients:
        written = {int(member) for member in head.smembers(each.key)}
        assert set(range(each.acknowledged)) <= written, each.key
    same_data(cluster.members)


EVENTS: dict[str, Callable[[Cluster], None]] = {
    "the head is killed": lambda cluster: kill(cluster, 0),
    "it comes back": come_back,
    "the tail is killed": lambda cluster: kill(cluster, -1),
    "ADD": come_back,
    "REMOVE of the head": lambda cluster: cluster.remove(cluster.head),
    "restart of all": restart_all,
}
