# SPDX-License-Identifier: Apache-2.0
"""Mistakes made on purpose, each in a class of its own: the checks have to find all of them.

In the core, in the member, in the controller and in what a master does with it. What is named after a rule breaks that
one of design.md's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chainredis.protocol.controller import Controller
from chainredis.protocol.failure_detector import FailureDetector
from chainredis.protocol.leases import Leases
from chainredis.protocol.member_record import MemberRecord, MemberReport
from chainredis.protocol.reconfiguration import Configuration, Event, Health, Reform
from chainredis.protocol.repairs import Repairs
from chainredis.protocol.view import Member
from chainredis.protocol.view import View as MasterView
from core_extension.core import NO_LIMIT, Ack, Batch, Core, Entry, Greeting, Verdict, View

from .clients import Write
from .disk import Kind, Record
from .master import Master, Part, controller_with
from .messages import Forward, Reply
from .network import Link
from .node import Node

# ------------------------------------------------------------------------------------- in the core: forwarding


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


class FeedsWhatItHasNot(Core):
    """Takes any position for one that its log goes on from."""

    def pin_from(self, applied: int, assigned: int) -> Verdict:
        self.pin()
        return Verdict.ACCEPTED


# ------------------------------------------------------------------------- in the core: the right to read, the disk


class ReadsTooEarly(Core):
    """A new tail answers before it has what the old one had committed (rule 4)."""

    def serves_reads(self) -> bool:
        return self.is_tail() and not self.fenced()

    def may_read(self, now_ms: int) -> bool:
        return self.serves_reads()


class ReadsWithoutALease(Core):
    def may_read(self, now_ms: int) -> bool:
        return self.serves_reads()


class CountsLeasesFromTheirArrival(Core):
    def grant(self, epoch: int, stamp_ms: int, length_ms: int, now_ms: int) -> Verdict:
        return super().grant(epoch, now_ms, length_ms, now_ms)


class AnswersItself(Core):
    """Asks, and does not wait for the answer."""

    def is_answered(self, epoch: int, question: int) -> bool:
        return self.serves_reads()


class AnswersForTheHead(Core):
    """A predecessor answers what is asked without asking on."""

    def on_ack(self, ack: Ack, sender: str) -> Verdict:
        self.heard = max(getattr(self, "heard", 0), ack.question)
        return super().on_ack(ack, sender)

    def next_batch(self, max_bytes: int) -> Batch | None:
        batch = super().next_batch(max_bytes)
        return batch and batch._replace(answer=max(batch.answer, getattr(self, "heard", 0)))


class AsksOneQuestionForAll(Core):
    """A READ takes the answer to a question that was sent before it came."""

    def ask(self) -> int:
        self.first = getattr(self, "first", 0) or super().ask()
        return self.first


class IgnoresItsDisk(Core):
    def saved(self, on_disk: int) -> None:
        super().saved(NO_LIMIT)


class CommitsWhatItsOwnDiskHas(Core):
    """A tail that does not heed what is on the disks before it."""

    def batch_applied(self, batch: Batch) -> None:
        super().batch_applied(batch._replace(saved=batch.upto))


class PassesOnWhatItWasTold(Core):
    """A member says to be saved what its own disk lacks."""

    told = -1

    def batch_applied(self, batch: Batch) -> None:
        self.told = max(self.told, batch.saved)
        super().batch_applied(batch)

    def next_batch(self, max_bytes: int) -> Batch | None:
        batch = super().next_batch(max_bytes)
        return batch and batch._replace(saved=max(batch.saved, min(self.told, batch.upto)))


class VouchesForWhatItHasNotWritten(Core):
    """A head says at once that all is saved."""

    def next_batch(self, max_bytes: int) -> Batch | None:
        batch = super().next_batch(max_bytes)
        return batch and batch._replace(saved=batch.upto if self.me == 0 else batch.saved)


class ShowsWhatIsNotSaved(Core):
    """A READ is answered with what a disk before this one lacks."""

    def has_uncommitted(self) -> bool:
        return False


class RunsAheadOfThoseWhoHeedNothing(Core):
    """Takes every successor for one that commits only what is saved, and some are of an earlier version."""

    def on_welcome(self, welcome: Greeting, sender: str) -> Verdict:
        return super().on_welcome(welcome._replace(heeds_saved=True), sender)


# ------------------------------------------------------------------------------------------------ in the member


class AnswersTooEarly(Node):
    """Success before the commit (rule 6)."""

    def assign(self, write: Write, since_ms: int) -> None:
        super().assign(write, since_ms)
        if write.blocks and write.kind == "":
            self.model.answered(write, "committed", write.sn)


class FailsWhatHasAnSn(Node):
    """A definite failure at the timeout, though the update may survive (rule 6)."""

    def answer(self, waiter: int, kind: str) -> None:
        super().answer(waiter, "failed" if kind == "unknown" else kind)


class ForgetsToPublish(Node):
    def settle(self) -> None:
        self.was_tail = False
        super().settle()


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

    def on_reply(self, link: Link, reply: Reply) -> None:
        if not hasattr(reply, "view"):
            super().on_reply(link, reply)

    def adopt(self, view: View) -> Verdict:
        return super().adopt(view) if self.core.me < 0 or view.epoch % 2 else Verdict.ACCEPTED


class ReadsAnOldClock(Node):
    """Of the beginning of the pass: it may have been stopped since then."""

    def may_read(self) -> bool:
        return self.core.may_read(self._pass_ms)


class ForgetsItsMarker(Node):
    """Restarted without data it takes itself for a new server."""

    def start(self) -> None:
        self.disk.marker = b""
        super().start()


class ClaimsToBeDurable(Node):
    """Whatever its disk is."""

    def note_record(self, record: Record) -> None:
        super().note_record(record._replace(durable=record.epoch > 0))


class WeakensWithoutAWord(Node):
    """Ceases to be durable, and its record still says that it is."""

    def keep_on(self, kind: Kind) -> None:
        self.disk.kind = kind
        self.core.saved(NO_LIMIT)


class CountsWhatCameLateAsWritten(Node):
    """What was recorded by commands that ran after the file had been written (rule 3)."""

    def note_flushed(self) -> None:
        self._written = self.core.written
        super().note_flushed()


# ---------------------------------------------------------------------------------------------- in the controller


class ForgetsItsGrants(Leases):
    def _note_grant(self, record: object, length_ms: int) -> None:
        pass


class ForgetsTheFullLease(Leases):
    """Of its former life's grants, at its start."""

    def full_lease_until(self) -> float:
        return self._detector.now


