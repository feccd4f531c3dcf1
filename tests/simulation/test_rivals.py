# SPDX-License-Identifier: Apache-2.0
"""Several masters, of which one leads: walks that depose it again and again, and mistakes that these must find."""

from __future__ import annotations

import os

import pytest

from chainredis.protocol.leases import Leases
from chainredis.protocol.reconfiguration import Configuration

from .master import Master
from .model import BrokenInvariantError
from .rivals import RivalMaster, Rivals, with_rival_controller
from .seeds import GIVEN, seeds
from .walks import setting_of, walk

# Walks that have failed once, and why. They stay.
REGRESSION_SEEDS = {
    900088: "a former master had a new tail begin anew, just before that heard of its view",
    900293: "the same, in a longer chain",
}

WALKS = int(os.environ.get("SIM_STEPS", "120000")) // 20_000
MAX_WALKS = 400


def rivals(seed: int, master_class: type[RivalMaster] = RivalMaster) -> Rivals:
    return Rivals(setting_of(seed), master_class=master_class)


@pytest.mark.parametrize("seed", REGRESSION_SEEDS)
def test_a_walk_with_rivals_that_failed_once(seed: int) -> None:
    walk(seed, rivals(seed))


def test_random_walks_with_rivals() -> None:
    depositions = 0
    for seed in seeds(WALKS):
        simulation = walk(seed, rivals(seed))
        assert isinstance(simulation, Rivals)
        depositions += simulation.depositions
    assert depositions or GIVEN


class GrantsBeyondItsTerm(Leases):
    def _leadership_ms(self, since: float) -> int:
        return self._detector.settings.lease_ms


class StoresAfterItsTerm(RivalMaster):
    def decide(self, luck: int) -> None:
        Master.decide(self, luck)

    def _save(self, configuration: Configuration) -> None:
        Master._save(self, configuration)


FOUND_BY: dict[type[Leases | RivalMaster], int] = {GrantsBeyondItsTerm: 81, StoresAfterItsTerm: 0}


@pytest.mark.parametrize("mutant", FOUND_BY)
def test_a_mistake_of_a_rival_is_found(mutant: type[Leases | RivalMaster]) -> None:
    """By the walk that has found it once; when the code has changed and that one does not any more, by another."""
    master_class = mutant if issubclass(mutant, RivalMaster) else with_rival_controller(mutant)
    assert any(fails(seed, master_class) for seed in (FOUND_BY[mutant], *range(MAX_WALKS)))


def fails(seed: int, master_class: type[RivalMaster]) -> bool:
    try:
        walk(seed, rivals(seed, master_class))
    except BrokenInvariantError:
        return True
    return False
