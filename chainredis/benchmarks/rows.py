# SPDX-License-Identifier: Apache-2.0
"""The comparisons by which this project is judged, each with its goal."""

from collections.abc import Callable
from operator import sub
from time import perf_counter

from chainredis.benchmarks.figures import Goal, Row
from chainredis.benchmarks.instructions import instructions_at_member, instructions_at_plain_server
from chainredis.benchmarks.load import (
    CLIENTS,
    KEYS,
    RANDOM_KEY,
    VALUE,
    Exchange,
    LoopCheck,
    check_closed_loop,
    closed_loop,
    exchange,
    key,
    one_client,
    redis_benchmark,
)
from chainredis.benchmarks.systems import Systems, await_replica, await_tail, backlog_limit_mib, idle_memory_mib
from chainredis.local_cluster.server import Server

PIPELINE = 16
SET = ("SET", RANDOM_KEY, VALUE)
PUT = ("MEMBER.PUT", RANDOM_KEY, VALUE)
PUT_AT_ONCE = (*PUT, "bench")
GET = ("GET", RANDOM_KEY)
READ = ("READ", RANDOM_KEY)

# Far apart from one another, so that a client's turn through them is as random to a server as redis-benchmark's keys.
STRIDE = 7919
SOME_KEYS = [key(number * STRIDE % KEYS) for number in range(10_000)]
ONE_PUT = exchange(([("MEMBER.PUT", name, VALUE)] for name in SOME_KEYS), rb":\d+\r\n")
SET_AND_WAIT = exchange(([("SET", name, VALUE), ("WAIT", 2, 0)] for name in SOME_KEYS), rb"\+OK\r\n:2\r\n")


class Rows:
    """The rows of the table, measured on `systems`. requests: of a pipelined run; slower runs have a part of it."""

    def __init__(self, systems: Systems, requests: int) -> None:
        self._systems = systems
        self._pipelined = requests
        self._single = max(requests // 5, CLIENTS)
        self._alone = max(requests // 200, 1)
        plain, chain = systems.plain, systems.chain
        self.singleton = Row(
            "singleton MEMBER.PUT k v id / plain SET (-P 16)", "/s", Goal(1.0, 1.15),
            self._rate(systems.singleton.head, PUT_AT_ONCE), self._rate(plain, SET),
        )  # fmt: skip
        self.chain = Row(
            "3 members, MEMBER.PUT k v id until the tail has all / replicas A←B←C, SET until the last has all (-P 16)",
            "/s", Goal(1.15, 1.4), self._chain_rate, lambda: replica_chain_rate(systems, requests),
        )  # fmt: skip
        self.blocking = Row(
            "3 members, blocking MEMBER.PUT k v (-P 1) / plain unreplicated SET (-P 1)", "/s", Goal(0.55, 0.75),
            self._rate(chain.head, PUT, pipeline=1), self._rate(plain, SET, pipeline=1),
        )  # fmt: skip
        self.waited = Row(
            "3 members, blocking MEMBER.PUT k v / SET and WAIT 2 together with 2 replicas (closed loop)",
            "/s", Goal(1.4, 1.8),
            self._loop_rate(chain.head, ONE_PUT), self._loop_rate(systems.replicated[0], SET_AND_WAIT),
        )  # fmt: skip
        self.reads = Row(
            "READ at the tail / GET (-P 16)", "/s", Goal(1.0, 1.05),
            self._rate(chain.tail, READ), self._rate(plain, GET),
        )  # fmt: skip
        self.single_reads = Row(
            "READ at the tail / GET (-P 1)", "/s", Goal(0.9, 1.0),
            self._rate(chain.tail, READ, pipeline=1), self._rate(plain, GET, pipeline=1),
        )  # fmt: skip
        self.latency = Row(
            "one client: blocking PUT through 3 members / SET and WAIT 2 together, median time", "µs", Goal(1.0, 0.8),
            lambda: one_client(chain.head, ONE_PUT, self._alone),
            lambda: one_client(systems.replicated[0], SET_AND_WAIT, self._alone),
        )  # fmt: skip
        self.memory = Row(
            f"resident memory beyond plain Redis, idle (backlog of {backlog_limit_mib(chain.tail):g}), MiB",
            "MiB", Goal(13, 8), lambda: idle_memory_mib(chain.members), lambda: idle_memory_mib([plain]), sub,
        )  # fmt: skip
        self.instructions = Row(
            "instructions for MEMBER.PUT k v id at a singleton / for SET (callgrind, -P 16)", "instr.", Goal(1.0, 0.9),
            lambda: instructions_at_member(*PUT_AT_ONCE), lambda: instructions_at_plain_server(*SET),
        )  # fmt: skip

    @property
    def repeated(self) -> list[Row]:
        """The rows that are measured in each round. The others are measured once: `memory` after all load, and
        `instructions` where there is valgrind.
        """
        return [
            self.singleton, self.chain, self.blocking, self.waited, self.reads, self.single_reads, self.latency,
        ]  # fmt: skip

    def loop_check(self) -> LoopCheck:
        return check_closed_loop(self._systems.plain, self._single)

    def _rate(self, server: Server, command: tuple[str, ...], pipeline: int = PIPELINE) -> Callable[[], float]:
        requests = self._single if pipeline == 1 else self._pipelined
        return lambda: redis_benchmark(server, *command, requests=requests, pipeline=pipeline)

    def _loop_rate(self, server: Server, what: Exchange) -> Callable[[], float]:
        return lambda: closed_loop(server, what, self._single)

    def _chain_rate(self) -> float:
        begin = perf_counter()
        redis_benchmark(self._systems.chain.head, *PUT_AT_ONCE, requests=self._pipelined, pipeline=PIPELINE)
        await_tail(self._systems.chain)
        return self._pipelined / (perf_counter() - begin)


def replica_chain_rate(systems: Systems, requests: int) -> float:
    """SETs a second on the replicas A←B←C, until the last has them all."""
    first, *_, last = systems.replica_chain
    begin = perf_counter()
    redis_benchmark(first, *SET, requests=requests, pipeline=PIPELINE)
    await_replica(first, last)
    return requests / (perf_counter() - begin)
