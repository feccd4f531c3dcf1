# SPDX-License-Identifier: Apache-2.0
"""All clients of a chain together, and the check of their history."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chainredis.local_cluster.server import ROOT
from chainredis.protocol.view import Endpoint
from fault_injection.clients import Client, Flusher, Guide, PipelinedWriter, Reader, Saver, Subscriber, Writer
from fault_injection.history import History, Kind, Operation, Outcome
from fault_injection.linearizability import violations
from integration.helpers import running

HISTORIES = ROOT / "build/histories"


class Crowd:
    """Writers of both kinds, readers and a subscriber. They work during the block of `at_work`."""

    def __init__(self, endpoints: Iterable[Endpoint], seed: int) -> None:
        self.history = History()
        self.guide = Guide(endpoints)
        self.subscriber = Subscriber(self.guide)
        self.clients: list[Client] = [
            kind(f"{kind.__name__.lower()}-{number}", self.guide, self.history, seed)
            for kind in (Writer, PipelinedWriter, Reader)
            for number in range(3 if kind is Reader else 2)
        ]
        self.janitors: list[Client] = []
        self._seed = seed

    def employ(self) -> None:
        """Add clients that order checkpoints and flushes all the time."""
        self.janitors += [kind(kind.__name__, self.guide, self.history, self._seed) for kind in (Saver, Flusher)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with running(*self.clients, *self.janitors, self.subscriber):
            yield

    def done(self, kind: Kind) -> int:
        """The number of operations of this kind that are done so far."""
        return sum(each.kind is kind and each.outcome is Outcome.DONE for each in list(self.history.operations))

    def successful_since(self, count: int) -> set[str]:
        """The clients of operations that are done, without the first `count` operations."""
        return {each.client for each in self.history.operations[count:] if each.outcome is Outcome.DONE}

    def operations(self) -> list[Operation]:
        return list(self.subscriber.applied_to(self.history.operations))

    def judge(self) -> None:
        """Raise AssertionError if the history of any key is not linearizable; the history is then saved."""
        found = violations(self.operations())
        if found:
            path = self.save()
            raise AssertionError("\n".join([f"not linearizable, see {path}", *map(str, found)]))

    def save(self) -> Path:
        path = HISTORIES / f"{self._seed}.jsonl"
        History(self.operations(), self.history.events).save(path)
        return path
