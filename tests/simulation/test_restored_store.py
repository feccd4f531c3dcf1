# SPDX-License-Identifier: Apache-2.0
"""The master's store goes back, again and again: members know newer views than it does, and epochs do not return."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from chainredis.protocol.controller import Controller
from chainredis.protocol.failure_detector import FailureDetector
from chainredis.protocol.reconfiguration import BringForward, Configuration
from chainredis.protocol.view import Member, View
from core_extension.core import Role

from .master import Conversation, Master
from .messages import Poll, Request
from .model import BrokenInvariantError
from .mutants import with_controller
from .node import Node
from .rivals import RivalMaster, Rivals
from .seeds import GIVEN, seeds
from .settling import turn
from .simulation import Setting, Simulation, Step
from .walks import setting_of, walk

WALKS = 8
MAX_WALKS = 400


def go_back(simulation: Simulation, seen: Counter[str], a: int, b: int) -> None:
    """The store goes back, sometimes in peace. seen: what has happened so far."""
    if b % 3:
        simulation.run(Step("settle", a, b))
    simulation.run(Step("restore", a, b))
    seen["went back"] += simulation.store.has_gone_back
    seen["noticed"] += simulation.master.controller.newer is not None
    seen["beside former masters"] += isinstance(simulation, Rivals) and bool(simulation.formers)


class Restored(Simulation):
    """Where a walk has a member save its data, the store goes back instead."""

    def __init__(self, setting: Setting, master_class: type[Master] = Master) -> None:
        super().__init__(setting, master_class=master_class)
        self.seen: Counter[str] = Counter()
        self._handlers["save"] = lambda a, b: go_back(self, self.seen, a, b)


class TellsInItsTerm(RivalMaster):
    """As Runtime.due. A view that was stored, and is lost with the store, is told no more when that term is over."""

    def _question(self, member: Member, talk: Conversation) -> Request:
        return super()._question(member, talk) if self.may_tell else Poll(0, 0, 0)


class RestoredRivals(Rivals):
    """The same in etcd: masters that led before the store went back live on, and tell while their terms last."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, master_class=TellsInItsTerm)
        self.seen: Counter[str] = Counter()
        self._handlers["save"] = lambda a, b: go_back(self, self.seen, a, b)


def test_random_walks_with_a_store_that_goes_back() -> None:
    seen: Counter[str] = Counter()
    for seed in seeds(WALKS):
        simulation = Restored(setting_of(seed))
        walk(seed, simulation)
        seen += simulation.seen
    assert GIVEN or min(seen["went back"], seen["noticed"]) > 0


def test_random_walks_with_rivals_and_a_store_that_goes_back() -> None:
    seen: Counter[str] = Counter()
    for seed in seeds(WALKS):
        simulation = RestoredRivals(setting_of(seed))
        walk(seed, simulation)
        seen += simulation.seen
    assert GIVEN or min(seen["went back"], seen["noticed"], seen["beside former masters"]) > 0


def test_a_process_that_was_left_behind_commits_nothing_in_the_next_era() -> None:
    """The only member of a chain dies, and an operator forms the chain of one that had been removed before. Another
    removed one hears of that, and knows of one commit more.
    """
    walk(3505219275, RestoredRivals(setting_of(3505219275)))


def test_one_that_has_left_knows_a_newer_view_than_the_member_to_form_the_chain_from() -> None:
    """One of the two members of the newest view has died, and the other has not heard of that view."""
    walk(1056659655, RestoredRivals(setting_of(1056659655)))


def run_all(simulation: Simulation, *steps: tuple[str, int, int]) -> None:
    for step in steps:
        simulation.run(Step(*step))


def test_only_who_has_left_knows_the_newest_view_and_its_members_are_taken_over_from_older_ones() -> None:
    """SIM_SEED=4171865708: the head is removed, and is told first. The store goes back before another one is told."""
    simulation = Restored(Setting(size=5))
    run_all(
        simulation, ("kill", 8827, 55197), ("flow", 58885, 34415), ("talk", 3326, 7766), ("deliver", 57947, 22107),
        ("talk", 57941, 35589), ("remove", 21510, 16614), ("decide", 14609, 65132), ("decide", 7051, 37468),
        ("talk", 15343, 28124), ("save", 11106, 31671),
    )  # fmt: skip
    assert simulation.store.has_gone_back
    simulation.finish()


def test_only_a_new_tail_that_was_withdrawn_knows_the_newest_view() -> None:
    """SIM_SEED=3706131859: it leaves with the head, and is told first. The store goes back to its addition."""
    simulation = RestoredRivals(setting_of(3706131859))
    run_all(
        simulation, ("add", 45955, 10989), ("operate", 29474, 26332), ("operate", 54073, 38474),
        ("flow", 57594, 28516), ("operate", 40494, 62983), ("decide", 56739, 24839), ("remove", 53184, 41438),
        ("decide", 41284, 26866), ("talk", 22403, 26289), ("talk", 62855, 10090), ("talk", 21299, 43375),
        ("save", 35022, 8598),
    )  # fmt: skip
    assert simulation.store.has_gone_back
    simulation.finish()


def test_the_epoch_of_a_lost_view_begins_no_era() -> None:
    """SIM_SEED=1218803625: an operator forms the chain, and the store goes back before any process hears of that. Its
    epoch comes again, for a view that loses nothing.
    """
    simulation = Restored(Setting(size=3))
    run_all(simulation, ("restore", 3, 0), ("form", 0, 0), ("decide", 0, 1))
    formed = max(simulation.store.epochs)
    run_all(simulation, ("restore", 1, 0), ("settle", 0, 0), ("remove", 1, 0), ("settle", 0, 0), ("settle", 1, 0))
    assert formed in simulation.store.epochs
    simulation.finish()


