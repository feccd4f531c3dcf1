# SPDX-License-Identifier: Apache-2.0
"""Messages that a member reads from another by itself: what is taken for one, and what is left to the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_extension import core

MOST = 64

word = st.binary(max_size=MOST)
name = st.sampled_from([b"CHAIN.FORWARD", b"CHAIN.ACK", b"CHAIN.IDLE", b"CHAIN.GREET", b"chain.ack", b"PING", b""])


def packed(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in words)


def expected(words: list[bytes], length: int) -> object:
    match words:
        case [b"CHAIN.FORWARD", numbers, payload]:
            return ("forward", numbers, payload, length)
        case [b"CHAIN.ACK", numbers]:
            return ("ack", numbers, None, length)
        case [b"CHAIN.IDLE"]:
            return ("idle", None, None, length)
    return "other"


@given(name, st.lists(word, max_size=4), st.binary(max_size=20))
def test_a_message_and_what_follows(first: bytes, rest: list[bytes], after: bytes) -> None:
    text = packed(first, *rest)
    assert core.peer_message(text + after, MOST) == expected([first, *rest], len(text))


@given(name, st.lists(word, max_size=2), st.data())
def test_a_beginning_of_a_message_waits_for_the_rest(first: bytes, rest: list[bytes], data: st.DataObject) -> None:
    text = packed(first, *rest)
    assert core.peer_message(text[: data.draw(st.integers(0, len(text) - 1))], MOST) == "part"


@given(st.binary(max_size=60))
def test_noise_is_never_taken(noise: bytes) -> None:
    assert core.peer_message(noise, MOST) in ("part", "other")


@pytest.mark.parametrize("text", [
    b"PING\r\n", b"CHAIN.IDLE\r\n", b"*0\r\n", b"*-1\r\n", b"*4\r\n", b"*01\r\n$10\r\nCHAIN.IDLE\r\n",
    b"*2\r\n$9\r\nCHAIN.ACK\r\n$65\r\n", b"*2\r\n$9\r\nCHAIN.ACK\r\n:1\r\n", b"*1\r\n$10\r\nCHAIN.IDLE\n\r",
])  # fmt: skip
def test_anything_else_is_the_servers(text: bytes) -> None:
    assert core.peer_message(text, MOST) == "other"
