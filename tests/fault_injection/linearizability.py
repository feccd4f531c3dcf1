# SPDX-License-Identifier: Apache-2.0
"""A checker of linearizability for histories of registers. Linearizability composes, so each key is judged alone.

The search is that of Wing and Gong (1993) with Lowe's memoisation (2017), as in Porcupine. It takes one of the
operations that may come first and continues with the rest, never twice with the same rest and the same value. All
values that are put differ, so much is known before the search, and open operations cost nothing:

- An open put whose value nobody read is left out. No read stands between it and the next write in any order, so each
  order with it is also an order without it, and the other way round.
- An open put whose value was read took effect before the first of those reads ended. That moment is its end.
- Open deletes differ only in their starts. Each is used directly before a read of nil or not at all, and the one that
  started first is used first.
- A put's value that is still to be read must not be overwritten, because it never comes back.

An operation that may come next and cannot do harm is taken without a choice. These are a read of the present value,
and a put that nobody read when the present value is no longer needed: in any order, the next operation would have
been a write.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fault_injection.history import Kind, Operation, Outcome, by_key

HEAD = 0  # the place before the first event


@dataclass(frozen=True)
class Violation:
    """The reason why a key's history is not linearizable, and the operation that fits nowhere."""

    key: str
    why: str
    culprit: Operation

    def __str__(self) -> str:
        return f"key {self.key}: {self.why}: {self.culprit}"


def violations(history: Iterable[Operation]) -> list[Violation]:
    """One violation for each key whose history is not linearizable. Each register is nil at first."""
    judged = (judge(operations) for operations in by_key(history).values())
    return [violation for violation in judged if violation]


def judge(operations: list[Operation]) -> Violation | None:
    """The violation in the history of one key; None: it is linearizable."""
    if violation := _unwritten_value(operations):
        return violation
    closed = _ended_by_reads([each for each in operations if each.outcome is Outcome.DONE], operations)
    open_deletes = [each.start for each in operations if each.kind is Kind.DEL and each.outcome is Outcome.OPEN]
    search = _Search(closed, sorted(open_deletes))
    if search.succeeds():
        return None
    assert search.stuck_at
    why = (
        f"no order explains it: after {search.deepest} of {len(closed)} operations it is {search.stuck_value!r}, "
        f"with {search.stuck_reads} reads of it to come, and this does not fit in"
    )
    return Violation(search.stuck_at.key, why, search.stuck_at)


def _unwritten_value(operations: list[Operation]) -> Violation | None:
    put = {each.value: each for each in operations if each.kind is Kind.PUT}
    assert len(put) == sum(each.kind is Kind.PUT for each in operations), "the values that are put must be unique"
    for read in operations:
        if read.kind is not Kind.READ or read.outcome is not Outcome.DONE or read.value is None:
            continue
        if read.value not in put:
            return Violation(read.key, "nobody ever put that value", read)
        if put[read.value].outcome is Outcome.FAILED:
            return Violation(read.key, "that put was said to have failed", read)
    return None


def _ended_by_reads(done: list[Operation], operations: list[Operation]) -> list[Operation]:
    """The operations that are done, and the open puts whose value was read, each with an end."""
    first_read: dict[str, int] = {}
    for each in done:
        if each.kind is Kind.READ and each.value is not None:
            first_read[each.value] = min(each.end, first_read.get(each.value, each.end))
    opened = [each for each in operations if each.kind is Kind.PUT and each.outcome is Outcome.OPEN]
    return done + [replace(put, end=first_read[put.value]) for put in opened if put.value in first_read]


@dataclass(slots=True)
class _Step:
    """An operation that was put in order, and the state before it. was_chosen: there was a choice."""

    number: int
    value: str | None
    deletes_used: int
    was_chosen: bool


