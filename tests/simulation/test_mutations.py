# SPDX-License-Identifier: Apache-2.0
"""The checks can fail: each mistake that is made on purpose is found by random walks.

Beside each stands a walk that found it; when the code has changed and that one does not any more, others are tried,
those that are about the same first. How many bounds the search: no clock does.
"""

from __future__ import annotations

from types import ModuleType

import pytest

from core_extension.core import Core

from . import mutants, mutants_of_all
from .disk import Kind
from .gate import Gate
from .master import Master, Part
from .model import BrokenInvariantError
from .node import Node
from .server import Server
from .simulation import Setting, Simulation
from .walks import FOCUSES, change_disks_while_a_server_lags, leave_alone, setting_of, walk

MAX_WALKS = 800
Mutant = type[Core] | type[Node] | type[Part] | type[Master] | type[Server] | type[Gate]

FOUND_BY: dict[Mutant, int] = {
    mutants.TakesAnyEpoch: 0,
    mutants.AcknowledgesWhatIsApplied: 0,
    mutants.AcknowledgesWhatIsAnnounced: 0,
    mutants.TrimsUncommitted: 0,
    mutants.ForgetsToResend: 0,
    mutants.AppliesTwice: 0,
    mutants.IgnoresGaps: 44,
    mutants.TakesOldConnections: 17,
    mutants.RenumbersEpochs: 0,
    mutants.ForgetsOrphans: 3,
    mutants.IgnoresLimits: 0,
    mutants.NeverTrims: 0,
    mutants.TrustsTheHeadLinkForEver: 0,
    mutants.FeedsWhatItHasNot: 2,
    mutants.ReadsTooEarly: 4,
    mutants.ReadsWithoutALease: 4,
    mutants.CountsLeasesFromTheirArrival: 5,
    mutants.AnswersItself: 5,
    mutants.AnswersForTheHead: 5,
    mutants.AsksOneQuestionForAll: 25,
    mutants.IgnoresItsDisk: 10,
    mutants.CommitsWhatItsOwnDiskHas: 26,
    mutants.PassesOnWhatItWasTold: 194,
    mutants.VouchesForWhatItHasNotWritten: 6,
    mutants.ShowsWhatIsNotSaved: 18,
    mutants.AnswersTooEarly: 0,
    mutants.FailsWhatHasAnSn: 0,
    mutants.ForgetsToPublish: 0,
    mutants.LeaksPayloads: 0,
    mutants.AppliesHalfABatch: 0,
    mutants.KeepsItsView: 0,
    mutants.ReadsAnOldClock: 44,
    mutants.ForgetsItsMarker: 12,
    mutants.ClaimsToBeDurable: 19,
    mutants.WeakensWithoutAWord: 6,
    mutants.CountsWhatCameLateAsWritten: 2,
    mutants.ForgetsItsGrants: 4,
    mutants.ForgetsTheFullLease: 65,
    mutants.IgnoresDrift: 4,
    mutants.TakesSilenceForDeath: 4,
    mutants.TakesADropForDeath: 0,
    mutants.TakesADropAndAnEmptyPortForDeath: 13,
    mutants.TakesTheSilentForDeadOnDemand: 796,
    mutants.TellsMembersEarly: 21,
    mutants.TellsThoseThatLeaveAllAtOnce: 29,
    mutants.LeavesNobodyOut: 4,
    mutants.TakesAPendingTailForComplete: 0,
    mutants.ConfirmsWhoHasAdopted: 4,
    mutants.RepairsWithAPendingTail: 186,
    mutants.FormsFromAnybody: 30,
    mutants.FormsFromTheShortest: 102,
    mutants.NeverWithdraws: 187,
    mutants.NeverRepairs: 0,
    mutants.TellsBeforeItStores: 0,
    mutants.ReusesEpochs: 0,
}


