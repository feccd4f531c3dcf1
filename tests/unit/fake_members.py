"""Members without servers: what a coordinator would see of a fleet, every call recorded, failures on demand."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from chainredis.errors import NotAMember, OtherProcess, Refused, Rejected, Silent, Stale, StoreError
from chainredis.member_client import MemberState
from chainredis.stores import MemoryStore
from chainredis.transitions import Change
from chainredis.view import Endpoint, Member, View

ALONE = MemberState("", "alone", "", 0, -1, -1, True, False, 0, "", "", -1)


def run_id(number: int) -> str:
    """Of the server on that port, unless a test says otherwise."""
    return f"{number:040x}"


@dataclass
class FakeProcess:
    """A server: its state and what it was told. `condition` is what a connection attempt meets."""

    state: MemberState
    condition: str = "alive"  # alive, hung, dead, no-module
    view: View | None = None
    secret: str = ""
    pinned: bool = False
    fed: str = ""

    def adopt(self, view: View) -> None:
        mine = replace(self.state, history=view.history, epoch=view.epoch, serving=True, join="")
        place = next((i for i, member in enumerate(view.members) if member.run_id == self.state.run_id), None)
        self.view, self.secret, self.fed = view, view.secret, ""
        role = "removed" if place is None else "head" if place == 0 else "tail"
        self.state = replace(mine, role=role, serving=place is not None)


@dataclass
class FakeFleet:
    """All servers by port on one host. `events` lists what was stored and told, in order, as `verb:port`.

    fail_at: the event at which `failure` is raised instead, again and again until it is cleared.
    """

    processes: dict[int, FakeProcess] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    fail_at: str = ""
    failure: Callable[[], BaseException] = lambda: Silent("injected: no answer")
    open_links: int = 0
    on_adopt: Callable[[View], None] = lambda view: None

    def start(self, port: int, identity: int | None = None, *, history: str = "", keys: int = 0) -> FakeProcess:
        state = replace(ALONE, run_id=run_id(identity or port), history=history, keys=keys)
        self.processes[port] = FakeProcess(replace(state, role="removed") if history else state)
        return self.processes[port]

    def happens(self, event: str) -> None:
        self.events.append(event)
        if event == self.fail_at:
            raise self.failure()

    def dial(self, endpoint: Endpoint) -> "FakeLink":
        process = self.processes.get(endpoint.port)
        if process is None or process.condition == "dead":
            raise Refused(f"{endpoint}: nobody listens there")
        if process.condition == "hung":
            raise Silent(f"{endpoint}: no answer in time")
        return FakeLink(self, endpoint.port, process)

    def changes(self) -> list[str]:
        """The events that change something, somewhere."""
        return [event for event in self.events if not event.startswith("prove")]


class FakeLink:
    def __init__(self, fleet: FakeFleet, port: int, process: FakeProcess) -> None:
        self._fleet, self._port, self.process = fleet, port, process
        self._proven = False
        fleet.open_links += 1

    def close(self) -> None:
        self._fleet.open_links -= 1

    def _enter(self, verb: str, *, guarded: bool = True) -> None:
        if self.process.condition in ("dead", "hung"):
            raise Silent(f"{self._port}: the connection failed")
        if guarded and self.process.secret and not self._proven:
            raise Rejected(f"{self._port}: says: ERR not proven")
        self._fleet.happens(f"{verb}:{self._port}")

    def state(self) -> MemberState:
        if self.process.condition == "no-module":
            raise NotAMember(f"{self._port}: is a server without libmember.so", self.process.state.run_id)
        if self.process.condition != "alive":
            raise Silent(f"{self._port}: the connection failed")
        return self.process.state

    def prove(self, secret: str, run_id: str) -> None:
        self._enter("prove", guarded=False)
        if not self.process.secret:
            raise Rejected(f"{self._port}: says: ERR has no secret")
        if (self.process.secret, self.process.state.run_id) != (secret, run_id):
            raise OtherProcess(f"{self._port}: another process answers there now")
        self._proven = True

    def adopt(self, view: View) -> None:
        self._enter("adopt")
        self._fleet.on_adopt(view)
        state = self.process.state
        if state.history and state.history != view.history:
            raise Rejected(f"{self._port}: says: ERR other history")
        if state.history and state.epoch > view.epoch:
            raise Stale(f"{self._port}: is in a newer view")
        self.process.adopt(view)

    def pin(self) -> None:
        self._enter("pin")
        self.process.pinned = True
        self.process.state = replace(self.process.state, pinned=0)

    def join(self, view: View) -> None:
        self._enter("join")
        process = self.process
        process.secret, process.view = view.secret, view
        process.state = replace(
            process.state, role="learner", history=view.history, epoch=view.epoch, join="copied", keys=0, serving=False
        )

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

    def progress(self) -> tuple[int, ...]:
        return (self.process.state.applied,)


class RecordingStore(MemoryStore):
    """Notes `save:epoch` among the fleet's events; `broken` fails before anything is written."""

    def __init__(self, fleet: FakeFleet) -> None:
        super().__init__()
        self._fleet = fleet
        self.broken = False

    def save(self, change: Change) -> None:
        if self.broken:
            raise StoreError("cannot write: the disk is full")
        self._fleet.happens(f"save:{change.view.epoch}")
        super().save(change)
