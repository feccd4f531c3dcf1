# SPDX-License-Identifier: Apache-2.0
"""The protocol and its failures, in the order of the paper's section 3."""

from __future__ import annotations

import pytest

from core_extension.core import Role, Verdict

from .members import ROOMY, Member, acknowledge, chain, forward, put, settle, shake_hands, view

# ------------------------------------------------------------------------- vR&S section 3: the protocol

def test_an_update_goes_down_the_chain_and_its_acknowledgement_up() -> None:
    """VR&S 3: processed at the head, forwarded to the tail, committed when the tail has it."""
    a, b, c = chain()
    assert put(a, 3) == 2
    assert (a.applied, a.committed) == (2, -1)
    forward(a, b)
    assert (b.applied, b.committed) == (2, -1)
    forward(b, c)
    assert (c.applied, c.committed) == (2, 2)
    assert settle(c) == [0, 1, 2]
    acknowledge(c, b)
    acknowledge(b, a)
    assert [core.committed for core in (a, b, c)] == [2, 2, 2]
    assert settle(a) == settle(b) == [0, 1, 2]


def test_update_propagation_invariant() -> None:
    """VR&S 3.1: what a member has is a prefix of what its predecessor has, at every moment."""
    cores = chain("abcd")
    for turn in range(12):
        put(cores[0], turn % 3 + 1)
        before, after = cores[turn % 3:turn % 3 + 2]
        forward(before, after)
        applied = [core.applied for core in cores]
        assert applied == sorted(applied, reverse=True)


@pytest.mark.parametrize(("members", "roles"), [
    ("a", [Role.SINGLETON]),
    ("ab", [Role.HEAD, Role.TAIL]),
    ("abcd", [Role.HEAD, Role.MIDDLE, Role.MIDDLE, Role.TAIL]),
])
def test_roles(members: str, roles: list[Role]) -> None:
    cores = chain(members)
    assert [core.role() for core in cores] == roles
    assert [core.takes_writes() for core in cores] == [True] + [False] * (len(members) - 1)
    assert [core.serves_reads() for core in cores] == [False] * (len(members) - 1) + [True]


def test_alone_a_member_serves_by_itself_and_brings_its_data_into_the_chain() -> None:
    a = Member("a", ROOMY)
    assert (a.role(), a.takes_writes(), a.serves_reads()) == (Role.ALONE, True, True)
    put(a, 2)
    assert a.committed == 1
    assert a.adopt(view(1, "a")) == Verdict.ACCEPTED
    assert (a.role(), a.applied, a.committed) == (Role.SINGLETON, 1, 1)
    put(a)
    assert a.boundaries == [(0, 0), (2, 1)]


def test_batches_are_cut_by_size_and_hold_at_least_one_update() -> None:
    a, b = chain("ab")
    put(a, 5, size=100)
    assert [batch.count for batch in forward(a, b, max_bytes=350)] == [2, 2, 1]
    put(a, 2, size=1000)
    assert [batch.count for batch in forward(a, b, max_bytes=350)] == [1, 1]


# -------------------------------------------------------------------------- vR&S section 3.2: failures

def test_failure_of_the_head() -> None:
    """VR&S 3.2.1: its successor is the head; what was never forwarded is lost."""
    a, b, c = chain()
    put(a, 2)
    forward(a, b)
    put(a)
    for core in (b, c):
        core.adopt(view(2, "bc"))
    assert (b.role(), b.applied) == (Role.HEAD, 1)
    assert put(b) == 2
    assert b.boundaries == [(0, 1), (2, 2)]
    shake_hands(b, c, 2)
    assert [batch.assigned for batch in forward(b, c, 2)] == [1, 2]
    assert (c.applied, c.committed) == (2, 2)


def test_failure_of_the_tail() -> None:
    """VR&S 3.2.2: all that its predecessor has applied is committed, once that is in step in the new view."""
    a, b, c = chain()
    put(a, 3)
    forward(a, b)
    for core in (a, b):
        core.adopt(view(2, "ab"))
    assert (b.role(), b.serves_reads(), b.committed) == (Role.TAIL, False, -1)
    shake_hands(a, b, 2)
    assert forward(a, b, 2)[0].count == 0
    assert (b.serves_reads(), b.committed) == (True, 2)
    acknowledge(b, a)
    assert settle(a) == [0, 1, 2]
    assert c.applied == -1


def test_failure_in_the_middle() -> None:
    """VR&S 3.2.3: the predecessor sends what the successor lacks from its Sent, before anything newer."""
    a, b, c = chain()
    put(a, 2)
    forward(a, b)
    forward(b, c)
    put(a, 2)
    forward(a, b)
    for core in (a, c):
        core.adopt(view(2, "ac"))
    put(a)
    shake_hands(a, c, 2)
    sent = forward(a, c, 2)
    assert [(batch.first, batch.count, batch.assigned) for batch in sent] == [(2, 2, 1), (4, 1, 2)]
    assert c.committed == 4
    assert a.resent == 2


def test_chain_of_one_commits_what_it_has() -> None:
    a, _ = chain("ab")
    put(a, 2)
    assert a.committed == -1
    a.adopt(view(2, "a"))
    assert (a.committed, a.role()) == (1, Role.SINGLETON)
