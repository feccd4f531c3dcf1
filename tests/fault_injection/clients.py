"""Clients that write and read while everything goes wrong, and record what they did and were told.

They find their way as a real client must: through MOVED, and MEMBER.VIEW of any member that answers, never through a
master. Now and then they go to a wrong member on purpose: whatever it answers has to be true, too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from threading import Event, Lock
from time import monotonic_ns
from typing import Any, NamedTuple

import redis

from chainredis.protocol.view import Endpoint, parse_endpoint
from fault_injection.history import History, Kind, Operation, Outcome
from integration.helpers import Error, Talk, Word

KEYS = [f"key-{number}" for number in range(12)]
CHANNELS = "heard-*"
LOST = (redis.RedisError, OSError)  # a connection that cannot be made, breaks, or keeps silent

STRAY_PATIENCE_S = 4.0  # longer than any member hangs: what it says when it wakes is of interest
LOOK_S = 0.2
PAUSE_S = 0.01
LEAVE_SHARE = 0.02  # how often a client looks around though all is well
STRAY_STEPS = 10


class Sight(NamedTuple):
    """The chain as a member sees it."""

    epoch: int
    members: tuple[Endpoint, ...]


class Guide:
    """Where members are or were, as far as any client has heard."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._known = set(endpoints)
        self._lock = Lock()

    @property
    def known(self) -> list[Endpoint]:
        with self._lock:
            return sorted(self._known)

    def look(self) -> Sight | None:
        """The newest view that any member within reach is in."""
        sights = [sight for sight in map(_ask_for_view, self.known) if sight and sight.members]
        newest = max(sights, key=lambda sight: sight.epoch, default=None)
        if newest:
            with self._lock:
                self._known.update(newest.members)
        return newest


def _ask_for_view(endpoint: Endpoint) -> Sight | None:
    try:
        with Talk(endpoint, LOOK_S) as talk:
            return view_of(talk)
    except LOST:
        return None


def view_of(talk: Talk) -> Sight | None:
    reply = talk("MEMBER.VIEW")
    if isinstance(reply, Error):
        return None
    epoch, *members = reply
    return Sight(epoch, tuple(parse_endpoint(*member.rsplit(b":", 1)) for member in members))


def outcome_of_write(reply: int | Error) -> Outcome:
    """Rule 6: by the first word."""
    if isinstance(reply, int):
        return Outcome.DONE
    return Outcome.OPEN if reply.startswith("UNKNOWN ") else Outcome.FAILED


class Client:
    """place: of the chain where its work is to be done, 0 the head, -1 the tail. stray_share: how often it goes to any
    member instead, for a while. patience_s: how long it waits for an answer.
    """

    place = 0
    stray_share = 0.2
    patience_s = 1.5  # longer than the members' write timeout is to be

    def __init__(self, name: str, guide: Guide, history: History, seed: int) -> None:
        self.name = name
        self.history = history
        self.dice = Random(f"{name} {seed}")
        self._guide = guide
        self._moved_to: Endpoint | None = None
        self._count = 0

    def __call__(self, stop: Event) -> None:
        """Until `stop`. Whatever ends a conversation, the next one begins."""
        while not stop.is_set():
            endpoint, is_stray = self._destination()
            try:
                if endpoint:
                    with Talk(endpoint, STRAY_PATIENCE_S if is_stray else self.patience_s) as talk:
                        self._converse(talk, stop, STRAY_STEPS if is_stray else None)
            except LOST:
                pass
            stop.wait(PAUSE_S)

    def _destination(self) -> tuple[Endpoint | None, bool]:
        if self.dice.random() < self.stray_share:
            return self.dice.choice(self._guide.known), True
        moved_to, self._moved_to = self._moved_to, None
        if moved_to:
            return moved_to, False
        sight = self._guide.look()
        return (sight.members[self.place] if sight else None), False

    def _converse(self, talk: Talk, stop: Event, steps: int | None) -> None:
        """Until `stop`, an error, or so many steps; also, now and then, for a look somewhere else."""
        while not stop.is_set() and steps != 0 and self.dice.random() > LEAVE_SHARE:
            reply = self._step(talk)
            if isinstance(reply, Error):
                self._follow(reply)
                return
            steps = steps - 1 if steps else None
            stop.wait(self.dice.uniform(0, 2 * PAUSE_S))

    def _follow(self, error: Error) -> None:
        if error.startswith("MOVED "):
            self._moved_to = parse_endpoint(*error.split()[2].encode().rsplit(b":", 1))

    def _step(self, talk: Talk) -> Any:
        """Do something, record it; the reply, of which an Error ends the conversation."""
        raise NotImplementedError

    def _new_update(self) -> tuple[Operation, list[Word]]:
        """An update that nobody has ever made, and its command."""
        self._count += 1
        key = self.dice.choice(KEYS)
        if self.dice.random() < 0.1:
            return self._operation(Kind.DEL, key, None), ["MEMBER.DEL", key]
        value = f"{self.name}-{self._count}"
        return self._operation(Kind.PUT, key, value), ["MEMBER.PUT", key, value]

    def _operation(self, kind: Kind, key: str, value: str | None) -> Operation:
        """It begins now. OPEN, until more is known."""
        return Operation(kind, key, value, monotonic_ns(), 0, Outcome.OPEN, self.name)

    def _record(self, operation: Operation, outcome: Outcome, note: str = "") -> None:
        """It ends now."""
        self.history.operations.append(replace(operation, end=monotonic_ns(), outcome=outcome, note=note))


