# SPDX-License-Identifier: Apache-2.0
"""The limits of the log, and the clients that wait for a commit."""

from __future__ import annotations

import pytest

from core_extension.core import Ack

from .members import COST, HUGE, ROOMY, acknowledge, chain, entry, forward, handles, put, settle, view

# ---------------------------------------------------------------------------------- rule 9: bounds

@pytest.mark.parametrize(("before", "size", "room"), [
    (0, 1, True),
    (0, 5 * COST, True),  # an empty log takes any that fits
    (4, COST, True),
    (4, COST + 1, False),
    (5, 1, False),
])
def test_the_head_holds_writers_back(before: int, size: int, room: bool) -> None:
    a, _ = chain("ab", limits=ROOMY._replace(log_bytes=5 * COST))
    for _ in range(before):
        put(a)
    assert a.has_room(size) == room
    assert a.fits(size)
    assert not a.fits(5 * COST + 1)


def test_room_comes_back_when_updates_are_settled() -> None:
    a, _ = chain("ab", limits=ROOMY._replace(log_bytes=2 * COST))
    put(a, 2)
    a.on_ack(Ack(1, 0), "b")
    assert not a.has_room(COST)
    assert settle(a) == [0]
    assert a.has_room(COST)


def test_the_backlog_is_trimmed_and_uncommitted_updates_are_not() -> None:
    a, _ = chain("ab", limits=ROOMY._replace(backlog_bytes=3 * COST))
    put(a, 10)
    settle(a)
    assert (a.log_first, a.unsettled_bytes) == (0, 10 * COST)
    a.on_ack(Ack(1, 5), "b")
    assert a.pop_trimmed() is None  # not before it is settled
    settle(a)
    assert (a.log_first, a.log_bytes, a.unsettled_bytes) == (3, 7 * COST, 4 * COST)
    a.on_ack(Ack(1, 9), "b")
    settle(a)
    assert (a.log_first, a.log_bytes) == (7, 3 * COST)


def test_trimming_gives_back_what_went_in() -> None:
    a, = chain("a", limits=ROOMY._replace(backlog_bytes=0))
    given = entry()._replace(client=next(handles))
    a.assign(given)
    assert a.owned() == {given.key, given.value, given.client}
    a.pop_settled()
    assert a.pop_trimmed() == given
    assert a.owned() == frozenset()


def test_the_ring_grows_and_goes_round() -> None:
    a, b = chain("ab", limits=ROOMY._replace(backlog_bytes=100 * COST))
    for turn in range(40):
        put(a, 73)
        if turn % 4 == 3:
            forward(a, b)
            acknowledge(b, a)
            settle(a)
            settle(b)
    put(a, 5000)
    assert a.check() == []
    forward(a, b)
    acknowledge(b, a)
    assert settle(a)[-1] == a.applied == 40 * 73 + 5000 - 1
    assert a.log_bytes == 100 * COST


# --------------------------------------------------------------------------------- rule 6: waiters

def test_waiters_are_answered_in_order_and_once() -> None:
    a, _ = chain("ab")
    waiters = [next(handles) for _ in range(3)]
    for waiter in waiters:
        a.assign(entry(waiter=waiter, since_ms=100))
    a.on_ack(Ack(1, 1), "b")
    assert [due[1].waiter for due in iter(a.pop_settled, None)] == waiters[:2]
    assert [a.pop_expired(99), a.pop_expired(100), a.pop_expired(100)] == [0, waiters[2], 0]
    a.on_ack(Ack(1, 2), "b")
    settled = a.pop_settled()
    assert settled is not None and settled[1].waiter == 0


def test_expiry_goes_in_the_order_of_the_updates() -> None:
    a, _ = chain("ab")
    waiters = [next(handles) for _ in range(4)]
    a.assign(entry())
    for waiter, since_ms in zip(waiters, [10, 20, 30, 40], strict=True):
        a.assign(entry(waiter=waiter, since_ms=since_ms))
        a.assign(entry())
    assert a.pop_expired(9) == 0
    assert [a.pop_expired(25), a.pop_expired(25), a.pop_expired(25)] == [*waiters[:2], 0]
    last = next(handles)
    a.assign(entry(waiter=last, since_ms=50))
    assert [a.pop_expired(50) for _ in range(4)] == [*waiters[2:], last, 0]


@pytest.mark.parametrize("members", ["b", "ba", ""])
def test_a_head_that_is_head_no_more_orphans_its_waiters(members: str) -> None:
    a, _ = chain("ab")
    waiters = [next(handles) for _ in range(3)]
    for waiter in waiters:
        a.assign(entry(waiter=waiter, since_ms=HUGE))
    a.on_ack(Ack(1, 0), "b")
    assert a.pop_orphan() == 0
    a.adopt(view(2, members))
    due = a.pop_settled()
    assert due is not None and due[1].waiter == waiters[0]  # that one is committed
    assert [a.pop_orphan() for _ in range(3)] == [*waiters[1:], 0]


def test_a_head_that_stays_head_keeps_its_waiters() -> None:
    a, _ = chain("ab")
    waiter = next(handles)
    a.assign(entry(waiter=waiter, since_ms=HUGE))
    a.adopt(view(2, "a"))
    assert a.pop_orphan() == 0
    due = a.pop_settled()
    assert due is not None and due[1].waiter == waiter
