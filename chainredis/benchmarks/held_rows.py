# SPDX-License-Identifier: Apache-2.0
"""What a chain of all commands costs, whose replies are held until they are committed."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import psutil

from chainredis.benchmarks.figures import Goal, Row
from chainredis.benchmarks.load import CLIENTS, VALUE, Exchange, closed_loop, exchange, one_client, redis_benchmark
from chainredis.benchmarks.rows import GET, PIPELINE, SET, SOME_KEYS, replica_chain_rate
from chainredis.benchmarks.systems import Systems
from chainredis.local_cluster.server import Server

GATE = "gate"  # the name of the gate's thread
SIXTEENTHS = range(0, len(SOME_KEYS) - PIPELINE, PIPELINE)


def _sets(with_wait: bool, pipeline: int) -> Exchange:
    """`pipeline` SETs that are sent together, each with a WAIT for two replicas or without."""
    wait: list[tuple[str | int, ...]] = [("WAIT", 2, 0)] if with_wait else []
    reply = rb"\+OK\r\n:2\r\n" if with_wait else rb"\+OK\r\n"
    groups = (SOME_KEYS[start : start + pipeline] for start in SIXTEENTHS)
    return exchange(
        ([command for name in names for command in (("SET", name, VALUE), *wait)] for names in groups),
        reply * pipeline,
    )


def ours(figure: float, _: float) -> float:
    """The figure of a row whose goal is absolute."""
    return figure


class HeldRows:
    """The rows of chains of all commands. requests: of a pipelined run; slower runs have a part of it."""

    def __init__(self, systems: Systems, requests: int) -> None:
        self._systems = systems
        self._pipelined = requests
        self._single = max(requests // 5, CLIENTS)
        head, replicated = systems.any_command.head, systems.replicated[0]
        self.repeated = [
            Row("3 members, held SET / SET and WAIT 2 each, with 2 replicas (16 sent together)", "/s", Goal(2.0, 3.0),
                self._loop(head, _sets(False, PIPELINE)), self._loop(replicated, _sets(True, PIPELINE))),
            Row("3 members, held SET / replicas A←B←C, SET until the last has all (-P 16)", "/s", Goal(0.5, 0.8),
                self._held_rate, lambda: replica_chain_rate(systems, requests)),
            Row("3 members, held SET / SET and WAIT 2 together with 2 replicas (50 clients)", "/s", Goal(0.9, 1.3),
                self._loop(head, _sets(False, 1), 1), self._loop(replicated, _sets(True, 1), 1)),
            Row("one client: held SET / SET and WAIT 2 together, median time", "µs", Goal(1.4, 1.0),
                self._alone(head, _sets(False, 1)), self._alone(replicated, _sets(True, 1))),
            Row("GET at 3 members at once / GET at one plain server, by the CPU of their threads (-P 16)",
                "/s", Goal(1.5, 2.5), self._reads_by_cpu(systems.any_command.members),
                self._reads_by_cpu([systems.plain])),
            Row("CPU of Redis's main thread for a held SET / for a plain one (-P 16)", "µs", Goal(1.4, 1.1),
                self._cpu_us(head, main_thread, PIPELINE), self._cpu_us(systems.plain, main_thread, PIPELINE)),
            Row("CPU of the gate for a held SET sent alone", "µs", Goal(15, 8),
                self._cpu_us(head, gate_thread, 1), lambda: 0.0, ours),
            Row("CPU of the gate for a held SET (-P 16)", "µs", Goal(1.3, 0.8),
                self._cpu_us(head, gate_thread, PIPELINE), lambda: 0.0, ours),
        ]  # fmt: skip

    def _loop(self, server: Server, what: Exchange, pipeline: int = PIPELINE) -> Callable[[], float]:
        """Commands a second."""
        exchanges = self._single // pipeline
        return lambda: pipeline * closed_loop(server, what, exchanges)

    def _alone(self, server: Server, what: Exchange) -> Callable[[], float]:
        return lambda: one_client(server, what, max(self._pipelined // 200, 1))

    def _held_rate(self) -> float:
        """A reply is sent when the tail has the effect, so the end of the load is the end of the replication."""
        head = self._systems.any_command.head
        begin = perf_counter()
        redis_benchmark(head, *SET, requests=self._pipelined, pipeline=PIPELINE)
        return self._pipelined / (perf_counter() - begin)

    def _cpu_us(self, server: Server, thread: Callable[[Server], float], pipeline: int) -> Callable[[], float]:
        """CPU time of a thread for each SET of a run."""
        requests = self._pipelined if pipeline > 1 else self._single

        def measure() -> float:
            before = thread(server)
            redis_benchmark(server, *SET, requests=requests, pipeline=pipeline)
            return (thread(server) - before) * 1e6 / requests

        return measure

    def _reads_by_cpu(self, servers: Sequence[Server]) -> Callable[[], float]:
        """GETs a second that the servers could answer if each of their threads had a core of its own."""

        def measure() -> float:
            before = [(main_thread(server), gate_thread(server)) for server in servers]
            readers = [
                threading.Thread(target=redis_benchmark, args=(server, *GET),
                                 kwargs={"requests": self._pipelined, "pipeline": PIPELINE})
                for server in servers
            ]  # fmt: skip
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
            after = [(main_thread(server), gate_thread(server)) for server in servers]
            return sum(
                self._pipelined / max(main - main_before, gate - gate_before)
                for (main_before, gate_before), (main, gate) in zip(before, after, strict=True)
            )

        return measure


def main_thread(server: Server) -> float:
    """CPU seconds of Redis's main thread."""
    return _cpu_s(server, server.pid)


def gate_thread(server: Server) -> float:
    """CPU seconds of the gate; 0 for a server without one."""
    threads = [thread.id for thread in psutil.Process(server.pid).threads()]
    return sum(_cpu_s(server, thread) for thread in threads if _about(server, thread, "comm").strip() == GATE)


def _cpu_s(server: Server, thread: int) -> float:
    """From the scheduler's own count, in nanoseconds."""
    return int(_about(server, thread, "schedstat").split()[0]) / 1e9


def _about(server: Server, thread: int, what: str) -> str:
    return Path(f"/proc/{server.pid}/task/{thread}/{what}").read_text()