class IgnoresDrift(Leases):
    @property
    def _drift_factor(self) -> float:
        return 1.0


class TakesSilenceForDeath(FailureDetector):
    """Without waiting for the lease."""

    def is_gone(self, run_id: str) -> bool:
        record = self.records.get(run_id)
        return super().is_gone(run_id) or (record is not None and record.silent >= self.settings.timeout_ms / 1000)


class TakesADropForDeath(FailureDetector):
    """Connections are closed by who lives, too."""

    is_enough: Callable[[MemberRecord], bool] = lambda record: True

    def dropped(self, run_id: str) -> None:
        super().dropped(run_id)
        self.closed = getattr(self, "closed", frozenset()) | {run_id}

    def answered(self, run_id: str, report: MemberReport, now: float, asked_at: float | None = None) -> None:
        super().answered(run_id, report, now, asked_at)
        self.closed = getattr(self, "closed", frozenset()) - {run_id}

    def is_dead(self, run_id: str) -> bool:
        record = self.records.get(run_id)
        if record is None or run_id not in getattr(self, "closed", ()):
            return super().is_dead(run_id)
        return type(self).is_enough(record)


class TakesADropAndAnEmptyPortForDeath(TakesADropForDeath):
    """Ports are left by who lives, too."""

    is_enough: Callable[[MemberRecord], bool] = lambda record: record.is_refused or record.is_replaced


class TakesTheSilentForDeadOnDemand(FailureDetector):
    """When an operator forms a chain, or begins one."""

    def health(self) -> Health:
        return Health(super().health().alive, frozenset(run_id for run_id in self.records if self.is_gone(run_id)))


class TellsMembersEarly(Controller):
    """Before those that leave have acknowledged."""

    def view_to_tell(self, run_id: str) -> MasterView | None:
        configuration, record = self.configuration, self.detector.records.get(run_id)
        if configuration and record and record.report and record.epoch < configuration.view.epoch:
            return configuration.view
        return None


class TellsThoseThatLeaveAllAtOnce(Controller):
    def view_to_tell(self, run_id: str) -> MasterView | None:
        configuration = self.configuration
        if configuration and any(member.run_id == run_id for member in configuration.leaving):
            return configuration.view
        return super().view_to_tell(run_id)


class LeavesNobodyOut(Controller):
    """Takes it for granted that those that leave know it."""

    def stored(self, configuration: Configuration | None) -> None:
        super().stored(replace(configuration, leaving=()) if configuration else None)


class TakesAPendingTailForComplete(Controller):
    def propose(self, event: Event) -> Configuration:
        self._undecided = replace(super().propose(event), pending=False)
        return self._undecided


class ConfirmsWhoHasAdopted(Repairs):
    """A new tail that does not serve yet may lack what the old one has."""

    def serves(self, member: Member, configuration: Configuration) -> bool:
        return self._detector.epoch_of(member.run_id) == configuration.view.epoch


class RepairsWithAPendingTail(Repairs):
    """Which may lack what the old one has."""

    def reconfigured(self, stored: Configuration | None, event: Event) -> Configuration | None:
        return super().reconfigured(replace(stored, pending=False) if stored else None, event)


class FormsFromAnybody(Controller):
    """Takes every record for durable."""

    def propose(self, event: Event) -> Configuration:
        if isinstance(event, Reform):
            event = replace(event, returned=tuple(replace(each, durable=True) for each in event.returned))
        return super().propose(event)


class FormsFromTheShortest(Controller):
    def propose(self, event: Event) -> Configuration:
        if isinstance(event, Reform):
            returned = tuple(replace(each, assigned=0, applied=-each.applied) for each in event.returned)
            event = replace(event, returned=returned)
        return super().propose(event)


class NeverWithdraws(Controller):
    def cannot_feed(self, run_id: str, epoch: int) -> None:
        pass


class NeverRepairs(FailureDetector):
    def is_gone(self, run_id: str) -> bool:
        return False


# ----------------------------------------------------------------------------------------------- in the master


class TellsBeforeItStores(Master):
    """Rule 5."""

    def decide(self, luck: int) -> None:
        if self.saving and self.controller.configuration != self.saving:
            self.controller.configuration = self.saving
        else:
            super().decide(luck)


class ReusesEpochs(Master):
    """Rule 5."""

    def _save(self, configuration: Configuration) -> None:
        view = replace(configuration.view, epoch=max(2, configuration.view.epoch - configuration.view.epoch % 2))
        super()._save(replace(configuration, view=view))


def with_core(broken: type[Core]) -> type[Node]:
    return type(f"With{broken.__name__}", (Node,), {"core_class": broken})


def with_controller(broken: type[Part]) -> type[Master]:
    return type(f"With{broken.__name__}", (Master,), {"controller_class": controller_with(broken)})