def test_of_the_newest_view_only_a_learner_is_left() -> None:
    """SIM_SEED=2106: it has part of a copy, and is no survivor to form the chain from. Operators end it, and form the
    chain from what somebody has on a disk.
    """
    simulation = Restored(Setting(size=4))
    simulation.run(Step("add", 0, 0))
    while not simulation.master.saving:
        turn(simulation)
    [learner] = [node for node in simulation.world.nodes.values() if node.core.role() is Role.LEARNER]
    learner.is_stopped = True
    run_all(simulation, ("turns", 0, 0), ("restore", 1, 0))
    assert simulation.master.controller.newer
    for node in [node for node in simulation.world.nodes.values() if node is not learner]:
        simulation.faults.end(node)
    simulation.finish()
    assert not learner.is_alive


class BelievesTheStoredLength(FailureDetector):
    def _heard_of_longer_leases(self, length_ms: int) -> None:
        pass


def tail_is_silent(master_class: type[Master]) -> Simulation:
    """While the store goes back to leases of half the length."""
    simulation = Restored(Setting(leases_ms=(800, 400)), master_class)
    shorter = len(simulation.store.saved)
    run_all(simulation, ("kill_master", 0, 0), ("start_master", 0, 0), ("settle", 0, 0))
    tail = simulation.world.nodes[simulation.master.controller.followed[-1].run_id]
    tail.is_stopped = True
    run_all(simulation, ("restore", len(simulation.store.saved) - shorter, 0), *[("turns", 14, 1)] * 5)
    assert not simulation.master.controller.has(tail.run_id)
    return simulation


def test_a_silent_tail_may_hold_a_lease_longer_than_the_store_knows() -> None:
    """SIM_SEED=698724323 and 3388216580: all members say how long leases were."""
    tail_is_silent(Master).finish()
    with pytest.raises(BrokenInvariantError, match="answers READs"):
        tail_is_silent(with_controller(BelievesTheStoredLength))


def removed(simulation: Simulation) -> Node:
    """The head, which was removed, and is the only one that was told so."""
    head = simulation.world.nodes[simulation.master.controller.followed[0].run_id]
    run_all(simulation, ("remove", 0, 0), ("decide", 1, 1))
    while head.core.me >= 0:
        run_all(simulation, ("talk", 2, 1), ("sleep", 0, 0))
    return head


def test_no_store_goes_back_when_who_knows_the_newest_view_has_left_its_port() -> None:
    """SIM_SEED=13, and 168 with rivals: no rule is known for that (design.md)."""
    simulation = Restored(Setting(size=3))
    removed(simulation).has_left_its_port = True
    simulation.run(Step("restore", 1, 0))
    assert not simulation.store.has_gone_back


def test_a_master_that_led_before_the_store_went_back_tells_nothing_after_its_term() -> None:
    """SIM_SEED=2380517583 and 4099412853: only that master knew the view that it had stored."""
    simulation = RestoredRivals(Setting(size=3))
    simulation.run(Step("remove", 0, 0))
    simulation.run(Step("decide", 0, 1))
    simulation.depose()
    [former] = simulation.formers
    newest = simulation.model.newest_epoch
    assert simulation.store.configuration and simulation.store.configuration.view.epoch > newest
    assert simulation.may_yet_tell(newest)
    simulation.pass_time(10_000, ticks=False)
    assert not simulation.may_yet_tell(newest)
    simulation.run(Step("restore", 1, 0))
    for number in range(3):
        former.talk(number)
        former.talk(number)
    assert former in simulation.formers and not simulation.may_yet_tell(newest)
    simulation.finish()


class BelievesTheStore(Controller):
    def superseded(self, view: View) -> bool:
        return False

    @property
    def is_outdated(self) -> bool:
        return False


class BringsForwardOnOneWord(Controller):
    """Though others may be in newer views, or not have what a new tail lacks."""

    def _brought_forward(self) -> Configuration | None:
        return self.repairs.reconfigured(self.configuration, BringForward(self.newer)) if self.newer else None


class ForgetsWhatItWasTold(Controller):
    """At its end, and perhaps all who told it are dead by then."""

    def _noted(self) -> Configuration | None:
        return None


class LeavesNoEpochsOut(Controller):
    def _brought_forward(self) -> Configuration | None:
        configuration = super()._brought_forward()
        if configuration is None or self.newer is None:
            return None
        return replace(configuration, view=replace(configuration.view, epoch=self.newer.epoch))


FOUND_BY: dict[type[Controller], int] = {
    BelievesTheStore: 0, BringsForwardOnOneWord: 0, ForgetsWhatItWasTold: 7, LeavesNoEpochsOut: 0,
}  # fmt: skip


@pytest.mark.timeout(0)
@pytest.mark.parametrize("mutant", FOUND_BY)
def test_a_mistake_with_a_store_that_went_back_is_found(mutant: type[Controller]) -> None:
    """By the walk that has found it once; when the code has changed and that one does not any more, by another."""
    assert any(fails(seed, mutant) for seed in (FOUND_BY[mutant], *range(MAX_WALKS)))


def fails(seed: int, mutant: type[Controller]) -> bool:
    try:
        walk(seed, Restored(setting_of(seed), with_controller(mutant)))
    except BrokenInvariantError:
        return True
    return False
