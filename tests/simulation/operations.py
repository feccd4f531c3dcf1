# SPDX-License-Identifier: Apache-2.0
"""What an operator has a master do: additions, which take many steps, and decisions, which take one.

An addition is a generator: each `yield` is a moment at which anything else may happen. Its requests go over
connections of its own, and it is off when one of them breaks.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from chainredis.protocol.reconfiguration import Add, Begin, Configuration, Form, Reform, Remove, Returned
from chainredis.protocol.view import Kind, View
from core_extension.core import Role

from .messages import Adopt, Done, Feed, Join, Pin, Poll, Rejoin, Reply, Request, State, Unpin
from .model import Era
from .names import as_told, member_of, place_of
from .network import Link

if TYPE_CHECKING:
    from .master import Master
    from .node import Node
    from .world import Place, World

Plan = Generator[None, None, None]
Asking = Generator[None, None, Reply]

HISTORY_BYTES = 16
PATIENCE = 100  # how often an addition looks whether it gets on


class OffError(Exception):
    """The addition has ended early. The chain is as it was."""


class Operation:
    """An addition under way."""

    def __init__(self, master: Master, newcomer: Place) -> None:
        self._master = master
        self._links: dict[Link, Reply | None] = {}
        self._plan = self._add(newcomer)

    # ---- steps

    def step(self) -> None:
        try:
            next(self._plan)
        except (StopIteration, OffError):
            self.end()

    def give_up(self) -> None:
        try:
            self._plan.throw(OffError())
        except (StopIteration, OffError):
            self.end()

    def end(self) -> None:
        for link in self._links:
            self._master.world.network.cut(link, 4)
        self._links = {}
        self._master.operation = None

    # ---- talking

    @property
    def places(self) -> list[int]:
        return [link.peer.place for link in self._links]

    def on_reply(self, link: Link, reply: Reply) -> None:
        if link in self._links:
            self._links[link] = reply

    def on_lost(self, link: Link) -> None:
        self._links.pop(link, None)

    def _connect(self, place: Place) -> Link:
        network = self._master.world.network
        if not place.process or not place.process.running or not network.reaches(self._master.place, place.number):
            raise OffError
        link = network.connect(self._master, place.process)
        self._links[link] = None
        return link

    def _ask(self, link: Link, request: Request) -> Asking:
        if link not in self._links:
            raise OffError
        self._links[link] = None
        link.requests.append(request)
        while (reply := self._links[link]) is None:
            yield
            if link not in self._links:
                raise OffError
        return reply

    def _demand(self, link: Link, request: Request) -> Asking:
        reply = yield from self._ask(link, request)
        if not isinstance(reply, Done):
            raise OffError
        return reply

    def _look(self, link: Link) -> Generator[None, None, State]:
        reply = yield from self._ask(link, Poll(0, 0, 0))
        assert isinstance(reply, State)
        return reply

    # ---- MASTER.ADD

    def _add(self, place: Place) -> Plan:
        controller = self._master.controller
        if not controller.configuration or not controller.is_settled or not place.process:
            raise OffError
        view, run_id = controller.configuration.view, place.process.run_id
        newcomer = self._connect(place)
        tail = self._connect(self._master.world.places[place_of(view.tail.run_id)])
        if view.member(run_id) or tail.peer.run_id != view.tail.run_id:
            raise OffError
        try:
            yield from self._bring_in(newcomer, tail, view)
            while self._master.saving:
                yield
            if not self._is_open_for(view) or not self._master.propose(Add(member_of(run_id))):
                raise OffError
        except OffError:
            yield from self._ask(tail, Unpin())
            raise
        while self._is_under_way(run_id):
            yield

    def _is_open_for(self, view: View) -> bool:
        configuration = self._master.controller.configuration
        return configuration is not None and configuration.view == view

    def _is_under_way(self, run_id: str) -> bool:
        master = self._master
        return not master.controller.is_settled and (master.saving is not None or master.controller.has(run_id))

    def _bring_in(self, newcomer: Link, tail: Link, view: View) -> Plan:
        is_resumed = yield from self._resume(newcomer, tail, view)
        if not is_resumed:
            yield from self._copy(newcomer, tail, view)
        came_with = -1
        if self._master.adds_what_is_committed:
            came_with = (yield from self._look(newcomer)).applied
        yield from self._demand(tail, Feed(newcomer.peer.run_id))
        for _ in range(PATIENCE):
            at_tail = yield from self._look(tail)
            at_newcomer = yield from self._look(newcomer)
            if at_tail.epoch != view.epoch or at_tail.pinned < 0:
                raise OffError
            keeps_up = at_newcomer.applied >= at_tail.applied
            if at_tail.streaming and keeps_up and at_tail.committed >= came_with:
                return
        raise OffError

    def _resume(self, newcomer: Link, tail: Link, view: View) -> Generator[None, None, bool]:
        state = yield from self._look(newcomer)
        if state.history != bytes.fromhex(view.history):
            return False
        if state.role == Role.LEARNER and state.join != "copied":
            return False
        if state.role not in (Role.REMOVED, Role.LEARNER):
            yield from self._ask(newcomer, Adopt(as_told(view)))
            state = yield from self._look(newcomer)  # it may have taken writes until then
        pinned = yield from self._ask(tail, Pin((state.applied, state.assigned)))
        if not isinstance(pinned, Done):
            return False
        resumed = yield from self._ask(newcomer, Rejoin(as_told(view)))
        return isinstance(resumed, Done)

    def _copy(self, newcomer: Link, tail: Link, view: View) -> Plan:
        yield from self._demand(tail, Pin(None))
        yield from self._demand(newcomer, Join(as_told(view)))
        for _ in range(PATIENCE):
            state = yield from self._look(newcomer)
            if state.join == "failed":
                raise OffError
            if state.join == "copied":
                return
            if (yield from self._look(tail)).pinned < 0:
                raise OffError
        raise OffError


# --------------------------------------------------------------------------------------------------- decisions


def remove(master: Master, number: int) -> None:
    configuration = master.controller.configuration
    if configuration:
        members = configuration.view.members
        master.propose(Remove(members[number % len(members)], master.controller.detector.health()))


def form(master: Master, number: int) -> None:
    """One survivor is to be the chain: a member, or when all of them are dead whoever has data."""
    controller, view = master.controller, master.controller.known_view
    if not view or (controller.is_outdated and not controller.newer):
        return
    nodes = [node for node in master.world.nodes.values() if _answers(master, node)]
    survivors = [node for node in nodes if _has_data_of(node, view) and _is_saved(node)]
    if controller.is_outdated:
        survivors = _most_informed(master, survivors)
    if survivors:
        survivor = survivors[number % len(survivors)]
        if not view.member(survivor.run_id) and not _is_dead(master):
            return
        event = Form(member_of(survivor.run_id), _newest_epoch(survivor), controller.detector.health())
        is_loss = controller.is_outdated or not view.member(survivor.run_id)
        if master.propose(event) and is_loss:
            master.begins_era = Era.MAY_LOSE


def _newest_epoch(node: Node) -> int:
    """The newest epoch that the process or its data knows."""
    return max(node.core.epoch, node.record.epoch, node.core.position().assigned)


def _most_informed(master: Master, survivors: list[Node]) -> list[Node]:
    """Candidates when the store has gone back: those in the newest view that a living member is in, if there are some.
    Who has left may know a newer one. Empty while the master has not heard a living member.
    """
    followed = {member.run_id: master.world.nodes.get(member.run_id) for member in master.controller.followed}
    detector = master.controller.detector
    if any(node and detector.member_status(run_id).word == "silent" for run_id, node in followed.items()):
        return []
    newest = max((node.core.epoch for node in followed.values() if node and node.core.me >= 0), default=0)
    return [node for node in survivors if node.core.me >= 0 and node.core.epoch == newest] or survivors


def _has_data_of(node: Node, view: View) -> bool:
    return node.core.history == bytes.fromhex(view.history) and node.core.role() != Role.LEARNER


def _is_saved(node: Node) -> bool:
    """No simulated disk has effects that are in no log, and a durable member leads only with what its disk has."""
    return not (node.server.has_diverged and node.saves)


def _is_dead(master: Master) -> bool:
    """As an operator makes sure where the master trusts no port that refuses, and where it has believed one without a
    lifeline; otherwise that is left to it.
    """
    alive = [member.run_id for member in master.controller.followed if member.run_id in master.world.nodes]
    if not master.controller.detector.settings.trust_refused:
        return not alive
    believed = master.controller.detector.health().dead
    return all(run_id not in believed or master.holds(run_id) for run_id in alive)


def _answers(master: Master, node: Node) -> bool:
    return node.reachable and master.world.network.reaches(master.place, node.place)


def reform(master: Master) -> None:
    """The whole chain is dead. It is formed again from the records of processes that are back, if that is safe."""
    controller, configuration = master.controller, master.controller.configuration
    if configuration and controller.is_lost:
        returned = returned_of(master, configuration.view)
        if master.propose(Reform(returned, controller.detector.health())):
            assert master.saving
            chosen = master.saving.view.head.run_id
            is_durable = any(each.durable for each in returned if each.member.run_id == chosen)
            master.begins_era = Era.KEEPS_ALL if is_durable else Era.MAY_LOSE
            nodes = master.world.nodes
            places = [place_of(member.run_id) for member in configuration.view.members]
            master.world.model.check_chosen(nodes[chosen], [node for node in nodes.values() if node.place in places])


def returned_of(master: Master, view: View) -> tuple[Returned, ...]:
    """The processes that are back at the members' addresses."""
    found = []
    for member in view.members:
        node = master.world.places[place_of(member.run_id)].process
        if node and _answers(master, node) and node.core.role() == Role.REMOVED and _has_data_of(node, view):
            position, record = node.core.position(), node.record
            found.append(Returned(member_of(node.run_id), record.run_id, record.epoch, record.durable,
                                  position.assigned, position.applied))
    return tuple(found)


