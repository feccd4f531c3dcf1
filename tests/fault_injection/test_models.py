# SPDX-License-Identifier: Apache-2.0
"""The checker of counters, sets, lists and transactions, on histories that are good or bad, and against brute force."""

from dataclasses import replace
from itertools import combinations, permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fault_injection.history import Outcome
from fault_injection.models import MODELS, Call, Reply, State, violations

OPEN = Outcome.OPEN


def call(model: str, words: str, reply: Reply, start: int, end: int, outcome: Outcome = Outcome.DONE) -> Call:
    return Call(model, "k", tuple(words.split()), reply, start, end, outcome)


GOOD = {
    "increments at once": [
        call("counter", "INCRBY 1", 2, 0, 9), call("counter", "INCRBY 1", 1, 0, 9), call("counter", "GET", 2, 10, 11),
    ],
    "an open increment that took effect late": [
        call("counter", "INCRBY 1", None, 0, 1, OPEN), call("counter", "GET", 0, 2, 3),
        call("counter", "INCRBY 1", 2, 4, 5),
    ],
    "an open increment that never did": [
        call("counter", "INCRBY 1", None, 0, 1, OPEN), call("counter", "INCRBY 1", 1, 2, 3),
    ],
    "an increment that failed": [
        call("counter", "INCRBY 1", None, 0, 1, Outcome.FAILED), call("counter", "GET", 0, 2, 3),
    ],
    "a member added twice": [
        call("set", "SADD a", 1, 0, 5), call("set", "SADD a", 0, 0, 5), call("set", "SMEMBERS", ("a",), 6, 7),
    ],
    "a pop beside a push": [
        call("list", "RPUSH a", 1, 0, 9), call("list", "LPOP", "a", 1, 8), call("list", "LRANGE", (), 10, 11),
    ],
    "a transfer seen whole": [
        call("accounts", "TRANSFER 0 1 5", (-5, 5), 0, 9), call("accounts", "LOOK", (-5, 5, 0), 1, 2),
    ],
}  # fmt: skip

BAD = {
    "a number given twice": [call("counter", "INCRBY 1", 1, 0, 9), call("counter", "INCRBY 1", 1, 0, 9)],
    "a lost increment": [call("counter", "INCRBY 1", 1, 0, 1), call("counter", "GET", 0, 2, 3)],
    "an increment that failed and was done": [
        call("counter", "INCRBY 1", None, 0, 1, Outcome.FAILED), call("counter", "INCRBY 1", 2, 2, 3),
    ],
    "an open increment, used twice": [call("counter", "INCRBY 1", None, 0, 1, OPEN), call("counter", "GET", 2, 2, 3)],
    "an open increment, used before it began": [
        call("counter", "GET", 1, 0, 1), call("counter", "INCRBY 1", None, 2, 3, OPEN),
    ],
    "a member that both added": [call("set", "SADD a", 1, 0, 5), call("set", "SADD a", 1, 0, 5)],
    "a stale read of members": [call("set", "SADD a", 1, 0, 1), call("set", "SMEMBERS", (), 2, 3)],
    "an item popped twice": [
        call("list", "RPUSH a", 1, 0, 1), call("list", "LPOP", "a", 2, 9), call("list", "RPOP", "a", 2, 9),
    ],
    "items in another order than they were pushed": [
        call("list", "RPUSH a", 1, 0, 1), call("list", "RPUSH b", 2, 2, 3), call("list", "LRANGE", ("b", "a"), 4, 5),
    ],
    "half a transfer": [call("accounts", "TRANSFER 0 1 5", (-5, 5), 0, 9), call("accounts", "LOOK", (-5, 0, 0), 1, 2)],
    "two keys seen at different times": [
        call("accounts", "TRANSFER 0 1 1", (-1, 1), 0, 1), call("accounts", "TRANSFER 1 2 1", (0, 1), 2, 3),
        call("accounts", "LOOK", (-1, 1, 1), 2, 9),
    ],
}  # fmt: skip


@pytest.mark.parametrize("calls", GOOD.values(), ids=GOOD)
def test_good(calls: list[Call]) -> None:
    assert violations(calls) == []
    assert by_brute_force(calls)


@pytest.mark.parametrize("calls", BAD.values(), ids=BAD)
def test_bad(calls: list[Call]) -> None:
    (complaint,) = violations(calls)
    assert complaint.startswith(f"{calls[0].model} k: no order explains it")
    assert not by_brute_force(calls)


