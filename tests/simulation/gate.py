# SPDX-License-Identifier: Apache-2.0
"""The gate of a member of a chain of all commands: requests and replies of clients, held until they may pass.

Its thread and the main thread meet at any point of each other, so each of the gate's steps is an event by itself. It
knows of the main thread what that has published.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from core_extension.core import NO_LIMIT, may_go

from .clients import Write
from .server import Answer, Operation

if TYPE_CHECKING:
    from .node import Node


class Horizon(NamedTuple):
    """What the main thread has published: what may go (modules/core/held_output.pxd)."""

    committed: int = NO_LIMIT
    executed: int = NO_LIMIT
    lease_until: int = NO_LIMIT
    proven_ms: int = 0


HOLD_TIMEOUT_MS = 750  # member.hold-timeout


class Asked(NamedTuple):
    """A request that was read, the newest ticket after that, and when."""

    operation: Operation
    tag: int
    read_ms: int


class Held(NamedTuple):
    """A reply that was read, the newest ticket after that, and a time after that."""

    answer: Answer
    tag: int
    read_ms: int
    era: int


class Gate:
    """The clients of one process, each with one request."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.horizon = Horizon()
        self.era = 0
        self._requests: deque[Asked] = deque()
        self._socket: deque[tuple[Answer, int]] = deque()
        self._held: deque[Held] = deque()
        self.proven = 0  # replies that went without a lease

    # ---- the main thread

    def publish(self, horizon: Horizon) -> None:
        self.horizon = horizon

    def say(self, answers: list[Answer]) -> None:
        """The server writes to its clients."""
        self._socket.extend((answer, self.era) for answer in answers)

    def begin_era(self) -> None:
        """No reply of before is ever sent: the connections of those clients are closed."""
        self.era += 1
        for operation in self._node.server.forget():
            self._end(operation)

    # ---- the gate's thread

    def ask(self, operation: Operation) -> None:
        """A client's request was read. The ticket is loaded after that."""
        self._requests.append(Asked(operation, self.newest_ticket(), self._node.clock.ms()))

    def newest_ticket(self) -> int:
        return self._node.server.tickets.newest

    def give(self) -> None:
        """Requests go to the server when it has executed what the log had when they came."""
        while self._requests and self.is_overdue(self._requests[0].read_ms):
            self._end(self._requests.popleft().operation)
        while self._requests and self._may_give(self._requests[0].tag):
            self._node.touch()
            self._node.server.on_request(self._requests.popleft().operation)

    def is_overdue(self, since_ms: int) -> bool:
        """Its client's connection is closed."""
        return self._node.clock.ms() - since_ms > HOLD_TIMEOUT_MS

    def _may_give(self, tag: int) -> bool:
        """Also not while too much is uncommitted."""
        node = self._node
        if node.server.leads and node.server.uncommitted > node.limits.log_bytes:
            return False
        return tag <= self.horizon.executed

    def read(self) -> None:
        """What the server has written is read, then the ticket is loaded, then the clock."""
        now_ms = self._node.clock.ms()
        while self._socket:
            answer, era = self._socket.popleft()
            self._held.append(Held(answer, self.newest_ticket(), now_ms, era))

    def release(self) -> None:
        """Replies go in the order in which they were read."""
        while self._held and (self.is_old(self._held[0]) or self._may_go(self._held[0])):
            held = self._held.popleft()
            if self.is_old(held):
                self._end(held.answer.operation)
            else:
                self._send(held.answer)

    def is_old(self, held: Held) -> bool:
        return held.era != self.era or self.is_overdue(held.read_ms)

    def _may_go(self, held: Held) -> bool:
        horizon, now_ms = self.horizon, self.now_ms()
        goes = may_go(held.tag, held.read_ms, now_ms, horizon.committed, horizon.lease_until, horizon.proven_ms)
        self.proven += goes and now_ms >= horizon.lease_until
        return goes

    def now_ms(self) -> int:
        return self._node.clock.ms()

    def _send(self, answer: Answer) -> None:
        """What is shown is committed by now, so it is in the member's history. The model sees to that."""
        node, operation = self._node, answer.operation
        if answer.refused:
            if isinstance(operation, Write):
                node.model.answered(operation, "failed")
        elif isinstance(operation, Write):
            node.model.showed(node, answer.length - 1, operation.update)
            node.model.answered(operation, "committed", answer.length - 1)
        else:
            node.model.show(operation, node, answer.length)

    def _end(self, operation: Operation) -> None:
        """The connection is closed: whoever wrote knows nothing."""
        if isinstance(operation, Write) and not operation.kind:
            self._node.model.answered(operation, "unknown")

    def die(self) -> None:
        left = [*(asked.operation for asked in self._requests), *(answer.operation for answer, _ in self._socket)]
        left += [held.answer.operation for held in self._held]
        for operation in left + self._node.server.forget():
            self._end(operation)
        self._requests.clear()
        self._socket.clear()
        self._held.clear()

    @property
    def is_idle(self) -> bool:
        return not (self._requests or self._socket or self._held)
