# SPDX-License-Identifier: Apache-2.0
"""The replies that MEMBER.ONCE keeps: one for each client, bounded, equal at all members."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_extension.core import OnceTable, keyed_hash, reply_parts, take_broken_invariants

CLIENTS = [b"a", b"b", b"c", b"x" * 64, b"\0", b"\0\0"]
steps = st.tuples(st.sampled_from(["put", "give up", "silence", "forget"]), st.sampled_from(CLIENTS), st.integers(0, 9))


def test_the_newest_command_of_a_client_is_kept() -> None:
    table = OnceTable()
    assert table.judge(b"a", 1) == "new"
    table.put(b"a", 7, b"first", digest=1)
    assert [table.judge(b"a", number, 1) for number in (6, 7, 8)] == ["old", "repeated", "new"]
    assert table.judge(b"a", 7, 2) == "other"
    assert table.reply(b"a") == b"first"
    table.put(b"a", 8, b"second")
    assert (table.judge(b"a", 7, 1), table.reply(b"a"), len(table)) == ("old", b"second", 1)


def test_a_client_is_forgotten_when_it_has_been_silent_for_longer() -> None:
    table = OnceTable()
    for number, client in enumerate(CLIENTS):
        table.put(client, 1, now_ms=100 * number)
    table.put(CLIENTS[0], 2, now_ms=1000)
    assert table.forget_silent(1100, 1000) == 0
    assert table.forget_silent(1201, 1000) == 2
    assert [client for client, _ in table.in_order()] == [*CLIENTS[3:], CLIENTS[0]]


def test_not_all_are_forgotten_at_once() -> None:
    table = OnceTable()
    for number in range(1000):
        table.put(b"%d" % number, 1)
    counts: list[int] = []
    while counts[-1:] != [0]:
        counts.append(table.forget_silent(10, 1))
    assert sum(counts) == 1000
    assert max(counts) < 100


def test_limits() -> None:
    """A new client has no place when the table is full; a known one has its own."""
    table = OnceTable()
    table.put(b"a", 1, b"x" * 1000)
    table.put(b"b", 1, b"x" * 1000)
    assert not table.has_place(b"c", 2, 1 << 20)
    assert table.has_place(b"c", 3, 1 << 20)
    assert table.has_place(b"a", 2, 1 << 20)
    assert not table.has_place(b"c", 3, 1500)
    assert table.has_place(b"a", 2, 1500)
    assert not table.has_place(b"a", 2, 1000)


@pytest.mark.parametrize(("length", "expected"), [
    (0, 0x726FDB47DD0E0E31), (1, 0x74F839C593DC67FD), (8, 0x93F5F5799A932462), (15, 0xA129CA6149BE45E5)])
def test_ids_are_hashed_under_a_key(length: int, expected: int) -> None:
    """As the authors of SipHash-2-4 have published it."""
    low, high = (int.from_bytes(bytes(range(first, first + 8)), "little") for first in (0, 8))
    assert keyed_hash(bytes(range(length)), low, high) == expected


@given(st.lists(steps, max_size=60))
def test_all_members_have_the_same(history: list[tuple[str, bytes, int]]) -> None:
    """The head decides who is forgotten, by its own clock; another member, whose clock differs, does as it says."""
    head, other = OnceTable(), OnceTable()
    model: dict[bytes, int] = {}
    now = 0
    for what, client, number in history:
        if what == "silence":
            now += number
        elif what == "forget":
            forgotten = head.forget_silent(now, 5)
            assert other.forget_oldest(forgotten)
            for gone in list(model)[:forgotten]:
                del model[gone]
        elif what == "put":
            sequence = model.pop(client, 0) + 1 + number
            model[client] = sequence
            head.put(client, sequence, b"r" * number, now)
            other.put(client, sequence, b"r" * number, 2 * now + 7)
        elif model.pop(client, None):
            head.give_up(client)
            other.give_up(client)
        assert head.in_order() == other.in_order() == list(model.items())
        assert (len(head), head.bytes) == (len(other), other.bytes)
    assert not other.forget_oldest(len(model) + 1)
    assert take_broken_invariants() == []


PARTS: list[tuple[bytes, list[tuple[str, object]]]] = [
    (b"+OK\r\n", [("+", b"OK")]),
    (b"-ERR no\r\n", [("-", b"ERR no")]),
    (b":-12\r\n", [(":", b"-12")]),
    (b"$3\r\na\r\n\r\n", [("$", b"a\r\n")]),
    (b"$0\r\n\r\n", [("$", b"")]),
    (b"$-1\r\n", [("$", -1)]),
    (b"*-1\r\n", [("*", -1)]),
    (b"*2\r\n*0\r\n$1\r\nx\r\n", [("*", 2), ("*", 0), ("$", b"x")]),
    (b"%1\r\n+a\r\n,1.5\r\n", [("%", 1), ("+", b"a"), (",", b"1.5")]),
    (b"~1\r\n#t\r\n", [("~", 1), ("#", b"t")]),
    (b"_\r\n", [("_", b"")]),
    (b"=7\r\ntxt:abc\r\n", [("=", b"txt:abc")]),
    (b"(123\r\n", [("(", b"123")]),
]


@pytest.mark.parametrize(("reply", "parts"), PARTS)
def test_the_parts_of_a_reply(reply: bytes, parts: list[tuple[str, object]]) -> None:
    assert reply_parts(reply) == parts
    assert reply_parts(b"*1\r\n" + reply) == [("*", 1), *parts]


@given(st.binary(max_size=40), st.sampled_from([reply for reply, _ in PARTS]), st.integers(0, 20))
def test_what_is_no_reply_is_noticed(junk: bytes, reply: bytes, cut: int) -> None:
    """It cannot come from a server; a damaged file may have it."""
    for text in (junk, reply[:cut], reply[:cut] + junk):
        with contextlib.suppress(ValueError):
            reply_parts(text)
