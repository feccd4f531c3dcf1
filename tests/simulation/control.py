# SPDX-License-Identifier: Apache-2.0
"""The commands of a master at a simulated member: polls, views, and the steps of a join (docs/protocol.md).

The copy that Redis's own synchronisation makes is a fork at whatever process then serves at the tail's port, and a
load at the learner, with anything else in between. With an append-only file it counts once that is rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core_extension.core import Role, Verdict, View

from .disk import VOID
from .messages import Adopt, Adopted, Closed, Done, Feed, Join, Pin, Poll, Refusal, Rejoin, Request, State, Unpin
from .model import Prefix, require
from .names import place_of
from .network import Link

if TYPE_CHECKING:
    from .node import Node
    from .world import World


@dataclass
class Joining:
    """A copy under way, or just made. source: the place to copy from."""

    source: int
    snapshot: tuple[bytes, list[Prefix]] | None = None
    is_loaded: bool = False
    is_copied: bool = False
    has_failed: bool = False

    @property
    def name(self) -> str:
        if self.has_failed:
            return "failed"
        return "copied" if self.is_copied else "copying"


def on_command(node: Node, link: Link, request: Request) -> None:
    match request:
        case Poll(epoch, stamp_ms, length_ms):
            _grant(node, epoch, stamp_ms, length_ms)
            node.reply(link, state_of(node))
        case Adopt(view):
            _adopt(node, link, view)
        case Pin(position):
            _pin(node, link, position)
        case Join(view):
            _join(node, link, view)
        case Rejoin(view):
            _rejoin(node, link, view)
        case Feed(run_id):
            fed = run_id not in node.core.view.members and node.core.feed(run_id)
            node.aim()
            node.reply(link, Done() if fed else Refusal(Verdict.STRANGER))
        case Unpin():
            _join_off(node)
            node.reply(link, Done())
        case Closed() if node.pin_link is link:
            _join_off(node)


# ------------------------------------------------------------------------------------------------------ the polls


def _grant(node: Node, epoch: int, stamp_ms: int, length_ms: int) -> None:
    if epoch:
        verdict = node.core.grant(epoch, stamp_ms, length_ms, node.clock.ms())
        require(verdict != Verdict.NONSENSE, f"{node} finds its lease nonsense")


def state_of(node: Node) -> State:
    position = node.core.position()
    return State(
        node.core.role(), node.core.history, position.epoch, position.applied, position.assigned,
        node.core.committed, serves(node),
        node.core.streaming, node.core.pinned, node.join.name if node.join else "", node.broken_links(),
        node.clock.ms(),
        node.record,
        node.core.longest_lease_ms,
    )


def serves(node: Node) -> bool:
    role = node.core.role()
    if role in (Role.REMOVED, Role.LEARNER):
        return False
    if role == Role.MIDDLE:
        return node.core.in_step and not node.core.fenced()
    if role == Role.TAIL:
        return node.core.serves_reads()
    return node.core.takes_writes() and (node.server.leads or not node.core.streams)


# ------------------------------------------------------------------------------------------------------ the views


def _adopt(node: Node, link: Link, view: View) -> None:
    """A server that was in a chain and has no data may begin another chain."""
    member = node.core
    if member.has_history and member.history != view.history and member.applied < 0 and member.me < 0:
        node.discard()
        member.forget()
    if not member.has_history and node.run_id not in view.members:
        node.reply(link, Refusal(Verdict.STRANGER))
        return
    verdict = node.adopt(view)
    if verdict == Verdict.ACCEPTED:
        node.reply(link, Adopted(member.epoch))
    else:
        node.refuse(link, verdict)


# ---------------------------------------------------------------------------------------------------- the old tail


def _pin(node: Node, link: Link, position: tuple[int, int] | None) -> None:
    if position is None:
        verdict = Verdict.ACCEPTED if node.core.pin() else Verdict.STRANGER
    else:
        verdict = node.core.pin_from(*position)
    if verdict == Verdict.ACCEPTED:
        node.pin_link = link
        node.reply(link, Done())
    else:
        node.reply(link, Refusal(verdict))


def _join_off(node: Node) -> None:
    """The join is off, as the master says or because its connection is gone. The learner is not fed any more."""
    node.pin_link = None
    if node.core.feeding or node.core.is_tail():
        node.core.unpin()
        node.aim()


# ----------------------------------------------------------------------------------------------------- the learner


def _join(node: Node, link: Link, view: View) -> None:
    member = node.core
    if node.run_id in view.members or (member.me >= 0 and member.epoch >= view.epoch):
        node.reply(link, Refusal(Verdict.STRANGER))
        return
    node.discard()
    member.learn(view)
    node.was_tail = node.trusted = False
    node.join = Joining(place_of(view.members[-1]))
    node.note_record(VOID)
    node.aim()
    node.reply(link, Done())


def _rejoin(node: Node, link: Link, view: View) -> None:
    """The node joins with the data that it has. The tail has found that data to be a prefix of its own."""
    member = node.core
    if member.me >= 0 or (member.role() == Role.LEARNER and not (node.join and node.join.is_copied)):
        node.reply(link, Refusal(Verdict.STRANGER))
        return
    verdict = member.relearn(view)
    if verdict == Verdict.DIVERGED and node.server.has_diverged:
        node.reply(link, Refusal(verdict))
        return
    if verdict != Verdict.ACCEPTED:
        node.refuse(link, verdict)
        return
    node.settle()
    node.was_tail = node.trusted = False
    node.join = Joining(place_of(view.members[-1]), is_loaded=True, is_copied=True)
    node.note_record(VOID)
    node.aim()
    node.reply(link, Done())


def copy_step(world: World, node: Node | None) -> None:
    """One step of Redis's synchronisation at a learner: fork, load or rewrite."""
    join = node.join if node else None
    if node is None or join is None or join.is_copied or join.has_failed or not node.running:
        return
    node.touch()
    if join.is_loaded:
        node.rewrite()
        join.is_copied = True
    elif join.snapshot:
        join.has_failed = node.load(*join.snapshot) != Verdict.ACCEPTED
        join.is_loaded = not join.has_failed
        join.snapshot = None
    else:
        _fork(world, node, join)


def _fork(world: World, node: Node, join: Joining) -> None:
    source = world.places[join.source].process
    if source is None or not source.reachable or not world.network.reaches(node.place, join.source):
        return
    if source.core.has_history and not (source.join and not source.join.is_copied):
        join.snapshot = (source.core.history, source.snapshot())
    else:
        join.has_failed = True  # it came without a position

