# SPDX-License-Identifier: Apache-2.0
"""Members that are their core alone, and what a shell would do with them.

In this folder "vR&S" is van Renesse and Schneider, Chain Replication for Supporting High Throughput and Availability,
OSDI 2004: section 3 has the protocol, 3.1 the invariants, 3.2 the failures, 3.3 the new tail. Rules are those of
design.md, section 3.
"""

from __future__ import annotations

from itertools import count, pairwise
from typing import ClassVar

from core_extension.core import ENTRY_OVERHEAD, KIND_PUT, Ack, Batch, Core, Entry, Greeting, Limits, Verdict, View

HISTORY = b"h" * 16
OTHER = b"o" * 16
ROOMY = Limits(log_bytes=1 << 20, backlog_bytes=1 << 20, join_bytes=1 << 20)
HUGE = (1 << 63) - 1
handles = count(1)
COST = 10 + ENTRY_OVERHEAD  # of an update in the log


class Member(Core):
    """A core that `sound` checks at the end of the test."""

    made: ClassVar[list[Member]] = []

    def __init__(self, run_id: str, limits: Limits) -> None:
        self.made.append(self)

    def take_ack(self) -> Ack:
        """As a server does: a tail has settled everything that is committed."""
        if self.is_tail():
            settle(self)
        return super().take_ack()

    def take_head_ack(self) -> Ack:
        settle(self)
        return super().take_head_ack()


def view(epoch: int, members: str, history: bytes = HISTORY, kind: int = KIND_PUT) -> View:
    """`members` as run_ids of one letter."""
    return View(history, epoch, tuple(members), kind)


def entry(size: int = 10, waiter: int = 0, since_ms: int = 0) -> Entry:
    return Entry(next(handles), next(handles), 0, waiter, since_ms, size)


def greeting(epoch: int, applied: int, assigned: int, history: bytes = HISTORY) -> Greeting:
    return Greeting(epoch, history, applied, assigned)


def put(core: Core, updates: int = 1, size: int = 10) -> int:
    """The last sn assigned."""
    for _ in range(updates):
        core.assign(entry(size))
    return core.applied


def receive(core: Core, batch: Batch, connection: int = 1, effects: bytes = b"") -> Verdict:
    """Applies a batch, as a server does. effects: those that the batch has in a chain of all commands."""
    verdict, skip = core.on_batch(batch, connection)
    if verdict == Verdict.ACCEPTED and core.streams:
        if batch.count > skip:
            assert core.append_bytes(effects[skip:], batch.assigned)
        core.batch_applied(batch)
    elif verdict == Verdict.ACCEPTED:
        for _ in range(batch.count - skip):
            assert core.append(entry(), batch.assigned)
        core.batch_applied(batch)
    return verdict


def shake_hands(before: Core, after: Core, connection: int = 1) -> None:
    verdict, welcome = after.on_greet(before.position(), before.run_id, connection)
    assert verdict == Verdict.ACCEPTED and welcome is not None
    assert before.on_welcome(welcome, after.run_id) == Verdict.ACCEPTED


def forward(before: Core, after: Core, connection: int = 1, max_bytes: int = 1 << 20) -> list[Batch]:
    """Sends all batches that are due. Returns them."""
    sent = []
    while batch := before.next_batch(max_bytes):
        effects = before.bytes_at(batch.first, batch.count) if before.streams else b""
        assert receive(after, batch, connection, effects) == Verdict.ACCEPTED
        sent.append(batch)
    return sent


def acknowledge(after: Core, before: Core) -> None:
    if after.ack_due():
        assert before.on_ack(after.take_ack(), after.run_id) == Verdict.ACCEPTED


def settle(core: Core) -> list[int]:
    """Settles and trims, as a server does. Returns the sns that were settled."""
    settled = []
    core.settle_stream()
    while due := core.pop_settled():
        settled.append(due[0])
    while core.pop_trimmed():
        pass
    return settled


def chain(members: str = "abc", epoch: int = 1, limits: Limits = ROOMY, kind: int = KIND_PUT) -> list[Core]:
    """A chain of these members, in step."""
    cores: list[Core] = [Member(run_id, limits) for run_id in members]
    for core in cores:
        assert core.adopt(view(epoch, members, kind=kind)) == Verdict.ACCEPTED
    for before, after in pairwise(cores):
        shake_hands(before, after)
        forward(before, after)
    return cores


def batch_of(epoch: int, first: int, updates: int, assigned: int | None = None) -> Batch:
    last = first + updates - 1
    return Batch(epoch, epoch if assigned is None else assigned, first, updates, -1, last, saved=last)


def shake_hands_again(before: Core, after: Core, connection: int) -> None:
    before.successor_lost()
    assert before.next_batch(1 << 20) is None
    shake_hands(before, after, connection)
