# SPDX-License-Identifier: Apache-2.0
"""The layout of a batch's payload (modules/core/wire.pxd): what is packed comes back, and nothing else is accepted."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core_extension.core import (
    Update,
    decode,
    encode,
    read_decimal,
    read_decimals,
    valid,
    write_decimal,
    write_decimals,
)

HEADER_BYTES = 12
ABSENT = b"\xff\xff\xff\xff"
SAME = b"\xfe\xff\xff\xff"

texts = st.binary(max_size=20)
clients = st.one_of(st.none(), st.sampled_from([b"", b"x", b"y"]))
updates = st.lists(st.builds(Update, texts, st.one_of(st.none(), texts), clients), max_size=8)


@given(updates)
@example([Update(b"", b"", b""), Update(b"", None, b""), Update(b"")])
@example([Update(b"a\0b", b"\r\n", b"x"), Update(b"a", b"v", None), Update(b"a", b"v", b"x")])
def test_comes_back_as_it_was(given_updates: list[Update]) -> None:
    payload = encode(given_updates)
    assert valid(payload, len(given_updates))
    assert decode(payload, len(given_updates)) == given_updates


def test_layout() -> None:
    """The lengths of key, value and client, little-endian, then key, client and value."""
    payload = encode([Update(b"key", b"value", b"me"), Update(b"k", None, b"me"), Update(b"k", b"")])
    first = b"\3\0\0\0\5\0\0\0\2\0\0\0keymevalue"
    assert payload == first + b"\1\0\0\0" + ABSENT + SAME + b"k" + b"\1\0\0\0\0\0\0\0" + ABSENT + b"k"


def test_an_empty_payload_is_no_updates() -> None:
    assert decode(b"", 0) == []
    assert not valid(b"", 1)


@given(updates, st.integers(0, 20))
def test_another_count_is_refused(given_updates: list[Update], count: int) -> None:
    assert valid(encode(given_updates), count) == (count == len(given_updates))


@given(updates.filter(len), st.data())
def test_a_cut_or_lengthened_payload_is_refused(given_updates: list[Update], data: st.DataObject) -> None:
    payload = encode(given_updates)
    length = data.draw(st.integers(0, len(payload) - 1))
    assert not valid(payload[:length], len(given_updates))
    assert not valid(payload + b"\0", len(given_updates))


@pytest.mark.parametrize(
    "lengths",
    [
        ABSENT + b"\0\0\0\0" + ABSENT,  # a key must be there
        b"\0\0\0\0" + SAME + ABSENT,  # only a client is the same as before
        b"\0\0\0\0" + b"\0\0\0\0" + SAME,  # ... and before the first update is none
        b"\x01\0\0\0" + ABSENT + ABSENT,  # longer than the payload
        b"\0\0\0\0" + ABSENT + b"\xff\xff\xff\x7f",
        b"\0\0\0\x80" + ABSENT + ABSENT,  # longer than a string can be
    ],
)
def test_nonsense_lengths_are_refused(lengths: bytes) -> None:
    assert len(lengths) == HEADER_BYTES
    assert not valid(lengths, 1)
    with pytest.raises(ValueError, match="not a payload"):
        decode(lengths, 1)


def test_same_client_as_an_update_without_one_is_refused() -> None:
    nobody = b"\0\0\0\0" + ABSENT + ABSENT
    assert valid(nobody, 1)
    assert not valid(nobody + b"\0\0\0\0" + ABSENT + SAME, 2)


@given(st.binary(max_size=80), st.integers(0, 2**64 - 1))
@example(bytes(HEADER_BYTES), 2**64 - 1)
def test_any_bytes_are_an_answer_or_an_error(payload: bytes, count: int) -> None:
    if valid(payload, count):
        assert len(decode(payload, count)) == count
    else:
        with pytest.raises(ValueError, match="not a payload"):
            decode(payload, count)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
@example(0)
@example(-1)
@example(-(1 << 63))
@example((1 << 63) - 1)
def test_integers_of_a_message_are_decimal(number: int) -> None:
    assert write_decimal(number) == str(number).encode()
    assert read_decimal(write_decimal(number)) == number


@given(st.text("-+0123456789 \0x", max_size=22))
@example("")
@example("-")
@example("--1")
@example("+1")
@example("1-")
@example("007")
@example(str(1 << 63))
@example(str(-(1 << 63) - 1))
@example(str(10**19))
@example("9" * 20)
def test_what_is_no_integer_is_none(text: str) -> None:
    number = int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None
    fits = number is not None and len(text) <= 20 and -(1 << 63) <= number < 1 << 63
    assert read_decimal(text.encode()) == (number if fits else None)


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=2, max_size=16))
def test_numbers_of_a_message_are_one_argument(numbers: list[int]) -> None:
    text = write_decimals(numbers)
    assert text == " ".join(map(str, numbers)).encode()
    assert read_decimals(text, len(numbers)) == numbers
    assert read_decimals(text, len(numbers) - 1) is None
    assert len(numbers) == 16 or read_decimals(text, len(numbers) + 1) is None


@pytest.mark.parametrize("text", ["", " ", "1", "1 ", " 1", "1  2", "1 2 ", " 1 2", "1 x", "1 2 3", "1\t2", "1 -"])
def test_what_is_not_two_numbers_is_none(text: str) -> None:
    assert read_decimals(text.encode(), 2) is None
