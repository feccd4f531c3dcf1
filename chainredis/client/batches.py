# SPDX-License-Identifier: Apache-2.0
"""Many updates at once: what is sent together, and what became of each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chainredis.client.errors import NotWritten, Unknown, is_refusal

Pairs = Mapping[Any, Any] | Iterable[tuple[Any, Any]]

MAX_UPDATES = 1000
MAX_BYTES = 1 << 20


class Batch:
    """Updates that are sent in one go, with MEMBER.VIEW before them, whose epoch MEMBER.WAIT needs.

    sns: the sequence number of each update, None as long as it has none.
    """

    def __init__(self, pairs: list[tuple[Any, Any]], client_id: str) -> None:
        self.pairs = pairs
        self.sns: list[int | None] = [None] * len(pairs)
        self.epoch = 0
        self._client_id = client_id
        self._pending = list(range(len(pairs)))
        self._committed = -1
        self._lost: list[int] = []
        self._failed: dict[int, Exception] = {}

    @property
    def is_pending(self) -> bool:
        """Whether some updates are still to be sent."""
        return bool(self._pending)

    @property
    def newest(self) -> int | None:
        """The highest sequence number that is not known to be committed."""
        newest = max((sn for sn in self.sns if sn is not None), default=-1)
        return newest if newest > self._committed else None

    def commands(self) -> list[tuple[Any, ...]]:
        puts = [("MEMBER.PUT", *self.pairs[number], self._client_id) for number in self._pending]
        return [("MEMBER.VIEW",), *puts]

    def take(self, replies: list[Any]) -> None:
        """Note the replies to `commands()`. There are fewer if the connection broke."""
        if replies and isinstance(replies[0], list):
            self.epoch = int(replies[0][0])
        sent, self._pending = self._pending, []
        for number, reply in zip(sent, replies[1:], strict=False):
            if isinstance(reply, int):
                self.sns[number] = reply
            elif is_refusal(reply):
                self._pending.append(number)
            else:
                self._failed[number] = reply
        self._lost += sent[max(0, len(replies) - 1) :]
        if self._lost:
            self._pending = []  # what was refused before the connection broke is told as not written

    def refuse(self, error: NotWritten) -> None:
        """No head took what is pending."""
        self._failed |= dict.fromkeys(self._pending, error)
        self._pending = []

    def settle(self, committed: int | None) -> None:
        """committed: what MEMBER.WAIT replied; None if it could not tell."""
        if committed is not None:
            self._committed = max(self._committed, committed)
            return
        self._lost += [number for number, sn in enumerate(self.sns) if sn is not None and sn > self._committed]
        self._pending = []

    def check(self, rest: Iterable[tuple[Any, Any]]) -> list[int]:
        """The sequence numbers, if all is well. `rest`: the updates that were to follow."""
        lost = set(self._lost)
        missing = [
            key for number, (key, _) in enumerate(self.pairs) if self.sns[number] is None and number not in lost
        ]
        if lost:
            later = [key for key, _ in rest]
            raise Unknown(
                f"{len(lost)} updates may have been written",
                [self.pairs[number][0] for number in sorted(lost)],
                [*missing, *later],
            )
        if missing:
            later = [key for key, _ in rest]
            error = next(iter(self._failed.values()), None)
            raise NotWritten(f"{len(missing)} updates were not written: {error}", [*missing, *later]) from error
        return [sn for sn in self.sns if sn is not None]


def batches(pairs: Iterator[tuple[Any, Any]], client_id: str) -> Iterator[Batch]:
    """Cut the updates into batches, each bounded by number and by bytes."""
    taken: list[tuple[Any, Any]] = []
    size = 0
    for key, value in pairs:
        taken.append((key, value))
        size += len(value) if isinstance(value, (bytes, str, memoryview)) else 8
        if len(taken) >= MAX_UPDATES or size >= MAX_BYTES:
            yield Batch(taken, client_id)
            taken, size = [], 0
    if taken:
        yield Batch(taken, client_id)


def pairs_of(updates: Pairs) -> Iterator[tuple[Any, Any]]:
    return iter(updates.items() if isinstance(updates, Mapping) else updates)