def by_brute_force(calls: list[Call]) -> bool:
    """Try every subset of the open calls, in every order that respects time."""
    done = [each for each in calls if each.outcome is Outcome.DONE]
    opened = [each for each in calls if each.outcome is OPEN]
    return any(
        fits(order)
        for count in range(len(opened) + 1)
        for chosen in combinations(opened, count)
        for order in permutations([*done, *chosen])
    )


def fits(order: tuple[Call, ...]) -> bool:
    if any(later.outcome is Outcome.DONE and later.end < earlier.start for earlier, later in combinations(order, 2)):
        return False
    state: State = None
    for each in order:
        state, reply = MODELS[each.model](state, each.words)
        if each.outcome is Outcome.DONE and reply != each.reply:
            return False
    return True


COMMANDS = {
    "register": ["GET", "SET a", "SET b", "GETSET c", "DEL"],
    "counter": ["GET", "INCRBY 1", "INCRBY 2"],
    "set": ["SADD a", "SADD b", "SREM a", "SISMEMBER a", "SMEMBERS"],
    "list": ["RPUSH a", "LPUSH b", "LPOP", "RPOP", "LRANGE"],
    "accounts": ["TRANSFER 0 1 1", "TRANSFER 1 2 2", "LOOK"],
}


def simulate(dice: Random, model: str, count: int, clients: int, open_share: float) -> list[Call]:
    """The history of an object that does one call after another; clients see a delay before and after each."""
    busy_until = [0] * clients
    state: State = None
    calls: list[Call] = []
    now = 0
    for _ in range(count):
        now += dice.randint(1, 4)
        free = [client for client in range(clients) if busy_until[client] < now]
        if not free:
            continue
        client = dice.choice(free)
        start, end = dice.randint(busy_until[client], now), now + dice.randint(0, 3 * clients)
        busy_until[client] = end
        words = dice.choice(COMMANDS[model])
        after, reply = MODELS[model](state, tuple(words.split()))
        if dice.random() < open_share:
            state = after if dice.random() < 0.5 else state
            calls.append(call(model, words, None, start, start, OPEN))
        else:
            state = after
            calls.append(call(model, words, reply, start, end))
    return calls


@pytest.mark.parametrize("model", COMMANDS)
@given(st.integers(min_value=0), st.integers(1, 80), st.integers(1, 6))
@settings(deadline=None, max_examples=100)
def test_what_an_object_did_is_accepted(model: str, seed: int, count: int, clients: int) -> None:
    assert violations(simulate(Random(seed), model, count, clients, 0.1)) == []


@pytest.mark.parametrize("model", COMMANDS)
@given(st.integers(min_value=0), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
@settings(deadline=None, max_examples=200)
def test_it_agrees_with_brute_force(model: str, seed: int, count: int, clients: int, mutations: int) -> None:
    dice = Random(seed)
    calls = simulate(dice, model, count, clients, 0.3)
    for _ in range(mutations if calls else 0):
        place, moved = dice.randrange(len(calls)), dice.randint(-12, 12)
        victim = calls[place]
        calls[place] = dice.choice([
            replace(victim, reply=dice.choice(calls).reply),
            replace(victim, start=victim.start + moved, end=victim.end + moved),
            replace(victim, outcome=dice.choice(list(Outcome))),
        ])  # fmt: skip
    assert (violations(calls) == []) == by_brute_force(calls)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("model", COMMANDS)
def test_a_long_history_is_judged_in_seconds(model: str) -> None:
    calls = simulate(Random(1), model, 1_000 if model == "list" else 4_000, 8, 0.01)
    assert violations(calls) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("model", "write"), [("register", "SET"), ("list", "RPUSH"), ("counter", "INCRBY")])
def test_many_open_calls_do_not_make_a_bad_history_long_to_judge(model: str, write: str) -> None:
    """The read at the end fits nowhere, so all that the open calls may have done is tried."""
    values = [1] * 60 if model == "counter" else range(60)
    opened = [call(model, f"{write} {value}", None, 0, 1, OPEN) for value in values]
    done = [call(model, f"SET {value}", "OK", 2 * value, 2 * value + 1) for value in range(100, 130)]
    bad = call(model, "LRANGE" if model == "list" else "GET", "nobody's", 1000, 1001)
    assert violations([*opened, *(done if model == "register" else []), bad])
