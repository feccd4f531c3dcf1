# SPDX-License-Identifier: Apache-2.0
"""A checker of linearizability for any object that a sequential model describes: counters, sets, lists, several keys.

A model is a function `(state, words) -> (new state, reply)` of hashable states. The search is that of Wing and Gong
with Lowe's memoisation, as in linearizability.py, which knows more of registers. Three things save choices:

- A call that reads, or whose reply says that it changed nothing, is taken as soon as it may come next and fits. Taking
  it earlier than in any other order changes nothing for the calls between.
- Values that are in no reply are taken for one and the same, since no reply tells them apart.
- Open calls with the same words differ only in their starts. The one that started first is used first.
"""

import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fault_injection.history import Outcome

State = Any
Reply = Hashable
Words = tuple[str, ...]
Model = Callable[[State, Words], tuple[State, Reply]]
WRITES = {"SET", "GETSET", "LPUSH", "RPUSH"}    # of a value
UNREAD = "(a value that nobody has read)"
READS = {"GET", "SISMEMBER", "SMEMBERS", "LRANGE", "LOOK"}
# Commands that change nothing when that is their reply.
WITHOUT_EFFECT = {"DEL": 0, "SADD": 0, "SREM": 0, "LPOP": None, "RPOP": None}


@dataclass(frozen=True, slots=True)
class Call:
    """One command or transaction on one object. Its times and its outcome are as those of an Operation.

    model: the name of the object's model, in MODELS. words: the command; of a transaction, all of them in a row.
    """

    model: str
    key: str
    words: Words
    reply: Reply
    start: int
    end: int
    outcome: Outcome = Outcome.DONE
    client: str = ""
    note: str = ""


# --------------------------------------------------------------------------------------------------- models

def register(value: str | None, words: Words) -> tuple[State, Reply]:
    match words:
        case ("GET",):
            return value, value
        case ("SET", new):
            return new, "OK"
        case ("GETSET", new):
            return new, value
        case ("DEL",):
            return None, int(value is not None)
    raise ValueError(words)


def counter(count: int | None, words: Words) -> tuple[State, Reply]:
    match words:
        case ("GET",):
            return count, count or 0
        case ("INCRBY", by):
            new = (count or 0) + int(by)
            return new, new
    raise ValueError(words)


def a_set(members: frozenset[str] | None, words: Words) -> tuple[State, Reply]:
    members = members or frozenset()
    match words:
        case ("SADD", member):
            return members | {member}, int(member not in members)
        case ("SREM", member):
            return members - {member}, int(member in members)
        case ("SISMEMBER", member):
            return members, int(member in members)
        case ("SMEMBERS",):
            return members, tuple(sorted(members))
    raise ValueError(words)


def a_list(items: tuple[str, ...] | None, words: Words) -> tuple[State, Reply]:
    items = items or ()
    match words:
        case ("RPUSH", item):
            return (*items, item), len(items) + 1
        case ("LPUSH", item):
            return (item, *items), len(items) + 1
        case ("LPOP",):
            return items[1:], items[0] if items else None
        case ("RPOP",):
            return items[:-1], items[-1] if items else None
        case ("LRANGE",):
            return items, items
    raise ValueError(words)


def accounts(balances: tuple[int, ...] | None, words: Words) -> tuple[State, Reply]:
    """Three keys at once, each with a number: a transfer and a look are transactions or scripts."""
    balances = balances or (0, 0, 0)
    match words:
        case ("TRANSFER", giver, taker, amount):
            new = list(balances)
            new[int(giver)] -= int(amount)
            new[int(taker)] += int(amount)
            return tuple(new), (new[int(giver)], new[int(taker)])
        case ("LOOK",):
            return balances, balances
    raise ValueError(words)


MODELS: dict[str, Model] = {
    "register": register, "counter": counter, "set": a_set, "list": a_list, "accounts": accounts,
}  # fmt: skip


# --------------------------------------------------------------------------------------------------- search

def violations(calls: Iterable[Call]) -> list[str]:
    """A text for each object whose history is not linearizable, with the call that fits nowhere."""
    objects: dict[tuple[str, str], list[Call]] = {}
    for call in calls:
        objects.setdefault((call.model, call.key), []).append(call)
    searches = [(" ".join(name), _Search(each, MODELS[name[0]])) for name, each in objects.items()]
    return [f"{name}: {search.complaint()}" for name, search in searches if not search.succeeds()]


