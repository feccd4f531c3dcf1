# SPDX-License-Identifier: Apache-2.0
"""The controller and heartbeats; what it grants as one of several masters."""

import math
from dataclasses import replace

import pytest

from chainredis.protocol.controller import Controller
from chainredis.protocol.leases import Lease
from chainredis.protocol.view import Member
from unit.stage import SETTINGS, A, B, C, Stage, chain_of

FULL_S = SETTINGS.timeout_ms / 1000 * (1 + SETTINGS.drift)


def beat(stage: Stage, *members: Member) -> list[str]:
    return stage.controller.detector.heartbeats(frozenset(member.run_id for member in members), stage.now)


def settled(stage: Stage) -> tuple[Member, ...]:
    """Carry out everything that is to be done, everybody who is alive doing as told."""
    while configuration := stage.controller.next_configuration():
        stage.controller.stored(configuration)
    return stage.chain


# ------------------------------------------------------------------------------------------------ what ceases


def test_who_never_had_a_heartbeat_is_judged_by_its_answers_alone() -> None:
    stage = Stage(A, B, C)
    assert beat(stage, A, B) == []
    assert beat(stage, A, B) == []
    stage.pass_time(5, A, B, C)
    assert settled(stage) == (A, B, C)


def test_a_heartbeat_that_ceases_is_news_once() -> None:
    stage = Stage(A, B, C)
    beat(stage, A, B, C)
    assert beat(stage, A, C) == [B.run_id]
    assert beat(stage, A, C) == []
    assert beat(stage, A, B, C) == []
    assert beat(stage, A, C) == [B.run_id]


def test_who_does_not_answer_after_its_heartbeat_ceased_is_gone_when_its_lease_is_over() -> None:
    """Not before, however dead it may look (rule 4); and without waiting for another timeout."""
    stage = Stage(A, B, C)
    stage.pass_time(FULL_S, A, B, C)  # what an earlier master may have granted is over
    beat(stage, A, B, C)
    stage.pass_time(0.1, A, C)
    assert stage.controller.lease_to_grant(B.run_id)
    stage.pass_time(0.2, A, C)
    beat(stage, A, C)
    stage.pass_time(0.2, A, C)
    assert not stage.controller.detector.is_gone(B.run_id)
    assert settled(stage) == (A, B, C)
    stage.pass_time(FULL_S - 0.3, A, C)
    assert stage.controller.detector.is_gone(B.run_id)


def test_a_hung_member_without_a_lease_goes_with_its_heartbeat() -> None:
    stage = Stage(A, B, C)
    stage.pass_time(FULL_S, A, B, C)
    beat(stage, A, B, C)
    stage.pass_time(0.1, A, C)
    assert settled(stage) == (A, B, C)
    beat(stage, A, C)
    stage.pass_time(0.1, A, C)
    assert settled(stage) == (A, C)


def test_an_answer_after_the_heartbeat_ceased_is_a_sign_of_life() -> None:
    stage = Stage(A, B, C)
    stage.pass_time(FULL_S, A, B, C)
    beat(stage, A, B, C)
    beat(stage, A, C)
    stage.pass_time(0.5, A, B, C)
    assert settled(stage) == (A, B, C)
    beat(stage, A, B, C)
    stage.pass_time(5, A, B, C)
    assert settled(stage) == (A, B, C)


def test_who_answers_and_has_no_heartbeat_for_the_timeout_leaves_and_acknowledges() -> None:
    stage = Stage(A, B, C)
    beat(stage, A, B, C)
    beat(stage, A, C)
    stage.pass_time(SETTINGS.timeout_ms / 1000 + 0.1, A, B, C)
    configuration = stage.controller.next_configuration()
    assert configuration and configuration.view.members == (A, C)
    assert configuration.leaving == (B,)


def test_who_left_without_a_heartbeat_is_known_until_it_has_one_again() -> None:
    """It would have to leave again. When nobody has one, etcd is to blame."""
    stage = Stage(A, B, C)
    detector = stage.controller.detector
    beat(stage, A, B, C)
    beat(stage, A, C)
    assert not detector.has_lost_heartbeat(B.run_id)
    detector.follow((A, C), (A, C), stage.now, (B,))
    for those_that_beat, is_lost in (((A, C), True), ((), False), ((A,), True), ((A, B, C), False), ((A, C), False)):
        beat(stage, *those_that_beat)
        assert detector.has_lost_heartbeat(B.run_id) == is_lost


