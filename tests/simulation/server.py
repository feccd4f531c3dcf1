# SPDX-License-Identifier: Apache-2.0
"""A member's own server, and the member's two ways to it, in a chain of all commands (modules/member/effects).

The server of the serving head executes commands at once, and the head's tap reads their effects later, in pieces. Any
other member's server is a replica of its own module: it is given the log, and executes it command by command, as far as
its connection has brought it. Either connection may break at any moment.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core_extension.core import Scanner, Tickets

from .clients import Read, Write
from .effects import effects_of
from .model import require

if TYPE_CHECKING:
    from core_extension.core import Update

    from .node import Node

CALM_PASSES = 2
MOST_ON_THE_WAY = 900  # bytes that the server has been given and not executed

Operation = Write | Read


@dataclass(eq=False)
class Answer:
    """What the server says to a client: of data that consist of so many updates."""

    operation: Operation
    length: int
    refused: bool = False


class Server:
    """The server of one process.

    done: how many updates of the member's history it has executed. own: what it has executed besides, of which the tap
    has not read all: the updates and their bytes. given: up to this sn its connection has brought it the log. output:
    what it has written in this pass.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.tickets = Tickets()
        self.keys: dict[bytes, bytes] = {}
        self.done = 0
        self.own: deque[tuple[Update, bytes]] = deque()
        self.leads = False
        self.is_connected = False
        self.is_cut = False
        self.given = -1
        self.output: list[Answer] = []
        self.is_paused = False
        self._postponed: list[Operation] = []
        self._calm = 0
        self._stirred = False
        self._seen = -1
        self._tap_at = 0
        self._scanner = Scanner()

    # ---- data

    def load(self, length: int) -> None:
        """So many updates of the member's history are its data."""
        self.close_tap()
        self.own.clear()
        self.done = length
        self.keys = dict(self._node.history[length - 1].state) if length else {}
        self.is_connected = self.leads = False

    def begin(self) -> None:
        """Its data become the beginning of a chain, or it is about to become a copy of one."""
        self.load(0)
        self.tickets.begin_anew()
        self._node.gate.begin_era()

    @property
    def executed(self) -> int:
        """The sn of the last byte that its data have."""
        return self._logged + sum(len(effects) for _, effects in self.own)

    @property
    def uncommitted(self) -> int:
        """Bytes that are not committed, those of postponed commands included."""
        postponed = (effects_of(each.update) for each in self._postponed if isinstance(each, Write))
        return self.executed - self._node.core.committed + sum(map(len, postponed))

    @property
    def _logged(self) -> int:
        return self._node.history[self.done - 1].sn if self.done else -1

    @property
    def is_busy(self) -> bool:
        return bool(self.own or self._postponed or self.output)

    @property
    def has_diverged(self) -> bool:
        return bool(self.own) and not self.leads

    def _apply(self, update: Update) -> None:
        if update.value is None:
            self.keys.pop(update.key, None)
        else:
            self.keys[update.key] = update.value

    # ---- commands

    def on_request(self, operation: Operation) -> None:
        """A client's request has arrived. The filter comes first: it opens a ticket before what may write."""
        if self._calm < CALM_PASSES:
            self._stirred = True
        if isinstance(operation, Write) and self.leads:
            self.filter()
        if self.is_paused and isinstance(operation, Write):
            self._postponed.append(operation)
        else:
            self._run(operation)

    def filter(self) -> None:
        self.tickets.open()

    def _run(self, operation: Operation) -> None:
        if self.must_refuse():
            self.output.append(Answer(operation, 0, refused=True))
        elif isinstance(operation, Read):
            self.output.append(Answer(operation, self.done + len(self.own)))
        elif self.leads:
            self._execute(operation.update)
            self.output.append(Answer(operation, self.done + len(self.own)))
        else:
            self.output.append(Answer(operation, 0, refused=True))

    def must_refuse(self) -> bool:
        """A request may have passed the gate when this member was in no view, and run when it is a new tail."""
        return not self._node.core.shows_data()

    def _execute(self, update: Update) -> None:
        self._apply(update)
        self.own.append((update, effects_of(update)))
        self._node.largest_bytes = max(self._node.largest_bytes, len(effects_of(update)))

    def act(self, update: Update) -> None:
        """A timer of the server changes the data, which no filter sees."""
        self._execute(update)

    def pause(self) -> None:
        """CLIENT PAUSE. It may be over before the pass is."""
        self.is_paused = True
        self.note_pause()

    def note_pause(self) -> None:
        self._calm = 0

    def unpause(self) -> None:
        self.is_paused = False

    def process_again(self) -> None:
        """Commands that were postponed run after the steps of a pass: some servers call no filter then."""
        if self.is_paused:
            return
        postponed, self._postponed = self._postponed, []
        for operation in postponed:
            self._run(operation)

    def forget(self) -> list[Operation]:
        """The server closes its clients. Returns what it had not answered."""
        left = [*self._postponed, *(answer.operation for answer in self.output)]
        self._postponed, self.output = [], []
        return left

    # ---- the tap

    def read_tap(self, most: int) -> None:
        """The head's module reads up to `most` of the bytes that its server has for it."""
        if not self.leads:
            return
        member = self._node.core
        stream = b"".join(effects for _, effects in self.own)
        piece = stream[self._tap_at:self._tap_at + most]
        whole = self._scanner.scan(piece)
        require(whole >= 0, f"{self._node}'s tap takes {piece!r} for no stream of commands")
        if whole and not member.append_own(piece[:whole]):
            self.close_tap()    # it has just ceased to be the head
            return
        if whole:
            self._log(self._tap_at + whole)
            self._tap_at = 0
        member.read_ahead(piece[whole:])
        self._tap_at += len(piece) - whole

    def _log(self, count: int) -> None:
        """So many bytes of what the server has executed are in the log now."""
        require(self._node.core.me == 0, f"{self._node} logs what its server has done, and is no head")
        while count > 0:
            update, effects = self.own.popleft()
            count -= len(effects)
            self._node.extend(update, self._node.core.epoch, len(effects))
            self.done += 1
        require(count == 0, f"the log of {self._node} ends in the midst of a command")

    def close_tap(self) -> None:
        """An incomplete command that the tap has read is forgotten. The next tap asks for it again."""
        self._node.core.forget_ahead()
        self._tap_at = 0
        self._scanner = Scanner()

    # ---- the connection of a replica

    @property
    def wants_connection(self) -> bool:
        node = self._node
        is_placed = node.core.me >= 0 or (node.join is not None and node.join.is_copied)
        return node.core.streams and is_placed and not self.leads and not self.is_connected and not self.has_diverged

    def connect(self) -> None:
        """The server asks for what follows on its own last byte."""
        if self.wants_connection:
            require(self._node.core.log_first <= self.executed + 1,
                    f"the log of {self._node} begins with {self._node.core.log_first}, its server has {self.executed}")
            self.is_connected, self.given = True, self.executed
            self.feed()

    def drop(self) -> None:
        """What was on the way is lost, and for some time no new connection comes about."""
        self.is_connected, self.is_cut = False, True

    def feed(self) -> None:
        """The ticket comes first: once the server has the bytes, replies may show them."""
        self.cover_log()
        if self.is_connected:
            self.given = min(self._node.core.applied, self.executed + MOST_ON_THE_WAY)

    @property
    def would_take_more(self) -> bool:
        return self.is_connected and self.given < min(self._node.core.applied, self.executed + MOST_ON_THE_WAY)

    def cover_log(self) -> None:
        if self.tickets.lack(self._node.core.applied):
            self.tickets.open()
            self.tickets.close(self._node.core.applied)

    def work(self, most: int) -> None:
        """The server executes commands of the log."""
        history = self._node.history
        for _ in range(most):
            if not self.is_connected or self.done >= len(history) or history[self.done].sn > self.given:
                break
            self._apply(history[self.done].update)
            self.done += 1
        if self.is_connected:
            self.feed()

    # ---- in each pass

    def observe(self) -> None:
        """What the member learns of its server before anything is settled, forwarded or acknowledged."""
        if not self._node.core.streams:
            return
        self._note_executed()
        self._close_ticket()
        self._settle_role()

    def _note_executed(self) -> None:
        if self.leads and self._seen != self.executed:
            self.note_unseen()
        self._seen = self.executed
        if self.leads or self.is_connected:
            self._node.core.executed = self.executed

    def note_unseen(self) -> None:
        """Something has changed the data, perhaps without a filter."""
        self.tickets.open()

    def _close_ticket(self) -> None:
        self._calm = 0 if self.is_paused else min(self._calm + 1, CALM_PASSES)
        if not self.leads:
            return
        self.tickets.close(self._node.core.executed)
        if self.must_reopen():
            self.tickets.open()
            if self._stirred or not self.is_paused:
                self._node.wake_again()
        self._stirred = False

    def must_reopen(self) -> bool:
        """Commands that were postponed may run when no filter sees them again."""
        return self._calm < CALM_PASSES

    def _settle_role(self) -> None:
        member = self._node.core
        if self.leads and member.me != 0:
            self.close_tap()
            self.leads = self.is_connected = False
        elif not self.leads and member.lacks_own():
            self.continue_alone()
        elif (member.me == 0 and not self.leads and self.is_connected and not member.fenced()
                and self.executed == member.executed == member.applied):
            self.unpause()
            self.is_connected, self.leads, self._calm = False, True, 0
            self.tickets.open()
            self._node.wake_again()

    def continue_alone(self) -> None:
        """What this former head has executed, and its tap had not read, becomes the chain's."""
        self._node.core.continue_alone()
        self._log(sum(len(effects) for _, effects in self.own))
