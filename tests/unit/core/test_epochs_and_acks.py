# SPDX-License-Identifier: Apache-2.0
"""Fencing by epochs, views, and the acknowledgements on their way up."""

from __future__ import annotations

import pytest

from core_extension.core import KIND_ALL, Ack, Role, Verdict, View

from .members import HUGE, OTHER, ROOMY, Member, acknowledge, batch_of, chain, forward, greeting, put, receive, view

# ------------------------------------------------------------------------------------ rule 2: fencing

def test_a_fenced_member_serves_nothing_until_it_has_the_view() -> None:
    a, = chain("a")
    assert a.takes_writes() and a.serves_reads()
    assert a.judge_epoch(3) == Verdict.BEHIND
    assert a.fenced() and not a.takes_writes() and not a.serves_reads()
    a.adopt(view(2, "a"))
    assert a.fenced() and not a.takes_writes()
    a.adopt(view(3, "a"))
    assert not a.fenced() and a.takes_writes() and a.serves_reads()


@pytest.mark.parametrize("message", [
    lambda core: core.on_batch(batch_of(1, 0, 1), 1)[0],
    lambda core: core.on_greet(greeting(1, 0, 1), "a", 1)[0],
    lambda core: core.on_welcome(greeting(1, -1, -1), "c"),
    lambda core: core.on_ack(Ack(1, 0), "c"),
])
def test_every_message_of_an_older_epoch_is_refused_and_changes_nothing(message) -> None:  # type: ignore[no-untyped-def]
    a, b, _ = chain()
    put(a)
    forward(a, b)
    b.adopt(view(2, "abc"))
    before = (b.applied, b.committed, b.streaming, b.position())
    assert message(b) == Verdict.STALE
    assert (b.applied, b.committed, b.streaming, b.position()) == before
    assert b.refused_stale == 1


def test_a_removed_head_cannot_commit() -> None:
    """Members in a newer epoch refuse the updates of a removed head, and none acknowledges to it."""
    a, b, c = chain()
    for core in (b, c):
        core.adopt(view(2, "bc"))
    put(a)
    batch = a.next_batch(1 << 20)
    assert batch is not None
    assert receive(b, batch) == Verdict.STALE
    assert a.on_ack(Ack(2, 0), "c") == Verdict.BEHIND  # now it knows
    assert (a.committed, a.takes_writes()) == (-1, False)
    a.adopt(view(2, "bc"))
    assert (a.role(), a.committed) == (Role.REMOVED, -1)
    assert a.on_ack(Ack(2, 0), "c") == Verdict.STRANGER
    assert not a.takes_writes() and not a.serves_reads()


@pytest.mark.parametrize(("given", "verdict"), [
    (view(3, "ab"), Verdict.ACCEPTED),
    (view(9, "b"), Verdict.ACCEPTED),
    (view(2, "ab"), Verdict.ACCEPTED),  # the same again
    (view(2, "ba"), Verdict.CONFLICT),
    (view(2, "a"), Verdict.CONFLICT),
    (view(2, "ab", kind=KIND_ALL), Verdict.CONFLICT),
    (view(3, "ab", kind=KIND_ALL), Verdict.CONFLICT),
    (view(1, "ab"), Verdict.STALE),
    (view(-5, "ab"), Verdict.STALE),
    (view(3, "ab", OTHER), Verdict.OTHER_HISTORY),
    (view(2, "ab", OTHER), Verdict.OTHER_HISTORY),
])
def test_adopt(given: View, verdict: Verdict) -> None:
    a = chain("ab", epoch=2)[0]
    assert a.adopt(given) == verdict
    assert a.epoch == (given.epoch if verdict == Verdict.ACCEPTED else 2)


def test_a_member_of_another_chain_says_so() -> None:
    alone = Member("a", ROOMY)
    assert alone.on_batch(batch_of(1, 0, 1), 1)[0] == Verdict.OTHER_HISTORY
    assert alone.on_greet(greeting(1, 0, 1), "b", 1)[0] == Verdict.OTHER_HISTORY
    assert not alone.fenced()


