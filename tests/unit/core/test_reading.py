# SPDX-License-Identifier: Apache-2.0
"""Rule 4: who may answer a READ. Leases after Gray and Cheriton (SOSP 1989), with epochs; questions of our own."""

from itertools import pairwise

import pytest

from core_extension.core import KIND_ALL, Core, Verdict

from .members import HUGE, ROOMY, Member, acknowledge, chain, forward, put, shake_hands_again, view

LENGTH = 100


def ask_and_answer(members: list[Core], connection: int = 1) -> None:
    """Carries a question up the chain and its answer down."""
    for after, before in zip(members[:0:-1], members[-2::-1], strict=True):
        acknowledge(after, before)
    for before, after in pairwise(members):
        forward(before, after, connection)


# ------------------------------------------------------------------------------------------------- leases


@pytest.mark.parametrize(("epoch", "stamp", "length", "now", "verdict", "reads_until"), [
    (1, 1000, LENGTH, 1050, Verdict.ACCEPTED, 1100),
    (1, 1000, LENGTH, 5000, Verdict.ACCEPTED, 1100),  # it was under way for long: it has run out
    (1, 0, LENGTH, 50, Verdict.ACCEPTED, 100),
    (1, 1000, 0, 1000, Verdict.ACCEPTED, 1000),  # none
    (0, 1000, LENGTH, 1050, Verdict.STALE, 0),
    (2, 1000, LENGTH, 1050, Verdict.BEHIND, 0),
    (1, 1051, LENGTH, 1050, Verdict.NONSENSE, 0),  # no answer of ours had that stamp
    (1, -1, LENGTH, 1050, Verdict.NONSENSE, 0),
    (1, 1000, -1, 1050, Verdict.NONSENSE, 0),
    (1, 1000, HUGE, 1050, Verdict.NONSENSE, 0),
])  # fmt: skip
def test_grant(epoch: int, stamp: int, length: int, now: int, verdict: Verdict, reads_until: int) -> None:
    _, tail = chain("ab")
    assert tail.grant(epoch, stamp, length, now) == verdict
    assert [tail.may_read(at) for at in (max(0, reads_until - 1), reads_until)] == [reads_until > 0, False]


def test_a_lease_is_never_shortened_by_an_older_grant() -> None:
    _, tail = chain("ab")
    tail.grant(1, 1000, LENGTH, 1000)
    tail.grant(1, 950, LENGTH, 1000)
    assert tail.may_read(1099)


def test_a_lease_ends_with_its_epoch() -> None:
    _, b, _ = members = chain("abc")
    for member in members:
        member.grant(1, 1000, LENGTH, 1000)
    b.adopt(view(2, "ab"))
    a = members[0]
    a.adopt(view(2, "ab"))
    shake_hands_again(a, b, 2)
    forward(a, b, 2)
    assert b.serves_reads() and not b.may_read(1001)


def test_only_a_tail_in_step_reads_by_its_lease() -> None:
    a, b, c = chain("abc")
    for member in (a, b, c):
        member.grant(1, 1000, LENGTH, 1000)
    assert [member.may_read(1001) for member in (a, b, c)] == [False, False, True]
    c.judge_epoch(2)
    assert not c.may_read(1001)


def test_a_sole_member_and_one_without_a_chain_need_no_lease() -> None:
    (sole,) = chain("a")
    assert sole.may_read(1000)
    assert Member("n", ROOMY).may_read(1000)


# ---------------------------------------------------------------------------------------------- questions


@pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
def test_a_question_is_answered_when_every_member_has_seen_it(names: str) -> None:
    members = chain(names)
    tail = members[-1]
    question = tail.ask()
    assert not tail.is_answered(1, question)
    assert tail.ack_due()
    for left_out in range(len(members) - 1, 0, -1):
        acknowledge(members[left_out], members[left_out - 1])
        assert not tail.is_answered(1, question)
    ask_and_answer(members)
    assert tail.is_answered(1, question)
    assert not tail.ack_due()


def test_reads_that_come_before_the_question_leaves_share_it_later_ones_do_not() -> None:
    members = chain("ab")
    tail = members[-1]
    first = tail.ask()
    assert tail.ask() == first
    acknowledge(tail, members[0])
    second = tail.ask()
    assert second > first
    forward(members[0], tail)
    assert tail.is_answered(1, first) and not tail.is_answered(1, second)
    ask_and_answer(members)
    assert tail.is_answered(1, second)


def test_a_question_lost_with_its_link_is_asked_again() -> None:
    a, b = chain("ab")
    question = b.ask()
    b.take_ack()  # lost
    b.predecessor_lost()
    assert b.ack_due()
    ask_and_answer([a, b])
    assert b.is_answered(1, question)


def test_an_answer_lost_with_its_link_comes_again() -> None:
    a, b = chain("ab")
    question = b.ask()
    acknowledge(b, a)
    a.next_batch(1 << 20)  # lost
    shake_hands_again(a, b, 2)
    forward(a, b, 2)
    assert b.is_answered(1, question)


