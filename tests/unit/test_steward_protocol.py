"""Mistakes of the master's protocol that the simulation has found: each, once more, as a story of a few lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chainredis.protocol.errors import CommandError
from chainredis.protocol.evidence import Sighting, Terms
from chainredis.protocol.reconfiguration import Begin, Change, Form, Health, Reform, Returned, decide
from chainredis.protocol.steward import Steward
from chainredis.protocol.view import Member, View

TERMS = Terms(timeout_ms=1000, lease_ms=1000, drift=0.1)
A, B, C = (Member("127.0.0.1", "127.0.0.1", 7000 + i, f"{i:040x}") for i in range(3))


def chain(*members: Member, epoch: int = 5, pending: bool = False, leaving: tuple[Member, ...] = ()) -> Change:
    return Change(View("a" * 32, epoch, members, "b" * 32), leaving, pending, lease_ms=1000)


def steward_of(change: Change) -> Steward:
    """At time 0, having heard of everybody that they are well."""
    steward = Steward(change, TERMS, 0)
    for member in steward.followed:
        hear(steward, member, 0)
    return steward


def hear(steward: Steward, member: Member, now: float, epoch: int = 5) -> None:
    steward.answered(member.run_id, Sighting(epoch, serving=True, stamp_ms=0), now)


def hear_nothing(steward: Steward, until: float) -> None:
    while steward.now < until:
        steward.attend(steward.now + 0.1)


def test_a_chain_that_is_cut_off_from_the_master_is_not_dead() -> None:
    """Its members serve each other: to begin anew, or with a former member, would make two chains of it."""
    steward = steward_of(chain(A, B))
    hear_nothing(steward, until=5)
    assert steward.is_lost
    with pytest.raises(CommandError, match="may be alive"):
        steward.propose(Begin(C, bytes(32), steward.health()))
    with pytest.raises(CommandError, match="may be alive"):
        steward.propose(Form(C, 5, steward.health()))


def test_a_chain_whose_ports_refuse_for_as_long_as_a_lease_lasts_is_dead() -> None:
    """Also to a master that was away when it died."""
    steward = Steward(chain(A, B), TERMS, 0)
    for member in (A, B):
        steward.refused(member.run_id)
    hear_nothing(steward, until=5)
    assert steward.propose(Begin(C, bytes(32), steward.health())).view.members == (C,)


def test_of_those_that_leave_the_last_hears_of_it_first() -> None:
    """The middle one would tell the head, which would serve alone while the tail still answers by its lease."""
    steward = steward_of(chain(A, epoch=6, leaving=(B, C)))
    assert [steward.view_to_tell(member.run_id) is not None for member in (A, B, C)] == [False, False, True]
    hear(steward, C, 1, epoch=6)
    change = steward.next_change()
    assert change and change.leaving == (B,)
    steward.stored(change)
    assert [steward.view_to_tell(member.run_id) is not None for member in (A, B)] == [False, True]


def returned(former: Member, applied: int, durable: bool = False) -> Returned:
    """The process that has what `former` kept."""
    back = replace(former, run_id=former.run_id.replace("0", "f"))
    return Returned(back, former.run_id, 5, durable, assigned=5, applied=applied)


def test_a_new_tail_that_may_serve_has_more_than_disks_that_lose_a_second() -> None:
    """Nobody has seen it serve yet, and the others have died: what it committed meanwhile is lost without it."""
    change = chain(A, B, C, pending=True)
    back = (returned(A, 7), returned(B, 6))
    with pytest.raises(CommandError, match="may live"):
        decide(change, Reform(back, health_of_dead(A, B)))
    assert decide(change, Reform((returned(A, 7, durable=True),), health_of_dead(A, B))).leaving == (A, B, C)
    assert decide(change, Reform(back, health_of_dead(A, B, C))).view.head == returned(A, 7).member


def test_the_disk_of_a_new_tail_counts_beside_those_of_the_others() -> None:
    back = (returned(A, 7), returned(B, 9), returned(C, 8, durable=True))
    change = chain(A, B, C, pending=True)
    assert decide(change, Reform(back, health_of_dead(A, B, C))).view.head == returned(B, 9).member
    back = (*back[:2], returned(C, 10, durable=True))
    assert decide(change, Reform(back, health_of_dead(A, B, C))).view.head == returned(C, 10).member


def health_of_dead(*members: Member) -> Health:
    return Health(dead=frozenset(member.run_id for member in members))
