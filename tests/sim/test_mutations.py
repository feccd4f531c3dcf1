"""The checks can fail: each of these mistakes, made on purpose in core, shell or master, is found by random walks."""

from __future__ import annotations

import pytest

from chainredis.core import Ack, Batch, Core, Entry, Greeting, Verdict, View

from .master import Master, Plan
from .model import BrokenInvariantError, Write
from .network import Forward, Link
from .node import Node
from .simulation import Simulation
from .test_random_walk import SIZES, walk

MAX_WALKS = 24
STEPS_A_WALK = 2000


# ---------------------------------------------------------------------------------------- in the core

class TakesAnyEpoch(Core):
    """No fencing (rule 2)."""

    def on_batch(self, batch: Batch, connection: int) -> tuple[Verdict, int]:
        return super().on_batch(batch._replace(epoch=max(self.epoch, batch.assigned)), connection)

    def on_greet(self, greet: Greeting, sender: str, connection: int) -> tuple[Verdict, Greeting | None]:
        return super().on_greet(greet._replace(epoch=self.epoch), sender, connection)

    def on_welcome(self, welcome: Greeting, sender: str) -> Verdict:
        return super().on_welcome(welcome._replace(epoch=self.epoch), sender)

    def on_ack(self, ack: Ack, sender: str) -> Verdict:
        return super().on_ack(ack._replace(epoch=self.epoch), sender)


class AcknowledgesWhatIsApplied(Core):
    """A middle says committed of what its successors may lack."""

    def take_ack(self) -> Ack:
        return super().take_ack()._replace(committed=self.applied)


class AcknowledgesWhatIsAnnounced(Core):
    """The tail acknowledges a batch that is still to come."""

    def take_ack(self) -> Ack:
        return super().take_ack()._replace(committed=max(self.serve_from, self.applied))


class TrimsUncommitted(Core):
    def pop_trimmed(self) -> Entry | None:
        return self.pop_any() if self.applied - self.log_first > 8 else super().pop_trimmed()


class ForgetsToResend(Core):
    """Takes every successor for up to date."""

    def on_welcome(self, welcome: Greeting, sender: str) -> Verdict:
        return super().on_welcome(welcome._replace(applied=self.applied, assigned=self.epoch_of(self.applied)), sender)


class AppliesTwice(Core):
    """Does not skip what it has already (rule 1)."""

    def on_batch(self, batch: Batch, connection: int) -> tuple[Verdict, int]:
        return super().on_batch(batch, connection)[0], 0


class IgnoresGaps(Core):
    """Takes a batch for the next one whatever it begins with."""

    def on_batch(self, batch: Batch, connection: int) -> tuple[Verdict, int]:
        return super().on_batch(batch._replace(first=min(batch.first, self.applied + 1)), connection)


class TakesOldConnections(Core):
    """Applies batches without a handshake on their connection."""

    def on_batch(self, batch: Batch, connection: int) -> tuple[Verdict, int]:
        verdict, skip = super().on_batch(batch, connection)
        if verdict == Verdict.NOT_GREETED and batch.epoch == self.epoch:
            return Verdict.ACCEPTED, 0
        return verdict, skip


class RenumbersEpochs(Core):
    """Forgets in which epoch an update was assigned."""

    def append(self, entry: Entry, assigned: int) -> bool:
        return super().append(entry, self.epoch)


class ReadsTooEarly(Core):
    """A new tail answers before it has what the old one had committed (rule 4)."""

    def serves_reads(self) -> bool:
        return self.is_tail() and not self.fenced()


class ForgetsOrphans(Core):
    """A removed head leaves its blocked clients alone."""

    def pop_orphan(self) -> int:
        return 0


class IgnoresLimits(Core):
    def has_room(self, size: int) -> bool:
        return size >= 0


class NeverTrims(Core):
    def pop_trimmed(self) -> Entry | None:
        return None


class TrustsTheHeadLinkForEver(Core):
    """An acknowledgement spared because the tail told the head never goes out after all."""

    def tick(self) -> None:
        pass

    def head_lost(self) -> None:
        pass

    def predecessor_lost(self) -> None:
        pass


