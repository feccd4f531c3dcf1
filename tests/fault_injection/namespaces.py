# SPDX-License-Identifier: Apache-2.0
"""Servers in network namespaces of their own, around a router that can drop packets between two of them.

Every host has a link to the router. Tests and clients are on host 0. The router drops packets by a routing rule, so no
firewall is needed. The addresses are those that RFC 2544 reserves for benchmarks.
"""

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server

PREFIX = "faults"
FOLDER = Path("/run/netns")


class UnavailableError(Exception):
    """Network namespaces cannot be made here. The text says why."""


class Router:
    """The router, between `open` and `close`. `open` raises UnavailableError. Hosts are numbered from 1 on.

    A machine has room for one router, whose addresses are fixed: `open` waits for the end of another.
    """

    def __init__(self) -> None:
        self._name = f"{PREFIX}-{os.getpid()}"
        self._hosts: list[str] = []
        self._throttled: set[int] = set()
        self._cleanup = contextlib.ExitStack()

    def open(self) -> None:
        try:
            self._wait_for_room()
            remove_leftovers()
            self._build()
            # Fail now, not later, if this machine lacks what `drop` needs.
            self.drop(0, 0)
            self.throttle(0, 1_000_000)
            self.heal()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._cleanup.close()

    def _wait_for_room(self) -> None:
        """Take a name that the kernel gives to one process at a time, and frees when the process ends."""
        room = self._cleanup.enter_context(socket.socket(socket.AF_UNIX))
        while True:
            with contextlib.suppress(OSError):
                return room.bind(f"\0{PREFIX}")
            time.sleep(0.1)

    def _build(self) -> None:
        self._add_namespace(self._name)
        _run("ip", "netns", "exec", self._name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        cable = f"{PREFIX}{os.getpid()}"
        _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "host0", "netns", self._name)
        self._cleanup.callback(_run, "ip", "link", "del", cable)
        self._plug_in(0)
        _run("ip", "address", "add", f"{address(0)}/24", "dev", cable)
        _run("ip", "link", "set", cable, "up")
        _run("ip", "route", "add", "198.18.0.0/16", "via", gateway(0))

    def add_host(self) -> int:
        number = len(self._hosts) + 1
        name = f"{self._name}-{number}"
        self._add_namespace(name)
        self._hosts.append(name)
        self._in_router("link", "add", f"host{number}", "type", "veth", "peer", "name", "cable", "netns", name)
        self._plug_in(number)
        _run("ip", "-n", name, "address", "add", f"{address(number)}/24", "dev", "cable")
        _run("ip", "-n", name, "link", "set", "cable", "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "-n", name, "route", "add", "default", "via", gateway(number))
        return number

    def inside(self, host: int) -> list[str]:
        """The words to put before a command to run it on that host."""
        return ["ip", "netns", "exec", self._hosts[host - 1]]

    def drop(self, sender: int, receiver: int) -> None:
        """Drop all packets from the sender to the receiver, until `heal`."""
        self._in_router("rule", "add", "from", address(sender), "to", address(receiver), "blackhole")

    def throttle(self, host: int, bits_per_s: int) -> None:
        """Limit the speed of what goes to that host, until `heal`."""
        rate = ["rate", str(bits_per_s), "burst", "16kb", "latency", "400ms"]
        _run("tc", "-n", self._name, "qdisc", "replace", "dev", f"host{host}", "root", "tbf", *rate)
        self._throttled.add(host)

    def heal(self) -> None:
        while "blackhole" in self._in_router("rule", "show"):
            self._in_router("rule", "del", "blackhole")
        while self._throttled:
            _run("tc", "-n", self._name, "qdisc", "del", "dev", f"host{self._throttled.pop()}", "root")

    def _plug_in(self, number: int) -> None:
        self._in_router("address", "add", f"{gateway(number)}/24", "dev", f"host{number}")
        self._in_router("link", "set", f"host{number}", "up")

    def _in_router(self, *words: str) -> str:
        return _run("ip", "-n", self._name, *words)

    def _add_namespace(self, name: str) -> None:
        _run("ip", "netns", "add", name)
        self._cleanup.callback(_run, "ip", "netns", "del", name)


class RoutedCluster(Cluster):
    """A chain in which each server, including the master, has a host of its own."""

    def __init__(self, router: Router, *arguments: Any, **options: Any) -> None:
        self.router = router
        self.host_of: dict[Server, int] = {}
        super().__init__(*arguments, **options)

    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        number = self.router.add_host()
        open_to_others = {"protected-mode": "no", **config}
        server = Server(
            folder,
            port=port,
            modules=[module],
            config=open_to_others,
            host=address(number),
            prefix=self.router.inside(number),
        )
        self.host_of[server] = number
        return server

    def cut(self, sender: Server, receiver: Server) -> None:
        """Drop all packets from the sender to the receiver."""
        self.router.drop(self.host_of[sender], self.host_of[receiver])

    def slow(self, server: Server) -> None:
        self.router.throttle(self.host_of[server], bits_per_s=2_000_000)

    def heal_links(self) -> None:
        self.router.heal()


def address(host: int) -> str:
    return f"198.18.{host}.2"


def gateway(host: int) -> str:
    return f"198.18.{host}.1"


def remove_leftovers() -> None:
    """Remove the namespaces of test runs that were killed."""
    for name in list(_namespaces()):
        match = re.match(rf"{PREFIX}-(\d+)", name)
        if match and not psutil.pid_exists(int(match[1])):
            _run("ip", "netns", "del", name)


def _namespaces() -> Iterator[str]:
    if FOLDER.is_dir():
        yield from (path.name for path in FOLDER.iterdir())


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or error
        raise UnavailableError(f"{' '.join(command)}: {said}") from error
