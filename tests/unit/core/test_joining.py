# SPDX-License-Identifier: Apache-2.0
"""Learners, positions from a disk or another member, and the watch over the payloads' handles."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core_extension.core import MAX_BOUNDARIES, Ack, Core, Limits, Role, Verdict

from .members import (
    COST,
    HISTORY,
    HUGE,
    OTHER,
    ROOMY,
    Member,
    acknowledge,
    chain,
    entry,
    forward,
    greeting,
    put,
    receive,
    settle,
    shake_hands,
    view,
)

# -------------------------------------------------------------------------------------- joining

def copied(tail: Core, run_id: str = "n", limits: Limits = ROOMY) -> Core:
    """A learner that has the tail's snapshot."""
    learner = Member(run_id, limits)
    learner.learn(tail.view)
    assert learner.role() == Role.LEARNER
    assert learner.restore(HISTORY, tail.applied, tail.boundaries) == Verdict.ACCEPTED
    return learner


def test_hand_over_to_a_learner() -> None:
    """VR&S 3.3: the new tail gets the history of the old one, which goes on serving meanwhile."""
    a, b = chain("ab")
    put(a, 3)
    forward(a, b)
    assert b.pin() and b.pinned == 3
    n = copied(b)
    put(a, 2)
    forward(a, b)
    assert b.feed("n") and b.serves_reads()
    shake_hands(b, n)
    assert [(batch.first, batch.count) for batch in forward(b, n)] == [(3, 2)]
    assert (n.applied, n.committed, n.serves_reads()) == (4, 4, False)
    acknowledge(n, b)
    assert b.pinned == 5
    put(a)
    forward(a, b)
    n.adopt(view(2, "abn"))
    assert n.role() == Role.TAIL and not n.serves_reads()
    b.adopt(view(2, "abn"))
    assert not b.serves_reads()
    assert b.pinned == 5  # until the new tail acknowledges
    shake_hands(b, n, 2)
    batch = b.next_batch(1 << 20)
    assert batch is not None
    assert receive(n, batch._replace(count=0, upto=5), 2) == Verdict.ACCEPTED
    assert n.in_step and not n.serves_reads()  # b had 5 when they shook hands
    assert receive(n, batch, 2) == Verdict.ACCEPTED
    assert n.serves_reads()
    n.tick()  # what came with a batch is no news to its sender, so it is acknowledged only now and then
    acknowledge(n, b)
    assert b.pinned == -1


def test_a_learners_acknowledgement_moves_the_pin_and_commits_nothing() -> None:
    a, b = chain("ab")
    assert b.pin()
    n = copied(b)
    b.feed("n")
    put(a, 2)
    shake_hands(b, n)
    forward(a, b)
    forward(b, n)
    committed = b.committed
    acknowledge(n, b)
    assert (b.pinned, b.committed) == (2, committed)
    assert b.on_ack(Ack(1, 2), "n") == Verdict.NONSENSE


def test_who_can_pin() -> None:
    a, b = chain("ab")
    assert not a.pin()
    assert not a.feed("n") and not b.feed("n")  # nothing is pinned
    assert b.pin() and b.feed("n")
    b.adopt(view(2, "ab"))
    assert not b.pin()  # not in step yet
    assert not Member("z", ROOMY).pin()


def test_a_pin_holds_the_log_up_to_the_limit_and_then_breaks() -> None:
    limits = Limits(1 << 20, backlog_bytes=2 * COST, join_bytes=6 * COST)
    a, = chain("a", limits=limits)
    put(a, 3)
    settle(a)
    assert a.pin() and a.pinned == 3
    put(a, 6)
    settle(a)
    assert (a.log_first, a.pinned, a.pin_broken) == (3, 3, False)
    a.feed("n")
    put(a)
    settle(a)
    assert (a.pinned, a.pin_broken, a.feeding, a.streaming) == (-1, True, False, False)
    assert a.log_bytes == 2 * COST
    assert a.pin() and not a.pin_broken


@pytest.mark.parametrize("members", ["ab", "b"])
def test_a_view_without_the_learner_ends_the_join(members: str) -> None:
    _, b = chain("ab")
    assert b.pin() and b.feed("n")
    b.adopt(view(2, members))
    assert (b.pinned, b.feeding) == (-1, False)


def test_a_tail_refuses_a_view_whose_new_tail_it_cannot_feed() -> None:
    """The master withdraws that view. Until the next view the tail serves nothing: it has heard of a newer epoch."""
    _, b = chain("ab")
    assert b.pin() and b.feed("n")
    assert b.adopt(view(2, "abx")) == Verdict.TOO_FAR_BEHIND
    assert (b.epoch, b.newest_epoch, b.serves_reads()) == (1, 2, False)
    b.unpin()
    assert b.adopt(view(2, "abn")) == Verdict.TOO_FAR_BEHIND
    assert b.adopt(view(3, "ab")) == Verdict.ACCEPTED


