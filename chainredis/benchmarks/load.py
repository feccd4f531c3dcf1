# SPDX-License-Identifier: Apache-2.0
"""Load on a server: redis-benchmark, and a closed loop for what that cannot send.

redis-benchmark repeats one command. `SET` and `WAIT` sent together are two: that side, and the side that it is compared
with, are driven by `closed_loop`, which sends bytes that were encoded beforehand and hardly looks at the replies.
`check_closed_loop` shows that the loop itself is not the bottleneck.
"""

import csv
import itertools
import re
import select
import socket
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, perf_counter_ns, process_time
from typing import Any

from redis.connection import Connection

from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server, server_path

CLIENTS = 50
KEYS = 100_000
VALUE = "x" * 64
RANDOM_KEY = "key:__rand_int__"  # redis-benchmark puts 12 digits there
TIMEOUT_S = 300


def key(number: int) -> str:
    """The key that redis-benchmark makes of RANDOM_KEY."""
    return f"key:{number:012}"


def redis_benchmark(server: Server, *command: str, requests: int, pipeline: int = 1, keys: int = KEYS) -> float:
    """Requests a second, as redis-benchmark reports them. LauncherError if it fails, or gets an error reply."""
    options = {"-h": server.endpoint.host, "-p": server.port, "-c": CLIENTS, "-n": requests, "-r": keys, "-P": pipeline}
    words = [str(word) for option in options.items() for word in option]
    done = subprocess.run(
        [server_path().with_name("redis-benchmark"), *words, "--csv", *command],
        capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        raise LauncherError(f"redis-benchmark {command[0]} failed: {done.stdout}{done.stderr}")
    return requests_per_s(done.stdout)


def requests_per_s(output: str) -> float:
    """The rate that `redis-benchmark --csv` printed. LauncherError if that is not one result."""
    results = [row for row in csv.reader(output.splitlines()) if row]
    try:
        header, result = results
        return float(result[header.index("rps")])
    except (ValueError, IndexError) as error:
        raise LauncherError(f"redis-benchmark printed {output!r}") from error


@dataclass(frozen=True)
class Exchange:
    """What a client sends at once, in variants that it uses in turn, and the replies that it expects.

    Each reply is one line, whose end the pattern spells out.
    """

    requests: Sequence[bytes]
    reply: re.Pattern[bytes]

    def check(self, reply: bytes) -> bool:
        """Returns True if the reply is complete. LauncherError if it is not the expected one."""
        if self.reply.fullmatch(reply):
            return True
        if reply.startswith(b"-") or reply.count(b"\n") >= self.reply.pattern.count(rb"\n"):
            raise LauncherError(f"unexpected reply under load: {reply!r}")
        return False


def exchange(commands: Iterable[Sequence[Sequence[str | int]]], reply: bytes) -> Exchange:
    """commands: those that are sent together, for each variant. reply: a regular expression."""
    encoder: Any = Connection()  # type: ignore[no-untyped-call]
    return Exchange([b"".join(encoder.pack_commands(together)) for together in commands], re.compile(reply))


def closed_loop(server: Server, what: Exchange, exchanges: int) -> float:
    """Exchanges a second of CLIENTS clients, each of which sends the next one after the reply to the last."""
    connections = [_connect(server) for _ in range(CLIENTS)]
    waiting = select.epoll()
    for connection in connections:
        waiting.register(connection, select.EPOLLIN)
    by_number = {connection.fileno(): connection for connection in connections}
    partial: dict[int, bytes] = {}
    requests = itertools.islice(itertools.cycle(what.requests), exchanges)
    try:
        begin = perf_counter()
        for connection in connections:
            connection.send(next(requests))
        left = exchanges
        while left:
            for number, _ in waiting.poll(TIMEOUT_S) or _silence(server):
                connection = by_number[number]
                reply = partial.pop(number, b"") + _received(connection)
                if what.check(reply):
                    left -= 1
                    if request := next(requests, None):
                        connection.send(request)
                else:
                    partial[number] = reply
        return exchanges / (perf_counter() - begin)
    finally:
        waiting.close()
        for connection in connections:
            connection.close()


@dataclass(frozen=True)
class LoopCheck:
    """PINGs a second of `closed_loop` and of redis-benchmark, and the part of one core that `closed_loop` uses."""

    loop_per_s: float
    redis_benchmark_per_s: float
    loop_core_share: float


def check_closed_loop(server: Server, exchanges: int, rounds: int = 5) -> LoopCheck:
    """Measured with the cheapest command. Medians of interleaved rounds."""
    ping = exchange([[("PING",)]], rb"\+PONG\r\n")
    loop, redis_bench, shares = [], [], []
    for _ in range(rounds):
        busy_s = process_time()
        loop.append(closed_loop(server, ping, exchanges))
        shares.append((process_time() - busy_s) * loop[-1] / exchanges)
        redis_bench.append(redis_benchmark(server, "PING", requests=exchanges))
    return LoopCheck(median(loop), median(redis_bench), median(shares))


def one_client(server: Server, what: Exchange, exchanges: int) -> float:
    """The median time of an exchange, in microseconds, of a single client."""
    times_ns = []
    with _connect(server) as connection:
        for request in itertools.islice(itertools.cycle(what.requests), exchanges):
            begin = perf_counter_ns()
            connection.send(request)
            reply = _received(connection)
            while not what.check(reply):
                reply += _received(connection)
            times_ns.append(perf_counter_ns() - begin)
    return median(times_ns) / 1000


def _connect(server: Server) -> socket.socket:
    connection = socket.create_connection((server.endpoint.host, server.port), TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(4096)
    if not data:
        raise LauncherError("a server closed a connection under load")
    return data


def _silence(server: Server) -> list[tuple[int, int]]:
    raise LauncherError(f"{server} has not replied for {TIMEOUT_S} s")
