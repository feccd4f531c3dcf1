# SPDX-License-Identifier: Apache-2.0
"""What the master changes by itself."""

import pytest

from chainredis.protocol.member_record import BrokenLink, MemberReport
from chainredis.protocol.reconfiguration import Add, Configuration, Remove
from chainredis.protocol.repairs import NOTE_AFTER_S
from chainredis.protocol.view import Member
from unit.stage import STEP_S, A, B, C, D, Stage

# --------------------------------------------------------------------------------------------------------------- repair


@pytest.mark.parametrize("victims", [(A,), (B,), (C,), (A, B), (A, C), (B, C)])
def test_the_survivors_are_the_chain_in_their_order(victims: tuple[Member, ...]) -> None:
    stage = Stage(A, B, C)
    stage.pass_time(STEP_S)
    stage.kill(*victims)
    survivors = tuple(each for each in (A, B, C) if each not in victims)
    assert stage.store() is None, "a view of processes that hang would help nobody"
    stage.answer(survivors[0])
    stage.store()
    assert stage.chain == survivors
    assert stage.configuration.leaving == ()
    assert set(stage.configuration.fallen) == set(victims)
    assert stage.told(*survivors) == [True] * len(survivors)


def test_a_survivors_report_is_an_answer() -> None:
    stage = Stage(A, B, C)
    stage.pass_time(STEP_S)
    stage.controller.detector.reported(A.run_id, (BrokenLink(B.run_id, 0, dropped=True),), stage.now)
    assert stage.store() is None
    stage.kill(B)
    stage.store()
    assert stage.chain == (A, C)


def test_one_more_during_a_repair() -> None:
    stage = Stage(A, B, C)
    stage.kill(B)
    stage.answer(A)
    stage.store()
    stage.kill(A)
    stage.answer(C, epoch=7)
    stage.store()
    assert stage.chain == (C,)
    assert stage.configuration.view.epoch == 9


def test_a_lost_chain_is_left_as_it_is() -> None:
    stage = Stage(A, B)
    stage.kill(A, B)
    assert stage.controller.is_lost
    assert stage.store() is None


def test_two_members_that_cannot_reach_each_other_part() -> None:
    stage = Stage(A, B, C)
    stage.answer(A, lost=B.run_id)
    stage.answer(B, lost=f"{A.run_id} {C.run_id}")
    stage.answer(C, lost=B.run_id)
    stage.store()
    assert stage.chain == (A, C)
    assert stage.configuration.leaving == (B,)


def test_those_that_leave_are_told_first() -> None:
    stage = Stage(A, B, C)
    stage.propose(Remove(C, stage.controller.detector.health()))
    assert stage.told(A, B, C) == [False, False, True]
    stage.answer(C, epoch=8, serving=False)
    assert stage.told(A, B, C) == [True, True, False]


def test_who_has_left_is_noted_when_the_others_serve() -> None:
    stage = Stage(A, B, C)
    stage.propose(Remove(C, stage.controller.detector.health()))
    for each, serves in ((C, False), (A, True), (B, False)):
        stage.answer(each, epoch=8, serving=serves)
        assert stage.store() is None
    stage.answer(B, epoch=8)
    assert stage.store() == Configuration(stage.configuration.view, lease_ms=1000)


def test_who_has_left_is_noted_soon_though_the_others_do_not_serve() -> None:
    stage = Stage(A, B, C)
    stage.propose(Remove(C, stage.controller.detector.health()))
    stage.answer(C, epoch=8, serving=False)
    stage.pass_time(2 * NOTE_AFTER_S, A, B)
    assert stage.store() == Configuration(stage.configuration.view, lease_ms=1000)


def test_one_that_hangs_leaves_when_its_lease_has_run_out() -> None:
    stage = Stage(A, B, C)
    stage.lease(C)
    stage.propose(Remove(C, stage.controller.detector.health()))
    stage.pass_time(1, A, B)
    assert stage.store() is None
    stage.pass_time(0.2, A, B)
    stage.store()
    assert stage.configuration.leaving == ()

# ------------------------------------------------------------------------------------------------------------ additions


def added(stage: Stage) -> Stage:
    stage.propose(Add(D))
    stage.answer(D, epoch=0, serving=False)
    return stage


def test_an_addition_is_confirmed_by_the_new_tails_service() -> None:
    stage = added(Stage(A, B))
    stage.answer(A, B)
    assert not stage.controller.is_settled
    stage.answer(D)
    stage.store()
    assert not stage.configuration.pending
    assert stage.controller.is_settled


@pytest.mark.parametrize("killed", [A, B, D])
def test_whoever_dies_before_that_the_addition_is_off(killed: Member) -> None:
    stage = added(Stage(A, B))
    stage.kill(killed)
    stage.answer(*({A, B} - {killed}), epoch=7)
    stage.store()
    assert stage.chain == tuple(each for each in (A, B) if each != killed)
    assert stage.configuration.leaving == (() if killed == D else (D,))


def stalled(stage: Stage, *answering: Member) -> Configuration | None:
    """For a little more than the timeout these answer, and the new tail does not serve."""
    added(stage)
    for _ in range(21):
        stage.pass_time(STEP_S)
        for each in answering:
            stage.answer(each, serving=each != D)
    return stage.controller.next_configuration()


def test_an_addition_whose_new_tail_never_comes_to_serve_is_withdrawn() -> None:
    """It knows the view, and has not what it takes: what a former master's join has made of it, for one."""
    configuration = stalled(Stage(A, B), A, B, D)
    assert configuration and configuration.view.members == (A, B)
    assert configuration.leaving == (D,)


@pytest.mark.parametrize("who", [A, B, D])
def test_nothing_is_withdrawn_while_somebody_does_not_answer(who: Member) -> None:
    assert stalled(Stage(A, B), *({A, B, D} - {who})) is None


def test_an_addition_that_the_old_tail_cannot_feed_is_withdrawn() -> None:
    stage = added(Stage(A, B))
    stage.controller.cannot_feed(B.run_id, 8)
    assert stage.told(B) == [False]
    stage.store()
    assert stage.chain == (A, B)
    stage.answer(D, epoch=9, serving=False)
    stage.store()
    assert stage.told(A, B) == [True, True], "it is told of the next view as everybody is"


def test_a_refusal_of_an_older_view_means_nothing() -> None:
    stage = added(Stage(A, B))
    stage.controller.cannot_feed(B.run_id, 7)
    assert stage.store() is None


def test_a_new_tail_out_of_the_old_ones_reach_is_taken_out_again() -> None:
    stage = added(Stage(A, B))
    stage.answer(A)
    stage.answer(B, serving=False, lost=D.run_id)
    stage.answer(D, serving=False, lost=B.run_id)
    stage.store()
    assert stage.chain == (A, B)


def test_a_master_that_was_stopped_believes_no_answer_from_before() -> None:
    """It was cut off from A and C, then hung. Meanwhile B answered what it had been asked; then B and C died. A, which
    can be reached again, has all updates.
    """
    stage = Stage(A, B, C)
    stage.pass_time(0.95, B)
    asked_at, stage.now = stage.now, stage.now + 2.4
    stage.controller.detector.attend(stage.now)
    stage.kill(C)
    stage.controller.detector.answered(B.run_id, MemberReport(7, serving=True, stamp_ms=0), stage.now, asked_at)
    assert stage.store() is None, "B alone would be the chain, and is dead"
    stage.kill(B)
    stage.answer(A)
    stage.store_all()
    assert stage.chain == (A,)