def test_a_join_that_is_off() -> None:
    _, b = chain("ab")
    assert b.pin() and b.feed("n")
    b.unpin()
    assert (b.pinned, b.feeding, b.successor()) == (-1, False, None)
    assert b.on_welcome(greeting(1, -1, -1), "n") == Verdict.STRANGER


def test_a_removed_member_starts_afresh_as_a_learner() -> None:
    a, b = chain("ab")
    put(a, 3)
    a.adopt(view(2, "b"))
    b.adopt(view(2, "b"))
    while a.pop_any():
        pass
    a.learn(view(2, "b"))
    assert (a.role(), a.applied, a.boundaries, a.owned()) == (Role.LEARNER, -1, [], frozenset())
    a.adopt(view(3, "b"))
    assert a.role() == Role.REMOVED


# ------------------------------------------------------------------------ positions from elsewhere

@pytest.mark.parametrize(("applied", "boundaries", "verdict"), [
    (5, [(0, 1)], Verdict.ACCEPTED),
    (5, [(0, 0), (3, 2), (5, 7)], Verdict.ACCEPTED),
    (-1, [], Verdict.ACCEPTED),
    (5, [(4, 1)], Verdict.ACCEPTED),  # older boundaries have fallen out
    (-2, [], Verdict.NONSENSE),
    (HUGE, [(0, 1)], Verdict.NONSENSE),  # there would be no next sn
    (-HUGE, [(0, 1)], Verdict.NONSENSE),
    (5, [(-1, 1)], Verdict.NONSENSE),
    (5, [(0, -1)], Verdict.NONSENSE),
    (5, [(3, 1), (2, 2)], Verdict.NONSENSE),
    (5, [(3, 1), (3, 2)], Verdict.NONSENSE),
    (5, [(3, 2), (4, 2)], Verdict.NONSENSE),
    (5, [(3, 2), (4, 1)], Verdict.NONSENSE),
    (5, [(0, 1), (6, 2)], Verdict.NONSENSE),  # beyond what is applied
    (-1, [(0, 1)], Verdict.NONSENSE),
])
def test_restore(applied: int, boundaries: Sequence[tuple[int, int]], verdict: Verdict) -> None:
    core = Member("a", ROOMY)
    assert core.restore(HISTORY, applied, boundaries) == verdict
    if verdict == Verdict.ACCEPTED:
        assert (core.role(), core.applied, core.log_first) == (Role.REMOVED, applied, applied + 1)
        assert core.position() == greeting(0, applied, boundaries[-1][1] if boundaries else -1)
        assert not core.takes_writes() and not core.serves_reads()
    else:
        assert (core.role(), core.applied) == (Role.ALONE, -1)


def test_restore_of_another_chains_data() -> None:
    learner = Member("n", ROOMY)
    learner.learn(view(1, "ab"))
    assert learner.restore(OTHER, 5, [(0, 1)]) == Verdict.OTHER_HISTORY
    assert (learner.applied, learner.history) == (-1, HISTORY)


def test_the_table_of_boundaries_keeps_the_newest() -> None:
    a, = chain("a")
    for epoch in range(2, MAX_BOUNDARIES + 4):
        put(a)
        a.adopt(view(epoch, "a"))
    put(a)
    assert len(a.boundaries) == MAX_BOUNDARIES
    assert a.boundaries[-1] == (a.applied, a.epoch)
    assert (a.epoch_of(0), a.epoch_of(a.applied), a.epoch_of(a.applied - 1)) == (-1, a.epoch, a.epoch - 1)


def test_forget() -> None:
    _, b = chain("ab")
    b.forget()
    assert (b.role(), b.history, b.epoch, b.applied) == (Role.ALONE, b"", 0, -1)
    assert b.takes_writes() and b.adopt(view(1, "b", OTHER)) == Verdict.ACCEPTED


# ---------------------------------------------------------------------- the watch over the handles

def test_a_handle_that_goes_in_twice_is_reported() -> None:
    core = Core("a", ROOMY)
    given = entry()
    core.assign(given)
    core.assign(given)
    assert any("went in twice" in line for line in core.check())


def test_a_log_that_is_dropped_with_its_handles_is_reported() -> None:
    core = Core("a", ROOMY)
    core.assign(entry())
    core.learn(view(1, "b"))
    assert any("2 handles are owned, 0 are in the log" in line for line in core.check())
