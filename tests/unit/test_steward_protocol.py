"""Mistakes of the master's protocol that the simulation has found: each, once more, as a story of a few lines."""

from __future__ import annotations

import pytest

from chainredis.errors import CommandError
from chainredis.steward import Sighting, Steward, Terms
from chainredis.transitions import Begin, Change, Form
from chainredis.view import Member, View

TERMS = Terms(timeout_ms=1000, drift=0.1)
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