FOUND_IN_ALL: dict[Mutant, int] = {
    mutants_of_all.CommitsWhatIsLogged: 0,
    mutants_of_all.LeadsTooEarly: 46,
    mutants_of_all.RejoinsWithWhatItsLogLacks: 179,
    mutants_of_all.LogsWhatTheFormerHeadDid: 500,
    mutants_of_all.AsksWithoutWaiting: 17,
    mutants_of_all.ClosesTicketsInAPause: 0,
    mutants_of_all.MissesAShortPause: 424,
    mutants_of_all.AnswersWhatCameBeforeItsView: 458,
    mutants_of_all.ComparesNoOffset: 8,
    mutants_of_all.CoversTheLogWhenConnected: 8,
    mutants_of_all.KeepsItsTap: 12,
    mutants_of_all.LoadsTheTicketFirst: 0,
    mutants_of_all.GivesRequestsAtOnce: 8,
    mutants_of_all.KeepsWhatItHoldsForAnotherEra: 43,
    mutants_of_all.NeedsNoLease: 5,
    mutants_of_all.ReadsTheClockFirst: 361,
    mutants_of_all.ReleasesByTheLog: 0,
    mutants_of_all.TellsOneWhileOthersMayAnswer: 500,
}


# The seed of a walk in which every second machine has the version before.
FOUND_AMONG_VERSIONS: dict[Mutant, int] = {mutants.RunsAheadOfThoseWhoHeedNothing: 6}

# The walk that finds it is one in which masters add members as the version before did.
FOUND_WITH_EARLIER_ADDITIONS: list[Mutant] = [mutants_of_all.TellsOneWhileOthersMayAnswer]

# No walk in hundreds comes where these do harm.
FOUND_BY_A_HEAD_ALONE: list[Mutant] = [mutants_of_all.StaysAlone, mutants_of_all.ContinuesInTheEpochBefore]


FOUND_BY_A_SERVER_THAT_LAGS: list[Mutant] = [mutants_of_all.ClaimsWhatItsServerLacks]


def is_found(mutant: Mutant, first: int) -> bool:
    kindred = range(first % len(FOCUSES), MAX_WALKS, len(FOCUSES))
    return any(fails(mutant, seed) for seed in dict.fromkeys((first, *kindred, *range(MAX_WALKS))))


def fails(mutant: Mutant, seed: int) -> bool:
    try:
        setting = setting_of(seed, mutant in FOUND_IN_ALL)._replace(mixed=mutant in FOUND_AMONG_VERSIONS)
        walk(seed, with_mistake(mutant, setting))
    except BrokenInvariantError:
        return True
    return False


def with_mistake(mutant: Mutant, setting: Setting) -> Simulation:
    node_class: type[Node] = Node
    master_class: type[Master] = Master
    if issubclass(mutant, Core):
        node_class = mutants.with_core(mutant)
    elif issubclass(mutant, Server):
        node_class = mutants_of_all.with_server(mutant)
    elif issubclass(mutant, Gate):
        node_class = mutants_of_all.with_gate(mutant)
    elif issubclass(mutant, Node):
        node_class = mutant
    elif issubclass(mutant, Master):
        master_class = mutant
    else:
        master_class = mutants.with_controller(mutant)
        master_class.adds_what_is_committed = mutant not in FOUND_WITH_EARLIER_ADDITIONS
    return Simulation(setting, node_class, master_class)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("mutant", [*FOUND_BY, *FOUND_AMONG_VERSIONS, *FOUND_IN_ALL])
def test_a_mistake_is_found(mutant: Mutant) -> None:
    assert is_found(mutant, (FOUND_BY | FOUND_AMONG_VERSIONS | FOUND_IN_ALL)[mutant])


@pytest.mark.parametrize("mutant", FOUND_BY_A_HEAD_ALONE)
def test_a_mistake_of_a_head_that_is_alone_is_found(mutant: Mutant) -> None:
    simulation = with_mistake(mutant, Setting(length=2, all_commands=True))
    with pytest.raises(BrokenInvariantError):
        leave_alone(simulation)


@pytest.mark.parametrize("mutant", FOUND_BY_A_SERVER_THAT_LAGS)
def test_a_mistake_of_a_member_whose_server_lags_is_found(mutant: Mutant) -> None:
    simulation = with_mistake(mutant, Setting(size=3, kinds=(Kind.EVERYSEC,), all_commands=True))
    with pytest.raises(BrokenInvariantError):
        change_disks_while_a_server_lags(simulation)


def test_every_mutant_is_tried() -> None:
    assert made_in(mutants) == {*FOUND_BY, *FOUND_AMONG_VERSIONS}
    assert made_in(mutants_of_all) == {*FOUND_IN_ALL, *FOUND_BY_A_HEAD_ALONE, *FOUND_BY_A_SERVER_THAT_LAGS}


def made_in(module: ModuleType) -> set[Mutant]:
    return {each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__}
