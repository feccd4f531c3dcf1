# SPDX-License-Identifier: Apache-2.0
"""The passes of a simulated member's event loop: the steps of the member's own, by their names and in their order.

A pass begins with its first event (`wake`), takes more events, and ends with `before_sleep`. After that Redis acts: it
writes the append-only file, sends answers and publications to clients, and sleeps. Messages to other members leave
within `before_sleep`, so a process that dies there (`luck`) has sent them and has written nothing. Redis may execute
commands then (`late`), before it writes the file or after that.

test_order.py holds the lists of steps to those of modules/member/event_loop/.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from core_extension import core
from core_extension.core import NO_LIMIT

from .disk import Kind
from .messages import Ack, Forward, Greet, Reply
from .model import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core_extension.core import Ack as AckOf
    from core_extension.core import Batch, Core, Update

    from .clients import Clients
    from .clocks import Clock
    from .disk import Disk
    from .gate import Gate
    from .model import Model, Prefix
    from .network import Link
    from .server import Server
    from .world import World

AFTER_SLEEP = ("read_clock", "forget_publications", "note_flushed", "take_over_candidate")
BEFORE_SLEEP = (
    "start_once", "take_messages_of_peers", "serve_direct_clients", "tick_if_late", "note_saved", "restore_settings",
    "observe_server", "continue_join", "continue_checkpoint", "admit_writers", "record_updates", "wake_for_disk",
    "publish_and_answer", "answer_waits", "answer_reads", "connect_peers", "forward_updates", "feed_own_server",
    "acknowledge_updates", "reply_to_direct_clients", "report_suspicions", "wake_for_acknowledgements",
    "release_output", "note_asleep",
)
NOT_SIMULATED = {
    "tick_if_late": "timers of the simulation are never late",
    "restore_settings": "there are no settings of Redis",
    "continue_join": "the copy is a step of a walk by itself (control.copy_step)",
    "continue_checkpoint": "checkpoints have tests of their own",
    "take_over_candidate": "clients have no sockets",
    "take_messages_of_peers": "a message is an event of the pass, whoever takes it from the socket",
    "serve_direct_clients": "their updates and READs are events of the pass, as other clients' are",
    "reply_to_direct_clients": "answers leave when the pass has ended",
    "connect_peers": "connecting is a step of a walk by itself",
    "report_suspicions": "a poll reports them (Node.broken_links)",
}

MAX_BATCH_BYTES = 600
MAX_RECORD_BYTES = 1000
MAX_UNDER_WAY = 4  # messages; a link that is full is not written to before it has been read from


class EventLoop(ABC):
    """A process of a member, as far as its passes are concerned.

    is_writing: the messages of a pass have gone, and the disk is at work on the file. Nothing else happens meanwhile.
    dirty: a pass has begun, and not ended. flushed: the newest sn of which the process knows that it is on the disk.
    is_whole: the disk holds all that is in memory, apart from what a record follows for.
    """

    steps_after_sleep: Sequence[str] = AFTER_SLEEP
    steps_before_sleep: Sequence[str] = BEFORE_SLEEP

    clients: Clients
    clock: Clock
    core: Core
    disk: Disk
    gate: Gate
    has_subscribers: bool
    history: list[Prefix]
    model: Model
    patience_ms: int
    published: set[Prefix]
    server: Server
    was_tail: bool

    def __init__(self, world: World) -> None:
        self._world = world
        self.dirty = False
        self.is_writing = False
        self.flushed = -1
        self.is_whole = False
        self._is_started = False
        self.recorded_updates = 0  # in a chain of all commands
        self._is_woken = False  # another pass follows at once
        self._written = -1  # when the loop last slept
        self._pass_ms = 0
        self._published_to = -1
        self._must_greet = False
        self._links: dict[str, Link] = {}
        self._outbox: list[tuple[Link, Reply]] = []
        self._publications: list[Prefix] = []

    @property
    def saves(self) -> bool:
        """Does nothing about an update leave this process before the update is on the disk?"""
        return self.disk.kind is Kind.ALWAYS and self.is_whole

    @abstractmethod
    def start(self) -> None: ...
    @abstractmethod
    def die(self, luck: int) -> None: ...
    @abstractmethod
    def settle(self) -> None: ...
    @property
    @abstractmethod
    def data(self) -> list[Prefix]: ...
    @abstractmethod
    def observe_server(self) -> None: ...
    @abstractmethod
    def feed_own_server(self) -> None: ...
    @abstractmethod
    def release_output(self) -> None: ...
    @abstractmethod
    def answer(self, waiter: int, kind: str) -> None: ...
    @abstractmethod
    def update_at(self, sn: int) -> Update: ...

    # ---- a pass

    def touch(self) -> None:
        """An event: the first one begins a pass, which has one time for all but READs."""
        if self.is_writing:
            self.end_writing()
        self._world.touched.add(self)  # type: ignore[arg-type]  # every event loop is a Node's
        if not self.dirty:
            self.dirty = True
            self._is_woken = False
            self._run(self.steps_after_sleep)

    def before_sleep(self, luck: int = -1, late: Callable[[], None] | None = None, is_written: bool = True,
                     slow: bool = False) -> None:
        """luck: not negative when the process dies after its messages have gone and before its disk is written.

        late: commands that run then, when the file is written already, or is not. slow: writing takes until
        `end_writing`.
        """
        self.touch()
        self._run(self.steps_before_sleep)
        if luck >= 0:
            self.die(luck)
            return
        if slow:
            self.is_writing = True
            return
        for act in (self._write_file, late) if is_written else (late, self._write_file):
            if act:
                act()
        if late:
            self.wake()
        self._sleep()

    def end_writing(self) -> None:
        self.is_writing = False
        self._write_file()
        self._sleep()

    def _run(self, steps: Sequence[str]) -> None:
        for name in steps:
            if name not in NOT_SIMULATED:
                getattr(self, name)()

    def _write_file(self) -> None:
        if self.disk.kind is Kind.ALWAYS:
            self.disk.flush()

    def _sleep(self) -> None:
        """What Redis does after the event and the write of the file: answers and publications go."""
        for link, reply in self._outbox:
            link.answer(reply)
        self._outbox = []
        self.clients.send_answers()
        self.server.process_again()
        self.gate.say(self.server.output)
        self.server.output = []
        for prefix in self._publications:
            self.model.publish(prefix)
            self.published.add(prefix)
        self._published_to = self.core.settled
        self._publications = []
        self.dirty = False
        if self._is_woken:
            self.touch()

    def tick(self) -> None:
        """Redis's timer, in a pass."""
        self.touch()
        self._expire()
        self.core.tick()
        self.core.ask_again(self._pass_ms)
        if self.core.streams and self.core.me >= 0 and self._pass_ms >= self.core.lease_until:
            self.core.doubt()

    def wake_again(self) -> None:
        self._is_woken = True

    def wake(self) -> None:
        """At the end of a command that comes late."""
        self.record_updates()
        self.wake_again()

    # ---- steps after sleep

    def read_clock(self) -> None:
        self._pass_ms = self.clock.ms()

    def forget_publications(self) -> None:
        self.core.published = NO_LIMIT

    def note_flushed(self) -> None:
        self.flushed = min(self._written, self.core.written)
        if self.saves:
            require(self.flushed <= self.disk.newest, f"{self} counts sn {self.flushed} as flushed: the file lacks it")

    # ---- steps before sleep

    def start_once(self) -> None:
        if not self._is_started:
            self._is_started = True
            self.start()

    def note_saved(self) -> None:
        if self.saves:
            self.core.saved(self.flushed)

    def admit_writers(self) -> None:
        """Alone, an update is committed at once, and that makes room for the next."""
        while self.clients.admit(self._pass_ms):
            self.settle()

    def record_updates(self) -> None:
        """To the append-only file, what it lacks. In a chain of all commands Redis writes what it has executed."""
        if self.core.streams:
            for prefix in self.data[self.recorded_updates:]:
                self.disk.append(prefix)
            self.recorded_updates = len(self.data)
            return
        while due := self.core.next_record(MAX_RECORD_BYTES):
            _, first, count = due
            for prefix in self.history[first:first + count]:
                self.disk.append(prefix)

    def wake_for_disk(self) -> None:
        self._is_woken |= self.saves and self.core.written > self.flushed

    def publish_and_answer(self) -> None:
        self.settle()

    def answer_waits(self) -> None:
        self.clients.end_waits(self._pass_ms)

    def answer_reads(self) -> None:
        self.clients.end_reads()

    def forward_updates(self) -> None:
        link = self._links.get(self.core.successor() or "")
        if link and self._must_greet:
            link.requests.append(Greet(self.core.position()))
            self._must_greet = False
        while link and len(link.requests) < MAX_UNDER_WAY and (batch := self.core.next_batch(MAX_BATCH_BYTES)):
            link.requests.append(Forward(batch, self.payload_of(batch)))

    def payload_of(self, batch: Batch) -> bytes:
        if self.core.streams:
            return self.core.bytes_at(batch.first, batch.count)
        return core.encode([self.update_at(sn) for sn in range(batch.first, batch.first + batch.count)])

    def acknowledge_updates(self) -> None:
        """To the head first: the acknowledgement to the predecessor says that the head has been told."""
        head = self._links.get(self.core.head_shortcut() or "")
        if head and self.core.head_ack_due():
            self._acknowledge(head, self.core.take_head_ack())
        predecessor = self._links.get(self.core.predecessor() or "")
        if predecessor and self.core.ack_due():
            self._acknowledge(predecessor, self.core.take_ack())

    def _acknowledge(self, link: Link, ack: AckOf) -> None:
        if self.core.is_tail():
            require(all(ack.committed < prefix.sn for prefix in self._publications),
                    f"{self} acknowledges sn {ack.committed} before its publication has left")
        link.requests.append(Ack(ack))

    def wake_for_acknowledgements(self) -> None:
        self._is_woken |= self.core.published != NO_LIMIT

    def note_asleep(self) -> None:
        """Nothing is due that no later pass would take care of."""
        self._written = self.core.written
        is_held = self.core.streams and self.core.me >= 0
        require(not (is_held and self.server.tickets.commit(self.core.committed, self.core.executed)),
                f"{self} sleeps with replies that may go")
        self.core.check_sleep(self.saves, self.flushed, self._is_woken)
        require(self.core.recorded >= self.core.applied, f"{self} sleeps with updates that are not recorded")
        require(not self.clients.owe_waits(), f"{self} sleeps with a MEMBER.WAIT to be answered")
        successor = self._links.get(self.core.successor() or "")
        if successor and len(successor.requests) < MAX_UNDER_WAY:
            require(not self.core.is_batch_due(), f"{self} sleeps with a batch due to {successor.peer}")
        require(not self.server.would_take_more, f"{self} sleeps with effects that its own server would take")
        predecessor = self._links.get(self.core.predecessor() or "")
        require(not (predecessor and self.core.ack_due()), f"{self} sleeps with an acknowledgement due")

    def _expire(self) -> None:
        while waiter := self.core.pop_expired(self._pass_ms - self.patience_ms):
            self.answer(waiter, "unknown")
