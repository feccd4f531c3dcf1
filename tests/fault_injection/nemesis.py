# SPDX-License-Identifier: Apache-2.0
"""The nemesis causes faults at random, from a seed, and in the end waits until the chain is whole again.

One member always stays that has all data, that no fault strikes, and that all others reach. Under this condition no
committed write may be lost.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from random import Random
from threading import Event
from time import monotonic
from typing import Self

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.protocol.errors import MemberError, StoreError
from chainredis.protocol.reconfiguration import Configuration
from chainredis.transport.waiting import WaitTimeout, wait_until
from fault_injection.history import History
from fault_injection.kinds import Fault
from integration.helpers import state

AT_ONCE = 3
PAUSES_S = (0.02, 0.4)
NEWCOMERS_SHARE = 0.25
TRY_AGAIN_S = 0.1
WHOLE_WITHIN_S = 60


class Nemesis:
    """A context manager for the time of the faults. All servers of the cluster except for masters must be members.

    timeout_s: the heartbeat timeout in seconds, by which the time of faults is measured.
    """

    def __init__(
        self, cluster: Cluster, dice: Random, history: History, menu: Sequence[type[Fault]], timeout_s: float
    ) -> None:
        self.struck = 0
        self._cluster = cluster
        self._dice = dice
        self._history = history
        self._menu = menu
        self._timeout_s = timeout_s
        self._active: dict[Fault, float] = {}  # with the time at which each must end
        # Members that a fault has struck, and that are not known to serve again.
        self._returning: dict[Server, Future[None]] = {}
        self._refusals: dict[Server, str] = {}
        self._given_up = Event()
        self._pool = ThreadPoolExecutor(len(cluster.servers))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Wake all servers, whatever has happened, so that they can be stopped."""
        self._given_up.set()
        with ExitStack() as stack:
            stack.callback(self._pool.shutdown)
            for fault in list(self._active):
                stack.callback(self._heal, fault)

    def torment(self, seconds: float) -> None:
        until = monotonic() + seconds
        while monotonic() < until:
            now = monotonic()
            for fault in [fault for fault, end in self._active.items() if end <= now]:
                self._heal(fault)
            self._look_after()
            if len(self._active) < AT_ONCE:
                self._strike()
            self._given_up.wait(self._dice.uniform(*PAUSES_S))

    def make_whole(self) -> None:
        """End all faults. Raises AssertionError unless all servers are members and serve within the time limit."""
        for fault in list(self._active):
            self._heal(fault)
        try:
            wait_until(self._is_all_whole, WHOLE_WITHIN_S, 0.05)
        except WaitTimeout:
            raise AssertionError(self._complaint()) from None
        self._history.note("whole")

    # --------------------------------------------------------------------------------------------------- faults

    def _strike(self) -> None:
        kind = self._dice.choice(self._menu)
        candidates = self._candidates(kind)
        most = min(kind.most, len(candidates))
        if most < kind.least or any(fault.alone_in == kind.alone_in != "" for fault in self._active):
            return
        fault = kind(self._cluster, self._dice.sample(candidates, self._dice.randint(kind.least, most)), self._dice)
        self._history.note(f"strikes: {fault}")
        self._active[fault] = monotonic() + self._dice.uniform(*kind.lasts) * self._timeout_s
        self.struck += 1
        fault.strike()

    def _candidates(self, kind: type[Fault]) -> list[Server]:
        """The members that a fault may strike: all sound members but one, or sometimes members that are coming back."""
        if kind.suits_newcomers and self._dice.random() < NEWCOMERS_SHARE:
            # While the master hangs, a member that seems to be coming back may be the last with all data.
            return [each for each in self._returning if each not in self._befallen and not self._counts(each)]
        sound = self._sound()
        return self._dice.sample(sound, max(0, len(sound) - 1)) if kind.spares_one else sound

    @property
    def _befallen(self) -> set[Server]:
        return {victim for fault in self._active for victim in fault.victims}

    def _heal(self, fault: Fault) -> None:
        self._history.note(f"ends: {fault}")
        fault.heal()
        del self._active[fault]
        for victim in fault.victims:
            self._take_back(victim)

    def _sound(self) -> list[Server]:
        """The members that certainly have all data and that no fault has struck."""
        unsound = self._befallen | self._returning.keys()
        configuration = self._stored()
        if configuration is None:
            return []
        return [each for each in self.members if each not in unsound and _is_complete(each, configuration)]

    # -------------------------------------------------------------------------------------- members that return

    def _look_after(self) -> None:
        """Note members that serve again, and bring back members that the master has taken out of the chain."""
        for server in [server for server, future in self._returning.items() if future.done()]:
            self._returning.pop(server).result()
            self._history.note(f"whole: {server.folder.name}")
        if not self._active:
            for server in self.members:
                if server not in self._returning and not self._is_whole(server):
                    self._take_back(server)

    def _take_back(self, server: Server) -> None:
        if server not in self._returning:
            self._returning[server] = self._pool.submit(self._bring_back, server)

    def _bring_back(self, server: Server) -> None:
        """Add the server to the chain as an operator does, again and again until it succeeds."""
        while not self._is_whole(server) and not self._given_up.is_set():
            try:
                endpoint = self._cluster.endpoint_of(server)
                self._cluster.command("MASTER.ADD", endpoint.host, endpoint.port)
            except LauncherError as error:
                self._refusals[server] = str(error)
            self._given_up.wait(TRY_AGAIN_S)

    def _is_whole(self, server: Server) -> bool:
        configuration = self._stored()
        return configuration is not None and _is_complete(server, configuration)

    def _counts(self, server: Server) -> bool:
        """Whether the member has all data. It may not know the newest view, if the master died before it told it."""
        configuration = self._stored()
        with suppress(MemberError):
            complete = {each.run_id for each in configuration.complete} if configuration else set()
            return state(server).run_id in complete
        return False

    def _is_all_whole(self) -> bool:
        self._look_after()
        return not self._returning and all(self._is_whole(server) for server in self.members)

    # ------------------------------------------------------------------------------------------- reading states

    @property
    def members(self) -> list[Server]:
        return [server for server in self._cluster.servers if server not in self._cluster.masters]

    def _stored(self) -> Configuration | None:
        """The configuration that the master has stored, whether the master lives or not."""
        with suppress(StoreError):
            return self._cluster.stored()
        return None

    def _complaint(self) -> str:
        lines = [f"not whole within {WHOLE_WITHIN_S} s. The master's: {self._stored()}"]
        for server in self.members:
            try:
                seen = str(state(server))
            except MemberError as error:
                seen = str(error)
            lines.append(f"{server}: {seen}; last refusal: {self._refusals.get(server)}")
        return "\n".join(lines)


def _is_complete(server: Server, configuration: Configuration) -> bool:
    """Whether the server serves in the newest view and is not a new tail that may lack data."""
    try:
        own = state(server)
    except MemberError:
        return False
    complete = {each.run_id for each in configuration.complete}
    return own.serving and own.epoch == configuration.view.epoch and own.run_id in complete