def test_an_answer_of_an_older_epoch_counts_for_nothing() -> None:
    a, b, _ = chain("abc")
    for member in (a, b):
        member.adopt(view(2, "ab"))
    shake_hands_again(a, b, 2)
    forward(a, b, 2)
    question = b.ask()
    ask_and_answer([a, b], 2)
    assert b.is_answered(2, question)
    assert not b.is_answered(1, question)
    b.judge_epoch(3)
    assert not b.is_answered(2, question)


def test_a_member_in_doubt_speaks_to_a_neighbour_which_may_be_in_a_newer_view() -> None:
    a, b, c = chain("abc")
    for member in (a, b, c):
        member.doubt()
    assert b.ack_due() and c.ack_due()
    batch = a.next_batch(1 << 20)
    assert batch is not None and batch.count == 0
    b.adopt(view(2, "b"))
    assert b.on_ack(c.take_ack(), "c") == Verdict.STALE
    assert b.on_batch(batch, 1)[0] == Verdict.STALE
    assert not c.ack_due() and a.next_batch(1 << 20) is None


def test_who_asks_nothing_is_answered_nothing() -> None:
    """An answer that runs ahead of the questions would answer later ones."""
    a, b = chain("ab")
    put(a)
    batch = a.next_batch(1 << 20)
    assert batch is not None
    b.on_batch(batch._replace(answer=7), 1)
    b.batch_applied(batch._replace(answer=7, count=0))
    assert not b.is_answered(1, b.ask())


# ------------------------------------------------------------- replies of any member, in a chain of all commands


def acknowledge_and_forward(members: list[Core]) -> None:
    for member in members[:0:-1]:
        acknowledge(member, members[members.index(member) - 1])
    for before, after in pairwise(members):
        forward(before, after)


@pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
def test_what_was_read_before_two_answered_questions_is_proven_at_every_member(names: str) -> None:
    members = chain(names, kind=KIND_ALL)
    tail = members[-1]
    for round_of in range(1, 8):
        for member in members:
            member.proven_ms(1000 * round_of)
        tail.ask_again(1000 * round_of)
        acknowledge_and_forward(members)
        proven = [member.proven_ms(1000 * round_of + 1) for member in members]
        assert proven[-1] == 1000 * round_of
        assert proven[:-1] == [1000 * (round_of - 1)] * (len(names) - 1)


def test_one_question_proves_nothing_to_a_member_that_the_question_passed_late() -> None:
    """The members behind it may have passed it on, and have left the view, before the bytes were read."""
    members = chain("abc", kind=KIND_ALL)
    a, b, c = members
    for member in members:
        member.proven_ms(1000)
    c.ask_again(1000)
    acknowledge(c, b)
    b.proven_ms(2000)       # a has not seen the question
    acknowledge(b, a)
    a.proven_ms(2000)
    assert [member.proven_ms(3000) for member in members] == [0, 0, 0]
    forward(a, b)
    forward(b, c)
    assert [member.proven_ms(3000) for member in members] == [0, 0, 1000]
    c.ask_again(3000)
    acknowledge_and_forward(members)
    assert [member.proven_ms(4000) for member in members] == [1000, 1000, 3000]


def test_a_tail_asks_nothing_new_before_its_last_question_is_answered() -> None:
    """What is asked in between waits, and nothing is due meanwhile."""
    a, b = chain("ab", kind=KIND_ALL)
    b.ask_again(1000)
    first = b.take_ack()
    b.ask_again(1100)
    later = b.ask()
    assert (first.question, later, b.ack_due()) == (1, 2, False)
    assert a.on_ack(first, "b") == Verdict.ACCEPTED
    assert b.take_ack().question == 1
    forward(a, b)
    assert b.is_answered(1, 1) and not b.is_answered(1, later) and b.ack_due()
    acknowledge(b, a)
    forward(a, b)
    assert b.is_answered(1, later) and not b.ack_due()


def test_a_question_of_a_chain_of_all_that_is_lost_with_its_link_is_asked_again() -> None:
    a, b = chain("ab", kind=KIND_ALL)
    b.ask_again(1000)
    b.take_ack()    # lost
    b.predecessor_lost()
    assert b.ack_due()
    acknowledge_and_forward([a, b])
    assert b.is_answered(1, 1)


def test_a_tail_without_a_lease_asks_with_each_acknowledgement() -> None:
    a, b = chain("ab", kind=KIND_ALL)
    b.grant(1, 1000, LENGTH, 1000)
    b.ask_again(1050)
    acknowledge_and_forward([a, b])
    b.doubt()
    assert b.take_ack().question == 1
    b.ask_again(1100)
    acknowledge_and_forward([a, b])
    b.doubt()
    assert b.take_ack().question == 3


