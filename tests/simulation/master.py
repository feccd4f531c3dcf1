# SPDX-License-Identifier: Apache-2.0
"""A simulated master: the real controller, over a store that survives it, and a conversation with every member.

A conversation is a connection on which one question at a time is under way: a view to adopt, or a poll that carries a
lease. Beside it there is a lifeline. The master may be killed or stopped at any moment: between deciding and storing,
between storing and telling.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chainredis.protocol.controller import Controller
from chainredis.protocol.errors import CommandError
from chainredis.protocol.failure_detector import FailureDetector
from chainredis.protocol.leases import Leases
from chainredis.protocol.member_record import Lifeline, MemberReport
from chainredis.protocol.reconfiguration import Configuration, Event
from chainredis.protocol.repairs import Repairs
from chainredis.protocol.settings import ProtocolSettings
from chainredis.protocol.view import Member

from .clocks import Clock
from .messages import Adopt, Adopted, Poll, Refusal, Reply, Request, Stale, State
from .model import Era, require
from .names import MASTER, as_told, from_told, place_of
from .network import Link
from .operations import Operation
from .world import World

Part = Controller | FailureDetector | Leases | Repairs


def controller_with(broken: type[Part]) -> type[Controller]:
    """A controller, or one of its parts in a controller."""
    if issubclass(broken, Controller):
        return broken
    name = next(name for name, part in PARTS.items() if issubclass(broken, part))
    return type(f"With{broken.__name__}", (Controller,), {name: broken})


PARTS: dict[str, type[Part]] = {
    "detector_class": FailureDetector, "leases_class": Leases, "repairs_class": Repairs,
}  # fmt: skip


@dataclass
class Store:
    """What the master keeps on its disk."""

    configuration: Configuration | None = None
    saved: list[Configuration] = field(default_factory=list)
    epochs: set[int] = field(default_factory=set)

    def save(self, configuration: Configuration) -> None:
        """Rule 5: an epoch is used once."""
        if self.configuration is None or self.configuration.view != configuration.view:
            epoch = configuration.view.epoch
            require(not self.epochs or epoch > max(self.epochs), f"{configuration.view} reuses an epoch")
        self.configuration = configuration
        self.saved.append(configuration)
        self.epochs.add(configuration.view.epoch)

    @property
    def newest(self) -> Configuration | None:
        """Also when the store has gone back since."""
        return max(reversed(self.saved), key=lambda configuration: configuration.view.epoch, default=None)

    @property
    def has_gone_back(self) -> bool:
        return self.configuration is not None and self.configuration.view.epoch < max(self.epochs)

    def go_back(self, number: int, seen: int) -> None:
        """seen: the highest epoch that anybody was ever in. What was to come after it is no matter any more."""
        self.configuration = self.saved[number]
        newest = max(seen, self.configuration.view.epoch)
        self.saved = [configuration for configuration in self.saved if configuration.view.epoch <= newest]
        self.epochs = {epoch for epoch in self.epochs if epoch <= newest}


@dataclass
class Conversation:
    """told: the epoch of the view that it was told, while the answer to that is open."""

    link: Link
    is_waiting: bool = False
    told: int = 0


class Master:
    """One process of it."""

    run_id = "master"
    place = MASTER
    controller_class: type[Controller] = Controller
    adds_what_is_committed = True   # a master of the version before did not wait for that

    def __init__(self, world: World, store: Store, settings: ProtocolSettings, clock: Clock) -> None:
        self.world = world
        self.store = store
        self.clock = clock
        self.controller = self.controller_class(store.configuration, settings, clock.seconds())
        self.saving: Configuration | None = None
        self.begins_era: Era | None = None  # when it is saved
        self.operation: Operation | None = None
        self.is_stopped = False
        self.is_alive = True
        self._talks: dict[str, Conversation] = {}
        self._lifelines: dict[str, Link] = {}

    def __repr__(self) -> str:
        return self.run_id

    @property
    def running(self) -> bool:
        return self.is_alive and not self.is_stopped

    def die(self, luck: int) -> None:
        """A decision may have reached the store."""
        if self.saving and luck % 2:
            self._save(self.saving)
        self.is_alive = False
        self.world.network.end(self, luck % 3)

    # ---- deciding

    def decide(self, luck: int) -> None:
        """One moment: something is decided, or what was decided is stored, or that fails."""
        self.controller.detector.attend(self.clock.seconds())
        if self.saving is None:
            self.saving = self.controller.next_configuration()
            return
        if luck % 32:
            self._save(self.saving)
        self._stored(self.store.configuration)

    def _save(self, configuration: Configuration) -> None:
        self.store.save(configuration)
        if self.begins_era:
            self.world.model.expect_era(configuration.view.epoch, self.begins_era)

    def _stored(self, configuration: Configuration | None) -> None:
        self.saving = self.begins_era = None
        self.controller.stored(configuration)
        followed = {member.run_id for member in self.controller.followed}
        for run_id in [run_id for run_id in self._talks if run_id not in followed]:
            self.world.network.cut(self._talks.pop(run_id).link, 1)
        for run_id in [run_id for run_id in self._lifelines if run_id not in followed]:
            self.world.network.cut(self._lifelines.pop(run_id), 0)

    def holds(self, run_id: str) -> bool:
        """Its lifeline, as far as this master knows."""
        return run_id in self._lifelines

    def propose(self, event: Event) -> bool:
        """For an operator. False: that cannot be now."""
        if self.saving:
            return False
        try:
            self.saving = self.controller.propose(event)
        except CommandError:
            return False
        return True

    # ---- talking

    def talk(self, number: int) -> Member | None:
        """Something to one of the members, if it does not owe an answer."""
        self.controller.detector.attend(self.clock.seconds())
        followed = self.controller.followed
        if not followed:
            return None
        member = followed[number % len(followed)]
        self.talk_to(member)
        return member

    def talk_to(self, member: Member) -> None:
        if member.run_id not in self._lifelines and self.controller.knows_view(member.run_id):
            self._hold(member)
        talk = self._talks.get(member.run_id)
        if talk is None:
            self._connect(member)
        elif not talk.is_waiting:
            talk.link.requests.append(self._question(member, talk))
            talk.is_waiting = True

    def _question(self, member: Member, talk: Conversation) -> Request:
        view = self.controller.view_to_tell(member.run_id)
        if view:
            require(view.epoch in self.store.epochs, f"{view} is told before it is stored")
            talk.told = view.epoch
            return Adopt(as_told(view))
        lease = self.controller.lease_to_grant(member.run_id)
        return Poll(lease.epoch, lease.stamp_ms, lease.length_ms) if lease else Poll(0, 0, 0)

    def _connect(self, member: Member) -> None:
        place = self.world.places[place_of(member.run_id)]
        process = place.process
        if not self.world.network.reaches(self.place, place.number):
            return
        if process is None or process.has_left_its_port:
            self.controller.detector.refused(member.run_id)
        elif process.running and process.run_id != member.run_id:
            self.controller.detector.replaced(member.run_id)
        elif process.running:
            self._talks[member.run_id] = Conversation(self.world.network.connect(self, process))

    def _hold(self, member: Member) -> None:
        """At a port of its own, which it does not leave."""
        place = self.world.places[place_of(member.run_id)]
        process = place.process
        if process is None or not process.running or process.run_id != member.run_id:
            return
        if self.world.network.reaches(self.place, place.number):
            self._lifelines[member.run_id] = self.world.network.connect(self, process, is_lifeline=True)
            self.controller.detector.lifeline(member.run_id, Lifeline.HELD)

    # ---- hearing

    def on_reply(self, link: Link, reply: Reply) -> None:
        talk = self._talks.get(link.peer.run_id)
        if talk and talk.link is link:
            self._on_answer(link.peer.run_id, talk, reply)
        elif self.operation:
            self.operation.on_reply(link, reply)

    def _on_answer(self, run_id: str, talk: Conversation, reply: Reply) -> None:
        talk.is_waiting = False
        now = self.clock.seconds()
        if isinstance(reply, State):
            self.controller.detector.answered(run_id, report(reply), now)
        elif isinstance(reply, Adopted):
            self.controller.detector.adopted(run_id, reply.epoch, now)
        elif isinstance(reply, Stale):
            require(reply.view.epoch in self.store.epochs, f"{run_id} has a view that was never stored: {reply.view}")
            self.controller.superseded(from_told(reply.view))
        elif isinstance(reply, Refusal):
            self.controller.cannot_feed(run_id, talk.told)

    def on_lost(self, link: Link, dropped: bool) -> None:
        run_id = link.peer.run_id
        if self._lifelines.get(run_id) is link:
            del self._lifelines[run_id]
            self.controller.detector.attend(self.clock.seconds())
            self.controller.detector.lifeline(run_id, Lifeline.ENDED if dropped else Lifeline.NONE)
            return
        talk = self._talks.get(run_id)
        if talk and talk.link is link:
            del self._talks[run_id]
            self.controller.detector.attend(self.clock.seconds())
            if dropped:
                self.controller.detector.dropped(run_id)
        elif self.operation:
            self.operation.on_lost(link)

    def on_request(self, link: Link, request: Request) -> None:
        raise AssertionError("nobody has a connection to a master")

    def on_room(self) -> None:
        pass


def report(reply: State) -> MemberReport:
    durable = reply.record.durable and reply.record.epoch == reply.epoch
    return MemberReport(reply.epoch, reply.serving, reply.stamp_ms, reply.broken_links, durable, applied=reply.applied,
                    committed=reply.committed, longest_lease_ms=reply.longest_lease_ms)
