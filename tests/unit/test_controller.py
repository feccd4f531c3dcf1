# SPDX-License-Identifier: Apache-2.0
"""The controller: one decision at a time, and what people are told."""

from collections.abc import Callable

import pytest

from chainredis.protocol.errors import CommandError
from chainredis.protocol.reconfiguration import Begin, Form, Health, Remove
from unit.stage import A, B, C, D, Stage


def test_one_decision_at_a_time() -> None:
    stage = Stage(A, B, C)
    stage.controller.propose(Remove(C, stage.controller.detector.health()))
    assert not stage.controller.is_open
    assert stage.controller.next_configuration() is None
    with pytest.raises(CommandError, match="just being changed"):
        stage.controller.propose(Remove(B, Health()))


def test_what_could_not_be_stored_is_forgotten() -> None:
    stage = Stage(A, B, C)
    before = stage.configuration
    stage.controller.propose(Remove(C, stage.controller.detector.health()))
    stage.controller.stored(before)
    assert stage.lease(C) is not None
    assert stage.controller.is_settled


def test_health() -> None:
    stage = Stage(A, B, C, D)
    stage.kill(B)
    stage.controller.detector.dropped(C.run_id)
    assert stage.controller.detector.health() == Health(frozenset({A.run_id, D.run_id}), frozenset({B.run_id}))
    stage.pass_time(0.6, D)
    assert stage.controller.detector.health().alive == {D.run_id}
    assert stage.controller.detector.member_status(A.run_id) == ("silent", 600, -1, "held", -1)
    assert stage.controller.detector.member_status(B.run_id) == ("dead", 600, -1, "ended", -1)
    assert stage.controller.detector.member_status(D.run_id) == ("alive", 0, -1, "held", -1)
    stage.controller.detector.replaced(B.run_id)
    assert stage.controller.detector.member_status(B.run_id).word == "restarted"


def test_a_chain_of_another_history_is_told_to_who_is_in_no_chain() -> None:
    stage = Stage(A)
    stage.kill(A)
    stage.propose(Begin(B, bytes(32), stage.controller.detector.health()))
    stage.answer(B, epoch=0)
    assert stage.told(B) == [True]
    stage.answer(B)
    assert stage.controller.is_settled
REASONS: dict[str, tuple[Callable[[Stage], object], str]] = {
    "all is well": (lambda stage: None, ""),
    "one has not adopted": (lambda stage: stage.answer(B, epoch=6), "not serving in it yet: h:7001"),
    "being changed": (lambda stage: stage.controller.propose(Form(A, 7, Health())), "just being changed"),
    "one leaves": (lambda stage: stage.propose(Form(A, 7, Health())), "h:7001 may still serve"),
    "all are dead": (lambda stage: stage.kill(A, B), "no process of the chain lives"),
}


@pytest.mark.parametrize("case", REASONS)
def test_why_it_is_not_settled(case: str) -> None:
    happens, reason = REASONS[case]
    stage = Stage(A, B)
    happens(stage)
    assert reason in stage.controller.why_unsettled
    assert stage.controller.is_settled == (reason == "")
