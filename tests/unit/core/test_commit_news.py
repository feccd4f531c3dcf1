# SPDX-License-Identifier: Apache-2.0
"""Who hears when of a commit, in a chain of all commands: the head at once, a middle when its clients wait for it."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from core_extension.core import KIND_ALL, Core, Verdict

from .members import acknowledge, forward, shake_hands_again, view
from .members import chain as chain_of_puts


def chain(members: str) -> list[Core]:
    return chain_of_puts(members, kind=KIND_ALL)


def write_through(members: list[Core]) -> None:
    """A write that the tail executes and tells the head."""
    assert members[0].append_own(Random(members[0].applied).randbytes(100))
    for before, after in pairwise(members):
        forward(before, after)
    members[-1].executed = members[-1].applied
    members[0].on_ack(members[-1].take_head_ack(), members[-1].run_id)


def test_a_middle_without_clients_hears_of_commits_with_the_next_batch_or_tick() -> None:
    a, b, c = chain("abc")
    write_through([a, b, c])
    assert not c.ack_due()
    assert a.append_own(b"effects")
    forward(a, b)
    assert b.committed == 99
    c.tick()
    acknowledge(c, b)
    assert b.committed == 99 and not b.ack_due()


def test_a_middle_with_clients_hears_of_each_commit_at_once() -> None:
    a, b, c = chain("abc")
    write_through([a, b, c])
    b.note_clients(True)
    assert b.is_batch_due()
    assert [(batch.count, batch.listens) for batch in forward(b, c)] == [(0, True)]
    acknowledge(c, b)       # of the commit before, too
    assert b.committed == 99
    write_through([a, b, c])
    assert c.ack_due()
    b.on_ack(c.take_ack(), "c")
    assert (a.committed, b.committed, b.ack_due()) == (199, 199, False)
    b.note_clients(False)
    forward(b, c)
    write_through([a, b, c])
    assert not c.ack_due() and not b.is_batch_due()


def test_a_middle_listens_for_those_before_it_and_never_for_the_head() -> None:
    a, b, c, d = chain("abcd")
    a.note_clients(True)
    assert not a.is_batch_due()
    b.note_clients(True)
    forward(b, c)
    assert [batch.listens for batch in forward(c, d)] == [True]
    write_through([a, b, c, d])
    acknowledge(d, c)
    acknowledge(c, b)
    assert b.committed == 99


def test_a_new_connection_says_again_who_listens() -> None:
    a, b, c = chain("abc")
    b.note_clients(True)
    forward(b, c)
    for member in (a, b, c):
        assert member.adopt(view(2, "abc", kind=KIND_ALL)) == Verdict.ACCEPTED
    shake_hands_again(a, b, 2)
    shake_hands_again(b, c, 2)
    forward(a, b, 2)
    assert [batch.listens for batch in forward(b, c, 2)] == [True]