# ------------------------------------------------------------------------------- acknowledgements

@pytest.mark.parametrize(("ack", "sender", "verdict", "committed"), [
    (Ack(1, 1), "c", Verdict.ACCEPTED, 1),
    (Ack(1, 2), "b", Verdict.ACCEPTED, 2),
    (Ack(1, -1), "b", Verdict.ACCEPTED, 0),  # cumulative: it never goes back
    (Ack(1, 3), "b", Verdict.NONSENSE, 0),  # more than we have
    (Ack(1, -2), "b", Verdict.NONSENSE, 0),
    (Ack(1, HUGE), "b", Verdict.NONSENSE, 0),
    (Ack(1, 1), "a", Verdict.STRANGER, 0),  # from before us
    (Ack(1, 1), "z", Verdict.STRANGER, 0),
    (Ack(0, 1), "b", Verdict.STALE, 0),
    (Ack(2, 1), "b", Verdict.BEHIND, 0),
])
def test_ack(ack: Ack, sender: str, verdict: Verdict, committed: int) -> None:
    a, _, _ = chain()
    put(a, 3)
    assert a.on_ack(Ack(1, 0), "b") == Verdict.ACCEPTED
    assert a.on_ack(ack, sender) == verdict
    assert a.committed == committed


def test_one_acknowledgement_for_all_that_was_applied_in_a_pass() -> None:
    a, b = chain("ab")
    put(a, 50)
    forward(a, b)
    assert b.ack_due()
    assert b.take_ack() == Ack(1, 49)
    assert not b.ack_due()


def test_the_tail_tells_the_head_itself_and_the_middle_relies_on_it() -> None:
    a, b, c = chain()
    put(a)
    forward(a, b)
    forward(b, c)
    assert c.head_ack_due()
    a.on_ack(c.take_head_ack(), "c")
    assert not c.head_ack_due()
    ack = c.take_ack()
    assert ack == Ack(1, 0, head_told=True)
    b.on_ack(ack, "c")
    assert (a.committed, b.committed, b.ack_due()) == (0, 0, False)
    b.tick()  # in trust, but not for ever
    assert b.ack_due()
    assert b.take_ack() == Ack(1, 0)


def test_without_a_link_to_the_head_the_acknowledgement_promises_nothing() -> None:
    a, b, c = chain()
    put(a)
    forward(a, b)
    forward(b, c)
    ack = c.take_ack()
    assert not ack.head_told
    b.on_ack(ack, "c")
    assert b.ack_due()
    acknowledge(b, a)
    assert a.committed == 0


def test_a_lost_link_to_the_head_takes_the_promise_back() -> None:
    a, b, c = chain()
    put(a)
    forward(a, b)
    forward(b, c)
    c.take_head_ack()  # lost with its link
    b.on_ack(c.take_ack(), "c")
    c.head_lost()
    assert c.head_ack_due() and c.ack_due()
    assert c.take_ack() == Ack(1, 0)
    assert a.committed == -1


def test_a_lost_link_to_the_predecessor_has_it_told_again() -> None:
    a, b = chain("ab")
    put(a)
    forward(a, b)
    b.take_ack()
    b.predecessor_lost()
    assert b.ack_due()


def test_only_a_long_chain_has_the_short_cut() -> None:
    assert [core.head_shortcut() for core in chain("ab")] == [None, None]
    assert [core.head_shortcut() for core in chain("abcd")] == [None, None, None, "a"]


def test_in_a_chain_of_four_each_middle_tells_the_next() -> None:
    a, b, c, d = chain("abcd")
    put(a)
    for before, after in ((a, b), (b, c), (c, d)):
        forward(before, after)
    d.take_head_ack()
    c.on_ack(d.take_ack(), "d")
    assert c.ack_due()  # not the second member: the promise goes no further
    ack = c.take_ack()
    assert not ack.head_told
    b.on_ack(ack, "c")
    assert b.ack_due()
