# SPDX-License-Identifier: Apache-2.0
"""Kills each member of a chain in turn, under load: for how long clients are interrupted."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Self

from chainredis.benchmarks.clients import Load, Recording, RunningLoad
from chainredis.benchmarks.gaps import NS_PER_MS, NS_PER_S, Service, Window
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.transport.waiting import WaitTimeout, wait_until

POSITIONS = ("head", "middle", "tail")
CLIENTS = ("writers", "readers")
WINDOW_S = 0.5
BLOCK_BYTES = 4096
# The time between two windows: a new tail is found, and a gap is over.
SETTLE_S = 0.1
# Far longer than any measured time: a client that waits so long waits for ever.
REPAIR_TIMEOUT_S = 60


@dataclass(frozen=True)
class Kill:
    """One kill. after: the window from the kill on. before: one as long, shortly before. adding: of MASTER.ADD.

    flush_ms: the time to make a block durable, just before the kill. A repair does that once before it tells a member.
    """

    position: str
    before: Window
    after: Window
    adding: Window
    flush_ms: float


@dataclass(frozen=True)
class Gaps:
    """The longest, in milliseconds. gap: between successes of any clients. latency: of one client's request."""

    gap: float
    latency: float
    normal_gap: float


@dataclass(frozen=True)
class Failover:
    """All kills in their order, and the requests of all clients."""

    kills: list[Kill]
    recording: Recording

    def gaps(self, position: str, clients: str) -> list[Gaps]:
        """The gaps of each kill at this one of POSITIONS, for this one of CLIENTS."""
        service: Service = getattr(self.recording, clients)
        return [
            Gaps(
                service.longest_gap_ms(kill.after),
                service.longest_latency_ms(kill.after),
                service.longest_gap_ms(kill.before),
            )
            for kill in self.kills
            if kill.position == position
        ]


def measure_failover(cluster: Cluster, kills: int, load: Load, progress: Callable[[str], None]) -> Failover:
    """Kill each position of the chain so many times. LauncherError if the chain is not repaired."""
    done = []
    endpoints = [member.endpoint for member in cluster.members]
    with Disk(cluster.folder) as disk, RunningLoad(endpoints, load) as running:
        for number in range(kills):
            progress(f"killing each position, {number + 1} of {kills}")
            done += [_kill(cluster, position, disk) for position in POSITIONS]
        recording = running.stop()
    return Failover(done, recording)


class Disk:
    """The disk on which the master keeps its configuration."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "block").open("wb", buffering=0)

    def __enter__(self) -> Self:
        self.flush_ms()  # the first time, the file system has to allocate the block
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def flush_ms(self) -> float:
        begin = monotonic_ns()
        os.pwrite(self._file.fileno(), bytes(BLOCK_BYTES), 0)
        os.fdatasync(self._file.fileno())
        return (monotonic_ns() - begin) / NS_PER_MS


def _kill(cluster: Cluster, position: str, disk: Disk) -> Kill:
    """Kill one member, and make the chain whole again."""
    time.sleep(SETTLE_S)
    before = _window_from(monotonic_ns())
    flush_ms = disk.flush_ms()
    time.sleep(SETTLE_S)
    victim = cluster.members[POSITIONS.index(position)]
    killed = monotonic_ns()
    victim.kill()
    after = _window_from(killed)
    cluster.members.remove(victim)
    _check_repaired(cluster)
    victim.start()
    begin = monotonic_ns()
    cluster.add(victim)
    return Kill(position, before, after, Window(begin, monotonic_ns()), flush_ms)


def _window_from(begin: int) -> Window:
    """A window that lasts until now. No other client asks the servers anything meanwhile: that would slow them down."""
    time.sleep(max(begin + WINDOW_S * NS_PER_S - monotonic_ns(), 0) / NS_PER_S)
    return Window(begin, monotonic_ns())


def _check_repaired(cluster: Cluster) -> None:
    expected = [str(member.endpoint).encode() for member in cluster.members]
    try:
        wait_until(lambda: cluster.command("MASTER.GET_CHAIN") == expected, REPAIR_TIMEOUT_S)
    except WaitTimeout as error:
        raise LauncherError(f"the chain was not mended within {REPAIR_TIMEOUT_S} s") from error
