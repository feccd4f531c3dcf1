# SPDX-License-Identifier: Apache-2.0
"""Members without servers: what a coordinator would see of a fleet, every call recorded, failures on demand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Condition

from chainredis.protocol.errors import (
    Closed,
    Loading,
    NotAMember,
    OtherProcess,
    Refused,
    Rejected,
    Silent,
    Stale,
    StoreError,
    TooFar,
)
from chainredis.protocol.leases import Lease
from chainredis.protocol.member_record import SecondPort
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Endpoint, Member, View
from chainredis.storage.view_store import MemoryStore
from chainredis.transport.member_state import MemberState, Progress

ALONE = MemberState("", "alone", "", 0, -1, -1, True, False, 0, "", "", -1)


def run_id(number: int) -> str:
    """Of the server on that port, unless a test says otherwise."""
    return f"{number:040x}"


class FakeProcess:
    """A server: its state and what it was told. `condition`: alive, loading, hung, dead or no-module."""

    def __init__(self, state: MemberState) -> None:
        self.state = state
        self.view: View | None = None
        self.secret = ""
        self.pinned = False
        self.fed = ""
        self.log_begins_at = 0
        self.address = ""  # where it is reached; empty: anywhere
        self.leases: list[Lease] = []
        self.second_ports: dict[str, SecondPort] = {}
        self.asked = 0  # how often it was asked for its state
        self._condition = "alive"
        self._suspects = False
        self._moved = Condition()

    @property
    def condition(self) -> str:
        return self._condition

    @condition.setter
    def condition(self, condition: str) -> None:
        with self._moved:
            self._condition = condition
            self._moved.notify_all()

    def die_unnoticed(self) -> None:
        self._condition = "dead"

    def hang_unnoticed(self) -> None:
        self._condition = "hung"

    def suspect(self) -> None:
        """Its watchers hear of it."""
        with self._moved:
            self._suspects = True
            self._moved.notify_all()

    def await_suspicion(self, is_over: Callable[[], bool]) -> None:
        with self._moved:
            self._moved.wait_for(lambda: self._suspects or self._condition == "dead" or is_over())
            self._suspects = False

    def await_end(self, is_over: Callable[[], bool]) -> bool:
        """False: it is over without."""
        with self._moved:
            self._moved.wait_for(lambda: self._condition == "dead" or is_over())
            return self._condition == "dead"

    def wake_watchers(self) -> None:
        with self._moved:
            self._moved.notify_all()

    def adopt(self, view: View) -> None:
        mine = replace(self.state, history=view.history, epoch=view.epoch, join="")
        place = next((i for i, member in enumerate(view.members) if member.run_id == self.state.run_id), None)
        self.view, self.secret, self.fed = view, view.secret, ""
        role = "removed" if place is None else "head" if place == 0 else "tail"
        self.state = replace(mine, role=role, serving=place == 0, committed=self.state.applied)


@dataclass
class FakeFleet:
    """All servers by port on one host. `events` lists what was stored and told, in order, as `verb:port`.

    fail_at: the event at which `failure` is raised instead, again and again until it is cleared.
    """

    processes: dict[int, FakeProcess] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    fail_at: str = ""
    failure: Callable[[], BaseException] = lambda: Silent("injected: no answer")
    open_links: set["FakeLink"] = field(default_factory=set)
    open_lines: set["FakeLine"] = field(default_factory=set)
    on_adopt: Callable[[View], None] = lambda view: None
    never_copied: int = 0  # the port of one whose copies take for ever

    def start(self, port: int, identity: int | None = None, **fields: str | int | bool) -> FakeProcess:
        """A process with these fields of its state. Whoever had the port before has ended."""
        if port in self.processes:
            self.processes[port].condition = "dead"
        role = "removed" if fields.get("history") else "alone"
        state = replace(ALONE, run_id=run_id(identity or port), role=role, lifeline=port, **fields)  # type: ignore[arg-type]
        self.processes[port] = FakeProcess(state)
        return self.processes[port]

    def kill(self, *ports: int) -> None:
        """At once: when the first death is noticed, all are dead. The others' connections to them are dropped."""
        victims = [self.processes[port] for port in ports]
        for victim in victims:
            victim.die_unnoticed()
        for victim in victims:
            for process in self.processes.values():
                trouble = f"{process.state.unreached} {victim.state.run_id}:0:1".strip()
                process.state = replace(process.state, unreached=trouble)
            victim.wake_watchers()

    def shake_hands(self) -> None:
        """Who has adopted the same view as its predecessor serves in it."""
        states = {process.state.run_id: process.state for process in self.processes.values()}
        for process in self.processes.values():
            names = [member.run_id for member in process.view.members] if process.view else []
            place = names.index(process.state.run_id) if process.state.run_id in names else 0
            before = states.get(names[place - 1]) if place else None
            if before and before.epoch == process.state.epoch:
                process.state = replace(process.state, serving=True)

    def happens(self, event: str) -> None:
        self.events.append(event)
        if event == self.fail_at:
            raise self.failure()

    def dial(self, endpoint: Endpoint, check: Callable[[], None] = lambda: None) -> "FakeLink":
        """check: called before everything that the link does."""
        process = self.processes.get(endpoint.port)
        if process is None or process.condition == "dead":
            raise Refused(f"{endpoint}: nobody listens there")
        if process.condition == "hung":
            raise Silent(f"{endpoint}: no answer in time")
        link = FakeLink(self, endpoint.port, process, check)
        link.address = endpoint.host
        if not link.leads_there:
            link.close()
            raise Silent(f"{endpoint}: no answer in time")
        return link

    def hold(self, endpoint: Endpoint, secret: str, run_id: str) -> "FakeLine":
        process = self.processes.get(endpoint.port)
        if process is None or process.condition == "dead" or process.state.run_id != run_id:
            raise Silent(f"{endpoint}: the lifeline cannot be held")
        return FakeLine(self, endpoint.port, process)

    def held(self) -> set[int]:
        """The ports of those whose lifelines are held."""
        return {line.port for line in list(self.open_lines)}

    def changes(self) -> list[str]:
        """The events that change something, somewhere."""
        return [event for event in list(self.events) if not event.startswith("prove")]


