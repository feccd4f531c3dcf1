# SPDX-License-Identifier: Apache-2.0
"""The master's store goes back, again and again: members know newer views than it does, and epochs do not return."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from chainredis.protocol.controller import Controller
from chainredis.protocol.reconfiguration import BringForward, Configuration
from chainredis.protocol.view import View

from .master import Master
from .model import BrokenInvariantError
from .mutants import with_controller
from .rivals import Rivals
from .seeds import GIVEN, seeds
from .simulation import Setting, Simulation, Step
from .walks import setting_of, walk

WALKS = 8
# About one walk in a hundred fails, and it is not explained yet. SIM_SEED without rivals: 4171865708, 698724323,
# 1218803625, 3388216580; with rivals: 2380517583, 4099412853, 3706131859.
NOT_EXPLAINED = pytest.mark.xfail(reason="a store that goes back again and again: see the seeds above", strict=False)
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


class RestoredRivals(Rivals):
    """The same in etcd: masters that led before the store went back live on, and grant and tell as before."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.seen: Counter[str] = Counter()
        self._handlers["save"] = lambda a, b: go_back(self, self.seen, a, b)


@NOT_EXPLAINED
def test_random_walks_with_a_store_that_goes_back() -> None:
    seen: Counter[str] = Counter()
    for seed in seeds(WALKS):
        simulation = Restored(setting_of(seed))
        walk(seed, simulation)
        seen += simulation.seen
    assert GIVEN or min(seen["went back"], seen["noticed"]) > 0


@NOT_EXPLAINED
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
