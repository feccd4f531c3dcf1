# SPDX-License-Identifier: Apache-2.0
"""Where values lay (modules/core/hints.pxd): what was noted last is known, and what is not known does no harm."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from core_extension.core import Hints

ROOM = 4 * 32 * 1024  # hints in the table
WORTHWHILE = 1024  # updates between two ticks
UNUSED_TICKS = 100
ADDRESS = st.integers(1, (1 << 48) - 1)


def key(number: int) -> bytes:
    return b"key:%012d" % number


@given(st.binary(max_size=40), ADDRESS, ADDRESS, ADDRESS)
def test_a_value_that_is_set_again_keeps_its_object(name: bytes, obj: int, place: int, other: int) -> None:
    hints = Hints()
    hints.note(name, obj, place)
    assert hints.of(name) == (obj, place)
    hints.note(name, 0, other)
    assert hints.of(name) == (obj, other)
    hints.note(name, place, other)
    assert hints.of(name) == (place, other)


def test_a_value_whose_object_is_unknown_has_a_hint_of_its_bytes() -> None:
    hints = Hints()
    hints.note(b"a", 0, 4711)
    assert hints.of(b"a") == (0, 4711)
    assert hints.of(b"b") is None


def test_what_is_noted_last_is_known_and_of_many_keys_most_are() -> None:
    hints = Hints()
    for number in range(2 * ROOM):
        hints.note(key(number), number + 1, number + 1)
        assert hints.of(key(number)) == (number + 1, number + 1)
    hints = Hints()
    count = 100_000
    for _ in range(2):
        for number in range(count):
            hints.note(key(number), number + 1, number + 1)
    known = sum(hints.of(key(number)) == (number + 1, number + 1) for number in range(count))
    assert known > count * 3 // 4


def test_wrong_addresses_are_fetched_without_harm() -> None:
    hints, dice = Hints(), random.Random(1)
    names = [dice.randbytes(dice.randrange(40)) for _ in range(1000)]
    hints.fetch(names[:16])
    for name in names:
        hints.note(name, dice.randrange(1 << 48), dice.randrange(1 << 64))
    for first in range(0, len(names), 16):
        hints.fetch(names[first : first + 16])
    hints.fetch([])


def test_the_table_is_there_while_many_updates_come() -> None:
    hints = Hints()
    hints.note(b"a", 1, 2)
    for _ in range(3 * UNUSED_TICKS):
        assert hints.come(1)  # one that is there serves few updates, too
        hints.tick()
    for _ in range(UNUSED_TICKS):
        assert hints.there
        hints.tick()
    assert not hints.there
    for _ in range(3 * UNUSED_TICKS):
        assert not hints.come(WORTHWHILE - 1)
        hints.tick()
    assert not hints.come(WORTHWHILE - 1)
    assert hints.come(1)
    assert hints.of(b"a") is None
    hints.note(b"a", 3, 4)
    for _ in range(UNUSED_TICKS - 1):
        hints.tick()
    assert hints.of(b"a") == (3, 4)
