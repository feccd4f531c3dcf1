# SPDX-License-Identifier: Apache-2.0
"""What no disk before a member will lose: forwarded at once, committed when it is saved (design.md, "Restart")."""

import pytest

from core_extension.core import KIND_ALL, NO_LIMIT, Batch, Core, Verdict
from unit.core.members import (
    HUGE,
    ROOMY,
    Member,
    acknowledge,
    batch_of,
    chain,
    forward,
    put,
    receive,
    settle,
    shake_hands,
    shake_hands_again,
    view,
)


def with_disks(members: str = "abc", kind: int = 0) -> list[Core]:
    """A chain whose disks have nothing yet."""
    cores = chain(members, kind=kind)
    for core in cores:
        core.saved(-1)
    return cores


def say(before: Core, after: Core, connection: int = 1) -> list[tuple[int, int]]:
    """What was forwarded: how many updates, and what was said to be saved."""
    return [(batch.count, batch.saved) for batch in forward(before, after, connection)]


def test_updates_are_forwarded_at_once_and_committed_when_all_disks_have_them() -> None:
    a, b, c = with_disks()
    put(a, 3)
    assert say(a, b) == [(3, -1)] and say(b, c) == [(3, -1)]
    for core in (c, b):
        core.saved(2)
    assert say(b, c) == []          # nothing is known of the head's disk
    assert (c.applied, c.committed) == (2, -1)
    a.saved(1)
    assert say(a, b) == [(0, 1)] and say(b, c) == [(0, 1)]
    assert c.committed == 1
    settle(c)
    acknowledge(c, b)
    assert b.committed == 1


@pytest.mark.parametrize("late", range(3))
def test_each_disk_is_waited_for(late: int) -> None:
    cores = with_disks()
    put(cores[0], 3)
    for i, core in enumerate(cores):
        core.saved(0 if i == late else 2)
    for _ in range(2):
        forward(cores[0], cores[1])
        forward(cores[1], cores[2])
    assert cores[2].committed == 0
    cores[late].saved(2)
    forward(cores[0], cores[1])
    forward(cores[1], cores[2])
    assert cores[2].committed == 2


def test_a_member_without_a_disk_to_wait_for_vouches_for_what_it_has() -> None:
    a, b, c = chain()
    b.saved(-1)
    put(a, 2)
    assert say(a, b) == [(2, 1)] and say(b, c) == [(2, -1)]
    assert c.committed == -1
    b.saved(1)
    assert say(b, c) == [(0, 1)]
    assert c.committed == 1


def test_without_disks_one_message_says_all() -> None:
    a, b, c = chain()
    put(a, 2)
    assert say(a, b) == [(2, 1)] and say(b, c) == [(2, 1)]
    assert not a.is_batch_due() and not b.is_batch_due() and c.committed == 1


def test_what_is_saved_is_told_again_on_a_new_connection_and_in_a_new_view() -> None:
    a, b, _ = with_disks()
    put(a, 2)
    a.saved(0)
    assert say(a, b) == [(2, 0)]
    shake_hands_again(a, b, 2)
    assert say(a, b, 2) == [(0, 0)]
    for core in (a, b):
        core.adopt(view(2, "ab"))
    b.saved(1)
    assert b.committed == -1        # nobody has told in this epoch
    shake_hands_again(a, b, 3)
    assert say(a, b, 3) == [(0, 0)] and b.committed == 0


def test_a_new_head_commits_what_its_own_disk_has() -> None:
    a, b, c = with_disks()
    put(a, 3)
    forward(a, b)
    forward(b, c)
    b.saved(0)
    b.adopt(view(2, "b"))
    assert b.committed == 0
    b.saved(2)
    assert b.committed == 2


def test_a_new_tail_commits_what_all_disks_have() -> None:
    a, b, c = with_disks()
    put(a, 3)
    forward(a, b)
    forward(b, c)
    a.saved(1)
    b.saved(2)
    for core in (a, b):
        core.adopt(view(2, "ab"))
    shake_hands(a, b, 2)
    forward(a, b, 2)
    assert b.committed == 1


def test_a_tail_that_feeds_a_learner_says_nothing_of_what_it_may_lose() -> None:
    a, b = with_disks("ab")
    put(a, 2)
    forward(a, b)
    n = Member("n", ROOMY)
    n.learn(view(1, "ab"))
    assert b.pin() and b.feed("n")
    n.restore(a.history, b.applied, b.boundaries)
    put(a, 1)
    forward(a, b)
    shake_hands(b, n, 3)
    assert say(b, n, 3) == [(1, -1)]


# ---------------------------------------------------------------------------------------- chains of all commands

def test_effects_are_saved_when_the_position_behind_them_is() -> None:
    a, b, c = with_disks(kind=KIND_ALL)
    a.append_own(b"x" * 100)
    assert say(a, b) == [(100, -1)] and say(b, c) == [(100, -1)]
    for core in (a, b):
        core.saved(99)
    assert say(a, b) == [(0, 99)] and say(b, c) == [(0, 99)]
    c.saved(99)
    assert c.committed == -1        # its own server lacks it
    c.executed = 99
    c.saved(99)
    assert c.committed == 99 and c.head_shortcut() == "a"
    settle(c)
    assert c.head_ack_due()


# --------------------------------------------------------------------------------------------- members of two versions

def shake_hands_as_before(before: Core, after: Core, connection: int) -> None:
    """`after` is of a version that takes all that it gets for saved."""
    before.successor_lost()
    _, welcome = after.on_greet(before.position(), before.run_id, connection)
    assert welcome is not None and welcome.heeds_saved
    assert before.on_welcome(welcome._replace(heeds_saved=False), after.run_id) == Verdict.ACCEPTED


def test_a_successor_that_heeds_nothing_gets_what_is_saved() -> None:
    a, b, c = with_disks()
    shake_hands_as_before(b, c, 2)
    put(a, 3)
    forward(a, b)
    assert [(batch.count, batch.upto, batch.saved) for batch in forward(b, c, 2)] == [(0, -1, -1)]
    b.saved(2)
    assert not b.is_batch_due()     # the head's disk lacks it
    a.saved(1)
    forward(a, b)
    assert [(batch.count, batch.upto, batch.saved) for batch in forward(b, c, 2)] == [(2, 1, 1)]
    c.saved(1)
    assert c.committed == 1


@pytest.mark.parametrize("batch", [
    batch_of(1, 0, 2)._replace(saved=2), batch_of(1, 0, 2)._replace(saved=HUGE),
    batch_of(1, 0, 2)._replace(saved=-2), batch_of(1, 0, 2)._replace(saved=-NO_LIMIT),
])  # fmt: skip
def test_nobody_has_saved_what_is_not_sent_yet(batch: Batch) -> None:
    _, b = with_disks("ab")
    assert receive(b, batch) == Verdict.NONSENSE
    assert b.applied == -1
