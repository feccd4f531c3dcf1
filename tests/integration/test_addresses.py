# SPDX-License-Identifier: Apache-2.0
"""All servers are restarted under the same names with other addresses, as containers are."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer, _examine
from integration.disks import ALWAYS
from integration.helpers import ask, state

NAMES = ["one.chain", "two.chain"]
FORMER, PRESENT = ["127.0.0.21", "127.0.0.22"], ["127.0.0.31", "127.0.0.32"]


class Hosts:
    """A file that replaces /etc/hosts for servers that are started with its prefix."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lead_to(FORMER)

    def lead_to(self, addresses: list[str]) -> None:
        self.path.write_text("".join(f"{pair[1]} {pair[0]}\n" for pair in zip(NAMES, addresses, strict=True)))

    @property
    def prefix(self) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", f'mount --bind {self.path} /etc/hosts && exec "$@"', "sh"]


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    hosts = Hosts(tmp_path / "hosts")
    if os.geteuid() or subprocess.run([*hosts.prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("there can be no mount namespaces here")
    return hosts


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """`start("name", MEMBER, host="127.0.0.2")` starts a server. The same name again gets the same folder and port."""
    servers: dict[str, Server] = {}
    ended: list[Server] = []

    def start(name: str, module: str, **options: Any) -> Server:
        before = servers.get(name)
        if before:
            before.kill()
            ended.append(before)
        if module.startswith("libmember"):
            options["config"] = {"member.commands": "put", **options.get("config", {})}
        servers[name] = Server(tmp_path / name, port=before.port if before else None, modules=[module], **options)
        servers[name].start()
        return servers[name]

    yield start
    for each in servers.values():
        each.stop()
    _examine([*servers.values(), *ended])


def test_a_chain_is_formed_again_where_its_names_lead_to(start: StartServer, hosts: Hosts) -> None:
    quick = {"master.heartbeat-timeout": "1000", "master.heartbeat-interval": "50"}
    master = start("master", MASTER, prefix=hosts.prefix, config=quick)
    members = [start(name, MEMBER, host=address, config=ALWAYS) for name, address in zip(NAMES, FORMER, strict=True)]
    for name, member in zip(NAMES, members, strict=True):
        assert ask(master, "MASTER.ADD", name, member.port) == b"OK"
    assert ask(members[0], "MEMBER.PUT", "kept", "yes") == 0
    chain = ask(master, "MASTER.GET_CHAIN")
    for member in members:
        member.kill()
    hosts.lead_to(PRESENT)
    members = [start(name, MEMBER, host=address, config=ALWAYS) for name, address in zip(NAMES, PRESENT, strict=True)]
    wait_until(lambda: all(state(member).serving for member in members), 30)
    assert sorted(ask(master, "MASTER.GET_CHAIN")) == sorted(chain)
    tail = next(member for member in members if state(member).role == "tail")
    assert ask(tail, "READ", "kept") == b"yes"