class Writer(Client):
    """One update after the other, each blocking until its end is known."""

    def _step(self, talk: Talk) -> Any:
        operation, command = self._new_update()
        try:
            reply = talk(*command)
        except LOST as error:
            self._record(operation, Outcome.OPEN, repr(error))
            raise
        self._record(operation, outcome_of_write(reply), str(reply))
        return reply


class Reader(Client):
    place = -1
    stray_share = 0.5
    patience_s = 0.4

    def _step(self, talk: Talk) -> Any:
        key = self.dice.choice(KEYS)
        operation = self._operation(Kind.READ, key, None)
        reply = talk("READ", key)
        if not isinstance(reply, Error):
            value = None if reply is None else reply.decode()
            self._record(replace(operation, value=value), Outcome.DONE, str(talk.server))
        return reply


class Saver(Client):
    place = -1

    def _step(self, talk: Talk) -> Any:
        return talk("TAIL.CHECKPOINT")


class Flusher(Client):
    def _step(self, talk: Talk) -> Any:
        return talk("HEAD.FLUSH", self.dice.randint(1, 2 * len(KEYS)))


class PipelinedWriter(Client):
    """Many updates under way at once, of the form that is answered at once; then it waits for the last one.

    Each conversation has a channel of its own: its sns are of one head, so that an sn there is one update.
    """

    BATCH = range(1, 9)
    WAIT_MS = 1_000

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._channel = ""
        self._epoch = -1

    def _converse(self, talk: Talk, stop: Event, steps: int | None) -> None:
        sight = view_of(talk)
        if sight is None:
            return
        self._epoch = sight.epoch
        self._channel = CHANNELS.replace("*", f"{self.name}-{self._count}")
        super()._converse(talk, stop, steps)

    def _step(self, talk: Talk) -> Any:
        updates = [self._new_update() for _ in range(self.dice.choice(self.BATCH))]
        given: dict[int, Operation] = {}
        replies = []
        try:
            talk.send_all([[*command, self._channel] for _, command in updates])
            for operation, _ in updates:
                replies.append(talk.receive())
                if isinstance(replies[-1], int):
                    given[replies[-1]] = operation
                else:
                    self._record(operation, outcome_of_write(replies[-1]), str(replies[-1]))
            if given:
                replies.append(self._settle(talk, given))
        except LOST as error:
            for operation, _ in updates[len(replies):]:
                self._record(operation, Outcome.OPEN, repr(error))
            self._settle_elsewhere(given)
            raise
        return next((reply for reply in replies if isinstance(reply, Error)), None)

    def _settle(self, talk: Talk, given: dict[int, Operation]) -> Any:
        """What WAIT says of the last one holds for all of them."""
        reply = talk("MEMBER.WAIT", max(given), self.WAIT_MS, self._epoch)
        outcome = Outcome.DONE if isinstance(reply, int) else Outcome.OPEN
        while given:
            sn, operation = given.popitem()
            self._record(operation, outcome, publication(self._channel, sn))
        return reply

    def _settle_elsewhere(self, given: dict[int, Operation]) -> None:
        """As docs/clients.md tells a client to do whose head has gone; in vain, they stay open."""
        sight = self._guide.look() if given else None
        try:
            if sight:
                with Talk(sight.members[0], self.patience_s) as talk:
                    self._settle(talk, given)
        except LOST:
            pass
        for sn, operation in given.items():
            self._record(operation, Outcome.OPEN, publication(self._channel, sn))


def publication(channel: str, sn: int) -> str:
    return f"{channel} {sn}"


@dataclass
class Subscriber:
    """Listens at the tail, as long as that one is heard of. heard: publications, and when each came first."""

    guide: Guide
    heard: dict[str, int] = field(default_factory=dict)

    def __call__(self, stop: Event) -> None:
        while not stop.is_set():
            sight = self.guide.look()
            try:
                if sight:
                    with Talk(sight.members[-1], LOOK_S) as talk:
                        self._listen(talk, stop)
            except LOST:
                pass
            stop.wait(PAUSE_S)

    def _listen(self, talk: Talk, stop: Event) -> None:
        """A silence ends it: the tail may be another one."""
        talk("PSUBSCRIBE", CHANNELS)
        while not stop.is_set():
            message = talk.receive()
            if message[0] == b"pmessage":
                self.heard.setdefault(publication(message[2].decode(), int(message[3])), monotonic_ns())

    def applied_to(self, operations: Iterable[Operation]) -> Iterator[Operation]:
        """A publication is as good as an acknowledgement: the update was committed before it was heard."""
        for operation in operations:
            at = self.heard.get(operation.note)
            if at is None:
                yield operation
            elif operation.outcome is Outcome.DONE:
                yield replace(operation, end=min(operation.end, at))
            else:
                yield replace(operation, end=at, outcome=Outcome.DONE)
