# SPDX-License-Identifier: Apache-2.0
"""The handshake, resends, and which batches a member takes."""

from __future__ import annotations

import pytest

from core_extension.core import Batch, Core, Greeting, Verdict

from .members import (
    HISTORY,
    HUGE,
    OTHER,
    ROOMY,
    Member,
    acknowledge,
    batch_of,
    chain,
    entry,
    forward,
    greeting,
    put,
    receive,
    settle,
    shake_hands,
    shake_hands_again,
    view,
)

# ---------------------------------------------------------------------------- the handshake and resends

@pytest.mark.parametrize(("welcome", "verdict"), [
    (greeting(2, 3, 1), Verdict.ACCEPTED),
    (greeting(2, 5, 2), Verdict.ACCEPTED),
    (greeting(2, -1, -1), Verdict.TOO_FAR_BEHIND),
    (greeting(2, 1, 1), Verdict.TOO_FAR_BEHIND),
    (greeting(2, 2, 1), Verdict.ACCEPTED),
    (greeting(2, 6, 2), Verdict.DIVERGED),  # more than we have
    (greeting(2, -2, -1), Verdict.DIVERGED),
    (greeting(2, 4, 1), Verdict.DIVERGED),  # the same sn, but assigned by the head before
    (greeting(2, 3, 2), Verdict.DIVERGED),
    (greeting(2, HUGE, HUGE), Verdict.DIVERGED),
    (greeting(2, 3, 1, OTHER), Verdict.OTHER_HISTORY),
    (greeting(1, 3, 1), Verdict.STALE),
    (greeting(3, 3, 1), Verdict.BEHIND),
])
def test_welcome(welcome: Greeting, verdict: Verdict) -> None:
    """Two positions agree up to the lower one only if that sn has the same assigning epoch in both."""
    a = Member("a", ROOMY)
    a.learn(view(1, "x"))
    a.restore(HISTORY, 2, [(0, 1)])  # its log begins with sn 3
    put_as_learner(a, 1, epoch=1)
    a.adopt(view(2, "ab"))
    put(a, 2)
    assert a.boundaries == [(0, 1), (4, 2)]
    assert a.on_welcome(welcome, "b") == verdict
    assert a.streaming == (verdict == Verdict.ACCEPTED)
    if verdict == Verdict.ACCEPTED:
        assert a.next_sn == welcome.applied + 1


def put_as_learner(core: Core, updates: int, epoch: int) -> None:
    for _ in range(updates):
        assert core.append(entry(), epoch)


def test_a_welcome_counts_from_the_successor_only() -> None:
    a, _, _ = chain()
    a.successor_lost()
    assert a.on_welcome(greeting(1, -1, -1), "c") == Verdict.STRANGER
    assert not a.streaming


@pytest.mark.parametrize(("greet", "sender", "verdict"), [
    (greeting(1, 3, 1), "a", Verdict.ACCEPTED),
    (greeting(1, -1, -1), "a", Verdict.ACCEPTED),  # late: the predecessor decides from our welcome
    (greeting(1, 3, 1), "c", Verdict.STRANGER),
    (greeting(1, 3, 1), "b", Verdict.STRANGER),
    (greeting(1, 3, 1, OTHER), "a", Verdict.OTHER_HISTORY),
    (greeting(0, 3, 1), "a", Verdict.STALE),
    (greeting(2, 3, 1), "a", Verdict.BEHIND),
])
def test_greet(greet: Greeting, sender: str, verdict: Verdict) -> None:
    a, b, _ = chain()
    put(a, 2)
    forward(a, b)
    got, welcome = b.on_greet(greet, sender, 9)
    assert got == verdict
    assert welcome == (greeting(1, 1, 1)._replace(heeds_saved=True) if verdict == Verdict.ACCEPTED else None)
    assert receive(b, batch_of(1, 2, 1), 9) == (verdict if verdict == Verdict.ACCEPTED else Verdict.NOT_GREETED)


def test_a_diverged_successor_is_detected() -> None:
    """A head that was cut off went on numbering: the same sns, but of an older epoch."""
    a, b, c = chain()
    put(a, 2)
    forward(a, b)
    put(a, 2)  # never forwarded
    b.adopt(view(2, "bc"))
    c.adopt(view(2, "bc"))
    put(b, 3)
    for core in (a, b):
        core.adopt(view(3, "ba"))
    verdict, welcome = a.on_greet(b.position(), "b", 5)
    assert verdict == Verdict.ACCEPTED and welcome == greeting(3, 3, 1)._replace(heeds_saved=True)
    assert b.on_welcome(welcome, "a") == Verdict.DIVERGED
    assert b.next_batch(1 << 20) is None


def test_only_the_newest_greeted_connection_counts() -> None:
    a, b = chain("ab")
    put(a)
    late = a.next_batch(1 << 20)
    assert late is not None
    shake_hands_again(a, b, 2)
    assert receive(b, late, 1) == Verdict.NOT_GREETED
    forward(a, b, 2)
    assert b.applied == 0