class FakeLink:
    def __init__(self, fleet: FakeFleet, port: int, process: FakeProcess, check: Callable[[], None]) -> None:
        self._fleet, self._port, self.process, self._check = fleet, port, process, check
        self._proven = self._is_interrupted = False
        self.address = ""
        fleet.open_links.add(self)

    @property
    def leads_there(self) -> bool:
        return self.process.address in ("", self.address)

    def close(self) -> None:
        self._fleet.open_links.discard(self)

    def interrupt(self) -> None:
        self._is_interrupted = True
        self.process.wake_watchers()

    def _enter(self, verb: str = "", *, guarded: bool = True) -> None:
        self._check_life()
        if guarded and self.process.secret and not self._proven:
            raise Rejected(f"{self._port}: says: ERR not proven")
        if verb:
            self._fleet.happens(f"{verb}:{self._port}")

    def _check_life(self) -> None:
        self._check()
        if self._is_interrupted or self.process.condition == "dead":
            raise Closed(f"{self._port}: closed the connection")
        if self.process.condition == "hung" or not self.leads_there:
            raise Silent(f"{self._port}: no answer in time")

    def state(self, timeout_s: float | None = None) -> MemberState:
        self._check_life()
        if self.process.condition == "loading":
            raise Loading(f"{self._port}: is still loading its data: try again when it has")
        if self.process.condition == "no-module":
            raise NotAMember(f"{self._port}: is a server without libmember.so", self.process.state.run_id)
        self.process.asked += 1
        return self.process.state

    def ask(self) -> None:
        """`state` asks."""

    def poll(self, lease: Lease, second_ports: Mapping[str, SecondPort]) -> MemberState:
        self._enter()
        self.process.second_ports |= second_ports
        self.process.leases.append(lease)
        return self.state()

    def watch(self) -> str:
        self._enter()
        self.process.await_suspicion(lambda: self._is_interrupted)
        if self._is_interrupted or self.process.condition == "dead":
            raise Closed(f"{self._port}: closed the connection")
        return self.process.state.unreached

    def prove(self, secret: str, run_id: str) -> None:
        self._enter("prove", guarded=False)
        if not self.process.secret:
            raise Rejected(f"{self._port}: says: ERR this server has no chain's secret yet")
        if self.process.state.run_id != run_id:
            raise OtherProcess(f"{self._port}: another process answers there now")
        if self.process.secret != secret:
            raise Rejected(f"{self._port}: does not know this chain's secret, but perhaps another's")
        self._proven = True

    def adopt(self, view: View) -> None:
        self._enter("adopt")
        self._fleet.on_adopt(view)
        state = self.process.state
        if state.applied >= 0 and state.history not in ("", view.history):
            raise Rejected(f"{self._port}: says: ERR other history")
        if state.history == view.history and state.epoch > view.epoch:
            assert self.process.view
            raise Stale(f"{self._port}: is in a newer view", self.process.view)
        self.process.adopt(view)
        self._fleet.shake_hands()

    def announce(self, view: View) -> None:
        """Nothing happens: no link is idle here."""

    def pin(self, applied: int | None = None, assigned: int = -1) -> None:
        self._enter("pin")
        first = 0 if applied is None else applied + 1
        if applied is not None and first < self.process.log_begins_at:
            raise TooFar(f"{self._port}: its log does not go back to sn {first}")
        self.process.pinned = True
        self.process.state = replace(self.process.state, pinned=first)

    def join(self, view: View) -> None:
        self._enter("join")
        self._learn(view)
        tail = self._fleet.processes[view.tail.port].state
        self.process.state = replace(self.process.state, applied=tail.applied, assigned=tail.assigned)

    def rejoin(self, view: View) -> None:
        self._enter("rejoin")
        self._learn(view)

    def _learn(self, view: View) -> None:
        process = self.process
        process.secret, process.view = view.secret, view
        join = "copying" if self._port == self._fleet.never_copied else "copied"
        process.state = replace(
            process.state, role="learner", history=view.history, epoch=view.epoch, join=join, keys=0, serving=False
        )

    def branch(self, history: str, *, incomplete: bool) -> None:
        self._enter("branch INCOMPLETE" if incomplete else "branch")
        self.process.state = replace(self.process.state, history=history)

    def feed(self, learner: Member) -> None:
        self._enter("feed")
        self.process.fed = learner.run_id
        self.process.state = replace(self.process.state, streaming=True)
        fed = self._fleet.processes[learner.port]
        fed.state = replace(fed.state, applied=self.process.state.applied)

    def unpin(self) -> None:
        self._enter("unpin")
        self.process.pinned, self.process.fed = False, ""
        self.process.state = replace(self.process.state, pinned=-1, streaming=False)

    def unjoin(self) -> None:
        self._enter("unjoin")
        if self.process.state.join != "copied":
            self.process.state = replace(self.process.state, join="failed")

    def feeds_replica(self) -> bool:
        return True

    def progress(self) -> Progress:
        return Progress(-1, -1, self.process.state.applied, 0, 0)


class FakeLine:
    """Nobody but who ends closes it."""

    def __init__(self, fleet: FakeFleet, port: int, process: FakeProcess) -> None:
        self._fleet, self.port, self._process = fleet, port, process
        self._is_interrupted = False
        fleet.open_lines.add(self)

    def await_end(self) -> None:
        if self._process.await_end(lambda: self._is_interrupted):
            raise Closed(f"{self.port}: the lifeline has ended")
        raise Silent(f"{self.port}: the lifeline was let go of")

    def is_refused(self, port: int) -> bool:
        return self._fleet.processes[port].condition == "dead"

    def interrupt(self) -> None:
        self._is_interrupted = True
        self._process.wake_watchers()

    def close(self) -> None:
        self._fleet.open_lines.discard(self)


class RecordingStore(MemoryStore):
    """Notes `save:epoch` among the fleet's events; `broken` fails before anything is written."""

    def __init__(self, fleet: FakeFleet) -> None:
        super().__init__()
        self._fleet = fleet
        self.broken = self.is_certain = False

    def save(self, configuration: Configuration) -> None:
        if self.broken:
            raise StoreError("cannot write: the disk is full")
        self._fleet.happens(f"save:{configuration.view.epoch}")
        super().save(configuration)
