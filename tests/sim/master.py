"""A simulated master: view changes over live members, in the orders of docs/protocol.md, with pauses anywhere.

An operation is a generator: each `yield` is a moment at which anything else may happen.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

from chainredis.core import View

from .node import Node

HISTORY = bytes(range(16))
Plan = Generator[None, None, None]


class JoinOffError(Exception):
    """Thrown into an addition that is given up."""


class Master:
    def __init__(self, nodes: Mapping[str, Node], first: Node) -> None:
        self._nodes = nodes
        self._plan: Plan | None = None
        self._may_leave = False  # the rest of the plan is a courtesy: the next operation may come before it
        self._joining = False  # an addition that can still be given up
        self.view = View(HISTORY, 1, (first.run_id,))
        self.confirmed = self.view.members  # those that must have all that is committed
        first.adopt(self.view)

    # ---- steps

    @property
    def idle(self) -> bool:
        return self._plan is None or self._may_leave

    def step(self) -> None:
        if self._plan is not None and next(self._plan, "done") == "done":
            self._plan = None

    def give_up(self) -> None:
        """The addition under way is off, if there is one."""
        if self._plan is None or not self._joining:
            return
        self._joining = False
        try:
            self._plan.throw(JoinOffError)
        except (StopIteration, JoinOffError):
            self._plan = None

    def add(self, node: Node) -> None:
        self._begin(self._add(node))
        self._joining = True

    def remove(self, node: Node, order: int) -> None:
        self._begin(self._remove(node, order))

    def finish(self) -> None:
        """Tell everybody the newest view."""
        self._begin(None)
        for run_id in self.view.members:
            self._nodes[run_id].adopt(self.view)

    def _begin(self, plan: Plan | None) -> None:
        assert self.idle
        self._plan, self._may_leave, self._joining = plan, False, False

    # ---- operations

    def _members(self) -> list[Node]:
        return [self._nodes[run_id] for run_id in self.view.members]

    def _store(self, members: Iterable[str]) -> None:
        self.view = View(HISTORY, self.view.epoch + 1, tuple(members))

    def _remove(self, node: Node, order: int) -> Plan:
        """The one that is removed hears of it first (rule 4): from then on it serves nothing."""
        self._store(run_id for run_id in self.view.members if run_id != node.run_id)
        self.confirmed = self.view.members
        yield
        node.adopt(self.view)
        yield from self._tell_rest(order)

    def _tell_rest(self, order: int) -> Plan:
        self._may_leave = True
        members = self._members()
        start = order % len(members)
        for member in members[start:] + members[:start]:
            yield
            member.adopt(self.view)

    def _add(self, node: Node) -> Plan:
        old_tail = self._members()[-1]
        try:
            for member in reversed(self._members()):
                member.adopt(self.view)
                yield
            yield from self._copy(old_tail, node)
        except JoinOffError:
            old_tail.unpin()
            return
        before = self.view.members
        self._store((*before, node.run_id))
        try:
            yield
            yield from self._hand_over(old_tail, node)
            self.confirmed = self.view.members
            self._joining = False
            yield from self._tell_rest(-1)
        except JoinOffError:
            self._joining = False
            self._store(before)
            yield
            node.adopt(self.view)
            yield from self._tell_rest(-1)

    @staticmethod
    def _copy(old_tail: Node, node: Node) -> Plan:
        while not old_tail.core.pin():
            yield
        yield
        node.join(old_tail.core.view)
        yield
        snapshot = old_tail.fork()
        yield
        node.load(snapshot)
        yield
        if not old_tail.feed(node.run_id):
            raise JoinOffError
        while not node.core.in_step:
            if old_tail.core.pin_broken:
                raise JoinOffError
            yield

    def _hand_over(self, old_tail: Node, node: Node) -> Plan:
        """The new view is in force when the old tail has adopted it and the new one has all that it applied.

        The pin may have broken after the last look at it and before the old tail adopted: the join is off then, too.
        """
        node.adopt(self.view)
        yield
        old_tail.adopt(self.view)
        while not node.core.serves_reads():
            if old_tail.lost_successor:
                raise JoinOffError
            yield