def test_after_a_handshake_with_nothing_lacking_an_empty_batch_says_so() -> None:
    a, b = chain("ab")
    put(a, 2)
    forward(a, b)
    shake_hands_again(a, b, 2)
    assert forward(a, b, 2) == [Batch(1, 1, 2, 0, -1, 1, saved=1)]
    assert a.next_batch(1 << 20) is None
    assert a.resent == 0


def test_lost_batches_are_sent_again() -> None:
    a, b = chain("ab")
    put(a, 3)
    assert a.next_batch(1 << 20) is not None  # lost with its connection
    shake_hands_again(a, b, 2)
    assert [batch.first for batch in forward(a, b, 2)] == [0]
    assert (b.applied, a.resent) == (2, 3)


def test_several_greetings_in_a_row_set_nothing_back() -> None:
    """Each batch without a handshake asks for a greeting. Batches that are sent after the first welcome count."""
    a, b = chain("ab", limits=ROOMY._replace(backlog_bytes=0))
    a.successor_lost()
    _, first = b.on_greet(a.position(), "a", 1)
    _, second = b.on_greet(a.position(), "a", 1)
    assert first is not None and second is not None
    assert a.on_welcome(first, "b") == Verdict.ACCEPTED
    put(a, 3)
    forward(a, b)
    acknowledge(b, a)
    settle(a)
    assert a.log_first == 3
    assert a.on_welcome(second, "b") == Verdict.ACCEPTED
    assert (a.next_sn, a.next_batch(1 << 20)) == (3, None)


# ---------------------------------------------------------------- rule 1: in order, no gap, each once

@pytest.mark.parametrize(("batch", "verdict", "skip"), [
    (batch_of(2, 4, 2), Verdict.ACCEPTED, 0),
    (batch_of(2, 2, 4, 1), Verdict.NONSENSE, 0),  # new updates of an epoch before our newest
    (batch_of(2, 3, 3, 2), Verdict.ACCEPTED, 1),
    (batch_of(2, 3, 1, 2), Verdict.ACCEPTED, 1),  # all here already
    (batch_of(2, 0, 3, 1), Verdict.ACCEPTED, 3),  # ... of an older epoch, too
    (batch_of(2, 4, 0), Verdict.ACCEPTED, 0),
    (batch_of(2, 5, 1), Verdict.GAP, 0),
    (batch_of(2, 5, 0), Verdict.GAP, 0),
    (batch_of(1, 4, 1), Verdict.STALE, 0),
    (batch_of(3, 4, 1), Verdict.BEHIND, 0),
    (batch_of(2, 4, 1, 3), Verdict.NONSENSE, 0),  # assigned in an epoch that its sender is not in yet
    (batch_of(2, 4, 1, -1), Verdict.NONSENSE, 0),
    (batch_of(2, -1, 2), Verdict.NONSENSE, 0),
    (batch_of(2, 4, 1)._replace(count=-1), Verdict.NONSENSE, 0),
    (batch_of(2, 4, 1)._replace(first=HUGE, count=HUGE), Verdict.NONSENSE, 0),
    (batch_of(2, 4, 2)._replace(upto=3), Verdict.NONSENSE, 0),
    (batch_of(2, 4, 2)._replace(committed=HUGE), Verdict.ACCEPTED, 0),
    (batch_of(2, 4, 2)._replace(committed=-HUGE), Verdict.ACCEPTED, 0),
])
def test_batch(batch: Batch, verdict: Verdict, skip: int) -> None:
    _, _, c = in_epoch_two_with_four_updates()
    assert c.on_batch(batch, 2) == (verdict, skip)
    if verdict == Verdict.ACCEPTED:
        assert receive(c, batch, 2) == Verdict.ACCEPTED
        assert c.applied == max(3, batch.first + batch.count - 1)
        assert c.committed == c.applied  # the tail's


def in_epoch_two_with_four_updates() -> list[Core]:
    """SNs 0 to 2 of epoch 1, 3 of epoch 2."""
    a, b, c = chain()
    put(a, 3)
    forward(a, b)
    forward(b, c)
    for core in (b, c):
        core.adopt(view(2, "bc"))
    put(b)
    shake_hands(b, c, 2)
    forward(b, c, 2)
    assert c.applied == 3
    return [a, b, c]


def test_a_batch_before_the_handshake_is_refused() -> None:
    _, b, _ = chain()
    b.adopt(view(2, "abc"))
    assert receive(b, batch_of(2, 0, 1)) == Verdict.NOT_GREETED


def test_a_middle_commits_no_more_than_it_has() -> None:
    a, b, _ = chain()
    put(a, 2)
    batch = a.next_batch(1 << 20)
    assert batch is not None
    receive(b, batch._replace(committed=HUGE))
    assert b.committed == b.applied == 1