def test_proofs_of_an_older_epoch_count_no_more_and_what_was_proven_stays_so() -> None:
    members = chain("abc", kind=KIND_ALL)
    a, b, _ = members
    for at in (1000, 2000, 3000):
        for member in members:
            member.proven_ms(at)
        members[-1].ask_again(at)
        acknowledge_and_forward(members)
    assert a.proven_ms(4000) == b.proven_ms(4000) == 2000
    for member in (a, b):
        member.adopt(view(2, "ab", kind=KIND_ALL))
    shake_hands_again(a, b, 2)
    forward(a, b, 2)
    assert a.proven_ms(5000) == b.proven_ms(5000) == 2000
    b.ask_again(5000)
    ask_and_answer([a, b], 2)
    assert (a.proven_ms(6000), b.proven_ms(6000)) == (2000, 5000)


def test_a_chain_of_puts_asks_nothing_by_itself() -> None:
    a, b = chain("ab")
    b.ask_again(1000)
    assert not b.ack_due() and b.proven_ms(1000) == 0
    (sole,) = chain("s", kind=KIND_ALL)
    sole.ask_again(1000)
    assert sole.proven_ms(1000) == 0 and a.proven_ms(1000) == 0


def test_who_shows_data() -> None:
    """A new tail only when its server has what the old one had; removed members and learners never."""
    a, b, c = chain("abc", kind=KIND_ALL)
    assert all(member.shows_data() for member in (a, b, c)) and Member("n", ROOMY).shows_data()
    assert a.append_own(b"x" * 10)
    forward(a, b)
    for member in (a, b, c):
        member.adopt(view(2, "ab", kind=KIND_ALL))
    assert (a.shows_data(), b.shows_data(), c.shows_data()) == (True, False, False)
    shake_hands_again(a, b, 2)
    forward(a, b, 2)
    assert not b.shows_data()
    b.executed = b.applied
    assert b.shows_data()


# ------------------------------------------------------------------------------------------- publications


def test_a_tail_acknowledges_what_it_has_published() -> None:
    a, b = chain("ab")
    put(a, 3)
    b.published = 0
    forward(a, b)
    acknowledge(b, a)
    assert (a.committed, b.committed, b.ack_due()) == (0, 2, False)
    b.published = HUGE
    acknowledge(b, a)
    assert a.committed == 2


# --------------------------------------------------------------------------------------- joining by the log


@pytest.mark.parametrize(("applied", "assigned", "verdict"), [
    (4, 1, Verdict.ACCEPTED), (2, 1, Verdict.ACCEPTED), (0, 1, Verdict.ACCEPTED),
    (-1, -1, Verdict.TOO_FAR_BEHIND), (-2, -1, Verdict.TOO_FAR_BEHIND),  # the first member's own data is in no log
    (5, 1, Verdict.DIVERGED), (4, 0, Verdict.DIVERGED), (4, 2, Verdict.DIVERGED), (4, -1, Verdict.DIVERGED),
    (HUGE, 1, Verdict.DIVERGED),
])  # fmt: skip
def test_what_a_server_that_was_away_must_have(applied: int, assigned: int, verdict: Verdict) -> None:
    """Rule 1: a learner has a prefix of the tail's history."""
    a, b = chain("ab")
    put(a, 5)
    forward(a, b)
    assert b.pin_from(applied, assigned) == verdict
    assert b.pinned == (applied + 1 if verdict == Verdict.ACCEPTED else -1)


def test_a_former_member_is_fed_what_it_missed_and_no_more() -> None:
    a, b, c = chain("abc")
    put(a, 3)
    forward(a, b)
    forward(b, c)
    for member in (c, b, a):
        member.adopt(view(2, "ab"))
    shake_hands_again(a, b, 2)
    put(a, 2)
    forward(a, b, 2)
    assert b.pin_from(c.applied, c.epoch_of(c.applied)) == Verdict.ACCEPTED
    assert c.relearn(view(2, "ab")) == Verdict.ACCEPTED
    assert b.feed("c")
    shake_hands_again(b, c, 3)
    assert [(batch.first, batch.count) for batch in forward(b, c, 3)] == [(3, 2)]
    assert c.applied == 4 and c.boundaries == b.boundaries


# ------------------------------------------------------------------------------- what members have told before


def test_a_member_hears_all_while_it_has_a_lease_or_a_fresh_proof() -> None:
    a, b = chain("ab", kind=KIND_ALL)
    assert not b.hears_all(5000)
    assert b.grant(1, 5000, LENGTH, 5000) == Verdict.ACCEPTED
    assert [b.hears_all(now) for now in (5000, 5099, 5100)] == [True, True, False]
    for _ in (1, 2):
        b.proven_ms(6000)
        b.ask_again(6000)
        acknowledge_and_forward([a, b])
    assert b.proven_ms(6001) == 6000
    assert [b.hears_all(now) for now in (6001, 6999, 7000)] == [True, True, False]


def test_a_removed_member_hears_nothing() -> None:
    _, b = chain("ab", kind=KIND_ALL)
    b.grant(1, 5000, LENGTH, 5000)
    assert b.adopt(view(2, "a", kind=KIND_ALL)) == Verdict.ACCEPTED
    assert not b.hears_all(5001)


def test_a_sole_member_and_a_server_without_a_chain_hear_all() -> None:
    assert chain("a")[0].hears_all(1 << 40)
    assert Core("a", ROOMY).hears_all(1 << 40)