class _Search:
    """The search for an order of one key's operations.

    The events, which are starts and ends, are in a linked list in the order of time. Events of an operation that has
    been put in order are taken out. An operation may come next if its start is before all ends that are left. Places in
    the list are event numbers from 1 on. `done` has a bit for each operation that is in order.
    """

    def __init__(self, operations: list[Operation], open_deletes: list[int]) -> None:
        self._operations = operations
        self._open_deletes = open_deletes
        self._unread = Counter(each.value for each in operations if each.kind is Kind.READ)
        # At the same moment starts come before ends, so that those operations overlap.
        events = sorted(
            [(each.start, 0, number) for number, each in enumerate(operations)]
            + [(each.end, 1, number) for number, each in enumerate(operations)]
        )
        self._number = [-1] + [number for _, _, number in events]
        self._is_end = [False] + [bool(end) for _, end, _ in events]
        self._next = [*range(1, len(events) + 1), HEAD]
        self._previous = [len(events), *range(len(events))]
        self._start_at, self._end_at = [HEAD] * len(operations), [HEAD] * len(operations)
        for place, (_, end, number) in enumerate(events, 1):
            (self._end_at if end else self._start_at)[number] = place
        self._value: str | None = None
        self._deletes_used = 0
        self._done = 0
        self._steps: list[_Step] = []
        self.deepest = 0
        # The operation at which the longest order ended.
        self.stuck_at: Operation | None = None
        self.stuck_value: str | None = None
        self.stuck_reads = 0

    def succeeds(self) -> bool:
        seen: set[tuple[int, str | None, int]] = set()
        self._take_harmless()
        place = self._next[HEAD]
        while self._next[HEAD] != HEAD:
            if self._is_end[place]:
                # No operation that may come first leads to an order.
                self._note_depth(place)
                if not self._has_choice():
                    return False
                place = self._next[self._undo()]
                continue
            number = self._number[place]
            after = self._after(number, place)
            if after is not None and (key := (self._done | 1 << number, *after)) not in seen:
                seen.add(key)
                self._do(number, *after, was_chosen=True)
                self._take_harmless()
                place = self._next[HEAD]
            else:
                place = self._next[place]
        return True

    def _take_harmless(self) -> None:
        place = self._next[HEAD]
        while not self._is_end[place] and place != HEAD:
            number = self._number[place]
            if self._is_harmless(self._operations[number]):
                self._do(number, self._operations[number].value, self._deletes_used, was_chosen=False)
                place = self._next[HEAD]
            else:
                place = self._next[place]

    def _is_harmless(self, operation: Operation) -> bool:
        if operation.kind is Kind.READ:
            return operation.value == self._value
        return self._is_over() and operation.kind is Kind.PUT and not self._unread[operation.value]

    def _is_over(self) -> bool:
        """Whether the present value is that of a put, and no read of it is left."""
        return self._value is not None and not self._unread[self._value]

    def _has_choice(self) -> bool:
        """Undo the steps that were not chosen. Returns False if no chosen step is left."""
        while self._steps and not self._steps[-1].was_chosen:
            self._undo()
        return bool(self._steps)

    def _after(self, number: int, place: int) -> tuple[str | None, int] | None:
        """The value and the number of open deletes used after that operation; None: it cannot come next."""
        operation = self._operations[number]
        if operation.kind is not Kind.READ:
            overwrites_unread = self._value is not None and self._unread[self._value]
            return None if overwrites_unread else (operation.value, self._deletes_used)
        if operation.value is None and self._is_over() and self._can_delete(place):
            return None, self._deletes_used + 1
        return None

    def _can_delete(self, place: int) -> bool:
        """Whether one more open delete has a start before all ends that are left."""
        if self._deletes_used == len(self._open_deletes):
            return False
        while not self._is_end[place]:
            place = self._next[place]
        return self._open_deletes[self._deletes_used] <= self._operations[self._number[place]].end

    def _do(self, number: int, value: str | None, deletes_used: int, *, was_chosen: bool) -> None:
        self._steps.append(_Step(number, self._value, self._deletes_used, was_chosen))
        self._value, self._deletes_used = value, deletes_used
        self._done |= 1 << number
        self._count_read(number, -1)
        for place in (self._start_at[number], self._end_at[number]):
            self._next[self._previous[place]] = self._next[place]
            self._previous[self._next[place]] = self._previous[place]

    def _undo(self) -> int:
        """Undo the last step; returns the place of its start."""
        step = self._steps.pop()
        self._value, self._deletes_used = step.value, step.deletes_used
        self._done &= ~(1 << step.number)
        self._count_read(step.number, +1)
        for place in (self._end_at[step.number], self._start_at[step.number]):
            self._next[self._previous[place]] = place
            self._previous[self._next[place]] = place
        return self._start_at[step.number]

    def _count_read(self, number: int, change: int) -> None:
        operation = self._operations[number]
        if operation.kind is Kind.READ:
            self._unread[operation.value] += change

    def _note_depth(self, place: int) -> None:
        if len(self._steps) >= self.deepest:
            self.deepest, self.stuck_at = len(self._steps), self._operations[self._number[place]]
            self.stuck_value, self.stuck_reads = self._value, self._unread[self._value]
