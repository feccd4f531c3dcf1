# SPDX-License-Identifier: Apache-2.0
"""Clients that write at the head and read at the tail without a pause, and follow the chain as a good client does.

They run in a process of their own: nothing else that the benchmark does, such as starting a server, delays them. Each
is a thread with one request under way. They use redis-py's connections without its client, and commands that are packed
beforehand: eight of them make some 40,000 exchanges a second.
"""

import contextlib
import gc
import itertools
import multiprocessing
import random
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from time import monotonic_ns
from typing import Any, NamedTuple, Self

from chainredis.benchmarks.gaps import Service, Trace
from chainredis.benchmarks.load import key
from chainredis.benchmarks.route import HEAD, TAIL, TROUBLE, Chart, Request, Route, pack
from chainredis.local_cluster.process import LauncherError
from chainredis.protocol.view import Endpoint

# A client repeats so many commands: their keys are practically random.
COMMANDS = 20_000
# Bytes that a snapshot's compression cannot make smaller.
VALUE = random.Random(0).randbytes(50).hex()
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Load:
    """The number of clients of each kind, and of keys. batch: writes that a writer sends at once.

    The last write of a batch waits for its commit, and so for the commits of all before it.
    """

    writers: int = 4
    readers: int = 4
    keys: int = 1_000
    batch: int = 1


class Recording(NamedTuple):
    """The requests of all clients, from the beginning of the load to its end."""

    writers: Service
    readers: Service


class RunningLoad:
    """Clients at work on the chain of these endpoints, head first. A context manager; `stop` returns the recording.

    LauncherError if the clients' process fails.
    """

    def __init__(self, endpoints: Sequence[Endpoint], load: Load) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, its_end = context.Pipe()
        self._process = context.Process(target=_work, args=(its_end, endpoints, load), daemon=True)
        self._process.start()
        its_end.close()

    def __enter__(self) -> Self:
        self._receive(READY_TIMEOUT_S)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pipe.close()
        self._process.join(STOP_TIMEOUT_S)
        self._process.kill()

    def stop(self) -> Recording:
        self._pipe.send("stop")
        writers, readers = self._receive(STOP_TIMEOUT_S)
        return Recording(Service(writers), Service(readers))

    def _receive(self, timeout_s: float) -> Any:
        with contextlib.suppress(EOFError):
            if self._pipe.poll(timeout_s):
                return self._pipe.recv()
        raise LauncherError("the process of the benchmark's clients has failed, or is stuck")


# ------------------------------------------------------------------------------------------- in that process


class Client:
    """A client that makes one request after the other, on a thread of its own."""

    def __init__(self, route: Route, requests: Iterable[Request]) -> None:
        self._route = route
        self._requests = requests
        self._begins = array("q")
        self._ends = array("q")

    @property
    def trace(self) -> Trace:
        return Trace(self._begins, self._ends)

    def __call__(self, stop: threading.Event) -> None:
        for request in self._requests:
            begin = monotonic_ns()
            while not self._succeeds(request):
                if stop.is_set():
                    return
            self._begins.append(begin)
            self._ends.append(monotonic_ns())
            if stop.is_set():
                return

    def _succeeds(self, request: Request) -> bool:
        try:
            self._route.ask(request)
        except TROUBLE:
            self._route.look()
            return False
        return True


def _work(pipe: Pipe, endpoints: Sequence[Endpoint], load: Load) -> None:
    """Work until the other side says stop, or has ended."""
    chart = Chart(endpoints)
    writers = [Client(Route(chart, HEAD), _writes(load, seed)) for seed in range(load.writers)]
    readers = [Client(Route(chart, TAIL), _reads(load, seed)) for seed in range(load.readers)]
    stop = threading.Event()
    threads = [threading.Thread(target=client, args=[stop], daemon=True) for client in writers + readers]
    # A garbage collection would delay all clients at once.
    gc.disable()
    for thread in threads:
        thread.start()
    with contextlib.suppress(EOFError, OSError):
        pipe.send("at work")
        pipe.recv()
        stop.set()
        for thread in threads:
            thread.join()
        pipe.send([[client.trace for client in kind] for kind in (writers, readers)])


def _writes(load: Load, seed: int) -> Iterator[Request]:
    keys = _keys(load, seed)
    batches = []
    for _ in range(COMMANDS // load.batch):
        answered_at_once = [("MEMBER.PUT", next(keys), VALUE, "bench") for _ in range(load.batch - 1)]
        batches.append(pack([*answered_at_once, ("MEMBER.PUT", next(keys), VALUE)]))
    return itertools.cycle(batches)


def _reads(load: Load, seed: int) -> Iterator[Request]:
    keys = _keys(load, seed)
    return itertools.cycle([pack([("READ", next(keys))]) for _ in range(COMMANDS)])


def _keys(load: Load, seed: int) -> Iterator[str]:
    dice = random.Random(seed)
    while True:
        yield key(dice.randrange(load.keys))
