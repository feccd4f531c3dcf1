# SPDX-License-Identifier: Apache-2.0
"""What must be true: a second, naive idea of the store, against which the members are checked.

The model knows every history as a path in a tree of prefixes, so that comparing two histories up to an sn is comparing
two objects. It keeps the one thing that no failure may change: `committed`, the longest history that any member has
known to be committed, or any client has read. Clients' acknowledgements and reads are held against that.

Only when the last process of a chain has died may something be lost: what no disk has kept. An era begins then, with
what the process has that is the chain from there on.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from core_extension import core
from core_extension.core import ENTRY_OVERHEAD, Update

from .clients import Read, Write

if TYPE_CHECKING:
    from .node import Node
    from .world import Place


class BrokenInvariantError(AssertionError):
    """The members broke a rule of design.md."""


def require(truth: bool, text: str) -> None:
    if not truth:
        raise BrokenInvariantError(text)


class Prefix:
    """A history up to and including `sn`. Equal histories, epochs included, are the same object.

    index: how many updates are before the newest. first, sn: the newest one's sns, which are many in a chain of all
    commands: one for each byte.
    """

    __slots__ = ("epoch", "first", "index", "parent", "sn", "state", "update")

    def __init__(self, parent: Prefix | None, epoch: int, update: Update, size: int) -> None:
        self.parent = parent
        self.index: int = parent.index + 1 if parent else 0
        self.first: int = parent.sn + 1 if parent else 0
        self.sn: int = self.first + size - 1
        self.epoch = epoch
        self.update = update
        self.state: Mapping[bytes, bytes] = self._after(parent.state if parent else {})

    def _after(self, before: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        key, value, _ = self.update
        state = {k: v for k, v in before.items() if k != key}
        return state if value is None else state | {key: value}

    def __repr__(self) -> str:
        return f"<sn {self.sn} of epoch {self.epoch}: {self.update.key!r}={self.update.value!r}>"


def boundaries(history: list[Prefix]) -> list[tuple[int, int]]:
    """The first sn of each epoch."""
    found: list[tuple[int, int]] = []
    for prefix in history:
        if not found or found[-1][1] != prefix.epoch:
            found.append((prefix.first, prefix.epoch))
    return found


class Era(enum.Enum):
    """What an era may begin with."""

    KEEPS_ALL = "everything that was committed"
    MAY_LOSE = "what a disk has kept, or nothing"


class Model:
    def __init__(self) -> None:
        self._prefixes: dict[tuple[Prefix | None, int, Update, int], Prefix] = {}
        self._views: dict[int, core.View] = {}
        self._eras: dict[int, Era] = {}  # by the epochs that will begin them
        self.era = 0  # the epoch in which the present one began
        self._formed_at = 0  # the moment when an era began that may lose something
        self.lost_at = 0  # the moment when something was lost; 0: never
        self.committed: list[Prefix] = []
        self.writes: list[Write] = []
        self.reads: list[Read] = []  # those that were answered
        self.published: set[Prefix] = set()
        self.excused: set[Prefix] = set()  # whoever had to publish these has died with all that were subscribed there
        self._tails: dict[Node, int] = {}  # who is or was one, and up to where it was seen to have published
        self.adopted = 0  # backups that have begun a chain
        self._moments = 0

    def moment(self) -> int:
        """A number for the present moment. Each is higher than the one before."""
        self._moments += 1
        return self._moments

    # ---- what members do

    def extend(self, history: Sequence[Prefix], epoch: int, update: Update, size: int = 1) -> Prefix:
        parent = history[-1] if history else None
        known = self._prefixes.get((parent, epoch, update, size))
        if known is None:
            known = self._prefixes[parent, epoch, update, size] = Prefix(parent, epoch, update, size)
        return known

    def note_view(self, view: core.View) -> None:
        """Rule 5: an epoch names one view for ever."""
        known = self._views.setdefault(view.epoch, view)
        require(known == view, f"epoch {view.epoch} is reused: {view} after {known}")

    @property
    def newest_epoch(self) -> int:
        """The newest epoch of all views that a process was ever in."""
        return max(self._views, default=0)

    def note_committed(self, node: Node) -> None:
        """Rules 1 and 3: all members agree for ever on the updates that a member has known to be committed.

        A process that is in no view may know of commits of an era before, which nobody has kept into this one.
        """
        if not node.trusted or node.core.epoch < self.era or node.core.me < 0 < node.core.epoch:
            return
        history, committed = node.history, node.index_of(node.core.committed)
        known = min(committed + 1, len(self.committed)) - 1
        if known >= 0 and history[known] is not self.committed[known]:
            self._disagree(node, history[known], self.committed[known])
        if committed > known:
            self.committed += history[known + 1:committed + 1]

    def _disagree(self, node: Node, one: Prefix, other: Prefix) -> None:
        raise BrokenInvariantError(f"{node} of epoch {node.core.epoch} has committed {one}, others {other}")

    # ---- the end of a chain, and its new beginning

    def expect_era(self, epoch: int, era: Era) -> None:
        """The view of this epoch is stored: a process that was in no view is to be the chain."""
        self._eras[epoch] = era

    def forget_eras(self, newest: int) -> None:
        """The views after this epoch are lost, and nobody was told of them. Their epochs may be used for others."""
        self._eras = {epoch: era for epoch, era in self._eras.items() if epoch <= newest}

    def check_kept(self, place: Place, updates: Sequence[Prefix]) -> None:
        """A disk that claims to have all that is committed has these."""
        length = len(self.committed)
        kept = length <= len(updates) and (not length or updates[length - 1] is self.committed[-1])
        require(kept, f"the disk of {place.number} claims to have all: {updates[-1:]}, not {self.committed[-1:]}")

    def check_chosen(self, chosen: Node, others: Sequence[Node]) -> None:
        """No other process that is there has kept more of what was committed than `chosen`."""
        for node in others:
            kept, more = self._kept_by(chosen), self._kept_by(node)
            require(kept >= more, f"{chosen} is to be the chain with {kept} updates, and {node} has {more}")

    def _kept_by(self, node: Node) -> int:
        return sum(ours is its for ours, its in zip(self.committed, node.history, strict=False))

    def is_in_era(self, epoch: int) -> bool:
        """Does the view of this epoch go on with what is committed now?"""
        return epoch >= self.era and not any(begins <= epoch for begins in self._eras)

    def note_entered(self, node: Node) -> None:
        """The node has adopted a view that names it."""
        begun = [self._eras.pop(epoch) for epoch in list(self._eras) if epoch <= node.core.epoch]
        if not begun:
            return
        kept = [ours for ours, its in zip(self.committed, node.history, strict=False) if ours is its]
        require(Era.MAY_LOSE in begun or len(kept) == len(self.committed),
                f"{node}, with {node.history[-1:]}, is to have lost nothing, but {self.committed[-1:]} was committed")
        if Era.MAY_LOSE in begun:
            self._formed_at = self.moment()
        if len(kept) < len(self.committed):
            self.lost_at = self.moment()
        self.committed = kept
        self.era = node.core.epoch
        self.excused.update(node.history)

    # ---- what clients see

    def show(self, read: Read, node: Node, length: int) -> None:
        """A client of a chain of all commands reads data of so many updates."""
        require(length <= len(node.history), f"{node} shows {length} updates, and has {len(node.history)}")
        read.found, read.epoch = node.history[length - 1] if length else None, node.core.epoch
        if node.trusted:
            require(length <= len(self.committed), f"{node} shows {read.found}, which is not committed")
        self.read(read, node)

    def showed(self, node: Node, index: int, update: Update) -> None:
        """A client of a chain of all commands is told that its write was done, as the update of this index."""
        self._must_be_committed(index, update)
        require(node.core.epoch >= self.era, f"{node} acknowledges {update}, and has been given up")

    def answered(self, write: Write, kind: str, sn: int = -1) -> None:
        """Rule 6: a write gets one answer, and the answer is true."""
        require(write.kind == "", f"{write.update} is answered {kind} after {write.kind}")
        write.kind, write.end = kind, self.moment()
        if kind == "committed":
            self._must_be_committed(sn, write.update)
        if kind == "failed":
            require(write.sn < 0, f"{write.update} failed definitely, but it has the sn {write.sn}")

    def publish(self, prefix: Prefix) -> None:
        if prefix.epoch >= self.era:
            self._must_be_committed(prefix.sn, prefix.update)
        self.published.add(prefix)

    def waited(self, write: Write) -> None:
        """MEMBER.WAIT with the epoch from before the write was answered. Who is formed by an operator may bring back an
        update of an older epoch in its place, which the answer does not tell.
        """
        if write.start > self._formed_at:
            self._must_be_committed(write.sn, write.update)
            write.confirmed = self.moment()

    def read(self, read: Read, node: Node) -> None:
        """Rule 4: a READ sees all that was committed when it arrived, and nothing that will not survive."""
        found = read.found
        length = found.index + 1 if found else 0
        if length < read.committed and read.start > self.lost_at:
            raise BrokenInvariantError(f"{node} answers a READ with {found}; committed were {read.committed} updates")
        read.end = self.moment()
        self.reads.append(read)
        if found and read.epoch >= self.era:
            self._expose(found, node)

    def _expose(self, found: Prefix, node: Node) -> None:
        """What a client has read is never lost."""
        unknown: list[Prefix] = []
        at: Prefix | None = found
        while at and at.index >= len(self.committed):
            unknown.append(at)
            at = at.parent
        if at and self.committed[at.index] is not at:
            self._disagree(node, at, self.committed[at.index])
        self.committed += reversed(unknown)

    def _must_be_committed(self, sn: int, update: Update) -> None:
        require(sn < len(self.committed), f"sn {sn} is acknowledged, but not committed")
        require(self.committed[sn].update == update, f"sn {sn} is {self.committed[sn]}, acknowledged was {update}")

    # ---- invariants

    def check_node(self, node: Node) -> None:
        """Checks what is true of every process at any time, in a view or not."""
        member, history = node.core, node.history
        if broken := member.check():
            raise BrokenInvariantError(f"{node}: {'; '.join(broken)}")
        newest = history[-1] if history else None
        if member.applied != (newest.sn if newest else -1):
            raise BrokenInvariantError(f"{node} counts {member.applied}, applied {len(history)}")
        node.check_data()
        if newest is not None and member.epoch_of(newest.sn) != newest.epoch:
            raise BrokenInvariantError(f"{node}: wrong assigning epoch of {newest}")
        self.note_committed(node)
        if not node.dirty:
            self._check_rest(node)
            self._check_clients(node)

    @staticmethod
    def _check_rest(node: Node) -> None:
        """Between two passes no handle leaks, and the limits hold (rule 9), but for one update that exceeds each."""
        member, limits = node.core, node.limits
        slack = node.largest_bytes + ENTRY_OVERHEAD
        lag = max(0, member.settled - member.executed)  # the log keeps what the own server lacks
        backlog = member.log_bytes - member.unsettled_bytes
        allowed = max(limits.join_bytes, limits.backlog_bytes) if member.pinned >= 0 else limits.backlog_bytes
        if member.owned() != node.handles.live():
            raise BrokenInvariantError(f"{node} leaks handles")
        if backlog > allowed + lag:
            raise BrokenInvariantError(f"{node} keeps a backlog of {backlog} bytes, allowed are {allowed}")
        if member.unsettled_bytes > limits.log_bytes + slack:
            raise BrokenInvariantError(f"{node}: {member.unsettled_bytes} uncommitted")

    def _check_clients(self, node: Node) -> None:
        """Between two passes no former head keeps writers waiting, and tails and former tails have published."""
        if node.core.me != 0 and node.core.has_history and node.handles.has_waiters:
            raise BrokenInvariantError(f"{node} is no head, and keeps writers waiting")
        if node.core.is_tail():
            self._tails.setdefault(node, node.core.settled)
        elif node.core.me < 0:
            self._tails.pop(node, None)
        if node in self._tails:
            for prefix in node.history[self._tails[node] + 1:node.core.settled + 1]:
                if prefix.update.client and node.has_subscribers and prefix not in node.published:
                    raise BrokenInvariantError(f"{node} has not published {prefix}, and was a tail in this chain")
            self._tails[node] = node.core.settled

    def check_reader(self, node: Node) -> None:
        """Rule 4, by the lease: a node that may answer now has all that is committed."""
        if not node.may_read():
            return
        if node.core.epoch < self.era or not self._has_all(node):
            raise BrokenInvariantError(
                f"{node} of epoch {node.core.epoch} answers READs with {node.history[-1:]}; "
                f"committed is {self.committed[-1:]}")

    def check_server(self, node: Node) -> None:
        """Of a chain of all commands: who may release replies by its lease has all that is committed in its log."""
        if node.core.shows_data() and node.has_lease() and not (node.core.epoch >= self.era and self._has_all(node)):
            raise BrokenInvariantError(
                f"{node} of epoch {node.core.epoch} may answer with {node.history[-1:]}; "
                f"committed is {self.committed[-1:]}")

    def _has_all(self, node: Node) -> bool:
        """Has the node all that is committed?"""
        history, length = node.history, len(self.committed)
        return not length or (len(history) >= length and history[length - 1] is self.committed[-1])

    def check_view(self, members: Sequence[Node], complete: Sequence[Node]) -> None:
        """Of the processes in the stored view: each history is a prefix of the one before (rule 1); all that count have
        what is committed (rule 3). A new tail counts from when the master has found it in step.
        """
        for before, after in pairwise(members):
            length = len(after.history)
            if length > len(before.history) or (length and before.history[length - 1] is not after.history[-1]):
                raise BrokenInvariantError(f"{after}'s history is not a prefix of {before}'s")
        for node in complete:
            if not self._has_all(node):
                raise BrokenInvariantError(
                    f"{node} has lost committed updates: it ends with {node.history[-1:]}, not {self.committed[-1]}")

    def check_settled(self, members: Sequence[Node], subscribed: bool) -> None:
        """The network has healed and all is delivered: nothing is pending, and all members are equal."""
        for node in members:
            member = node.core
            require(node.history == members[0].history, f"{node} has not got all of {members[0]}'s log")
            require(member.committed == member.settled == member.applied,
                    f"{node} settled {member.settled}, committed {member.committed} of {member.applied}")
        require(members[-1].may_read(), f"the tail {members[-1]} serves no reads")
        require(members[0].core.takes_writes(), f"the head {members[0]} takes no writes")
        for write in self.writes:
            require(write.kind != "", f"{write.update} was never answered")
        for prefix in self.committed if subscribed else ():
            require(prefix.update.client is None or prefix in self.published or prefix in self.excused,
                    f"{prefix} was never published")
