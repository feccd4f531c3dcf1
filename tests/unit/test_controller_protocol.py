# SPDX-License-Identifier: Apache-2.0
"""Mistakes of the master's protocol that the simulation has found: each, once more, as a story of a few lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chainredis.protocol.controller import Controller
from chainredis.protocol.errors import CommandError
from chainredis.protocol.member_record import MemberReport
from chainredis.protocol.reconfiguration import (
    EPOCHS_LEFT_OUT,
    Begin,
    Configuration,
    Form,
    Health,
    Reform,
    Remove,
    Returned,
    reconfigure,
)  # fmt: skip
from chainredis.protocol.settings import ProtocolSettings
from chainredis.protocol.view import Kind, Member, View

SETTINGS = ProtocolSettings(timeout_ms=1000, lease_ms=1000, drift=0.1)
A, B, C = (Member("127.0.0.1", "127.0.0.1", 7000 + i, f"{i:040x}") for i in range(3))


def chain(*members: Member, epoch: int = 5, pending: bool = False, leaving: tuple[Member, ...] = ()) -> Configuration:
    return Configuration(View("a" * 32, epoch, members, "b" * 32), leaving, pending, lease_ms=1000)


def controller_of(configuration: Configuration) -> Controller:
    """At time 0, having heard of everybody that they are well."""
    controller = Controller(configuration, SETTINGS, 0)
    for member in controller.followed:
        hear(controller, member, 0)
    return controller


def hear(controller: Controller, member: Member, now: float, epoch: int = 5) -> None:
    controller.detector.answered(member.run_id, MemberReport(epoch, serving=True, stamp_ms=0), now)


def test_who_was_asked_before_is_not_found_serving_by_a_late_answer() -> None:
    """It may have been killed since."""
    controller = controller_of(chain(A, B))
    report = MemberReport(5, serving=True, stamp_ms=0)
    controller.detector.answered(A.run_id, report, 2.0, asked_at=0.9)
    assert controller.found_serving(0, since=1.0) is None
    controller.detector.answered(A.run_id, report, 2.1, asked_at=1.0)
    assert controller.found_serving(0, since=1.0) == A


def hear_nothing(controller: Controller, until: float) -> None:
    while controller.detector.now < until:
        controller.detector.attend(controller.detector.now + 0.1)


def test_a_chain_that_is_cut_off_from_the_master_is_not_dead() -> None:
    """Its members serve each other: to begin anew, or with a former member, would make two chains of it."""
    controller = controller_of(chain(A, B))
    hear_nothing(controller, until=5)
    assert controller.is_lost
    with pytest.raises(CommandError, match="may be alive"):
        controller.propose(Begin(C, bytes(32), controller.detector.health()))
    with pytest.raises(CommandError, match="may be alive"):
        controller.propose(Form(C, 5, controller.detector.health()))


def test_a_chain_whose_ports_refuse_for_as_long_as_a_lease_lasts_is_dead() -> None:
    """Also to a master that was away when it died."""
    controller = Controller(chain(A, B), SETTINGS, 0)
    for member in (A, B):
        controller.detector.refused(member.run_id)
    hear_nothing(controller, until=5)
    assert controller.propose(Begin(C, bytes(32), controller.detector.health())).view.members == (C,)


def test_of_those_that_leave_the_last_hears_of_it_first() -> None:
    """The middle one would tell the head, which would serve alone while the tail still answers by its lease."""
    controller = controller_of(chain(A, epoch=6, leaving=(B, C)))
    assert [controller.view_to_tell(member.run_id) is not None for member in (A, B, C)] == [False, False, True]
    hear(controller, C, 1, epoch=6)
    configuration = controller.next_configuration()
    assert configuration and configuration.leaving == (B,)
    controller.stored(configuration)
    assert [controller.view_to_tell(member.run_id) is not None for member in (A, B)] == [False, True]


def test_nobody_waits_until_it_is_stored_who_knows_that_it_is_out() -> None:
    """The next master finds the same by its first question, and tells nobody before."""
    stored = chain(A, B, epoch=6, leaving=(C,))
    controller = controller_of(stored)
    hear(controller, C, 1, epoch=6)
    assert controller.next_configuration() == replace(stored, leaving=())
    assert [controller.view_to_tell(member.run_id) is not None for member in (A, B)] == [True, True]
    for member in (A, B):
        assert not controller.is_settled
        hear(controller, member, 1, epoch=6)
    assert controller.is_settled
    assert not controller.is_open, "the next change waits for the note"
    following = Controller(stored, SETTINGS, 1)
    for member, may_be_told in ((A, False), (C, True)):
        assert (following.view_to_tell(B.run_id) is not None) is False
        hear(following, member, 1, epoch=6 if member is C else 5)
        assert following.view_to_tell(A.run_id) == (stored.view if may_be_told else None)


def test_nobody_comes_back_before_it_is_stored_that_it_has_left() -> None:
    """Until then it is not remembered that it has left without its heartbeat, and it would come back at once."""
    stored = replace(chain(A, B, epoch=6, leaving=(C,)), fallen=(C,))
    controller = controller_of(stored)
    everybody = frozenset(member.run_id for member in (A, B, C))
    controller.detector.heartbeats(everybody, 0.1)
    controller.detector.heartbeats(everybody - {C.run_id}, 0.2)
    for member in (C, A, B):
        hear(controller, member, 1, epoch=6)
    assert controller.is_settled
    assert controller.missing(fallen=True) == ()
    controller.stored(replace(stored, leaving=()))
    assert controller.missing(fallen=True) == (C,)
    assert controller.detector.has_lost_heartbeat(C.run_id)


def test_who_leaves_and_comes_back_to_life_is_waited_for_again() -> None:
    """Its lease was over, and it had not heard of the view: nobody who was not told yet is told before it."""
    controller = controller_of(chain(A, B, epoch=6, leaving=(C,)))
    hear_nothing(controller, until=1.2)
    for member in (A, B):
        hear(controller, member, 1.2)
    assert [controller.view_to_tell(member.run_id) is not None for member in (A, B)] == [True, True]
    hear(controller, C, 1.3)
    assert [controller.view_to_tell(member.run_id) is not None for member in (A, B, C)] == [False, False, True]


def test_of_those_that_leave_a_chain_of_all_none_hears_of_it_while_another_may_answer() -> None:
    """The last one would tell the head, which would serve alone while the middle one still answers by its lease."""
    configuration = chain(A, epoch=6, leaving=(B, C))
    controller = controller_of(replace(configuration, view=replace(configuration.view, kind=Kind.ALL)))
    assert [controller.view_to_tell(member.run_id) is not None for member in (A, B, C)] == [False, False, False]
    hear_nothing(controller, until=1.2)
    for member in (A, B, C):
        hear(controller, member, 1.2)
    assert [controller.view_to_tell(member.run_id) is not None for member in (A, B, C)] == [False, False, True]


def returned(former: Member, applied: int, durable: bool = False) -> Returned:
    """The process that has what `former` kept."""
    back = replace(former, run_id=former.run_id.replace("0", "f"))
    return Returned(back, former.run_id, 5, durable, assigned=5, applied=applied)


def test_a_new_tail_that_may_serve_has_more_than_disks_that_lose_a_second() -> None:
    """Nobody has seen it serve yet, and the others have died: what it committed meanwhile is lost without it."""
    configuration = chain(A, B, C, pending=True)
    back = (returned(A, 7), returned(B, 6))
    with pytest.raises(CommandError, match="may live"):
        reconfigure(configuration, Reform(back, health_of_dead(A, B)))
    reformed = reconfigure(configuration, Reform((returned(A, 7, durable=True),), health_of_dead(A, B)))
    assert reformed.leaving == (A, B, C)
    assert reconfigure(configuration, Reform(back, health_of_dead(A, B, C))).view.head == returned(A, 7).member


def test_the_disk_of_a_new_tail_counts_beside_those_of_the_others() -> None:
    back = (returned(A, 7), returned(B, 9), returned(C, 8, durable=True))
    configuration = chain(A, B, C, pending=True)
    assert reconfigure(configuration, Reform(back, health_of_dead(A, B, C))).view.head == returned(B, 9).member
    back = (*back[:2], returned(C, 10, durable=True))
    assert reconfigure(configuration, Reform(back, health_of_dead(A, B, C))).view.head == returned(C, 10).member


def health_of_dead(*members: Member) -> Health:
    return Health(dead=frozenset(member.run_id for member in members))


def test_an_operators_chain_takes_no_epoch_that_a_silent_member_may_know() -> None:
    """The store has gone back from epoch 6, and C, who leaves in epoch 6, would count as one who has heard of that."""
    controller = Controller(chain(A, B, C), SETTINGS, 0)
    hear(controller, A, 0)
    formed = controller.propose(Form(A, 5, controller.detector.health()))
    assert formed.view.epoch > 5 + EPOCHS_LEFT_OUT
    assert formed.leaving == (B, C)


def test_an_operator_waits_for_what_a_silent_member_may_know() -> None:
    """The store may have gone back: until C has answered, or is gone, a next view might take the epoch that C is in."""
    controller = Controller(chain(A, B, C), SETTINGS, 0)
    hear(controller, A, 0)
    hear(controller, B, 0)
    remove = Remove(B, controller.detector.health())
    with pytest.raises(CommandError, match="7002 has not answered since this master began"):
        controller.propose(remove)
    assert not controller.is_open, "it will be soon"
    hear(controller, C, 0)
    assert controller.propose(remove).view.epoch == 6


def gone_back(stored: Configuration, newer: Configuration, knows: Member) -> Controller:
    """The store has `stored`, and this member knows `newer`: the others are in the view before, in which they serve."""
    controller = controller_of(stored)
    hear(controller, knows, 0, epoch=newer.view.epoch)
    controller.superseded(newer.view)
    controller.stored(controller.next_configuration())
    return controller


def test_a_newer_view_that_its_own_members_have_not_heard_of_is_brought_forward() -> None:
    """A has left, and was told first. Then the store went back, and nobody told B of that view any more."""
    controller = gone_back(chain(A, B, C), chain(B, epoch=6), knows=A)
    hear_nothing(controller, until=2)
    assert controller.next_configuration() is None, "B, too, may be in a newer one by now"
    hear(controller, B, 2)
    forward = controller.next_configuration()
    assert forward is not None
    assert (forward.view.epoch, forward.view.members) == (6 + EPOCHS_LEFT_OUT, (B,))
    assert (forward.leaving, forward.pending) == ((A, C), False)


def test_the_tail_of_a_newer_view_that_serves_in_none_may_lack_something() -> None:
    controller = gone_back(chain(A, B), chain(A, B, C, epoch=6), knows=A)
    hear_nothing(controller, until=2)
    for member in (A, B):
        hear(controller, member, 2)
    controller.detector.answered(C.run_id, MemberReport(0, serving=False, stamp_ms=0), 2)
    forward = controller.next_configuration()
    assert forward is not None
    assert forward.pending
    assert forward.complete == (A, B)


def test_leases_that_were_longer_than_the_store_knows_are_waited_for() -> None:
    """The store has gone back to before they were. C is silent, and may have such a lease; A says how long it was."""
    controller = Controller(chain(A, B, C), SETTINGS, 0)
    hear(controller, B, 0)
    controller.detector.answered(A.run_id, MemberReport(5, serving=True, stamp_ms=0, longest_lease_ms=5000), 0)
    hear_nothing(controller, until=5.4)
    assert not controller.detector.is_gone(C.run_id)
    hear_nothing(controller, until=5.6)
    assert controller.detector.is_gone(C.run_id)
