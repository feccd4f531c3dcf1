# SPDX-License-Identifier: Apache-2.0
"""The clients of one member: writes that are held back, waits, READs, and the answers to them.

Answers leave a process at the end of a pass of its event loop, after its disk has been written. A process that dies
before leaves its clients with a broken connection: whoever had written knows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from core_extension.core import Update

if TYPE_CHECKING:
    from .model import Prefix
    from .node import Node


@dataclass(eq=False)
class Write:
    """One put or delete of a client, from its start to its answer.

    kind: committed, unknown, failed, or assigned, which is the answer to who does not block; empty: none yet. sn: what
    the head gave it. confirmed: when a wait for it succeeded.
    """

    update: Update
    blocks: bool
    start: int
    sn: int = -1
    kind: str = ""
    end: int = 0
    confirmed: int = 0


@dataclass(eq=False)
class Read:
    """One READ. committed: how many updates were when it began. found: the history that the answer comes from. shows:
    the sn that has to be committed before the answer goes.
    """

    key: bytes
    committed: int
    start: int
    deadline_ms: int = 0
    question: int = 0
    asked_in: int = 0
    epoch: int = 0
    found: Prefix | None = None
    shows: int = -1
    end: int = 0


class Held(NamedTuple):
    """A writer that is held back, its update without an sn."""

    write: Write
    since_ms: int


class Wait(NamedTuple):
    """A MEMBER.WAIT for the sn of a write, with the epoch that its client had seen before."""

    write: Write
    epoch: int
    deadline_ms: int


class Clients:
    """The clients of one process."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._held: list[Held] = []
        self._waits: list[Wait] = []
        self._reads: list[Read] = []
        self._shown: list[Read] = []
        self._answers: list[tuple[Write, str]] = []
        self._answered_waits: list[Wait] = []
        self._answered_reads: list[Read] = []

    # ---- writes

    def write(self, write: Write, since_ms: int) -> None:
        self._held.append(Held(write, since_ms))
        self.admit(0)

    def admit(self, now_ms: int) -> bool:
        """Assigns the held writers' updates as far as there is room (rule 9). Returns False if none left the queue."""
        member = self._node.core
        before = len(self._held)
        while self._held:
            write, since_ms = self._held[0]
            size = size_of(write.update)
            awaits_view = member.me == 0 and member.fenced()
            is_late = since_ms <= now_ms - self._node.patience_ms
            refused = is_late or not member.fits(size) or not (member.takes_writes() or awaits_view)
            if not refused and (awaits_view or not member.has_room(size)):
                break
            self._held.pop(0)
            if refused:
                self.answer(write, "failed")
            else:
                self._node.assign(write, since_ms)
        return len(self._held) < before

    def answer(self, write: Write, kind: str) -> None:
        self._answers.append((write, kind))

    def refuse_held(self) -> None:
        """The process begins to join: its held writers are refused."""
        self._answers += [(held.write, "failed") for held in self._held]
        self._held = []

    # ---- waits

    def wait(self, wait: Wait) -> None:
        self._waits.append(wait)

    def end_waits(self, now_ms: int) -> None:
        """Answers waits that are due. Waits at a former head end without an answer."""
        member = self._node.core
        open_waits, self._waits = self._waits, []
        for wait in open_waits:
            awaits_view = member.me == 0 and member.fenced()
            if wait.deadline_ms <= now_ms or not (member.takes_writes() or awaits_view):
                continue
            if member.committed < wait.write.sn:
                self._waits.append(wait)
            elif member.epoch_of(wait.write.sn) <= wait.epoch:
                self._answered_waits.append(wait)

    def owe_waits(self) -> bool:
        """Is there a wait whose answer is known?"""
        member = self._node.core
        return any(wait.write.sn <= member.committed for wait in self._waits)

    # ---- READs

    def read(self, read: Read) -> None:
        """A READ has arrived. At a tail that may be able to answer in a moment it waits."""
        if self._node.may_read():
            self._take(read)
        elif self._node.core.is_tail():
            self._reads.append(read)

    def end_reads(self) -> None:
        """Answers the READs that may be answered now. READs that are too late or at the wrong member end."""
        open_reads, self._reads = self._reads, []
        now_ms = self._node.clock.ms()
        shown, self._shown = self._shown, []
        for read in shown if self._node.core.is_tail() else ():
            if read.shows <= self._node.core.committed:
                self._answered_reads.append(read)
            elif read.deadline_ms > now_ms:
                self._shown.append(read)
        for read in open_reads:
            if self._may_answer(read):
                self._take(read)
            elif self._node.core.is_tail() and read.deadline_ms > now_ms:
                self._reads.append(read)

    def _may_answer(self, read: Read) -> bool:
        """May the READ be answered, by a lease or an answered question? If none was asked for it, one is asked."""
        member = self._node.core
        if self._node.may_read():
            return True
        if not member.serves_reads():
            return False
        if read.question == 0 or read.asked_in != member.epoch:
            read.asked_in, read.question = member.epoch, member.ask()
        return member.is_answered(read.asked_in, read.question)

    def _take(self, read: Read) -> None:
        history = self._node.history
        read.found, read.epoch = history[-1] if history else None, self._node.core.epoch
        read.shows = self._node.core.applied
        answers = self._shown if self._node.core.has_uncommitted() else self._answered_reads
        answers.append(read)

    # ---- the end of a pass, or of the process

    def send_answers(self) -> None:
        model = self._node.model
        for write, kind in self._answers:
            model.answered(write, kind, write.sn)
        for wait in self._answered_waits:
            model.waited(wait.write)
        for read in self._answered_reads:
            model.read(read, self._node)
        self._forget_answers()

    def die(self) -> None:
        for write in [write for write, _ in self._answers] + [held.write for held in self._held]:
            self._node.model.answered(write, "unknown")
        self._held, self._waits, self._reads, self._shown = [], [], [], []
        self._forget_answers()

    def _forget_answers(self) -> None:
        self._answers, self._answered_waits, self._answered_reads = [], [], []


def size_of(update: Update) -> int:
    return len(update.key) + len(update.value or b"") + len(update.client or b"")
