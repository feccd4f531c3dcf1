# SPDX-License-Identifier: Apache-2.0
"""Requests that a member reads by itself: what is taken for one, and what is left to the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_extension import core

MOST = 64

word = st.binary(max_size=MOST)


def packed(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in words)


def expected(words: list[bytes], length: int) -> object:
    match words:
        case [b"MEMBER.PUT" | b"member.put", key, value]:
            return ("update", key, value, None, length)
        case [b"MEMBER.PUT" | b"member.put", key, value, client]:
            return ("update", key, value, client, length)
        case [b"MEMBER.DEL" | b"member.del", key]:
            return ("update", key, None, None, length)
        case [b"MEMBER.DEL" | b"member.del", key, client]:
            return ("update", key, None, client, length)
        case [b"READ" | b"read", key]:
            return ("read", key, None, None, length)
    return "other"


name = st.sampled_from([b"MEMBER.PUT", b"member.put", b"MEMBER.DEL", b"member.del", b"READ", b"read",
                        b"Member.Put", b"GET", b"MEMBER.PUTS", b""])


@given(name, st.lists(word, max_size=5), st.binary(max_size=20))
def test_a_request_and_what_follows(first: bytes, rest: list[bytes], after: bytes) -> None:
    text = packed(first, *rest)
    assert core.direct_request(text + after, MOST) == expected([first, *rest], len(text))


@given(st.sampled_from([b"MEMBER.PUT", b"READ", b"member.del"]), st.lists(word, min_size=1, max_size=3), st.data())
def test_a_beginning_of_a_request_waits_for_the_rest(first: bytes, rest: list[bytes], data: st.DataObject) -> None:
    text = packed(first, *rest)
    cut = data.draw(st.integers(0, len(text) - 1))
    assert core.direct_request(text[:cut], MOST) == "part"


@given(st.binary(max_size=60))
def test_noise_is_never_taken(noise: bytes) -> None:
    found = core.direct_request(noise, MOST)
    assert isinstance(found, str) or expected_of(noise[: found[4]]) == found


def expected_of(text: bytes) -> object:
    """The same by a slow and simple reader."""
    words, rest = [], text.split(b"\r\n", 1)[1]
    while rest:
        length, rest = rest.split(b"\r\n", 1)
        words.append(rest[: int(length[1:])])
        rest = rest[int(length[1:]) + 2 :]
    return expected(words, len(text))


@pytest.mark.parametrize("text", [
    b"PING\r\n", b"READ k\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n$4\r\nREAD\r\n", b"*5\r\n", b"*02\r\n", b"*2\n",
    b"*2\r ", b"*\r\n", b"*2\r\n:4\r\n", b"*2\r\n$04\r\nREAD\r\n", b"*2\r\n$-1\r\n", b"*2\r\n$4\r\nREAD  ",
    b"*2\r\n$4\r\nREAD\r\n$65\r\n", b"*2\r\n$4\r\nREAD\r\n$99999999", b"*2\r\n$4\r\nREAD\r\n$1\r\nkk\n",
    b"*2\r\n$\r\n",
])  # fmt: skip
def test_anything_else_is_the_servers(text: bytes) -> None:
    assert core.direct_request(text, MOST) == "other"
