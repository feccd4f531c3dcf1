# SPDX-License-Identifier: Apache-2.0
"""The checker of linearizability, on histories known to be good or bad, and against brute force."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, permutations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fault_injection.history import History, Kind, Operation, Outcome, load
from fault_injection.linearizability import judge, violations

K = "k"


def put(value: str, start: int, end: int, outcome: Outcome = Outcome.DONE) -> Operation:
    return Operation(Kind.PUT, K, value, start, end, outcome)


def delete(start: int, end: int, outcome: Outcome = Outcome.DONE) -> Operation:
    return Operation(Kind.DEL, K, None, start, end, outcome)


def read(value: str | None, start: int, end: int) -> Operation:
    return Operation(Kind.READ, K, value, start, end)


GOOD = {
    "nothing happened": [],
    "nil before the first put": [read(None, 0, 1)],
    "one after the other": [put("a", 0, 1), read("a", 2, 3), put("b", 4, 5), read("b", 6, 7)],
    "a read beside a put sees the old or the new": [
        put("a", 0, 1), put("b", 2, 9), read("a", 3, 4), read("b", 5, 6),
    ],
    "two puts at once, the one that began later goes first": [
        put("a", 0, 10), put("b", 1, 9), read("b", 11, 12),
    ],
    "touching intervals overlap": [put("a", 0, 5), read(None, 5, 6)],
    "an unknown put that takes effect long after": [
        put("a", 0, 1, Outcome.OPEN), put("b", 2, 3), read("b", 4, 5), read("a", 6, 7), read("a", 8, 9),
    ],
    "an unknown put that never does": [put("a", 0, 1, Outcome.OPEN), read(None, 2, 3)],
    "an unknown delete that takes effect long after": [
        put("a", 0, 1), delete(2, 3, Outcome.OPEN), read("a", 4, 5), read(None, 6, 7), put("b", 8, 9), read("b", 9, 10),
    ],
    "two unknown deletes": [
        delete(0, 1, Outcome.OPEN), delete(0, 1, Outcome.OPEN), put("a", 2, 3), read(None, 4, 5), put("b", 6, 7),
        read("b", 8, 9), read(None, 10, 11),
    ],
    "a put that failed and was never seen": [put("a", 0, 1), put("b", 2, 3, Outcome.FAILED), read("a", 4, 5)],
    "a read that got no answer says nothing": [replace(read("x", 0, 1), outcome=Outcome.OPEN)],
}  # fmt: skip

BAD = {
    "stale read": [put("a", 0, 1), put("b", 2, 3), read("a", 4, 5)],
    "lost write": [put("a", 0, 1), read(None, 2, 3)],
    "new, then old": [put("a", 0, 1), put("b", 2, 20), read("b", 3, 4), read("a", 5, 6)],
    "nil in the middle": [put("a", 0, 1), read("a", 2, 3), read(None, 4, 5), read("a", 6, 7)],
    "nil in the middle, and an unknown delete": [
        put("a", 0, 1), read("a", 2, 3), delete(4, 5, Outcome.OPEN), read(None, 6, 7), read("a", 8, 9),
    ],
    "one unknown delete, used twice": [
        delete(0, 1, Outcome.OPEN), put("a", 2, 3), read(None, 4, 5), put("b", 6, 7), read(None, 8, 9),
    ],
    "an unknown delete, used before it began": [put("a", 0, 1), read(None, 2, 3), delete(4, 5, Outcome.OPEN)],
    "an unknown delete, placed before what ended before it began": [
        put("a", 0, 1), put("b", 2, 4), read(None, 3, 9), delete(5, 6, Outcome.OPEN), read("b", 10, 11),
    ],
    "a value of a definite failure": [put("a", 0, 1, Outcome.FAILED), read("a", 2, 3)],
    "a value from nowhere": [read("a", 0, 1)],
    "a value from the future": [read("a", 0, 1), put("a", 2, 3)],
    "a write applied twice: the old value is back after an overwrite": [
        put("a", 0, 1), put("b", 2, 3), read("b", 4, 5), read("a", 6, 7),
    ],
    "an unknown write applied twice": [
        put("a", 0, 1, Outcome.OPEN), read("a", 2, 3), put("b", 4, 5), read("a", 6, 7),
    ],
    "deleted, and back": [put("a", 0, 1), delete(2, 3), read("a", 4, 5)],
    "split brain: two heads, each reads its own": [
        put("a", 0, 1), put("b", 2, 3), put("c", 2, 3), read("b", 4, 5), read("c", 4, 5), read("b", 6, 7),
    ],
}  # fmt: skip


@pytest.mark.parametrize("operations", GOOD.values(), ids=GOOD)
def test_good(operations: list[Operation]) -> None:
    assert judge(operations) is None
    assert by_brute_force(operations)


@pytest.mark.parametrize("operations", BAD.values(), ids=BAD)
def test_bad(operations: list[Operation]) -> None:
    assert judge(operations) is not None
    assert not by_brute_force(operations)


def test_the_bad_key_is_named_and_what_has_no_place() -> None:
    bad, other = BAD["stale read"], [replace(each, key="other") for each in GOOD["one after the other"]]
    found = violations([*other, *bad])
    assert [(violation.key, violation.culprit) for violation in found] == [(K, bad[1])]
    assert "it is 'a', with 1 reads of it to come" in str(found[0])


def test_a_history_is_judged_the_same_from_its_file(tmp_path: Path) -> None:
    history = History(BAD["stale read"] + GOOD["two unknown deletes"])
    history.note("something happened")
    history.save(tmp_path / "history")
    again = load(tmp_path / "history")
    assert sorted(again.operations, key=str) == sorted(history.operations, key=str)
    assert again.events == history.events


# ----------------------------------------------------------------------------------------------- brute force


def by_brute_force(operations: list[Operation]) -> bool:
    """Try every subset of the open updates, in every order that respects time."""
    failed = {each.value for each in operations if each.kind is Kind.PUT and each.outcome is Outcome.FAILED}
    done = [each for each in operations if each.outcome is Outcome.DONE]
    opened = [each for each in operations if each.outcome is Outcome.OPEN and each.kind is not Kind.READ]
    if any(each.kind is Kind.READ and each.value in failed for each in done):
        return False
    choices = chain.from_iterable(combinations(opened, count) for count in range(len(opened) + 1))
    return any(
        is_sequential(order) for chosen in choices for order in permutations([*done, *chosen]) if respects_time(order)
    )


def respects_time(order: tuple[Operation, ...]) -> bool:
    return not any(
        later.outcome is Outcome.DONE and later.end < earlier.start for earlier, later in combinations(order, 2)
    )


def is_sequential(order: tuple[Operation, ...]) -> bool:
    value = None
    for each in order:
        if each.kind is Kind.READ and each.value != value:
            return False
        value = each.value
    return True


# ------------------------------------------------------------------------------------------ generated histories


def simulate(dice: Random, count: int, clients: int, open_share: float = 0.15) -> Iterator[Operation]:
    """The history of a register that does one operation after another; clients see a delay before and after each."""
    busy_until = [0] * clients
    value: str | None = None
    now = 0
    for number in range(count):
        now += dice.randint(1, 4)
        free = [client for client in range(clients) if busy_until[client] < now]
        if not free:
            continue
        client = dice.choice(free)
        start, end = dice.randint(busy_until[client], now), now + dice.randint(0, 3 * clients)
        busy_until[client] = end
        kind = dice.choices(list(Kind), [4, 1, 5])[0]
        written = f"v{number}" if kind is Kind.PUT else None
        if kind is Kind.READ:
            yield Operation(kind, K, value, start, end)
        elif dice.random() < open_share:
            if dice.random() < 0.5:
                value = written
            yield Operation(kind, K, written, start, dice.randint(start, now), Outcome.OPEN)
        elif dice.random() < 0.1:
            yield Operation(kind, K, written, start, end, Outcome.FAILED)
        else:
            value = written
            yield Operation(kind, K, written, start, end)


def mutated(dice: Random, operations: list[Operation]) -> list[Operation]:
    """The history with one operation that reads, ends or starts differently."""
    place = dice.randrange(len(operations))
    victim = operations[place]
    values = [None, *(each.value for each in operations if each.kind is Kind.PUT)]
    moved = dice.randint(-12, 12)
    changed = dice.choice([
        replace(victim, value=dice.choice(values)) if victim.kind is Kind.READ else victim,
        replace(victim, start=victim.start + moved, end=victim.end + moved),
        replace(victim, outcome=dice.choice(list(Outcome))),
    ])  # fmt: skip
    return [*operations[:place], changed, *operations[place + 1 :]]


@given(st.integers(min_value=0), st.integers(1, 60), st.integers(1, 6))
@settings(deadline=None, max_examples=300)
def test_what_a_register_did_is_accepted(seed: int, count: int, clients: int) -> None:
    assert judge(list(simulate(Random(seed), count, clients))) is None


@given(st.integers(min_value=0), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
@settings(deadline=None, max_examples=500)
def test_it_agrees_with_brute_force(seed: int, count: int, clients: int, mutations: int) -> None:
    dice = Random(seed)
    operations = list(simulate(dice, count, clients, open_share=0.3))
    for _ in range(mutations if operations else 0):
        operations = mutated(dice, operations)
    assert (judge(operations) is None) == by_brute_force(operations)


@pytest.mark.timeout(30)
def test_a_long_history_is_judged_in_seconds() -> None:
    """40,000 operations, of whose updates one in six is open; then the same with one stale read."""
    dice = Random(1)
    keys = [
        [replace(each, key=str(key)) for each in simulate(dice, 2_000, 6)]
        for key in range(20)
    ]  # fmt: skip
    operations = [operation for key in keys for operation in key]
    assert len(operations) > 35_000
    assert violations(operations) == []
    first = next(each for each in keys[7] if each.kind is Kind.PUT and each.outcome is Outcome.DONE)
    stale = Operation(Kind.READ, "7", first.value, 10**9, 10**9 + 1)
    assert [violation.key for violation in violations([*operations, stale])] == ["7"]