def begin(master: Master, number: int) -> None:
    """Adds the first member of a chain, or of a new history if nothing of the old chain is left to save."""
    controller, world, configuration = master.controller, master.world, master.controller.configuration
    if master.operation or master.saving:
        return
    if configuration and (not controller.is_lost or has_data_left(world, configuration) or not _is_dead(master)):
        return
    fit = [node for node in world.nodes.values() if (_is_blank(node) or _is_backup(node)) and _answers(master, node)]
    if fit:
        newcomer = fit[number % len(fit)]
        random = number.to_bytes(8, "big") + world.model.moment().to_bytes(2 * HISTORY_BYTES - 8, "big")
        assigned = 0
        if _is_backup(newcomer):
            newcomer.branch(random[:HISTORY_BYTES])
            assigned = newcomer.core.position().assigned
        event = Begin(member_of(newcomer.run_id), random, controller.detector.health(), empty_of(master), assigned,
                      Kind.ALL if world.all_commands else Kind.PUT)
        if master.propose(event):
            master.begins_era = Era.MAY_LOSE


def _is_blank(node: Node) -> bool:
    return node.core.role() == Role.ALONE or (node.core.role() == Role.REMOVED and node.core.applied < 0)


def _is_backup(node: Node) -> bool:
    """A server that was started with data of a chain that is no more: MASTER.ADD … ADOPT begins a chain with it."""
    return node.core.role() == Role.REMOVED and node.core.applied >= 0 and node.core.epoch == 0


def empty_of(master: Master) -> frozenset[str]:
    """Run_ids of those whose address is now used by a process without their data, as `begin` has checked."""
    configuration = master.controller.configuration
    members = configuration.with_data if configuration else ()
    nodes = {member.run_id: master.world.places[place_of(member.run_id)].process for member in members}
    return frozenset(run_id for run_id, node in nodes.items() if node and _answers(master, node))


def has_data_left(world: World, configuration: Configuration) -> bool:
    """Has a restarted process loaded data of the chain?"""
    processes = (world.places[place_of(member.run_id)].process for member in configuration.with_data)
    return any(node.core.applied >= 0 for node in processes if node and _has_data_of(node, configuration.view))
