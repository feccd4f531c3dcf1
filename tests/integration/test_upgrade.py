# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md, "Upgrading the servers", as it is printed there, while clients write."""

import operator
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chainredis.client import Chain
from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import ROOT, server_path
from chainredis.transport.waiting import wait_until
from integration.documented import answers, redis_cli
from servers import OLDEST_AND_NEWEST, use

PROGRAMS = (ROOT / ".venv/bin", ROOT / "redis/src")
PORTS = tuple(str(port) for port in range(6369, 6376))
WRITERS = 3
PROGRESS = 20  # writes of each writer before and after a change
PAGE_NAMES_THE_SERVER = "new=/opt/redis-8.2/bin/redis-server"

pytestmark = pytest.mark.skipif(
    "CHAINREDIS_MODULES" in os.environ, reason="modules with sanitizers need a server with them"
)


def blocks() -> list[str]:
    """What is common, with new members, in place, the master."""
    section = (ROOT / "docs/operations.md").read_text().split("## Upgrading the servers\n")[1].split("\n## ")[0]
    return re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


class Page:
    """Runs blocks of the page in a shell, with other ports, another folder, and a server of the given version.

    Writers count by INCR, each its own key, and note what was acknowledged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in PORTS}
        self.shells: list[subprocess.Popen[str]] = []
        self.acknowledged = [0] * WRITERS

    def run(self, version: str, *texts: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            use(version, patch)
            path = str(server_path())
        common = blocks()[0]
        assert PAGE_NAMES_THE_SERVER in common
        text = "\n".join([common.replace(PAGE_NAMES_THE_SERVER, f"new={path}"), *texts])
        for old, new in {"/srv/chain": str(self.folder), **self.ports}.items():
            text = text.replace(old, new)
        environment = os.environ | {"PATH": ":".join([*map(str, PROGRAMS), os.environ["PATH"]])}
        log = self.folder / f"shell-{len(self.shells)}.log"
        with log.open("w") as output:
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text], env=environment, cwd=self.folder, start_new_session=True,
                stdout=output, stderr=output, text=True,
            )  # fmt: skip
        self.shells.append(shell)
        assert shell.wait(120) == 0, log.read_text() + text

    def port(self, documented: int) -> int:
        return int(self.ports[str(documented)])

    def chain(self) -> list[int]:
        lines = redis_cli(self.port(6369), "MASTER.GET_CHAIN").split()
        by_own = {int(own): int(port) for port, own in self.ports.items()}
        return [by_own[int(line.rpartition(":")[2])] for line in lines]

    def versions(self) -> set[str]:
        found = [redis_cli(self.port(port), "INFO server") for port in self.chain()]
        return {re.findall(r"(?:valkey|redis)_version:(\d+\.\d+)", each)[-1] for each in found}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Writers make progress before and after the block. The chain has each write that was acknowledged, once."""
        stop, failures = threading.Event(), list[BaseException]()

        def write(number: int) -> None:
            try:
                with Chain([f"127.0.0.1:{own}" for own in self.ports.values()], timeout=60) as chain:
                    while not stop.is_set():
                        assert int(chain.incr(f"counter-{number}")) == self.acknowledged[number] + 1
                        self.acknowledged[number] += 1
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            self._await_progress(failures)
            yield
            self._await_progress(failures)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failures
        for port in self.chain():
            for number, count in enumerate(self.acknowledged):
                wait_until(lambda: redis_cli(self.port(port), f"GET counter-{number}") == str(count), 20)  # noqa: B023

    def _await_progress(self, failures: list[BaseException]) -> None:
        wanted = [count + PROGRESS for count in self.acknowledged]
        wait_until(lambda: bool(failures) or all(map(operator.ge, self.acknowledged, wanted)), 60)

    def end(self) -> None:
        for shell in self.shells:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A chain of three of Redis 7.0, and its master, started as the page starts servers."""
    page = Page(tmp_path)
    for port in (6369, 6370, 6371, 6372):
        (tmp_path / page.ports[str(port)]).mkdir()
    begin = "\n".join(f"start {port}; chainredis add $master 127.0.0.1:{port}" for port in (6370, 6371, 6372))
    try:
        page.run(OLDEST_AND_NEWEST[0], blocks()[3].partition("\n")[2])
        wait_until(lambda: answers(page.port(6369)), 20)
        page.run(OLDEST_AND_NEWEST[0], begin)
        yield page
    finally:
        page.end()
    for log in tmp_path.glob("*.log"):
        assert not re.search("BUG REPORT|Exception ignored|Traceback", log.read_text()), log.read_text()


@pytest.mark.parametrize("newer", OLDEST_AND_NEWEST[1:])
@pytest.mark.parametrize("way", ["with new members", "in place"])
def test_upgrade_as_it_is_printed(page: Page, newer: str, way: str) -> None:
    _, with_new_members, in_place, master = blocks()
    with page.writing():
        page.run(newer, in_place if way == "in place" else with_new_members, master)
        wait_until(lambda: answers(page.port(6369)), 20)
        assert page.chain() == ([6372, 6371, 6370] if way == "in place" else [6373, 6374, 6375])
        assert page.versions() == {newer.partition("-")[2]}


def test_the_way_back_is_open_while_the_head_is_old(page: Page) -> None:
    with page.writing():
        page.run(OLDEST_AND_NEWEST[1], "mkdir /srv/chain/6373; start 6373; chainredis add $master 127.0.0.1:6373")
        page.run(OLDEST_AND_NEWEST[0], "chainredis remove $master 127.0.0.1:6373; mkdir /srv/chain/6374; start 6374; "
                             "chainredis add $master 127.0.0.1:6374")
        assert page.chain() == [6370, 6371, 6372, 6374]
