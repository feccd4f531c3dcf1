# SPDX-License-Identifier: Apache-2.0
"""Tickets: a reply that is held by a ticket goes when everything that the reply may show is committed, not before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core_extension.core import Tickets, take_broken_invariants

steps = st.tuples(st.sampled_from(["open", "close", "commit", "execute", "begin"]), st.integers(0, 5))


def test_a_ticket_is_committed_with_its_last_byte() -> None:
    tickets = Tickets()
    assert tickets.open()
    assert not tickets.commit(99, 99)   # where its effects end is not known
    tickets.close(10)
    assert tickets.commit(9, 10) and (tickets.committed, tickets.executed) == (0, 1)
    assert tickets.commit(10, 10) and (tickets.committed, tickets.executed) == (1, 1)
    assert not tickets.commit(11, 11)


def test_commands_between_two_looks_at_the_offset_share_a_ticket() -> None:
    tickets = Tickets()
    assert tickets.open() and not tickets.open()
    tickets.close(3)
    assert tickets.open() and tickets.newest == 2


def test_a_ticket_without_effects_is_committed_with_those_before_it() -> None:
    tickets = Tickets()
    tickets.open()
    tickets.close(10)
    tickets.open()
    tickets.close(10)
    assert tickets.commit(10, 10) and tickets.committed == 2


def test_to_close_what_is_not_open_means_nothing() -> None:
    tickets = Tickets()
    tickets.close(10)
    assert tickets.newest == 0 and tickets.lack(0)


def test_a_ticket_is_lacking_until_the_newest_covers_the_log() -> None:
    """Whether or not the server gets the bytes at once: a request that comes now has to wait for them."""
    tickets = Tickets()
    assert not tickets.lack(-1) and tickets.lack(5)
    tickets.open()
    assert tickets.lack(-1)
    tickets.close(5)
    assert not tickets.lack(5) and tickets.lack(6)
    tickets.commit(5, 5)
    assert not tickets.lack(5)      # its end is known still when nobody waits for it


def test_tickets_do_not_go_back() -> None:
    tickets = Tickets()
    tickets.open()
    tickets.close(10)
    tickets.commit(10, 10)
    tickets.open()
    tickets.close(9)
    assert "does not go back" in take_broken_invariants()[0]
    assert tickets.is_open and not tickets.commit(99, 99)


@given(st.lists(steps, max_size=400), st.integers(1, 300))
def test_random_operations_against_a_list_of_all_ends(script: list[tuple[str, int]], burst: int) -> None:
    tickets, opened = Tickets(), 0
    ends: list[int] = []
    stream = committed = executed = -1
    known = {"committed": 0, "executed": 0}
    for name, number in script:
        if name == "begin":
            tickets.begin_anew()
            ends += [-1] * (opened - len(ends))
            stream = committed = executed = -1
            known = dict.fromkeys(known, opened)
        for _ in range(burst if name in ("open", "close") and number == 0 else 1):
            if name == "open":
                assert tickets.open() == (opened == len(ends))
                opened = max(opened, len(ends) + 1)
            elif name == "close":
                stream += number
                tickets.close(stream)
                if opened > len(ends):
                    ends.append(stream)
                tickets.open()
                opened = len(ends) + 1
        if name == "commit":
            committed = min(stream, committed + number)
        if name == "execute":
            executed = min(stream, executed + number)
        tickets.commit(committed, executed)
        for which, sn in (("committed", committed), ("executed", executed)):
            while known[which] < len(ends) and ends[known[which]] <= sn:
                known[which] += 1
        assert (tickets.newest, tickets.is_open) == (opened, opened > len(ends))
        assert (tickets.committed, tickets.executed) == (known["committed"], known["executed"])
