"""The checks can fail: each mistake that is made on purpose is found by random walks.

Beside each stands a walk that found it; when the code has changed and that one does not any more, others are tried.
"""

from __future__ import annotations

import pytest

from chainredis.core import Core
from chainredis.steward import Steward

from . import mutants
from .master import Master
from .model import BrokenInvariantError
from .node import Node
from .simulation import Simulation
from .walks import setting_of, walk

MAX_WALKS = 800
Mutant = type[Core] | type[Node] | type[Steward] | type[Master]

FOUND_BY: dict[Mutant, int] = {
    mutants.TakesAnyEpoch: 0,
    mutants.AcknowledgesWhatIsApplied: 0,
    mutants.AcknowledgesWhatIsAnnounced: 0,
    mutants.TrimsUncommitted: 1,
    mutants.ForgetsToResend: 0,
    mutants.AppliesTwice: 16,
    mutants.IgnoresGaps: 28,
    mutants.TakesOldConnections: 3,
    mutants.RenumbersEpochs: 0,
    mutants.ForgetsOrphans: 0,
    mutants.IgnoresLimits: 0,
    mutants.NeverTrims: 0,
    mutants.TrustsTheHeadLinkForEver: 0,
    mutants.FeedsWhatItHasNot: 2,
    mutants.ReadsTooEarly: 0,
    mutants.ReadsWithoutALease: 1,
    mutants.CountsLeasesFromTheirArrival: 4,
    mutants.AnswersItself: 1,
    mutants.AnswersForTheHead: 165,
    mutants.AsksOneQuestionForAll: 5,
    mutants.IgnoresItsDisk: 10,
    mutants.AnswersTooEarly: 0,
    mutants.FailsWhatHasAnSn: 0,
    mutants.ForgetsToPublish: 0,
    mutants.LeaksPayloads: 0,
    mutants.AppliesHalfABatch: 0,
    mutants.KeepsItsView: 0,
    mutants.ReadsAnOldClock: 4,
    mutants.ForgetsItsMarker: 4,
    mutants.ClaimsToBeDurable: 4,
    mutants.AnswersBeforeItsDisk: 10,
    mutants.ForgetsItsGrants: 68,
    mutants.ForgetsTheFullLease: 91,
    mutants.IgnoresDrift: 56,
    mutants.TakesSilenceForDeath: 56,
    mutants.TakesADropForDeath: 7,
    mutants.TakesTheSilentForDeadOnDemand: 133,
    mutants.TellsMembersEarly: 0,
    mutants.TellsThoseThatLeaveAllAtOnce: 29,
    mutants.LeavesNobodyOut: 1,
    mutants.TakesAPendingTailForComplete: 0,
    mutants.ConfirmsWhoHasAdopted: 1,
    mutants.RepairsWithAPendingTail: 11,
    mutants.FormsFromAnybody: 39,
    mutants.FormsFromTheShortest: 4,
    mutants.NeverWithdraws: 15,
    mutants.NeverRepairs: 2,
    mutants.TellsBeforeItStores: 0,
    mutants.ReusesEpochs: 0,
}


def is_found(mutant: Mutant, first: int) -> bool:
    return any(fails(mutant, seed) for seed in (first, *range(MAX_WALKS)))


def fails(mutant: Mutant, seed: int) -> bool:
    node_class: type[Node] = Node
    master_class: type[Master] = Master
    if issubclass(mutant, Core):
        node_class = mutants.with_core(mutant)
    elif issubclass(mutant, Node):
        node_class = mutant
    elif issubclass(mutant, Steward):
        master_class = mutants.with_steward(mutant)
    else:
        master_class = mutant
    try:
        walk(seed, Simulation(setting_of(seed), node_class, master_class))
    except BrokenInvariantError:
        return True
    return False


@pytest.mark.parametrize("mutant", FOUND_BY)
def test_a_mistake_is_found(mutant: Mutant) -> None:
    assert is_found(mutant, FOUND_BY[mutant])


def test_every_mutant_is_tried() -> None:
    made = {each for each in vars(mutants).values() if isinstance(each, type) and each.__module__ == mutants.__name__}
    assert made == set(FOUND_BY)
