# SPDX-License-Identifier: Apache-2.0
"""Which members have failed: what was seen, and what follows."""

from collections.abc import Callable

import pytest

from chainredis.protocol.failure_detector import FailureDetector
from chainredis.protocol.member_record import Lifeline, MemberReport
from chainredis.protocol.reconfiguration import Remove
from chainredis.protocol.settings import ProtocolSettings
from chainredis.protocol.view import Member
from unit.stage import STEP_S, A, B, C, Stage, chain_of

# ---------------------------------------------------------------------------------------------------------- who is dead


def test_the_end_of_the_lifeline_and_an_absent_process_are_an_end() -> None:
    stage = Stage(A, B, C)
    stage.controller.detector.lifeline(B.run_id, Lifeline.ENDED)
    assert not stage.controller.detector.is_dead(B.run_id), "something between may have closed it"
    stage.controller.detector.refused(B.run_id)
    assert stage.controller.detector.is_dead(B.run_id)


def test_in_whatever_order_they_are_seen() -> None:
    stage = Stage(A, B, C)
    stage.controller.detector.refused(B.run_id)
    stage.controller.detector.lifeline(B.run_id, Lifeline.ENDED)
    assert stage.controller.detector.is_dead(B.run_id)


def test_who_closes_connections_and_leaves_its_port_may_live() -> None:
    """Whatever its neighbours say: it keeps its lease, and is waited for like anybody who is silent."""
    stage = Stage(A, B, C)
    stage.pass_time(0.5, A, B, C, polled=(A, B, C))
    stage.hide(B)
    stage.answer(A, C, lost=B.run_id)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(1.05, A, C)
    assert not stage.controller.detector.is_gone(B.run_id), "its lease may last"
    stage.pass_time(0.1, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


@pytest.mark.parametrize("lifeline", Lifeline)
def test_only_an_end_that_was_announced_counts(lifeline: Lifeline) -> None:
    stage = Stage(A, B, C)
    stage.hide(B)
    stage.controller.detector.lifeline(B.run_id, lifeline)
    assert stage.controller.detector.is_dead(B.run_id) == (lifeline is Lifeline.ENDED)


@pytest.mark.parametrize("sees", [FailureDetector.refused, FailureDetector.replaced])
def test_one_that_has_left_its_port_while_nobody_held_its_lifeline(
    sees: Callable[[FailureDetector, str], bool],
) -> None:
    """A master that was away may not know of its end, and need not be patient either."""
    settings = ProtocolSettings(timeout_ms=5000, lease_ms=1000, drift=0.1)
    stage = Stage(A, B, C, settings=settings, stored=chain_of(A, B, C))
    stage.answer(A, C)
    sees(stage.controller.detector, B.run_id)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(1.15, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_an_answer_refutes_what_was_suspected() -> None:
    stage = Stage(A, B, C)
    stage.kill(B)
    stage.answer(B)
    assert not stage.controller.detector.is_dead(B.run_id)
    stage.hold(B)
    stage.hide(B)
    assert not stage.controller.detector.is_dead(B.run_id)


@pytest.mark.parametrize("hidden", [(), (C,)], ids=["not seen to end", "seen to end"])
def test_an_answer_that_waited_to_be_read_shows_no_survivor(hidden: tuple[Member, ...]) -> None:
    """All have died at once. The chain would wait for the one, though each has everything on its disk."""
    stage = Stage(A, B, C)
    asked_at = stage.now
    stage.pass_time(2 * STEP_S)
    stage.kill(A, B)
    stage.hide(*hidden)
    report = MemberReport(stage.configuration.view.epoch, serving=True, stamp_ms=0)
    stage.controller.detector.answered(C.run_id, report, stage.now, asked_at)
    assert stage.store() is None
    stage.kill(C)
    assert stage.controller.is_lost
    stage.answer(C)
    stage.store()
    assert stage.chain == (C,)


def test_without_trust_in_refusals_only_silence_counts() -> None:
    stage = Stage(A, B, C, settings=ProtocolSettings(1000, 1000, 0.1, trust_refused=False))
    stage.kill(B)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(1.5, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_a_silent_one_is_gone_when_its_lease_has_run_out() -> None:
    stage = Stage(A, B, C)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    stage.pass_time(1.05, A, C)
    assert not stage.controller.detector.is_gone(B.run_id), "its clock may be slower than ours by the drift"
    stage.pass_time(0.1, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_a_restarted_master_assumes_a_full_lease_of_everybody() -> None:
    stage = Stage(stored=chain_of(A, B, C, lease_ms=4000))
    stage.answer(A, C)
    stage.pass_time(4.3, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(0.2, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


@pytest.mark.parametrize("timeout_ms", [200, 1000, 15000])
def test_silence_while_the_master_was_stopped_counts_for_nothing(timeout_ms: int) -> None:
    stage = Stage(A, B, C, settings=ProtocolSettings(timeout_ms, timeout_ms))
    stage.now += 3600
    stage.controller.detector.attend(stage.now)
    assert not any(stage.controller.detector.is_gone(each.run_id) for each in (A, B, C))
    stage.answer(A)
    stage.store_all()
    assert stage.chain == (A, B, C), "the others are about to answer"


def test_a_sole_member_is_never_gone_for_silence_alone() -> None:
    """It serves without a lease, perhaps at another port, as long as somebody holds its lifeline."""
    stage = Stage(A)
    stage.hide(A)
    stage.pass_time(60)
    assert not stage.controller.is_lost
    stage.controller.detector.lifeline(A.run_id, Lifeline.ENDED)
    assert stage.controller.is_lost


def test_a_sole_member_that_nobody_held_is_gone_when_it_has_left_its_port_for_long() -> None:
    stage = Stage(stored=chain_of(A))
    stage.pass_time(60)
    assert not stage.controller.is_lost
    stage.controller.detector.refused(A.run_id)
    assert stage.controller.is_lost


def test_a_sole_member_in_whose_place_another_process_answers_is_gone_after_the_lease_at_the_latest() -> None:
    stage = Stage(A, settings=ProtocolSettings(1000, 1000, 0.1, trust_refused=False))
    stage.controller.detector.lifeline(A.run_id, Lifeline.ENDED)
    stage.controller.detector.refused(A.run_id)
    stage.pass_time(60)
    assert not stage.controller.is_lost, "a firewall may refuse for a living one"
    stage.controller.detector.replaced(A.run_id)
    assert stage.controller.detector.health().dead == {A.run_id}, "an operator may form the chain again"


def test_a_sole_member_that_just_answered_is_not_gone_because_a_proxy_leads_elsewhere() -> None:
    stage = Stage(A, settings=ProtocolSettings(1000, 1000, 0.1, trust_refused=False))
    stage.answer(A)
    stage.controller.detector.replaced(A.run_id)
    assert not stage.controller.is_lost

# ---------------------------------------------------------------------------------------------------- who is waited for


PATIENT = ProtocolSettings(timeout_ms=10_000, lease_ms=1000, drift=0.1)


def test_one_in_the_middle_that_nobody_waits_for_has_the_timeout() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    stage.pass_time(9.9, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(0.2, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


@pytest.mark.parametrize("hung", [A, C])
def test_an_end_of_the_chain_is_waited_for_by_clients_whom_nobody_knows(hung: Member) -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    stage.pass_time(1.05, *({A, B, C} - {hung}))
    assert not stage.controller.detector.is_gone(hung.run_id)
    stage.pass_time(0.1, *({A, B, C} - {hung}))
    assert stage.controller.detector.is_gone(hung.run_id)


def test_one_that_holds_up_updates_has_no_longer_than_a_lease() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    stage.pass_time(5, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    for _ in range(7):
        stage.write(A, applied=0, committed=-1)
        stage.pass_time(STEP_S)
    assert stage.controller.detector.is_gone(B.run_id)
    stage.write(A, applied=0, committed=-1)
    stage.store()
    assert stage.chain == (A, C)


def test_one_through_which_commits_go_on_has_the_timeout() -> None:
    """It does not reach the master, and its neighbours reach it."""
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(2, A, B, C, polled=(A, B, C))
    for sn in range(100):
        stage.pass_time(STEP_S)
        stage.write(A, applied=sn + 1, committed=sn)
        stage.write(B, applied=sn + 1, committed=sn)
    assert not stage.controller.detector.is_gone(C.run_id)


def test_one_that_says_anything_at_all_has_the_timeout() -> None:
    """That it is busy with a script, for one."""
    stage = Stage(A, B, C, settings=PATIENT)
    for _ in range(100):
        stage.pass_time(STEP_S, A, B)
        stage.controller.detector.spoke(C.run_id, stage.now)
    assert not stage.controller.detector.is_gone(C.run_id)
    stage.pass_time(5.1, A, B)
    assert stage.controller.detector.is_gone(C.run_id)


def test_one_that_leaves_is_waited_for() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.lease(B)
    stage.propose(Remove(B, stage.controller.detector.health()))
    stage.pass_time(1.2, A, C)
    stage.store_all()
    assert stage.configuration.leaving == ()


@pytest.mark.parametrize(("given_ms", "gone_s"), [(3000, 3), (500, 1), (20_000, 10), (0, 10)])
def test_the_shortest_timeout_that_was_given_counts(given_ms: int, gone_s: float) -> None:
    """Its last lease may outlast it: it was granted before."""
    stage = Stage(A, B, C, settings=PATIENT)
    stage.controller.detector.answered(B.run_id, MemberReport(7, True, 0, timeout_ms=given_ms), stage.now)
    lease = stage.lease(B)
    assert lease and lease.length_ms == min(1000, given_ms or 1000)
    stage.pass_time(gone_s - 0.1, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    stage.pass_time(0.25, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_a_master_that_was_cut_off_hears_of_one_after_the_other_again() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(60)
    stage.pass_time(0.5, A)
    assert stage.store() is None, "the others are about to answer"
    stage.pass_time(0.7, A)
    stage.store()
    assert stage.chain == (A,)


def test_a_death_is_repaired_though_nobody_has_been_heard_for_long() -> None:
    stage = Stage(A, B, C, settings=PATIENT)
    stage.pass_time(60)
    stage.kill(B)
    stage.answer(A)
    stage.store()
    assert stage.chain == (A, C)
