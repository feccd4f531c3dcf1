"""What must be true: a second, naive idea of the store, against which the members are checked.

The model knows every history as a path in a tree of prefixes, so that comparing two histories up to an sn is comparing
two objects. It keeps the one thing that no failure may change: `committed`, the longest history that any member has
known to be committed. Clients' acknowledgements and reads are held against that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from chainredis.core import ENTRY_OVERHEAD, Update

if TYPE_CHECKING:
    from .node import Node


class BrokenInvariantError(AssertionError):
    """The members did what DESIGN.md's rules forbid."""


def require(truth: bool, text: str) -> None:
    if not truth:
        raise BrokenInvariantError(text)


class Prefix:
    """A history up to and including `sn`: the same object wherever it is the same history, epochs included."""

    def __init__(self, parent: Prefix | None, epoch: int, update: Update) -> None:
        self.sn: int = parent.sn + 1 if parent else 0
        self.epoch = epoch
        self.update = update
        self.state: Mapping[bytes, bytes] = self._after(parent.state if parent else {})

    def _after(self, before: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        key, value, _ = self.update
        state = {k: v for k, v in before.items() if k != key}
        return state if value is None else state | {key: value}

    def __repr__(self) -> str:
        return f"<sn {self.sn} of epoch {self.epoch}: {self.update.key!r}={self.update.value!r}>"


class Answer(NamedTuple):
    """What a client was told about its write."""

    kind: str  # committed, unknown, failed, or assigned: the answer to who does not block
    sn: int


class Write:
    """One put or delete of a client, from its start to its answer."""

    def __init__(self, update: Update, blocks: bool) -> None:
        self.update = update
        self.blocks = blocks
        self.sn = -1  # what the head gave it, when it gave one
        self.answer: Answer | None = None


class Model:
    def __init__(self) -> None:
        self._prefixes: dict[tuple[Prefix | None, int, Update], Prefix] = {}
        self.committed: list[Prefix] = []
        self.writes: list[Write] = []
        self.published: set[int] = set()  # the sns that clients have been told of on their channels

    # ---- what members do

    def extend(self, history: Sequence[Prefix], epoch: int, update: Update) -> Prefix:
        parent = history[-1] if history else None
        known = self._prefixes.get((parent, epoch, update))
        if known is None:
            known = self._prefixes[parent, epoch, update] = Prefix(parent, epoch, update)
        return known

    def note_committed(self, node: Node) -> None:
        """Rules 1, 3: whatever a member has ever known to be committed, all agree on for ever."""
        history, committed = node.history, node.core.committed
        known = min(committed + 1, len(self.committed)) - 1
        if known >= 0:
            require(history[known] is self.committed[known],
                    f"{node.run_id} has committed {history[known]}, others {self.committed[known]}")
        self.committed += history[known + 1:committed + 1]

    # ---- what clients see

    def answered(self, write: Write, kind: str, sn: int = -1) -> None:
        """Rule 6: one answer, and a true one."""
        require(write.answer is None, f"{write.update} is answered {kind} after {write.answer}")
        write.answer = Answer(kind, sn)
        if kind == "committed":
            self._must_be_committed(sn, write.update)
        if kind == "failed":
            require(write.sn < 0, f"{write.update} failed definitely, but it has the sn {write.sn}")

    def publish(self, sn: int, update: Update) -> None:
        self._must_be_committed(sn, update)
        self.published.add(sn)

    def waited(self, sn: int, update: Update | None) -> None:
        """MEMBER.WAIT with the epoch from before the write was answered: its `update` is committed. None: not known."""
        require(sn < len(self.committed), f"waited for sn {sn}, which is not committed")
        if update is not None:
            self._must_be_committed(sn, update)

    def read(self, node: Node, key: bytes, value: bytes | None) -> None:
        """Rule 4. A read takes no time here: it returns the newest committed value, as it is at this moment."""
        state = self.committed[-1].state if self.committed else {}
        require(state.get(key) == value, f"{node.run_id} answers {key!r} with {value!r}, not {state.get(key)!r}")

    def _must_be_committed(self, sn: int, update: Update) -> None:
        require(sn < len(self.committed), f"sn {sn} is acknowledged, but not committed")
        require(self.committed[sn].update == update, f"sn {sn} is {self.committed[sn]}, acknowledged was {update}")

    # ---- invariants

    def check_node(self, node: Node) -> None:
        """What is true of every member at any time, whether it is in a view or not."""
        core, history = node.core, node.history
        broken = core.check()
        require(not broken, f"{node.run_id}: {'; '.join(broken)}")
        require(core.applied == len(history) - 1, f"{node.run_id} counts {core.applied}, applied {len(history)}")
        require(core.owned() == node.handles.live(), f"{node.run_id} leaks handles")
        newest = history[-1] if history else None
        require(node.keys == (newest.state if newest else {}), f"{node.run_id}'s keys are not those of its history")
        if newest is not None:
            require(core.epoch_of(newest.sn) == newest.epoch, f"{node.run_id}: wrong assigning epoch of {newest}")
        if node.in_chain:
            self.note_committed(node)
            self._check_reads(node)
        if not node.dirty:
            self._check_bounds(node)

    def _check_reads(self, node: Node) -> None:
        """Rule 4: whoever serves reads has all that is committed, and nothing else."""
        if node.core.serves_reads():
            require(node.core.committed == node.core.applied, f"{node.run_id} serves reads of uncommitted data")
            require(len(node.history) >= len(self.committed), f"{node.run_id} serves stale reads")

    @staticmethod
    def _check_bounds(node: Node) -> None:
        """Rule 9, once the member has settled and trimmed: the limits, and one update that may exceed each of them."""
        core, limits = node.core, node.limits
        slack = node.largest_bytes + ENTRY_OVERHEAD
        backlog = core.log_bytes - core.unsettled_bytes
        allowed = max(limits.join_bytes, limits.backlog_bytes) if core.pinned >= 0 else limits.backlog_bytes
        require(backlog <= allowed, f"{node.run_id} keeps a backlog of {backlog} bytes, allowed are {allowed}")
        require(core.unsettled_bytes <= limits.log_bytes + slack, f"{node.run_id}: {core.unsettled_bytes} uncommitted")

    def check_view(self, members: Sequence[Node], confirmed: Sequence[Node]) -> None:
        """Of the newest view: each history is a prefix of the one before (rule 1); all that count have what is
        committed (rule 3). A new tail counts from when the master has found it in step.
        """
        for before, after in pairwise(members):
            length = len(after.history)
            require(length <= len(before.history) and (not length or before.history[length - 1] is after.history[-1]),
                    f"{after.run_id}'s history is not a prefix of {before.run_id}'s")
        for node in confirmed:
            length = len(self.committed)
            require(not length or (len(node.history) >= length and node.history[length - 1] is self.committed[-1]),
                    f"{node.run_id} has lost committed updates")

    def check_settled(self, members: Sequence[Node]) -> None:
        """After the network has healed and all is delivered: nothing is pending, and all are equal."""
        for node in members:
            core = node.core
            require(node.history == members[0].history, f"{node.run_id} has not got all of {members[0].run_id}'s log")
            require(core.committed == core.settled == core.applied,
                    f"{node.run_id} settled {core.settled}, committed {core.committed} of {core.applied}")
            require(node is not members[-1] or core.serves_reads(), f"the tail {node.run_id} serves no reads")
            require(node is not members[0] or core.takes_writes(), f"the head {node.run_id} takes no writes")
        for write in self.writes:
            require(write.answer is not None, f"{write.update} was never answered")
        for prefix in self.committed:
            require(prefix.update.client is None or prefix.sn in self.published, f"{prefix} was never published")
