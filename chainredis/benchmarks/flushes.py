# SPDX-License-Identifier: Apache-2.0
"""What clients notice of a checkpoint, of a flush, and of READs of flushed keys."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import sub
from time import monotonic_ns

from chainredis.benchmarks.clients import Load, RunningLoad
from chainredis.benchmarks.figures import Goal, Outcome, Row
from chainredis.benchmarks.fills import UNIQUE, VALUE, member_info
from chainredis.benchmarks.gaps import Window
from chainredis.benchmarks.load import RANDOM_KEY, Exchange, exchange, one_client, redis_benchmark
from chainredis.benchmarks.systems import AT_ONCE, CATCH_UP_TIMEOUT_S, await_tail
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.transport.waiting import wait_until

CONFIG = {"member.gcs-mode": "checkpoint-flush"}
WRITERS = Load(writers=4, readers=0)
SETTLE_S = 0.2
NORMAL_S = 2.0
POLL_S = 0.05
GAP_GOAL, READ_GOAL = Goal(floor=30, aim=10), Goal(floor=200, aim=100)
READS = 5_000
VALUE_BYTES = len(VALUE)


@dataclass(frozen=True)
class Pauses:
    """The windows of one round: without a fault, while all members wrote a checkpoint, and while all flushed it."""

    normal: Window
    checkpoint: Window
    flush: Window


# ------------------------------------------------------------------------------------------------- writers


def measure_pauses(cluster: Cluster, rounds: int, keys: int, progress: Callable[[str], None]) -> list[Outcome]:
    """Checkpoint and flush so many new keys in each round. LauncherError if a server fails."""
    done = []
    with RunningLoad([member.endpoint for member in cluster.members], WRITERS) as running:
        for number in range(rounds):
            progress(f"checkpointing and flushing {keys:,} keys, {number + 1} of {rounds}")
            redis_benchmark(
                cluster.head, "MEMBER.PUT", RANDOM_KEY, VALUE, "bench", requests=keys, pipeline=16, keys=UNIQUE
            )
            await_tail(cluster)
            done.append(Pauses(*(_window(what) for what in (_nothing, _checkpoint(cluster), _flush(cluster)))))
        writers = running.stop().writers
    outcomes = []
    for title, name in (("a checkpoint is written", "checkpoint"), ("keys are flushed", "flush")):
        row = Row(f"longest gap of writers while {title} / before", "ms", GAP_GOAL, _none, _none, _beyond)
        gaps = [[writers.longest_gap_ms(getattr(pauses, window)) for window in (name, "normal")] for pauses in done]
        outcomes.append(Outcome(row, [(ours, theirs) for ours, theirs in gaps]))
    return outcomes


def _none() -> float:
    raise NotImplementedError("all of its rounds are measured at once")


def _beyond(gap: float, normal: float) -> float:
    return max(gap - normal, 0)


def _window(what: Callable[[], None]) -> Window:
    time.sleep(SETTLE_S)
    begin = monotonic_ns()
    what()
    return Window(begin, monotonic_ns())


def _nothing() -> None:
    time.sleep(NORMAL_S)


def _checkpoint(cluster: Cluster) -> Callable[[], None]:
    def checkpoint() -> None:
        wanted = cluster.tail.call("MEMBER.SN")
        cluster.tail.call("TAIL.CHECKPOINT")
        _await_all(cluster, lambda found: found["member_checkpointed"] >= wanted)

    return checkpoint


def _flush(cluster: Cluster) -> Callable[[], None]:
    def flush() -> None:
        if not cluster.head.call("HEAD.FLUSH"):
            raise LauncherError(f"{cluster.head} has flushed nothing")
        _await_all(cluster, lambda found: not found["member_flushing"])

    return flush


def _await_all(cluster: Cluster, done: Callable[[dict[str, int]], bool]) -> None:
    for member in cluster.members:
        wait_until(lambda member=member: done(member_info(member)), CATCH_UP_TIMEOUT_S, POLL_S)  # type: ignore[misc]


# -------------------------------------------------------------------------------------------------- READ


def reads_row(cluster: Cluster, keys: int) -> Row:
    """READs of so many keys that are only in the checkpoint, against as many that are in memory."""
    _put_all(cluster, "flushed", keys)
    _checkpoint(cluster)()
    _flush(cluster)()
    _put_all(cluster, "present", keys)
    flushed, present = (_reads(name, keys) for name in ("flushed", "present"))
    tail = cluster.tail

    def read_flushed() -> float:
        before = member_info(tail)["member_checkpoint_reads"]
        median_us = one_client(tail, flushed, READS)
        if member_info(tail)["member_checkpoint_reads"] - before < READS:
            raise LauncherError(f"{tail} has answered for flushed keys from memory")
        return median_us

    title = "one client: READ of a flushed key / of one in memory, median time"
    return Row(title, "µs", READ_GOAL, read_flushed, lambda: one_client(tail, present, READS), sub)


def _put_all(cluster: Cluster, prefix: str, keys: int) -> None:
    dice = random.Random(prefix)
    names = list(_names(prefix, keys))
    with cluster.head.client() as client:
        for start in range(0, keys, AT_ONCE):
            pipeline = client.pipeline(transaction=False)
            for name in names[start : start + AT_ONCE]:
                pipeline.execute_command("MEMBER.PUT", name, dice.randbytes(VALUE_BYTES // 2).hex(), "bench")
            pipeline.execute()
    await_tail(cluster)


def _reads(prefix: str, keys: int) -> Exchange:
    names = random.Random(0).sample(list(_names(prefix, keys)), min(keys, READS))
    return exchange(([("READ", name)] for name in names), rb"\$%d\r\n[0-9a-f]{%d}\r\n" % (VALUE_BYTES, VALUE_BYTES))


def _names(prefix: str, keys: int) -> Iterator[str]:
    return (f"{prefix}:{number:012}" for number in range(keys))
