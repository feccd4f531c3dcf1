# SPDX-License-Identifier: Apache-2.0
"""How long a master in etcd takes to repair the chain, or to carry out commands again; and what clients notice."""

import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any, NamedTuple

import redis

from chainredis.benchmarks.clients import Load, Recording, RunningLoad
from chainredis.benchmarks.gaps import NS_PER_MS, NS_PER_S, Window
from chainredis.benchmarks.report import Machine, describe
from chainredis.local_cluster.etcd_cluster import EtcdChain, start_etcd, url_of
from chainredis.local_cluster.process import LauncherError, Process
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import WaitTimeout, wait_until

MEMBERS, MASTERS, ETCD_SERVERS = 3, 2, 3
LOOK_EVERY_S = 0.001
LEAST_WINDOW_S = 0.5
SETTLE_S = 1.0
TIMEOUT_S = 120


@dataclass(frozen=True)
class Measured:
    """One measurement. ms: from the fault to the awaited event. window: of the gaps; at least that time."""

    what: str
    ms: float
    window: Window


class Case(NamedTuple):
    """One kind of fault. strike: causes it. awaited: what is waited for. heal: makes the chain whole again."""

    strike: Callable[[], None]
    awaited: Callable[[], bool]
    heal: Callable[[], None]


class Cases:
    """The faults of a chain whose masters are in etcd."""

    def __init__(self, chain: EtcdChain) -> None:
        self._chain = chain

    def all(self) -> Iterator[tuple[str, Case]]:
        """Each case has to be carried out before the next one is made."""
        yield "a member is killed, until it is out", self._lose_member(_kill)
        yield "a member hangs, until it is out", self._lose_member(Server.pause)
        yield "the leading master is killed, until a change is made", self._lose_leader(_kill)
        yield "the leading master hangs, until a change is made", self._lose_leader(Server.pause)
        yield "one of three etcd servers is killed, until a change is made", self._lose_etcd()

    def _lose_member(self, how: Callable[[Server], None]) -> Case:
        chain, victim, ask = self._chain, self._chain.members[1], _line(self._chain.leader())
        rest = [str(member.endpoint).encode() for member in chain.members if member is not victim]

        def heal() -> None:
            chain.members.remove(victim)
            _revive(victim, how)
            chain.add(victim)

        return Case(lambda: how(victim), lambda: ask("MASTER.GET_CHAIN") == rest, heal)

    def _lose_leader(self, how: Callable[[Server], None]) -> Case:
        leader = self._chain.leader()
        other = next(master for master in self._chain.masters if master is not leader)
        return self._with_change(other, lambda: how(leader), lambda: _revive(leader, how))

    def _lose_etcd(self) -> Case:
        victim = random.choice(self._chain.etcd)

        def heal() -> None:
            victim.kill()
            victim.start()

        return self._with_change(self._chain.leader(), lambda: _kill(victim), heal)

    def _with_change(self, master: Server, strike: Callable[[], None], heal: Callable[[], None]) -> Case:
        """The master removes the tail, and adds it again."""
        chain, tail, ask = self._chain, self._chain.tail, _line(master)

        def heal_all() -> None:
            heal()
            chain.members.remove(tail)
            chain.add(tail)

        return Case(strike, lambda: _accepts(ask, "MASTER.REMOVE", tail.endpoint.host, tail.port), heal_all)


def _kill(process: Process) -> None:
    """Does not wait for the end of the process: until the kernel is through with that, others have gone on."""
    process.signal(signal.SIGKILL)


def _revive(server: Server, how: Callable[[Server], None]) -> None:
    """how: what has happened to it."""
    if how is _kill:
        server.kill()  # waits for the end
        server.start()
    server.resume()


def _line(server: Server) -> Callable[..., Any]:
    """Asks the server, on one connection: a new one for each question takes two milliseconds of a processor, for which
    those wait that are measured.
    """
    ask: Callable[..., Any] = server.client(timeout_s=TIMEOUT_S).execute_command
    ask("PING")
    return ask


def _accepts(ask: Callable[..., Any], *words: str | int) -> bool:
    try:
        return bool(ask(*words) == b"OK")
    except redis.RedisError as error:
        # A master that loses its lease amid the change does not know that the change was stored.
        return "is not in the chain" in str(error)


def _carry_out(what: str, case: Case) -> Measured:
    """LauncherError if the awaited event does not come."""
    time.sleep(SETTLE_S)
    began = monotonic_ns()
    case.strike()
    try:
        wait_until(case.awaited, TIMEOUT_S, LOOK_EVERY_S)
    except WaitTimeout as error:
        raise LauncherError(f"{what}: not within {TIMEOUT_S} s") from error
    ended = monotonic_ns()
    time.sleep(max(began + LEAST_WINDOW_S * NS_PER_S - ended, 0) / NS_PER_S)
    window = Window(began, monotonic_ns())
    case.heal()
    return Measured(what, (ended - began) / NS_PER_MS, window)


@contextmanager
def running_chain(timeout_s: int) -> Iterator[EtcdChain]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chainredis-")))
        etcd = start_etcd(folder, ETCD_SERVERS)
        for server in etcd:
            stack.callback(server.kill)
        master = {"master.heartbeat-timeout": f"{timeout_s * 1000}", "master.heartbeat-interval": f"{timeout_s * 200}"}
        master["master.auto-return"] = "no"  # the cases add members themselves
        member = f"{max(1, timeout_s // 5)} {timeout_s}"
        url = url_of("bench", *etcd)
        options: dict[str, Any] = {"masters": MASTERS, "heartbeat": member, "master_config": master, "folder": folder}
        yield stack.enter_context(EtcdChain(MEMBERS, url=url, etcd=etcd, **options))


@dataclass(frozen=True)
class Measurements:
    """All times, in the order in which they were measured, and what clients got meanwhile."""

    machine: Machine
    times: list[Measured]
    recording: Recording  # of all clients, all the time


def measure(timeout_s: int, rounds: int, load: Load, only: str, progress: Callable[[str], None]) -> Measurements:
    """only: the faults whose name has this text."""
    times = []
    with running_chain(timeout_s) as chain:
        machine = describe(chain.master)
        with RunningLoad([member.endpoint for member in chain.members], load) as running:
            for number in range(rounds):
                for what, case in Cases(chain).all():
                    if only in what:
                        progress(f"{number + 1} of {rounds}: {what}")
                        times.append(_carry_out(what, case))
            return Measurements(machine, times, running.stop())
