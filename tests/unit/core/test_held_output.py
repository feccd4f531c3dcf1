# SPDX-License-Identifier: Apache-2.0
"""Bytes that wait until they may go: the order, the tags, the lease; and what a connection begins with."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_extension.core import FirstRequest, HeldOutput, first_request, may_go

EVERYTHING = (1 << 63) - 1
NEVER = 0


@pytest.mark.parametrize(("tag", "read_ms", "now_ms", "committed", "lease_until", "proven_ms", "expected"), [
    (5, 100, 100, 5, 101, 0, True),         # committed, and the lease is valid
    (6, 100, 100, 5, 101, 0, False),        # not committed
    (5, 100, 100, 5, 100, 0, False),        # the lease has run out at the very millisecond
    (5, 100, 100, 5, 0, 101, True),         # without a lease: a question of a later time was answered
    (5, 100, 100, 5, 0, 100, False),        # the question may be older than the bytes
    (6, 100, 100, 5, 0, 101, False),        # an answered question does not commit
    (6, 100, 100, EVERYTHING, 0, 0, True),  # nothing is held
])  # fmt: skip
def test_what_may_go(
    tag: int, read_ms: int, now_ms: int, committed: int, lease_until: int, proven_ms: int, expected: bool
) -> None:
    assert may_go(tag, read_ms, now_ms, committed, lease_until, proven_ms) is expected


def test_a_reply_waits_for_its_commit() -> None:
    held = HeldOutput()
    held.hold(0, b"one", 1, 10)
    held.hold(1, b"two", 2, 11)
    held.hold(0, b"three", 3, 12)
    assert (held.held_bytes, held.held_clients) == (11, 2)
    assert held.release(12, 0, EVERYTHING, 0) == []
    assert held.release(12, 2, EVERYTHING, 0) == [0, 1]
    assert (held.ready(0), held.ready(1)) == (b"one", b"two")
    assert (held.held_bytes, held.held_clients) == (5, 1)
    assert held.release(12, 3, EVERYTHING, 0) == [0]
    assert held.ready(0) == b"onethree"
    held.sent(0, 4)
    assert (held.ready(0), held.bytes_of(0)) == (b"hree", 4)


def test_what_is_read_without_a_lease_goes_once_a_later_question_is_answered() -> None:
    held = HeldOutput()
    held.hold(0, b"read", 1, 10)
    held.hold(1, b"later", 1, 20)
    assert held.release(30, 1, 0, 10) == []
    assert held.release(30, 1, 0, 20) == [0]
    assert held.release(30, 1, 31, 20) == [1]


def test_one_client_is_dropped_and_another_let_go() -> None:
    held = HeldOutput()
    for tag in range(6):
        held.hold(tag % 3, b"%d" % tag, tag, tag)
    held.drop(0)
    held.release_client(1)
    assert (held.ready(0), held.ready(1), held.ready(2)) == (b"", b"14", b"")
    assert (held.held_bytes, held.held_clients) == (2, 1)
    assert held.release(9, 9, EVERYTHING, 0) == [2, 2]


@dataclass
class Model:
    """The same by lists: each piece with its client, until it may go, and then what each client may get."""

    held: list[tuple[int, bytes, int, int]] = field(default_factory=list)
    ready: dict[int, bytes] = field(default_factory=lambda: dict.fromkeys(range(4), b""))

    def let_go(self, pieces: list[tuple[int, bytes, int, int]]) -> None:
        for piece in pieces:
            self.held.remove(piece)
            self.ready[piece[0]] += piece[1]


@given(st.data())
def test_random_clients_get_their_bytes_in_order_and_never_early(data: st.DataObject) -> None:
    held, model = HeldOutput(), Model()
    tag, now_ms, committed = 0, 0, 0
    for number in range(data.draw(st.integers(0, 40))):
        client = data.draw(st.integers(0, 3))
        step = data.draw(st.sampled_from(["hold", "hold", "hold", "keep", "release", "send", "drop", "unhold"]))
        now_ms += data.draw(st.integers(0, 2))
        tag += data.draw(st.integers(0, 1))
        piece = b"%d." % number
        if step == "hold":
            held.hold(client, piece, tag, now_ms)
            model.held.append((client, piece, tag, now_ms))
        elif step == "keep" and not any(waiting[0] == client for waiting in model.held):
            held.keep(client, piece)
            model.ready[client] += piece
        elif step == "release":
            committed = data.draw(st.integers(committed, tag))
            lease_until, proven_ms = data.draw(st.integers(0, now_ms + 2)), data.draw(st.integers(0, now_ms))
            wanted = [
                waiting for waiting in model.held
                if waiting[2] <= committed and (now_ms < lease_until or waiting[3] < proven_ms)
            ]
            assert held.release(now_ms, committed, lease_until, proven_ms) == [waiting[0] for waiting in wanted]
            model.let_go(wanted)
        elif step == "send":
            count = data.draw(st.integers(0, len(model.ready[client])))
            held.sent(client, count)
            model.ready[client] = model.ready[client][count:]
        elif step == "drop":
            held.drop(client)
            model.held = [waiting for waiting in model.held if waiting[0] != client]
            model.ready[client] = b""
        elif step == "unhold":
            held.release_client(client)
            model.let_go([waiting for waiting in model.held if waiting[0] == client])
        assert {each: held.ready(each) for each in model.ready} == model.ready
        assert held.held_bytes == sum(len(waiting[1]) for waiting in model.held)
        assert held.held_clients == len({waiting[0] for waiting in model.held})


# ----------------------------------------------------------------------------------------------- the first request


def words(*texts: bytes) -> bytes:
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)


UNHELD = [
    words(b"MEMBER.UNHELD"),
    words(b"member.Unheld") + words(b"PING"),
    words(b"AUTH", b"secret") + words(b"MEMBER.UNHELD"),
    words(b"auth", b"user", b"secret\r\n*1\r\n") + words(b"MEMBER.UNHELD") + b"*",
]
OTHER = [
    words(b"PING"),
    words(b"AUTH", b"secret"),          # the client waits for the reply
    words(b"AUTH", b"user", b"secret") + words(b"PING"),
    words(b"AUTH", b"a", b"b", b"c") + words(b"MEMBER.UNHELD"),
    words(b"MEMBER.UNHELD", b"x"),
    words(b"MEMBER.UNHELE"),
    words(b"HELLO", b"3"),
    b"MEMBER.UNHELD\r\n",
    b"\r\n",
    b"\x16\x03\x01\x02\x00\x01",        # TLS
    b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n$-1\r\n",
    b"*2\r\n$4\r\nAUTH\r\n$9999999\r\n",
    b"*1\n$4\nPING\n",
]  # fmt: skip


@pytest.mark.parametrize("text", UNHELD)
def test_a_connection_that_asks_not_to_be_held(text: bytes) -> None:
    assert first_request(text) == FirstRequest.UNHELD


@pytest.mark.parametrize("text", OTHER)
def test_any_other_connection(text: bytes) -> None:
    assert first_request(text) == FirstRequest.OTHER


@pytest.mark.parametrize("text", UNHELD)
def test_the_beginning_of_such_a_request_leaves_it_open(text: bytes) -> None:
    """But for a whole AUTH, behind which another client waits."""
    whole = text[: text.lower().index(b"member.unheld") + len(b"member.unheld\r\n")]
    for end in range(len(whole)):
        expected = FirstRequest.UNKNOWN if text[:end] not in OTHER and end != whole.find(b"*1\r\n$13") else None
        assert expected is None or first_request(whole[:end]) == expected


PIECES = [b"*1\r\n", b"*2\r\n", b"$4\r\n", b"AUTH\r\n", b"$1\r\n", b"x\r\n", b"$13\r\n", b"MEMBER.UNHELD\r\n"]


@given(st.binary(max_size=64) | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_more_bytes_never_take_back_that_it_asks_not_to_be_held(text: bytes) -> None:
    verdicts = [first_request(text[:end]) for end in range(len(text) + 1)]
    begun = verdicts.index(FirstRequest.UNHELD) if FirstRequest.UNHELD in verdicts else len(verdicts)
    assert set(verdicts[begun:]) <= {FirstRequest.UNHELD}
