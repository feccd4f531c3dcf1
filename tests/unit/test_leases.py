# SPDX-License-Identifier: Apache-2.0
"""Leases: what is granted to whom."""

from chainredis.protocol.leases import Lease
from chainredis.protocol.reconfiguration import Configuration, Remove
from chainredis.protocol.settings import ProtocolSettings
from unit.stage import A, B, C, Stage, chain_of


def test_a_lease_counts_from_the_last_answer_and_names_the_epoch() -> None:
    stage = Stage(A, B)
    assert stage.lease(B) == Lease(7, 100_000, 1000)


def test_no_lease_before_the_first_answer() -> None:
    stage = Stage(stored=chain_of(A, B))
    assert stage.lease(A) is None


def test_no_lease_from_the_decision_to_remove_on_be_it_stored_yet_or_not() -> None:
    stage = Stage(A, B, C)
    configuration = stage.controller.propose(Remove(C, stage.controller.detector.health()))
    assert stage.lease(C) is None
    assert stage.lease(B) is not None
    stage.controller.stored(configuration)
    assert stage.lease(C) is None


def test_who_does_not_know_the_newest_view_goes_on_with_a_lease_of_its_own() -> None:
    """A poll of an epoch that it has not heard of would stop it from serving."""
    stage = Stage(A, B, C)
    stage.propose(Remove(B, stage.controller.detector.health()))
    assert stage.lease(C) == Lease(7, 100_000, 1000)
    stage.answer(B, serving=False)
    stage.store_all()
    stage.controller.detector.adopted(C.run_id, 8, stage.now)
    assert stage.lease(C) == Lease(8, 100_000, 1000)


def test_a_new_length_is_stored_before_it_is_granted() -> None:
    stage = Stage(A, B)
    stage.controller.detector.settings = ProtocolSettings(5000, 5000)
    assert stage.lease(A) == Lease(7, 100_000, 1000)
    assert stage.store() == Configuration(stage.configuration.view, lease_ms=5000)
    assert stage.lease(A) == Lease(7, 100_000, 5000)
