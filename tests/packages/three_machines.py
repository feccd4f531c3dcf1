# SPDX-License-Identifier: Apache-2.0
"""docs/three-machines.md, word for word, on three machines with systemd. `make test-packages` runs it, as root."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainredis.local_cluster.server import ROOT
from chainredis.transport.waiting import wait_until
from packages.machines import Machine, Network

ADDRESSES = ("192.0.2.1", "192.0.2.2", "192.0.2.3")


def blocks() -> list[tuple[str, str]]:
    """Of the page: the comment that says where, and the commands."""
    page = (ROOT / "docs/three-machines.md").read_text()
    return re.findall(r"^```\n# on (.*?)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, Machine]]:
    network = Network()
    made = {address: Machine(network, address, tmp_path / address) for address in ADDRESSES}
    for machine in made.values():
        machine.boot()
    yield made
    for machine in made.values():
        machine.close()
    network.close()


def type_in(commands: str, machine: Machine) -> str:
    return machine.shell(commands.replace("ME=192.0.2.1", f"ME={machine.address}"))


def is_led(machine: Machine) -> bool:
    info = "redis-cli -h $ME -p 6369 -a $SECRET --no-auth-warning INFO master"
    return "master_role:master" in machine.shell(info)


@pytest.mark.timeout(600)
def test_from_nothing_to_three_machines(machines: dict[str, Machine]) -> None:
    first, second, third = machines.values()
    (package,) = (ROOT / "build/deb").glob("chainredis_*.deb")
    for machine in machines.values():
        machine.copy(package)
    printed = ""
    for where, commands in blocks():
        if where.endswith("is off"):
            first.lose_power()
        elif where.endswith("is on again"):
            first.boot()
            wait_until(lambda: f"{first.address}:6370   tail" in second.shell("chainredis status $ME:6369 || true"), 60)
        places = list(machines.values()) if where.startswith("each machine") else [machines[where.split(",")[0]]]
        permitted = " || test $? = 1" if where.endswith("is off") else ""   # status: a member is missing
        printed = "\n".join(type_in(commands.rstrip() + permitted, machine) for machine in places)
        print(f"# on {where}\n{commands}\n{printed}")
        if "enable --now redis-chain" in commands:      # nobody types so fast that no master leads yet
            wait_until(lambda: any(map(is_led, machines.values())), 60)
    assert printed.endswith("again")

    for machine in machines.values():
        assert not re.search("Traceback|BUG REPORT", machine.shell("journalctl --no-pager --output cat"))
    third.shell("systemctl stop redis-chain-member@6370")
    assert third.shell("systemctl show --property Result redis-chain-member@6370") == "Result=success"
    third.shell("apt-get --quiet purge --yes chainredis")
    assert third.shell("pgrep redis-server || true") == ""
    assert third.shell("ls -d /usr/lib/chainredis /usr/share/chainredis 2> /dev/null || true") == ""
    assert "member-6370" in third.shell("ls /etc/chainredis /var/lib/chainredis")   # what is the administrator's
