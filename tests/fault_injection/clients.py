# SPDX-License-Identifier: Apache-2.0
"""Clients that write and read during faults, and record their operations and the answers.

They find members as a real client must: by MOVED and by MEMBER.VIEW of any member that answers, never by a master.
Sometimes they use a wrong member on purpose, because its answers must be true, too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from threading import Event, Lock
from time import monotonic_ns
from typing import Any, NamedTuple

import redis

from certificates import Identity
from chainredis.protocol.view import Endpoint, parse_endpoint
from fault_injection.history import History, Kind, Operation, Outcome
from integration.helpers import Error, Talk, Word

KEYS = [f"key-{number}" for number in range(12)]
LENGTHS = (0, 128, 3000)  # of values, at the least: from 128 bytes on a checkpoint has them in files beside LevelDB
CHANNELS = "heard-*"
LOST = (redis.RedisError, OSError)  # the connection cannot be made, breaks, or gets no answer

STRAY_PATIENCE_S = 4.0  # longer than any member hangs, so that its answers after it wakes are seen
LOOK_S = 0.2
HANDSHAKE_S = 1.0       # more, for a handshake of TLS
PAUSE_S = 0.01
LEAVE_SHARE = 0.02  # the share of steps after which a client looks for the view without need
STRAY_STEPS = 10


class Sight(NamedTuple):
    """The chain as one member sees it."""

    epoch: int
    members: tuple[Endpoint, ...]


class Guide:
    """The endpoints of all present and former members that any client has heard of.

    tls: all clients speak TLS, and show this.
    """

    def __init__(self, endpoints: Iterable[Endpoint], tls: Identity | None = None) -> None:
        self._known = set(endpoints)
        self._tls = tls
        self._lock = Lock()

    @property
    def known(self) -> list[Endpoint]:
        with self._lock:
            return sorted(self._known)

    def look(self) -> Sight | None:
        """The newest view among those of all members that answer; None: none answers."""
        sights = [sight for sight in map(self._ask_for_view, self.known) if sight and sight.members]
        newest = max(sights, key=lambda sight: sight.epoch, default=None)
        if newest:
            with self._lock:
                self._known.update(newest.members)
        return newest

    def talk(self, endpoint: Endpoint, timeout_s: float) -> Talk:
        """A conversation with the member there."""
        return Talk(endpoint, timeout_s + (HANDSHAKE_S if self._tls else 0), self._tls)

    def _ask_for_view(self, endpoint: Endpoint) -> Sight | None:
        try:
            with self.talk(endpoint, LOOK_S) as talk:
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
    """The outcome that the reply's first word tells (rule 6)."""
    if isinstance(reply, int):
        return Outcome.DONE
    return Outcome.OPEN if reply.startswith("UNKNOWN ") else Outcome.FAILED


class Client:
    """A client that records its operations.

    place: the member at which it works; 0 is the head, -1 the tail. stray_share: the share of conversations that it
    holds with any member instead. patience_s: how long it waits for an answer, in seconds.
    """

    place = 0
    stray_share = 0.2
    patience_s = 1.5  # must be longer than the members' write timeout

    def __init__(self, name: str, guide: Guide, history: History, seed: int) -> None:
        self.name = name
        self.history = history
        self.dice = Random(f"{name} {seed}")
        self._guide = guide
        self._moved_to: Endpoint | None = None
        self._count = 0

    def __call__(self, stop: Event) -> None:
        """Hold one conversation after another until `stop`, whatever ends each."""
        while not stop.is_set():
            endpoint, is_stray = self._destination()
            try:
                if endpoint:
                    with self._guide.talk(endpoint, STRAY_PATIENCE_S if is_stray else self.patience_s) as talk:
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
        """Do steps until `stop`, an error, or `steps` of them; sometimes end early, to look for the view."""
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
        """Do one operation and record it. Returns the reply; an Error ends the conversation."""
        raise NotImplementedError

    def _new_update(self) -> tuple[Operation, list[Word]]:
        """An update with a new value, and its command."""
        self._count += 1
        key = self.dice.choice(KEYS)
        if self.dice.random() < 0.1:
            return self._operation(Kind.DEL, key, None), ["MEMBER.DEL", key]
        value = f"{self.name}-{self._count}".ljust(self.dice.choice(LENGTHS), ".")
        return self._operation(Kind.PUT, key, value), ["MEMBER.PUT", key, value]

    def _operation(self, kind: Kind, key: str, value: str | None) -> Operation:
        """An operation that starts now. Its outcome is OPEN until an answer comes."""
        return Operation(kind, key, value, monotonic_ns(), 0, Outcome.OPEN, self.name)

    def _record(self, operation: Operation, outcome: Outcome, note: str = "") -> None:
        """Record that the operation ends now with this outcome."""
        self.history.operations.append(replace(operation, end=monotonic_ns(), outcome=outcome, note=note))


class Writer(Client):
    """Sends one update after another, each of which blocks until its outcome is known."""

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
    """Sends many updates with a client id, which are answered at once, and then waits for the last of them.

    Each conversation has a client id of its own. All its sns come from one head, so that an sn means one update.
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
        """Wait for the last update's sn. The outcome holds for all updates before it, too."""
        reply = talk("MEMBER.WAIT", max(given), self.WAIT_MS, self._epoch)
        outcome = Outcome.DONE if isinstance(reply, int) else Outcome.OPEN
        while given:
            sn, operation = given.popitem()
            self._record(operation, outcome, publication(self._channel, sn))
        return reply

    def _settle_elsewhere(self, given: dict[int, Operation]) -> None:
        """Find out the outcomes at another head, as docs/clients.md says. Without an answer the updates stay OPEN."""
        sight = self._guide.look() if given else None
        try:
            if sight:
                with self._guide.talk(sight.members[0], self.patience_s) as talk:
                    self._settle(talk, given)
        except LOST:
            pass
        for sn, operation in given.items():
            self._record(operation, Outcome.OPEN, publication(self._channel, sn))


def publication(channel: str, sn: int) -> str:
    return f"{channel} {sn}"


@dataclass
class Subscriber:
    """Listens for publications at the tail. heard: the publications, and when each came first."""

    guide: Guide
    heard: dict[str, int] = field(default_factory=dict)

    def __call__(self, stop: Event) -> None:
        while not stop.is_set():
            sight = self.guide.look()
            try:
                if sight:
                    with self.guide.talk(sight.members[-1], LOOK_S) as talk:
                        self._listen(talk, stop)
            except LOST:
                pass
            stop.wait(PAUSE_S)

    def _listen(self, talk: Talk, stop: Event) -> None:
        """Listen until `stop`, or until nothing comes for a while: another member may be the tail now."""
        talk("PSUBSCRIBE", CHANNELS)
        while not stop.is_set():
            message = talk.receive()
            if message[0] == b"pmessage":
                self.heard.setdefault(publication(message[2].decode(), int(message[3])), monotonic_ns())

    def applied_to(self, operations: Iterable[Operation]) -> Iterator[Operation]:
        """The operations, where each whose publication was heard is DONE: such an update was committed before."""
        for operation in operations:
            at = self.heard.get(operation.note)
            if at is None:
                yield operation
            elif operation.outcome is Outcome.DONE:
                yield replace(operation, end=min(operation.end, at))
            else:
                yield replace(operation, end=at, outcome=Outcome.DONE)