def test_who_comes_back_has_lost_nothing() -> None:
    stage = Stage(A, B, C)
    detector = stage.controller.detector
    beat(stage, A, B, C)
    beat(stage, A, C)
    detector.follow((A, C), (A, C), stage.now, (B,))
    detector.follow((A, C, B), (A, C, B), stage.now, (B,))
    assert not detector.has_lost_heartbeat(B.run_id)


def test_a_lost_heartbeat_is_forgotten_with_who_cannot_come_back() -> None:
    """Each process that was ever removed so would be remembered for as long as the master runs."""
    stage = Stage(A, B, C)
    detector = stage.controller.detector
    beat(stage, A, B, C)
    beat(stage, A, C)
    stage.pass_time(SETTINGS.timeout_ms / 1000 + 0.1, A, B, C)
    out = stage.controller.next_configuration()
    assert out and out.fallen == (B,)
    stage.controller.stored(replace(out, leaving=()))
    assert detector.has_lost_heartbeat(B.run_id)
    stage.controller.stored(replace(out, leaving=(), fallen=()))
    assert not detector.has_lost_heartbeat(B.run_id)


def test_nobody_has_to_go_when_nobody_s_heart_beats() -> None:
    """Then etcd is to blame."""
    stage = Stage(A, B, C)
    beat(stage, A, B, C)
    beat(stage)
    stage.pass_time(10, A, B, C)
    assert settled(stage) == (A, B, C)


def test_a_heart_that_beats_excuses_no_silence() -> None:
    """A member that the master cannot reach hears of no view and gets no lease: it would hold up every change."""
    stage = Stage(A, B, C)
    beat(stage, A, B, C)
    stage.pass_time(2 * FULL_S, A, C)
    assert settled(stage) == (A, C)


def test_the_only_member_stays_whatever_becomes_of_its_heartbeat() -> None:
    stage = Stage(A)
    beat(stage, A)
    beat(stage)
    stage.pass_time(10)
    assert settled(stage) == (A,)


def test_a_heartbeat_that_was_there_before_the_member_was_counts() -> None:
    """In the walk-through members connect after they were added; nobody is hindered to do so before."""
    stage = Stage(A)
    beat(stage, A, B)
    stage.controller.stored(chain_of(A, B))
    stage.answer(A, B)
    assert beat(stage, A) == [B.run_id]


def test_a_master_that_was_stopped_counts_no_missing_heartbeats_meanwhile() -> None:
    stage = Stage(A, B, C)
    beat(stage, A, B, C)
    beat(stage, A, C)
    stage.now += 100
    stage.controller.detector.attend(stage.now)
    stage.answer(A, B, C)
    assert settled(stage) == (A, B, C)


# ------------------------------------------------------------------------------------------------ what is granted


@pytest.mark.parametrize(
    ("left_s", "length_ms"), [(math.inf, 1000), (50, 1000), (0.5511, 501), (0.0005, None), (-1, None)]
)
def test_no_lease_outlasts_the_leadership(left_s: float, length_ms: int | None) -> None:
    stage = Stage(A, B)
    stage.controller.leases.leads_until = stage.now + left_s
    lease = stage.controller.lease_to_grant(A.run_id)
    assert lease == (None if length_ms is None else Lease(7, int(stage.now * 1000), length_ms))
    if lease:
        assert lease.length_ms / 1000 * (1 + SETTINGS.drift) <= left_s + 1e-6


def test_a_lease_counts_from_an_answer_and_so_does_its_end() -> None:
    """What has passed since the answer is not to be granted twice."""
    stage = Stage(A, B)
    stage.controller.leases.leads_until = stage.now + 0.5511
    stage.pass_time(0.5)
    lease = stage.controller.lease_to_grant(A.run_id)
    assert lease and lease.length_ms == 501


def test_a_new_leader_reckons_with_leases_that_outlast_the_stored_length() -> None:
    leader = Controller(chain_of(A, B), SETTINGS, 100.0, slack_ms=2000)
    report = Stage(A).controller.detector.records[A.run_id].report
    assert report
    leader.detector.answered(A.run_id, report, 100.0)
    for tenth in range(1, 31):
        leader.detector.attend(100 + tenth / 10)
    assert not leader.detector.is_gone(B.run_id)
    leader.detector.attend(103.4)
    assert leader.detector.is_gone(B.run_id)