class _Search:
    """The search for an order of one object's calls. None is the state of a key that is not there.

    Calls that failed are left out: they did nothing. `_left` are those that are done and not in order yet, by their
    starts, and `_open` the open ones. One may come next that starts before the first end among those left.
    """

    def __init__(self, calls: list[Call], model: Model) -> None:
        self._model = model
        by_start = sorted(_without_unread_values(calls), key=lambda call: call.start)
        self._done_calls = [call for call in by_start if call.outcome is Outcome.DONE]
        self._calls = self._done_calls + [call for call in by_start if call.outcome is Outcome.OPEN]
        self.deepest = -1
        self._stuck: tuple[State, list[Call]] = (None, [])

    def complaint(self) -> str:
        state, calls = self._stuck
        shown = "; ".join(map(str, calls[:3]))
        placed = f"after {self.deepest} of {len(self._done_calls)} calls"
        return f"no order explains it: {placed} it is {state!r}, and none fits of {shown}"

    def succeeds(self) -> bool:
        """Depth first, without recursion: a frame is what was taken, and the candidates that are still to be tried."""
        seen: set[tuple[int, int, State]] = set()
        state, first, done = self._settle(None, 0, 0)
        frames = [(state, first, done, iter(self._candidates(first, done)))]
        while frames:
            state, first, done, candidates = frames[-1]
            if first == len(self._done_calls):
                return True
            for number in candidates:
                call = self._calls[number]
                after, reply = self._model(state, call.words)
                if reply != call.reply if call.outcome is Outcome.DONE else after == state:
                    continue
                following = self._settle(after, first, done | 1 << number)
                if (following[1], following[2], following[0]) not in seen:
                    seen.add((following[1], following[2], following[0]))
                    frames.append((*following, iter(self._candidates(following[1], following[2]))))
                    break
            else:
                frames.pop()
        return False

    def _settle(self, state: State, first: int, done: int) -> tuple[State, int, int]:
        """Take all calls that fit and are harmless. `first`: the first call that is left; `done`: a bit for each."""
        took = True
        while took:
            took = False
            while first < len(self._done_calls) and done >> first & 1:
                first += 1
            for number in self._next(first, done):
                call = self._calls[number]
                if _is_harmless(call) and self._model(state, call.words)[1] == call.reply:
                    done |= 1 << number
                    took = True
        taken = done.bit_count()
        if taken > self.deepest:
            self.deepest, self._stuck = taken, (state, [self._calls[number] for number in self._next(first, done)])
        return state, first, done

    def _next(self, first: int, done: int) -> list[int]:
        """The done calls that may come next."""
        found, first_end = [], None
        for number in range(first, len(self._done_calls)):
            call = self._done_calls[number]
            if first_end is not None and call.start > first_end:
                break
            if not done >> number & 1:
                found.append(number)
                first_end = call.end if first_end is None else min(first_end, call.end)
        return [number for number in found if first_end is not None and self._calls[number].start <= first_end]

    def _candidates(self, first: int, done: int) -> list[int]:
        """The done calls that may come next, by their ends, then the open ones that start before the first end."""
        done_ones = sorted(self._next(first, done), key=lambda number: self._calls[number].end)
        if not done_ones:
            return []
        first_end = self._calls[done_ones[0]].end
        open_ones: dict[Words, int] = {}
        for number in range(len(self._done_calls), len(self._calls)):
            call = self._calls[number]
            if call.start > first_end:
                break
            if not done >> number & 1:
                open_ones.setdefault(call.words, number)
        return [*done_ones, *open_ones.values()]


def _without_unread_values(calls: list[Call]) -> list[Call]:
    read = {item for call in calls for item in (call.reply if isinstance(call.reply, tuple) else [call.reply])}
    return [
        replace(call, words=(call.words[0], UNREAD)) if call.words[0] in WRITES and call.words[1] not in read else call
        for call in calls
    ]


def _is_harmless(call: Call) -> bool:
    name = call.words[0]
    return name in READS or (name in WITHOUT_EFFECT and call.reply == WITHOUT_EFFECT[name])


def save(calls: Iterable[Call], events: Iterable[tuple[int, str]], path: Path) -> Path:
    """Write one line for each call and event, in the order of their starts."""
    lines = [(call.start, asdict(call)) for call in calls] + [(at, {"at": at, "event": text}) for at, text in events]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for _, line in sorted(lines, key=lambda line: line[0])))
    return path
