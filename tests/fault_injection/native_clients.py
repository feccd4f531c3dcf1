# SPDX-License-Identifier: Apache-2.0
"""Clients of a chain of all commands, which write at the head and read at every member with Redis's own commands."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic_ns
from typing import Any
from uuid import uuid4

import redis

from certificates import Identity
from chainredis.local_cluster.server import ROOT
from chainredis.protocol.view import Endpoint
from fault_injection.clients import LOST, Client, Guide
from fault_injection.history import History, Outcome
from fault_injection.models import READS, Call, Reply, Words, save, violations
from integration.helpers import Error, Talk, Word, running

HISTORIES = ROOT / "build/histories"
KEYS = 4            # of each kind of object
MEMBERS = "abcde"   # of a set
LIST_LENGTH = 12    # from which on more is popped than pushed
# An error that begins so says that nothing was done. After any other the outcome is unknown.
NOTHING_DONE = (
    "MOVED", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "NOREPLICAS", "BUSY", "EXECABORT",
)
TRANSFER = """
redis.call('INCRBY', KEYS[1], -ARGV[1])
redis.call('INCRBY', KEYS[2], ARGV[1])
return {tonumber(redis.call('GET', KEYS[1])), tonumber(redis.call('GET', KEYS[2]))}
"""

Ask = Callable[[Talk], Any]


class NativeClient(Client):
    """Records calls. Each kind of object has a method that chooses the next one: what is recorded, and how to ask."""

    reads_only = False

    def __init__(self, name: str, guide: Guide, history: History, seed: int, calls: list[Call]) -> None:
        super().__init__(name, guide, history, seed)
        self._calls = calls
        self._given = 0

    def give_up(self) -> None:
        """Record what is still under way at the end."""

    def _choose(self) -> tuple[str, str, Words, Ask]:
        """The next call: its model, its key, what is recorded, and how to ask."""
        choose = self.dice.choice([self._register, self._counter, self._set, self._list, self._accounts])
        model = choose.__name__.removeprefix("_")
        key = f"{model}-{self.dice.randrange(KEYS if model != 'accounts' else 1)}"
        return model, key, *choose(key)

    def _step(self, talk: Talk) -> Any:
        return self._call(talk, *self._choose())

    def _call(self, talk: Talk, model: str, key: str, words: Words, ask: Ask) -> Any:
        start = monotonic_ns()
        try:
            reply = ask(talk)
        except LOST as error:
            self._note(model, key, words, None, start, Outcome.OPEN, repr(error))
            raise
        refusal = _error_in(reply)
        if refusal:
            outcome = Outcome.FAILED if refusal.startswith(NOTHING_DONE) else Outcome.OPEN
            self._note(model, key, words, None, start, outcome, refusal)
        else:
            self._note(model, key, words, _as_said(model, words, reply), start, Outcome.DONE, str(talk.server))
        return refusal or reply

    def _note(
        self, model: str, key: str, words: Words, reply: Reply, start: int, outcome: Outcome, note: str
    ) -> None:
        self._calls.append(Call(model, key, words, reply, start, monotonic_ns(), outcome, self.name, note))

    # ----------------------------------------------------------------------------------------- kinds of calls

    def _register(self, key: str) -> tuple[Words, Ask]:
        if self._reads():
            return ("GET",), _single("GET", key)
        name = self.dice.choice(["SET", "SET", "SET", "GETSET", "DEL"])
        if name == "DEL":
            return ("DEL",), _single("DEL", key)
        value = self._new_value()
        return (name, value), _single(name, key, value)

    def _counter(self, key: str) -> tuple[Words, Ask]:
        if self._reads():
            return ("GET",), _single("GET", key)
        return ("INCRBY", "1"), _single("INCRBY", key, 1)

    def _set(self, key: str) -> tuple[Words, Ask]:
        if self._reads():
            return ("SMEMBERS",), _single("SMEMBERS", key)
        name, member = self.dice.choice(["SADD", "SREM"]), self.dice.choice(MEMBERS)
        return (name, member), _single(name, key, member)

    def _list(self, key: str) -> tuple[Words, Ask]:
        if self._reads():
            return ("LRANGE",), _single("LRANGE", key, 0, -1)
        if self.dice.random() < 0.52:
            name = self.dice.choice(["LPOP", "RPOP"])
            return (name,), _single(name, key)
        name, value = self.dice.choice(["LPUSH", "RPUSH"]), self._new_value()
        return (name, value), _single(name, key, value)

    def _accounts(self, _key: str) -> tuple[Words, Ask]:
        names = [f"account-{number}" for number in range(3)]
        if self._reads():
            looks: list[list[Word]] = [["GET", name] for name in names]
            return ("LOOK",), self.dice.choice([_transaction(looks), _single("MGET", *names)])
        giver, taker = self.dice.sample(range(3), 2)
        words = ("TRANSFER", str(giver), str(taker), "1")
        if self.dice.random() < 0.5:
            return words, _single("EVAL", TRANSFER, 2, names[giver], names[taker], 1)
        return words, _transaction([["DECRBY", names[giver], 1], ["INCRBY", names[taker], 1]])

    def _reads(self) -> bool:
        return self.reads_only or self.dice.random() < 0.2

    def _new_value(self) -> str:
        self._given += 1
        return f"{self.name}-{self._given}"


class RetryingClient(NativeClient):
    """Repeats a write under its number, at one head after the other, until it is answered. So it knows what became of
    each, and what was done twice is not linearizable. It also leaves before the answer, and repeats what was answered.
    """

    leave_share = 0.2
    again_share = 0.2

    def __init__(self, name: str, guide: Guide, history: History, seed: int, calls: list[Call]) -> None:
        super().__init__(name, guide, history, seed, calls)
        self._id = f"{name}-{uuid4().hex}"
        self._sequence = 0
        self._pending: tuple[str, str, Words, Ask, int] | None = None

    def give_up(self) -> None:
        if self._pending:
            model, key, words, _, start = self._pending
            self._note(model, key, words, None, start, Outcome.OPEN, "given up")

    def _step(self, talk: Talk) -> Any:
        if self._pending is None:
            call = self._choose()
            if call[2][0] in READS:
                return self._call(talk, *call)
            self._sequence += 1
            self._pending = (*call, monotonic_ns())
        model, key, words, ask, start = self._pending
        number = ("MEMBER.ONCE", self._id, self._sequence)
        if self.dice.random() < self.leave_share:
            ask(partial(talk.send, *number))  # type: ignore[arg-type] # which sends, and nobody waits
            raise redis.ConnectionError("left before the answer")
        once: Any = partial(talk, *number)
        reply = ask(once)
        refusal = _error_in(reply)
        if refusal:
            assert refusal.startswith((*NOTHING_DONE, "ERR this member is in no chain")), refusal
            return refusal
        self._pending = None
        self._note(model, key, words, _as_said(model, words, reply), start, Outcome.DONE, str(talk.server))
        if self.dice.random() < self.again_share:
            again = ask(once)
            assert again == reply or _error_in(again), (words, reply, again)
            return again
        return reply

    def _accounts(self, key: str) -> tuple[Words, Ask]:
        """In a transaction each command would need a number of its own."""
        words, ask = super()._accounts(key)
        if words[0] != "TRANSFER":
            return words, ask
        return words, _single("EVAL", TRANSFER, 2, *(f"account-{number}" for number in words[1:3]), 1)


class NativeReader(NativeClient):
    place = -1
    stray_share = 0.7
    patience_s = 0.8
    reads_only = True


class PlainClient(NativeClient):
    """A client of a server that is no member, for tests of these clients: it always uses the first that it knows."""

    def _destination(self) -> tuple[Endpoint | None, bool]:
        return self._guide.known[0], False


def _single(*words: Word) -> Ask:
    return lambda talk: talk(*words)


def _transaction(commands: Sequence[Sequence[Word]]) -> Ask:
    """All in one write. The reply is that of EXEC, or else the first error."""

    def ask(talk: Talk) -> Any:
        *queued, last = talk.pipeline([["MULTI"], *commands, ["EXEC"]])
        errors = [reply for reply in queued if isinstance(reply, Error)]
        if isinstance(last, Error) and last.startswith(NOTHING_DONE) and errors:
            return errors[0]    # such as MOVED, which tells where to go
        return last

    return ask


def _error_in(reply: Any) -> Error | None:
    if isinstance(reply, Error):
        return reply
    items = reply if isinstance(reply, list) else []
    return next((item for item in items if isinstance(item, Error)), None)


def _as_said(model: str, words: Words, reply: Any) -> Reply:
    """The reply in the form of the models."""
    name = words[0]
    if name == "LOOK":
        return tuple(int(item or 0) for item in reply)
    if model == "counter":
        return int(reply or 0)
    if name == "SMEMBERS":
        return tuple(sorted(item.decode() for item in reply))
    if isinstance(reply, list):
        return tuple(item.decode() if isinstance(item, bytes) else item for item in reply)
    return reply.decode() if isinstance(reply, bytes) else reply


class NativeCrowd:
    """Writers, and readers at every member. They work during the block of `at_work`."""

    def __init__(
        self, endpoints: Iterable[Endpoint], seed: int, *, plain: bool = False, tls: Identity | None = None
    ) -> None:
        self.history = History()    # of events
        self.calls: list[Call] = []
        self._seed = seed
        guide = Guide(endpoints, tls)
        kinds = [PlainClient] * 8 if plain else [NativeClient] * 2 + [RetryingClient] * 3 + [NativeReader] * 3
        self.clients = [
            kind(f"{kind.__name__.lower()}-{number}", guide, self.history, seed, self.calls)
            for number, kind in enumerate(kinds)
        ]

    @contextmanager
    def at_work(self, *others: Callable[[Event], None]) -> Iterator[None]:
        with running(*self.clients, *others):
            yield
        for client in self.clients:
            client.give_up()

    def successful_since(self, count: int) -> set[str]:
        """The clients of calls that are done, without the first `count` calls."""
        return {call.client for call in self.calls[count:] if call.outcome is Outcome.DONE}

    def judge(self) -> None:
        """Raise AssertionError if the history of any object is not linearizable; the history is then saved."""
        found = violations(self.calls)
        if found:
            raise AssertionError("\n".join([f"not linearizable, see {self.save()}", *found]))

    def save(self) -> Path:
        return save(self.calls, self.history.events, HISTORIES / f"native-{self._seed}.jsonl")
