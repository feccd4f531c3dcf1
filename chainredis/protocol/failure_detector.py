# SPDX-License-Identifier: Apache-2.0
"""Which members have failed (design.md, "Detection"): what is seen of each goes in, what follows from it comes out.

    seen            `answered`, `adopted`, `spoke`, `reported`, `dropped`, `refused`, `replaced`, `lifeline`, `located`,
                    `heartbeats`
    what follows    `is_well`, `is_dead`, `is_gone`, `health`; `most_complained_about`, `without_heartbeat`, `moved`

The detector is perfect where a decision needs that: it calls a process dead only when nothing but the end of the
process explains what was seen, and gone only when the process certainly has no lease any more (rule 4). Every time is
in seconds on one clock that runs on through suspend.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from chainredis.protocol.member_record import (
    BrokenLink,
    Lifeline,
    MemberRecord,
    MemberReport,
    MemberStatus,
    SecondPort,
)
from chainredis.protocol.reconfiguration import Health
from chainredis.protocol.settings import ProtocolSettings
from chainredis.protocol.view import Member, View

# Between two calls of `attend` at most this many seconds, and this part of a lease, count as silence of the members: a
# master that was stopped itself has heard nobody meanwhile, and may conclude nothing from that.
MAX_ATTENTION_GAP, MAX_ATTENTION_PART = 0.5, 0.1
# Nobody holds up updates if some were committed within this part of a lease.
IDLE_PART = 0.5


class FailureDetector:
    """Watches the processes that `follow` names. Not thread-safe.

    settings: may be replaced at any time. attention: for how many seconds in all the master has listened.
    longest_lease_ms: the length of the longest lease that any master has granted, as far as is known.
    """

    def __init__(self, settings: ProtocolSettings, now: float) -> None:
        self.settings = settings
        self.now = self.started = now
        self.attention = 0.0
        self.longest_lease_ms = settings.lease_ms
        self.records: dict[str, MemberRecord] = {}
        self._chain: tuple[Member, ...] = ()
        self._heartbeats: frozenset[str] = frozenset()
        self._lost_heartbeats: frozenset[str] = frozenset()  # of those that are away
        self._committed_at = -math.inf  # when updates were last seen to be committed
        self._woke_at = now  # when this master last went on after it had been stopped itself

    def follow(
        self, members: Iterable[Member], chain: tuple[Member, ...], granted_until: float, away: Iterable[Member] = ()
    ) -> None:
        """Watch these from now on, and nobody else. chain: the members of the stored view, head first. away: those that
        may come back to it.

        Of a process that is new here nothing is known: it may have a lease until `granted_until`.
        """
        before, self._chain = self.records, chain
        self.records = {}
        for member in members:
            known = before.get(member.run_id)
            self.records[member.run_id] = known or MemberRecord(granted_until, self.now, self.now)
        lapsed = (run_id for run_id, record in before.items() if record.lapsed_at is not None)
        absent = {member.run_id for member in away} - self.records.keys()
        self._lost_heartbeats = self._lost_heartbeats.union(lapsed) & absent
        self._look_for_heartbeats()

    # --------------------------------------------------------------------------------------------- what is seen

    def attend(self, now: float) -> None:
        """Time passes, and the master listens. To be called much more often than a lease is long."""
        most = min(MAX_ATTENTION_GAP, MAX_ATTENTION_PART * self.settings.lease_ms / 1000)
        gap = min(max(0.0, now - self.now), most)
        if now - self.now > most:
            self._woke_at = now
        self.now = max(self.now, now)
        self.attention += gap
        for record in self.records.values():
            record.attend(gap)

    def answered(self, run_id: str, report: MemberReport, now: float, asked_at: float | None = None) -> None:
        """The member has answered a poll. now: read after the answer had come, since its lease counts from then.
        asked_at: read before the poll was sent; None: `now`.
        """
        self.attend(now)
        if record := self.records.get(run_id):
            if record.report and record.report.committed < report.committed:
                self._committed_at = self.now
            record.answered(report, self.now if asked_at is None else asked_at, self.now, self.settings)
        if report.longest_lease_ms > self.longest_lease_ms:
            self._heard_of_longer_leases(report.longest_lease_ms)

    def _heard_of_longer_leases(self, length_ms: int) -> None:
        """The stored length has gone back with the store. Members that are silent may hold leases of this length."""
        self.longest_lease_ms = length_ms
        until = self.now + length_ms / 1000 * (1 + self.settings.drift)
        for record in self.records.values():
            record.granted_until = max(record.granted_until, until)

    def adopted(self, run_id: str, epoch: int, now: float) -> None:
        """The member has adopted the view of this epoch. Its next answer tells whether it serves in that view."""
        record = self.records.get(run_id)
        if record and record.report and record.epoch < epoch:
            self.answered(run_id, replace(record.report, epoch=epoch, serving=False), now)

    def spoke(self, run_id: str, now: float) -> None:
        """The member lives, and has no answer for a master at present."""
        self.attend(now)
        if record := self.records.get(run_id):
            record.spoke(self.now)

    def reported(self, run_id: str, broken_links: tuple[BrokenLink, ...], now: float) -> None:
        """The member says by itself that these links are broken: it is alive, those at their other ends may not be."""
        self.attend(now)
        record = self.records.get(run_id)
        if record is None or record.report is None:
            return
        record.spoke(self.now)
        record.report = replace(record.report, broken_links=broken_links)
        for link in broken_links:
            if link.dropped and (other := self.records.get(link.run_id)):
                other.suspect(self.now)

    def dropped(self, run_id: str) -> None:
        """The member's side has closed a connection of the master's, which proves nothing."""
        if record := self.records.get(run_id):
            record.suspect(self.now)

    def refused(self, run_id: str) -> bool:
        """Nobody listens on the member's port. Returns False if that is known already."""
        record = self.records.get(run_id)
        if record is None or record.is_refused:
            return False
        record.is_refused = True
        record.suspect(self.now)
        return True

    def replaced(self, run_id: str) -> bool:
        """Another process answers on the member's port. Returns False if that is known already."""
        record = self.records.get(run_id)
        if record is None or record.is_replaced:
            return False
        record.is_replaced = True
        record.suspect(self.now)
        return True

    def lifeline(self, run_id: str, lifeline: Lifeline) -> bool:
        """What has become of the member's lifeline. Returns False if that is known already."""
        record = self.records.get(run_id)
        if record is None or record.lifeline is lifeline:
            return False
        record.lifeline = lifeline
        if lifeline is Lifeline.ENDED:
            record.suspect(self.now)
        return True

    def located(self, run_id: str, address: str, *, is_another: bool) -> None:
        """The member has proved its identity at this address; or another process answers there, which proves no end."""
        if record := self.records.get(run_id):
            record.is_displaced, record.address = is_another, record.address if is_another else address

    def heartbeats(self, run_ids: frozenset[str], now: float) -> list[str]:
        """All heartbeats that are in etcd now. Returns the run_ids of members whose heartbeat has just ceased.

        The absence of a heartbeat counts only for a member that has had one.
        """
        self.attend(now)
        self._heartbeats = run_ids
        self._lost_heartbeats -= run_ids
        return self._look_for_heartbeats()

    def _look_for_heartbeats(self) -> list[str]:
        there = self._heartbeats
        return [each for each, record in self.records.items() if record.see_heartbeat(each in there, self.now)]

    # ------------------------------------------------------------------------------------- whether a process has failed

    def is_well(self, run_id: str) -> bool:
        """Returns True if the process owes no answer, and nothing else speaks against it."""
        record = self.records.get(run_id)
        return record is not None and record.suspected_at is None and not record.owes_answer(self.settings)

    def is_dead(self, run_id: str) -> bool:
        """Returns True if the process is known to have ended."""
        record = self.records.get(run_id)
        return record is not None and self.settings.trust_refused and record.has_ended

    def is_gone(self, run_id: str) -> bool:
        """Returns True if the process serves nothing and never will: dead, or silent and without a lease (rule 4).

        The only member of a chain serves without a lease: silence alone never makes it gone.
        """
        record = self.records.get(run_id)
        if record is None or self.is_dead(run_id):
            return record is not None
        if self._is_sole(run_id) and not record.may_have_ended(self.settings):
            return False
        return self._is_silent(run_id, record) and self.now >= record.granted_until

    def _is_sole(self, run_id: str) -> bool:
        return [member.run_id for member in self._chain] == [run_id]

    def _is_silent(self, run_id: str, record: MemberRecord) -> bool:
        """Returns True if one of these holds.

        Its heartbeat has ceased, and it has not answered since. It has not answered for the timeout. Or it has shown no
        life for as long as a lease lasts, and somebody waits for it, or it may have ended.
        """
        if record.lapsed_at is not None and record.answered_at <= record.lapsed_at:
            return True
        if record.silent >= record.timeout_ms(self.settings) / 1000:
            return True
        is_mute = record.mute >= record.lease_ms(self.settings) / 1000
        return is_mute and (record.may_have_ended(self.settings) or self._is_waited_for(run_id))

    def _is_waited_for(self, run_id: str) -> bool:
        """Returns True if nothing is committed any more, and somebody may wait for this process.

        For a head or a tail, clients may wait, of which nobody else knows. For one that leaves, the new view waits. For
        a member in the middle, updates wait that others have.
        """
        if self.now - self._committed_at < self.settings.lease_ms / 1000 * IDLE_PART:
            return False
        if run_id not in {member.run_id for member in self._chain[1:-1]}:
            return True
        return any(
            record.is_stuck(self.now, self.settings)
            for other, record in self.records.items()
            if other != run_id and self.is_well(other)
        )

    def health(self) -> Health:
        """Which of the followed are alive, and which have ended, as far as that is known.

        Those that are only silent have not ended: cut off from the master, they serve each other and whoever reaches
        them.
        """
        alive = frozenset(run_id for run_id in self.records if self.is_well(run_id))
        return Health(alive, frozenset(run_id for run_id in self.records if self._has_ended(run_id)))

    def _has_ended(self, run_id: str) -> bool:
        """As certainly as the settings allow: where a refusing port proves nothing, only the lease is left."""
        if not self.is_gone(run_id):
            return False
        may_have_ended = self.records[run_id].may_have_ended(self.settings)
        return not self.settings.trust_refused or self.is_dead(run_id) or may_have_ended

    # ------------------------------------------------------------------------------------- what else a decision asks

    def epoch_of(self, run_id: str) -> int:
        """The epoch of the view that the member has adopted, 0 if that is not known."""
        record = self.records.get(run_id)
        return record.epoch if record else 0

    def is_any_ahead_of(self, view: View) -> bool:
        """Returns True if some member has adopted a newer view."""
        return any(record.epoch > view.epoch for record in self.records.values())

    def serves(self, run_id: str, epoch: int) -> bool:
        """Returns True if the member serves in the view of this epoch, as far as is known."""
        record = self.records.get(run_id)
        if record is None or record.report is None or record.is_replaced or self.is_gone(run_id):
            return False
        return record.report.serving and record.epoch == epoch

    def serves_somewhere(self, run_id: str) -> bool:
        """Returns True if the member serves in some view: it is not just being added."""
        record = self.records.get(run_id)
        return record is not None and record.report is not None and record.report.serving

    def have_answered(self, members: Iterable[Member], asked_since: float) -> bool:
        """Returns True if all these live, and their last answers are to questions that were asked since then."""
        return all(
            self.is_well(member.run_id) and self.records[member.run_id].asked_at >= asked_since for member in members
        )

    def unheard(self) -> frozenset[str]:
        """Those that have not answered yet, and may."""
        return frozenset(each for each, record in self.records.items() if not record.report and not self.is_gone(each))

    def was_heard_since(self, survivors: Iterable[str], lost: Sequence[str]) -> bool:
        """Returns True if one of the survivors was heard after the end of the lost ones. It must have been asked since
        this master was last stopped itself: what waited to be read meanwhile is old, and the survivor may be dead by
        now.

        If one of these is only silent, the survivor must have answered for as long as that was silent: a master that
        was cut off hears of one member after the other again.
        """
        suspected = [self.records[run_id].suspected_at for run_id in lost]
        since = max((at for at in suspected if at is not None), default=self.started)
        silent_s = max((self.lease_ms(run_id) / 1000 for run_id in lost if not self.is_dead(run_id)), default=0.0)
        well = [self.records[each] for each in survivors if self.is_well(each)]
        records = [record for record in well if record.asked_at >= self._woke_at]
        return any(
            record.heard_at >= since and (not silent_s or self.now - record.steady_at >= silent_s) for record in records
        )

    def most_complained_about(self, members: Sequence[Member]) -> Member | None:
        """The one with the most links at either end that have been broken for the timeout; None if there are none.

        Of several, the last one: it has the fewest updates that others lack.
        """
        broken = dict.fromkeys((member.run_id for member in members), 0)
        for member in members:
            report = self.records[member.run_id].report
            for link in report.broken_links if report else ():
                if link.for_ms >= self.settings.timeout_ms and link.run_id in broken:
                    broken[member.run_id] += 1
                    broken[link.run_id] += 1
        most = max(broken.values())
        return next((member for member in reversed(members) if most and broken[member.run_id] == most), None)

    def without_heartbeat(self, members: Sequence[Member]) -> Member | None:
        """The first one whose heartbeat has been missing for the timeout or longer."""
        for member in members:
            record = self.records[member.run_id]
            if record.lapsed_at is not None and record.lapsed >= self.settings.timeout_ms / 1000:
                return member
        return None

    def has_heartbeat(self, run_id: str) -> bool:
        return self.records[run_id].has_heartbeat

    def has_lost_heartbeat(self, run_id: str) -> bool:
        """Returns True if this process left without a heartbeat, and has none now, though others have one."""
        return run_id in self._lost_heartbeats and bool(self._heartbeats)

    def moved(self, members: Sequence[Member]) -> Member | None:
        """The first one that has proved its identity at another address than its own, with that address."""
        found = (replace(each, address=self.records[each.run_id].address or each.address) for each in members)
        return next((each for each in found if each not in members), None)

    def lease_ms(self, run_id: str) -> int:
        """The length of the member's leases, in milliseconds."""
        record = self.records.get(run_id)
        return record.lease_ms(self.settings) if record else self.settings.lease_ms

    def lifeline_port(self, run_id: str) -> int:
        """The port of the member's lifelines; 0 if it offers none, or that is not known yet."""
        record = self.records.get(run_id)
        return record.report.lifeline if record and record.report else 0

    def second_port(self, run_id: str) -> SecondPort | None:
        """None as long as the member has told none."""
        record = self.records.get(run_id)
        return record.report.second_port if record and record.report else None

    def has_lifeline(self, run_id: str) -> bool:
        """Returns True if the master holds the member's lifeline, or has seen its end."""
        record = self.records.get(run_id)
        return record is not None and record.lifeline is not Lifeline.NONE

    def member_status(self, run_id: str) -> MemberStatus:
        """KeyError if the process is not followed."""
        record = self.records[run_id]
        word = "dead" if self.is_gone(run_id) else "alive" if self.is_well(run_id) else "silent"
        word = "restarted" if record.is_replaced else word
        checkpointed, applied = (record.report.checkpointed, record.report.applied) if record.report else (-1, -1)
        return MemberStatus(word, round(record.silent * 1000), checkpointed, record.lifeline.value, applied)
