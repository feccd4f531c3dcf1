# SPDX-License-Identifier: Apache-2.0
"""Adds a new tail to a large chain under load: how long writers are interrupted, and how fast the copy is."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic_ns
from typing import Any, cast

from chainredis.benchmarks.clients import VALUE, Load, RunningLoad
from chainredis.benchmarks.gaps import NS_PER_S, Window
from chainredis.benchmarks.systems import MIB, await_tail, fill, follow
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server

MEMBERS = 2
BATCH = 64
LOADS = {
    "blocking writers": Load(readers=0),
    f"writers of {BATCH} at once": Load(readers=0, batch=BATCH),
}
WARM_UP_S = 0.5
# About as long as a join: a longer window would have a longer longest gap.
NORMAL_S = 3.0
# The settings of a member while it copies: without the disk, and without a delay.
NATIVE_CONFIG = {"repl-diskless-sync-delay": "0", "repl-diskless-load": "on-empty-db"}


@dataclass(frozen=True)
class Copy:
    """seconds: from the command until the new tail serves. mib: sent by the old tail. fork_ms: of its fork."""

    seconds: float
    mib: float
    fork_ms: float

    @property
    def mib_per_s(self) -> float:
        return self.mib / self.seconds


@dataclass(frozen=True)
class Join:
    """One MASTER.ADD under load, with the writers' longest gaps in milliseconds. normal_gap: shortly before."""

    copy: Copy
    normal_gap: float
    gap: float
    writes_per_s: float

    @property
    def beyond_normal(self) -> float:
        return max(self.gap - self.normal_gap, 0)


@dataclass
class Joins:
    """By round. native: Redis's full synchronisation. idle: ours without load. loaded: by name in LOADS."""

    keys: int
    native: list[Copy] = field(default_factory=list)
    idle: list[Copy] = field(default_factory=list)
    loaded: dict[str, list[Join]] = field(default_factory=lambda: {name: [] for name in LOADS})


def measure_joins(rounds: int, keys: int, progress: Callable[[str], None]) -> Joins:
    """LauncherError if a server fails."""
    joins = Joins(keys)
    with _native_pair() as (primary, replica), Cluster(MEMBERS, progress=progress) as cluster:
        newcomer = cluster.spare()
        progress(f"filling that chain, and a plain server, with {keys:,} keys")
        fill(primary, "SET", VALUE, keys=keys, times=1)
        fill(cluster.head, "MEMBER.PUT", VALUE, "bench", keys=keys, times=1)
        await_tail(cluster)
        for number in range(rounds):
            progress(f"copying them all, {number + 1} of {rounds}")
            _empty(replica)
            joins.native.append(_copy(primary, lambda: follow(replica, primary)))
            _empty(newcomer)
            joins.idle.append(_copy(cluster.tail, lambda: cluster.add(newcomer)))
            cluster.remove(newcomer)
            for name, load in LOADS.items():
                _empty(newcomer)
                joins.loaded[name].append(_join(cluster, newcomer, replace(load, keys=keys)))
                cluster.remove(newcomer)
    return joins


@contextmanager
def _native_pair() -> Iterator[list[Server]]:
    with tempfile.TemporaryDirectory(prefix="chainredis-bench-") as folder:
        servers = [Server(Path(folder) / name, config=NATIVE_CONFIG) for name in ("primary", "replica")]
        try:
            for server in servers:
                server.start()
            yield servers
        finally:
            for server in servers:
                server.stop()


def _join(cluster: Cluster, newcomer: Server, load: Load) -> Join:
    with RunningLoad([member.endpoint for member in cluster.members], load) as running:
        time.sleep(WARM_UP_S)
        begin = monotonic_ns()
        time.sleep(NORMAL_S)
        normal = Window(begin, monotonic_ns())
        copy = _copy(cluster.tail, lambda: cluster.add(newcomer))
        joining = Window(normal.end, monotonic_ns())
        writers = running.stop().writers
    normal_gap, gap = (writers.longest_gap_ms(window) for window in (normal, joining))
    return Join(copy, normal_gap, gap, writers.per_s(joining) * load.batch)


def _empty(target: Server) -> None:
    """Restart the server without its identity: then a copy begins from nothing."""
    target.kill()
    for marker in target.folder.glob("chain.member.*"):
        marker.unlink()
    target.start()


def _copy(source: Server, order: Callable[[], None]) -> Copy:
    sent = _info(source)["total_net_repl_output_bytes"]
    begin = monotonic_ns()
    order()
    seconds = (monotonic_ns() - begin) / NS_PER_S
    info = _info(source)
    return Copy(seconds, (info["total_net_repl_output_bytes"] - sent) / MIB, info["latest_fork_usec"] / 1000)


def _info(server: Server) -> dict[str, Any]:
    with server.client() as client:
        return cast("dict[str, Any]", client.info("stats"))