# ---------------------------------------------------------------------------------------- in the shell

class AnswersTooEarly(Node):
    """Success before the commit (rule 6)."""

    def _assign(self, write: Write, deadline_ms: int) -> None:
        super()._assign(write, deadline_ms)
        if write.blocks and write.answer is None:
            self._model.answered(write, "committed", write.sn)


class FailsWhatHasAnSn(Node):
    """A definite failure at the timeout, though the update may survive (rule 6)."""

    def _answer(self, waiter: int, kind: str, sn: int = -1) -> None:
        super()._answer(waiter, "failed" if kind == "unknown" else kind, sn)


class ForgetsToPublish(Node):
    def _settle(self) -> None:
        self.was_tail = False
        super()._settle()


class LeaksPayloads(Node):
    def _release(self, entry: Entry) -> None:
        super()._release(entry._replace(value=0))


class AppliesHalfABatch(Node):
    def _on_forward(self, link: Link, message: Forward) -> None:
        super()._on_forward(link, message)
        if message.batch.count > 1 and self.history:
            self.keys.pop(self.history[-1].update.key, None)


class KeepsItsView(Node):
    """Does not take over the view that refused its message."""

    def on_reply(self, link: Link, reply: object) -> None:
        if not hasattr(reply, "view"):
            super().on_reply(link, reply)  # type: ignore[arg-type]

    def adopt(self, view: View) -> Verdict:
        return super().adopt(view) if self.core.me < 0 or view.epoch % 2 else Verdict.ACCEPTED


# --------------------------------------------------------------------------------------- in the master

class TellsTheRemovedOneLast(Master):
    """The others serve without it while it still serves itself."""

    def _remove(self, node: Node, order: int) -> Plan:
        self._store(run_id for run_id in self.view.members if run_id != node.run_id)
        self.confirmed = self.view.members
        yield from self._tell_rest(order)
        node.adopt(self.view)


class CountsALearnerTooEarly(Master):
    """The new tail is in force before it has all that the old one had."""

    def _hand_over(self, old_tail: Node, node: Node) -> Plan:
        node.adopt(self.view)
        yield


class ReusesEpochs(Master):
    """Rule 5."""

    def _store(self, members: object) -> None:
        super()._store(members)  # type: ignore[arg-type]
        self.view = self.view._replace(epoch=max(2, self.view.epoch - self.view.epoch % 2))


def with_core(broken: type[Core]) -> type[Node]:
    return type(f"With{broken.__name__}", (Node,), {"core_class": broken})


CORES = [
    TakesAnyEpoch, AcknowledgesWhatIsApplied, AcknowledgesWhatIsAnnounced, TrimsUncommitted, ForgetsToResend,
    AppliesTwice, IgnoresGaps, TakesOldConnections, RenumbersEpochs, ReadsTooEarly, ForgetsOrphans, IgnoresLimits,
    NeverTrims, TrustsTheHeadLinkForEver,
]
NODES = [AnswersTooEarly, FailsWhatHasAnSn, ForgetsToPublish, LeaksPayloads, AppliesHalfABatch, KeepsItsView]
MASTERS = [TellsTheRemovedOneLast, CountsALearnerTooEarly, ReusesEpochs]


def is_found(node_class: type[Node], master_class: type[Master]) -> bool:
    for seed in range(MAX_WALKS):
        try:
            walk(seed, Simulation(SIZES[seed % len(SIZES)], node_class, master_class), STEPS_A_WALK)
        except BrokenInvariantError:
            return True
    return False


@pytest.mark.parametrize("broken", CORES)
def test_a_broken_core_is_found(broken: type[Core]) -> None:
    assert is_found(with_core(broken), Master)


@pytest.mark.parametrize("broken", NODES)
def test_a_broken_shell_is_found(broken: type[Node]) -> None:
    assert is_found(broken, Master)


@pytest.mark.parametrize("broken", MASTERS)
def test_a_broken_master_is_found(broken: type[Master]) -> None:
    assert is_found(Node, broken)


def test_what_is_not_broken_is_not_found() -> None:
    assert not is_found(Node, Master)
