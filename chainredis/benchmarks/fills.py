# SPDX-License-Identifier: Apache-2.0
"""Chains that are filled with new keys, with checkpoints and without: how fast, and with how much memory."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, NamedTuple, Self, cast

import psutil

from chainredis.benchmarks.figures import Goal, Row
from chainredis.benchmarks.load import RANDOM_KEY, redis_benchmark
from chainredis.benchmarks.systems import MIB, await_tail
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server

MEMBERS = 3
PIPELINE = 16
# redis-benchmark replaces each by 12 digits, which LevelDB's compression hardly makes smaller.
VALUE = "__rand_int__" * 42 + "x" * 8
# The range of redis-benchmark's random numbers: of a million keys only a few hundred are equal.
UNIQUE = 2**31 - 1
INTERVAL_MS = 1000
FLUSH_ABOVE_MIB = 100
# On a busy machine LevelDB may be behind for longer than writers usually wait: the rates have to show that.
PATIENT = {"member.write-timeout": "60000"}
AUTOMATIC = {**PATIENT, "member.gcs-mode": "checkpoint", "member.checkpoint-interval": str(INTERVAL_MS)}
MODES: dict[str, dict[str, str]] = {
    "normal": PATIENT,
    "checkpoint": AUTOMATIC,
    "checkpoint-flush": {
        **AUTOMATIC, "member.gcs-mode": "checkpoint-flush", "member.flush-above": f"{FLUSH_ABOVE_MIB}mb",
    },
}  # fmt: skip
WATCHED = ("head", "tail")
WATCH_INTERVAL_S = 0.25
AFTERWARDS_S = 2.0
# This load is slower, since each writer waits for a commit, and so for the slowest of three disks.
BLOCKING_SHARE = 0.25


class Memory(NamedTuple):
    """The memory of one server, `seconds` after the filling began.

    used: as Redis counts it. resident: of the process, without pages of files, which the kernel takes back at any time.
    """

    seconds: float
    used_mib: float
    resident_mib: float


@dataclass(frozen=True)
class Fill:
    """The filling of one chain. By members in WATCHED: samples of memory, and processor time for each write."""

    mode: str
    pipeline: int
    per_s: float
    memory: dict[str, list[Memory]]
    cpu_us: dict[str, float]


@dataclass
class Fills:
    """All fills so far. writes: of each one, at full speed; blocking writers make a part of them."""

    writes: int
    done: list[Fill] = field(default_factory=list)

    def rows(self) -> Sequence[Row]:
        """The rows. Each side is measured on a chain of its own."""
        rate = self._rate
        return [
            Row(
                "blocking writers (-P 1): checkpoints / none", "/s", Goal(floor=0.7, aim=0.85),
                rate("checkpoint", 1), rate("normal", 1),
            ),
            Row(
                f"as fast as it goes (-P {PIPELINE}): checkpoints / none", "/s", Goal(floor=0.85, aim=0.95),
                rate("checkpoint", PIPELINE), rate("normal", PIPELINE),
            ),
            Row(
                f"as fast as it goes (-P {PIPELINE}): checkpoints and flushes / none", "/s", Goal(floor=0.6, aim=0.85),
                rate("checkpoint-flush", PIPELINE), rate("normal", PIPELINE),
            ),
        ]  # fmt: skip

    def typical(self, mode: str) -> Fill:
        """The median fill at full speed."""
        fills = sorted((fill for fill in self.done if (fill.mode, fill.pipeline) == (mode, PIPELINE)), key=_speed)
        return fills[len(fills) // 2]

    def _rate(self, mode: str, pipeline: int) -> Callable[[], float]:
        def measure() -> float:
            writes = self.writes if pipeline > 1 else max(round(self.writes * BLOCKING_SHARE), 1)
            self.done.append(_fill(mode, writes, pipeline))
            return self.done[-1].per_s

        return measure


def _speed(fill: Fill) -> float:
    return fill.per_s


def _fill(mode: str, writes: int, pipeline: int) -> Fill:
    """LauncherError if a server fails, or did not make the checkpoints and flushes of its mode."""
    command = ("MEMBER.PUT", RANDOM_KEY, VALUE, *(["bench"] if pipeline > 1 else []))
    with Cluster(MEMBERS, member_config=MODES[mode]) as cluster:
        with MemoryWatch(cluster) as watch:
            begin, busy_s = monotonic(), _busy_s(cluster)
            redis_benchmark(cluster.head, *command, requests=writes, pipeline=pipeline, keys=UNIQUE)
            await_tail(cluster)
            per_s = writes / (monotonic() - begin)
            cpu_us = {name: (after - busy_s[name]) / writes * 1e6 for name, after in _busy_s(cluster).items()}
            sleep(AFTERWARDS_S)
        _check(mode, cluster.tail)
    return Fill(mode, pipeline, per_s, watch.samples, cpu_us)


def _busy_s(cluster: Cluster) -> dict[str, float]:
    times = {name: psutil.Process(getattr(cluster, name).pid).cpu_times() for name in WATCHED}
    return {name: time.user + time.system for name, time in times.items()}


def _check(mode: str, member: Server) -> None:
    found = member_info(member)
    for wanted, figure in (("checkpoint", "member_checkpoints"), ("flush", "member_flushed_keys")):
        if (wanted in mode) != (found[figure] > 0):
            raise LauncherError(f"{member}, in mode {mode}, has {figure} {found[figure]}")


def member_info(member: Server) -> dict[str, Any]:
    with member.client() as client:
        return cast("dict[str, Any]", client.info("member"))


class MemoryWatch:
    """Samples the memory of the members in WATCHED, on a thread, as long as the body of the `with` runs."""

    def __init__(self, cluster: Cluster) -> None:
        self.samples: dict[str, list[Memory]] = {name: [] for name in WATCHED}
        self._clients = {name: getattr(cluster, name).client() for name in WATCHED}
        self._processes = {name: psutil.Process(getattr(cluster, name).pid) for name in WATCHED}
        self._begin = monotonic()
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self._watching = self._thread.submit(self._watch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        with self._thread:
            self._watching.result()

    def _watch(self) -> None:
        stopped = False
        while not stopped:
            for name, client in self._clients.items():
                own = self._processes[name].memory_info()
                sizes = (client.info("memory")["used_memory"] / MIB, (own.rss - own.shared) / MIB)
                self.samples[name].append(Memory(monotonic() - self._begin, *sizes))
            stopped = self._stop.wait(WATCH_INTERVAL_S)
        for client in self._clients.values():
            client.close()
