"""The master's side of the protocol, pure: what it saw of the members goes in, what is to be done comes out.

    seen            `answered`, `adopted`, `reported`, `dropped`, `refused`, `replaced`, `lifeline`, `unfed`, `beating`,
                    `superseded`, `located`
    to be done      `next_change` to store; then `view_to_tell` and `lease_to_grant` for each member in `followed`

Every time is in seconds on one clock that runs on through suspend. The same code runs in the server and in the
simulation. It is not thread-safe.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chainredis.protocol.errors import CommandError
from chainredis.protocol.failure_detector import (
    BrokenLink,
    Lease,
    Lifeline,
    MemberRecord,
    MemberReport,
    MemberStatus,
    ProtocolSettings,
    most_complained_about,
    moved,
)
from chainredis.protocol.reconfiguration import (
    BringForward,
    Configuration,
    Event,
    Form,
    Health,
    Move,
    Remove,
    Repair,
    confirmed,
    reconfigure,
)
from chainredis.protocol.status_text import why_outdated, why_unlinked, why_unsettled
from chainredis.protocol.view import Member, View

# Between two moments of attention at most so many seconds, and such a part of a lease, count as silence of the
# members: a master that was itself stopped has heard nobody, and may conclude nothing from it.
MAX_ATTENTION_GAP, MAX_ATTENTION_PART = 0.5, 0.1
# Nobody holds up what has been committed within such a part of a lease.
IDLE_PART = 0.5


@dataclass
class Controller:
    """change: what is stored, None for nothing. now: its start, at which any member may hold a lease of full length.
    leads_until: no other master can lead before; what is granted here is over by then. slack_ms: with several masters,
    by how much a leadership may outlast the timeout; 0: this is the only one. newer: the newest view that anybody is
    known to know, when the stored one is older: the store has gone back. Nothing is decided then before it has been
    brought forward.
    """

    configuration: Configuration | None
    settings: ProtocolSettings
    now: float
    leads_until: float = math.inf
    slack_ms: int = 0
    newer: View | None = None
    _heartbeats_seen: frozenset[str] = frozenset()
    _records: dict[str, MemberRecord] = field(default_factory=dict)
    _undecided: Configuration | None = None
    _unchanged: float = 0.0  # seconds of attention since the newest change was stored
    _committed_at: float = -math.inf  # when updates were last seen to be committed
    _strangers: frozenset[str] = frozenset()  # of what was stored before this master's time: those not heard as yet

    def __post_init__(self) -> None:
        self._started = self.now
        self.newer = self.configuration.newer if self.configuration else None
        self._follow()
        self._strangers = frozenset(self._records)

    # --------------------------------------------------------------------------------------------- what is seen

    def attend(self, now: float) -> None:
        """Time passes under the master's eyes. To be called often, much more so than a lease is long."""
        most = min(MAX_ATTENTION_GAP, MAX_ATTENTION_PART * self.settings.lease_ms / 1000)
        gap = min(max(0.0, now - self.now), most)
        self.now = max(self.now, now)
        self._unchanged += gap
        for record in self._records.values():
            record.attend(gap)

    def answered(self, run_id: str, report: MemberReport, now: float) -> None:
        """It answered. now: read after its answer had come, since leases are reckoned from then."""
        self.attend(now)
        if record := self._records.get(run_id):
            if record.report and record.report.committed < report.committed:
                self._committed_at = self.now
            record.answered(report, self.now, self.settings)

    def adopted(self, run_id: str, epoch: int, now: float) -> None:
        """It has taken over the view of this epoch. Whether it serves in it, its next answer tells."""
        record = self._records.get(run_id)
        if record and record.report and record.epoch < epoch:
            self.answered(run_id, replace(record.report, epoch=epoch, serving=False), now)

    def spoke(self, run_id: str, now: float) -> None:
        """It lives, and has no answer for a master at present."""
        self.attend(now)
        if record := self._records.get(run_id):
            record.spoke(self.now)

    def reported(self, run_id: str, broken_links: tuple[BrokenLink, ...], now: float) -> None:
        """It says by itself that it has no connection to these: it is alive, and they may not be."""
        self.attend(now)
        record = self._records.get(run_id)
        if record is None or record.report is None:
            return
        record.spoke(self.now)
        record.report = replace(record.report, broken_links=broken_links)
        for link in broken_links:
            if link.dropped and (suspect := self._records.get(link.run_id)):
                suspect.notice(self.now)

    def dropped(self, run_id: str) -> None:
        """A connection to it that stood was closed by its side, which proves nothing."""
        if record := self._records.get(run_id):
            record.notice(self.now)

    def refused(self, run_id: str) -> bool:
        """Nobody listens on its port. False: that is no news."""
        record = self._records.get(run_id)
        if record is None or record.is_refused:
            return False
        record.is_refused = True
        record.notice(self.now)
        return True

    def replaced(self, run_id: str) -> bool:
        """Another process answers on its port. False: that is no news."""
        record = self._records.get(run_id)
        if record is None or record.is_replaced:
            return False
        record.is_replaced = True
        record.notice(self.now)
        return True

    def lifeline(self, run_id: str, lifeline: Lifeline) -> bool:
        """What has become of its lifeline. False: that is no news."""
        record = self._records.get(run_id)
        if record is None or record.lifeline is lifeline:
            return False
        record.lifeline = lifeline
        if lifeline is Lifeline.ENDED:
            record.notice(self.now)
        return True

    def located(self, run_id: str, address: str, *, is_another: bool) -> None:
        """Who answers there now, where its name leads to: the very process, or another one, which proves no end."""
        if record := self._records.get(run_id):
            record.is_displaced, record.address = is_another, record.address if is_another else address

    def cannot_feed(self, run_id: str, epoch: int) -> None:
        """It refuses the pending view of this epoch: it has not all that its new successor lacks."""
        configuration = self.configuration
        if (
            configuration
            and configuration.pending
            and configuration.view.epoch == epoch
            and (record := self._records.get(run_id))
        ):
            record.cannot_feed_epoch = epoch

    def superseded(self, view: View) -> bool:
        """A member, or this master itself in an earlier time, knows this view. False: that is no news."""
        is_news = self.known_view is None or view.epoch > self.known_view.epoch
        if is_news:
            self.newer = view
            self._follow()
        return is_news

    def saw_heartbeats(self, run_ids: frozenset[str], now: float) -> list[str]:
        """Whose heartbeats there are now; of the others it counts who had one before. Whose has just ceased."""
        self.attend(now)
        self._heartbeats_seen = run_ids
        return [run_id for run_id, record in self._records.items() if self._listen(run_id, record)]

    def _listen(self, run_id: str, record: MemberRecord) -> bool:
        if run_id in self._heartbeats_seen:
            record.had_heartbeat, record.lapsed_at = True, None
            return False
        if not record.had_heartbeat or record.lapsed_at is not None:
            return False
        record.lapsed_at, record.lapsed = self.now, 0.0
        record.notice(self.now)
        return True

    # ------------------------------------------------------------------------------------------ what to conclude

    def is_dead(self, run_id: str) -> bool:
        """Known to have ended."""
        record = self._records.get(run_id)
        return record is not None and self.settings.trust_refused and record.has_ended

    def is_gone(self, run_id: str) -> bool:
        """It serves nothing and never will: dead, or silent for long and certainly without a lease (rule 4)."""
        record = self._records.get(run_id)
        if record is None or self.is_dead(run_id):
            return record is not None
        if self._is_sole(run_id) and not record.may_have_ended(self.settings):
            return False  # it needs no lease to serve
        return self._is_silent(run_id, record) and self.now >= record.granted_until

    def _is_silent(self, run_id: str, record: MemberRecord) -> bool:
        """It has not answered here for the timeout, or not since it missed as much of its heartbeats. Or it has said
        nothing for as long as a lease lasts, and somebody waits for it, or it may not be there any more.
        """
        if record.lapsed_at is not None and record.answered_at <= record.lapsed_at:
            return True
        if record.silent >= record.timeout_ms(self.settings) / 1000:
            return True
        is_mute = record.mute >= record.lease_ms(self.settings) / 1000
        return is_mute and (record.may_have_ended(self.settings) or self._is_waited_for(run_id))

    def _is_waited_for(self, run_id: str) -> bool:
        """Nothing is committed any more, and somebody may wait: for a head or a tail, clients of which nobody else
        knows; for any member, updates that others have; for one that leaves, the new view.
        """
        if self.now - self._committed_at < self.settings.lease_ms / 1000 * IDLE_PART:
            return False
        middle = self.configuration.view.members[1:-1] if self.configuration else ()
        if run_id not in {member.run_id for member in middle}:
            return True
        return any(
            record.is_stuck(self.now, self.settings)
            for other, record in self._records.items()
            if other != run_id and self.is_well(other)
        )

    def _is_sole(self, run_id: str) -> bool:
        return self.configuration is not None and [member.run_id for member in self.configuration.view.members] == [
            run_id
        ]

    def health(self) -> Health:
        """Of the followed: alive are those that owe no answer; dead those that have ended, not those that are silent:
        cut off from here all together, these serve each other and whoever reaches them.
        """
        alive = frozenset(run_id for run_id in self._records if self.is_well(run_id))
        return Health(alive, frozenset(run_id for run_id in self._records if self._has_ended(run_id)))

    def _has_ended(self, run_id: str) -> bool:
        """As certainly as the terms allow: where a refusing port proves nothing, only the lease is left."""
        return self.is_gone(run_id) and (
            not self.settings.trust_refused
            or self.is_dead(run_id)
            or self._records[run_id].may_have_ended(self.settings)
        )

    def is_well(self, run_id: str) -> bool:
        """It owes no answer, and nothing speaks against it."""
        record = self._records.get(run_id)
        if record is None:
            return False
        return record.noticed_at is None and not record.is_quiet(self.settings)

    @property
    def is_lost(self) -> bool:
        """No member with all the data is left."""
        if self.configuration is None or self.is_outdated:
            return False
        return all(self.is_gone(member.run_id) for member in self.configuration.complete)

    @property
    def is_outdated(self) -> bool:
        """The store has gone back: somebody is, or was, in a newer view than the stored one."""
        return self.newer is not None or (self.configuration is not None and self._is_ahead_of(self.configuration.view))

    def _is_ahead_of(self, view: View) -> bool:
        return any(record.epoch > view.epoch for record in self._records.values())

    @property
    def known_view(self) -> View | None:
        """The newest one, stored or not."""
        return self.newer or (self.configuration.view if self.configuration else None)

    @property
    def _knows_everybody(self) -> bool:
        """Everybody in what was stored before was heard here, or is gone: if the store has gone back, that is known."""
        unheard = {run_id for run_id, record in self._records.items() if not record.report}
        self._strangers = frozenset(run_id for run_id in self._strangers & unheard if not self.is_gone(run_id))
        return not self._strangers

    @property
    def is_settled(self) -> bool:
        """The newest view is in force, and every member serves in it."""
        configuration = self.configuration
        if (
            configuration is None
            or configuration.leaving
            or configuration.pending
            or self._undecided
            or self.is_outdated
        ):
            return False
        return all(self._serves(member) for member in configuration.view.members)

    @property
    def why_unsettled(self) -> str:
        """Why the newest view is not in force everywhere, for people; empty when it is."""
        if self.is_outdated:
            return self._why_outdated
        if self.configuration is None:
            return ""
        if self.is_settled:
            return why_unlinked(self.configuration.view, self._records)
        return why_unsettled(self.configuration, self._idle_in(self.configuration.view), is_lost=self.is_lost)

    @property
    def _why_outdated(self) -> str:
        idle = self._idle_in(self.newer) if self.newer else []
        return why_outdated(self.configuration.view if self.configuration else None, self.newer, idle)

    def _idle_in(self, view: View) -> list[Member]:
        return [member for member in view.members if not self._serves_in(member.run_id, view.epoch)]

    @property
    def is_open(self) -> bool:
        """A decision of an operator would not be refused for the moment's sake."""
        return self._undecided is None and (self.is_outdated or not (self.configuration and self.configuration.leaving))

    def found_serving(self, place: int, since: float) -> Member | None:
        """The member at that place, if it has answered since then, and serves in the newest view."""
        member = self.configuration.view.members[place] if self.configuration else None
        found = member and self._serves(member) and self._records[member.run_id].answered_at > since
        return member if found else None

    def member_status(self, run_id: str) -> MemberStatus:
        record = self._records[run_id]
        word = "dead" if self.is_gone(run_id) else "alive" if self.is_well(run_id) else "silent"
        word = "restarted" if record.is_replaced else word
        checkpointed = record.report.checkpointed if record.report else -1
        return MemberStatus(word, round(record.silent * 1000), checkpointed, record.lifeline.value)

    def lease_ms(self, run_id: str) -> int:
        """The length of its leases."""
        record = self._records.get(run_id)
        return record.lease_ms(self.settings) if record else self.settings.lease_ms

    def lifeline_port(self, run_id: str) -> int:
        """Where one can be held; 0: nowhere, or that is not known yet."""
        record = self._records.get(run_id)
        return record.report.lifeline if record and record.report else 0

    def knows_view(self, run_id: str) -> bool:
        """It has adopted the newest view, and so has the secret."""
        record = self._records.get(run_id)
        return record is not None and self.configuration is not None and record.epoch == self.configuration.view.epoch

    def has(self, run_id: str) -> bool:
        return self.configuration is not None and self.configuration.view.member(run_id) is not None

    def missing(self, fallen: bool) -> tuple[Member, ...]:
        """Who may come back to a chain that serves. fallen: also those whom a fault took out while others lived."""
        if self.configuration is None or not self.is_settled:
            return ()
        return self.configuration.awaited + (self.configuration.fallen if fallen else ())

    def _serves(self, member: Member) -> bool:
        return self.configuration is not None and self._serves_in(member.run_id, self.configuration.view.epoch)

    def _serves_in(self, run_id: str, epoch: int) -> bool:
        record = self._records.get(run_id)
        if record is None or record.report is None or record.is_replaced or self.is_gone(run_id):
            return False
        return record.report.serving and record.epoch == epoch

    # ------------------------------------------------------------------------------------------------ what to do

    @property
    def followed(self) -> tuple[Member, ...]:
        """Whom to poll and to watch."""
        stored = self.configuration.view.members + self.configuration.leaving if self.configuration else ()
        newer = self.newer.members if self.newer else ()
        return tuple({member.run_id: member for member in stored + newer}.values())

    def next_configuration(self) -> Configuration | None:
        """What is to be stored now, if anything; `stored` must follow. Whom it leaves out gets no lease any more."""
        if self._undecided:
            return None
        if self.is_outdated:
            self._undecided = self._noted() or self._brought_forward()
            return self._undecided
        if self.configuration is None or not self._knows_everybody:
            return None
        steps = (
            self._repaired, self._acknowledged, self._withdrawn, self._confirmed, self._unlinked, self._stalled,
            self._lapsed, self._moved, self._termed, self._kept,
        )  # fmt: skip
        for step in steps:
            if configuration := step(self.configuration):
                self._undecided = configuration
                return configuration
        return None

    def propose(self, event: Event) -> Configuration:
        """As `next_change`, for what an operator wants. CommandError when that cannot be."""
        if self._undecided:
            raise CommandError("the chain is just being changed: try again")
        if self.is_outdated:
            if not isinstance(event, Form):
                raise CommandError(self._why_outdated)
            event = replace(event, newer=self.newer)
        self._undecided = replace(reconfigure(self.configuration, event), lease_ms=self._length_to_store())
        return self._undecided

    def stored(self, configuration: Configuration | None) -> None:
        """The store holds `change` now, for certain (rule 5)."""
        knew_nothing = self.configuration is None
        self.configuration, self._undecided, self._unchanged = configuration, None, 0.0
        if configuration and self.newer and configuration.view.epoch >= self.newer.epoch:
            self.newer = None
        if configuration and configuration.newer:
            self.superseded(configuration.newer)
        self._follow()
        self._strangers = frozenset(self._records) if knew_nothing else self._strangers

    def view_to_tell(self, run_id: str) -> View | None:
        """The view that this process has to hear of; those that leave come first (rule 4), one by one, the last of the
        chain first: whoever knows a view tells it to its neighbours, which may not serve in it before a former tail has
        stopped to. Who is in a newer one is told, too: it answers with that.
        """
        configuration, record = self.configuration, self._records.get(run_id)
        if record is None or record.report is None:
            return None
        if self.is_outdated:
            known = self.known_view
            return known if known and record.epoch > known.epoch else None
        if configuration is None or record.epoch >= configuration.view.epoch:
            return None
        if record.cannot_feed_epoch == configuration.view.epoch or (
            configuration.leaving and configuration.leaving[-1].run_id != run_id
        ):
            return None
        return configuration.view

    def lease_to_grant(self, run_id: str) -> Lease | None:
        """For the poll that is about to go out. Nothing to whom a decision has left out, be it stored yet or not.

        Who has not adopted the newest view goes on with the one that it has: a lease of an epoch that it does not know
        would only stop it from serving (rule 2). A tail of both views, or one that is to feed a new tail, may do so.
        """
        configuration, record = self.configuration, self._records.get(run_id)
        if configuration is None or record is None or not configuration.view.member(run_id):
            return None
        if record.report is None or not 0 < record.epoch <= configuration.view.epoch:
            return None
        if self.is_outdated or not self._knows_everybody:
            return None
        if self._undecided and not self._undecided.view.member(run_id):
            return None
        length_ms = min(configuration.lease_ms, record.lease_ms(self.settings), self._leadership_ms(record.answered_at))
        if length_ms <= 0:
            return None
        self._note_grant(record, length_ms)
        return Lease(record.epoch, record.report.stamp_ms, length_ms)

    def _leadership_ms(self, since: float) -> int:
        """A lease from then on, of this length, is over everywhere before another master can lead."""
        left_ms = (self.leads_until - since) * 1000 / (1 + self.settings.drift)
        return self.settings.lease_ms if left_ms >= self.settings.lease_ms else int(left_ms)

    def _note_grant(self, record: MemberRecord, length_ms: int) -> None:
        """It counts, at the member, from before its last answer came here."""
        until = record.answered_at + length_ms / 1000 * (1 + self.settings.drift)
        record.granted_until = max(record.granted_until, until)

    def _follow(self) -> None:
        """Records of the followed; of a process that is new here nothing is known, not even that it has no lease."""
        before = self._records
        self._records = {}
        for member in self.followed:
            self._records[member.run_id] = before.get(member.run_id) or self._unknown()
            self._listen(member.run_id, self._records[member.run_id])

    def _unknown(self) -> MemberRecord:
        return MemberRecord(self._full_lease(), self.now, self.now)

    def _full_lease(self) -> float:
        return self.now + self._longest_lease_s()

    def _longest_lease_s(self) -> float:
        longest = max(self._longest_ms, self.configuration.lease_ms if self.configuration else 0) + self.slack_ms
        return longest / 1000 * (1 + self.settings.drift)

    @property
    def _longest_ms(self) -> int:
        """Of the leases granted here. One of several masters may lose the lead and not know: it grants on until its own
        leadership is over.
        """
        return max(self.settings.lease_ms, self.settings.timeout_ms if self.slack_ms else 0)

    # ------------------------------------------------------------------------------- the changes that nobody asks for

    def _noted(self) -> Configuration | None:
        """What members know, lest the next master believes the store when these are dead."""
        is_new = self.configuration and self.newer and self.configuration.newer != self.newer
        return replace(self.configuration, newer=self.newer) if self.configuration and is_new else None

    def _brought_forward(self) -> Configuration | None:
        """From the members' word, when all serve in the newest view that any of them knows: then it is in force.

        Not before all leases, and the last term of any other master, from before this one's start are over: until then
        one that stored a still newer view may be telling it.
        """
        newer = self.newer
        if newer is None or self._is_ahead_of(newer) or self.now < self._started + self._longest_lease_s():
            return None
        return None if self._idle_in(newer) else self._decided(BringForward(newer))

    def _decided(self, event: Event) -> Configuration | None:
        try:
            return reconfigure(self.configuration, event)
        except CommandError:
            return None  # nobody who could carry it out is left; that may change

    def _repaired(self, configuration: Configuration) -> Configuration | None:
        """Without the gone, once a survivor was heard since: a view of processes that hang would help nobody."""
        gone = frozenset(member.run_id for member in self.followed if self.is_gone(member.run_id))
        dead = frozenset(run_id for run_id in gone if self.is_dead(run_id))
        for each in (gone, dead):
            lost = [member.run_id for member in configuration.view.members if member.run_id in each]
            survivors = [member.run_id for member in configuration.complete if member.run_id not in each]
            if lost and self._heard_since(survivors, lost):
                return self._decided(Repair(each))
        return None

    def _heard_since(self, survivors: Iterable[str], lost: Iterable[str]) -> bool:
        """Since the end of the dead. One that is only silent must have been so while a survivor was not: a master that
        was cut off hears of one after the other again.
        """
        noticed = [self._records[run_id].noticed_at for run_id in lost]
        since = max((at for at in noticed if at is not None), default=self._started)
        silent_s = max((self.lease_ms(run_id) / 1000 for run_id in lost if not self.is_dead(run_id)), default=0.0)
        records = [self._records[each] for each in survivors if self.is_well(each)]
        return any(
            record.heard_at >= since and (not silent_s or self.now - record.steady_at >= silent_s) for record in records
        )

    def _acknowledged(self, configuration: Configuration) -> Configuration | None:
        """Those that left know it now, or cannot serve any more: the view is in force."""
        leaving = tuple(
            member
            for member in configuration.leaving
            if self._records[member.run_id].epoch < configuration.view.epoch and not self.is_gone(member.run_id)
        )
        return replace(configuration, leaving=leaving) if leaving != configuration.leaving else None

    def _confirmed(self, configuration: Configuration) -> Configuration | None:
        """A new tail that serves has all that the old one applied, and the old one has adopted the view."""
        if configuration.pending and not configuration.leaving and self._serves(configuration.view.tail):
            return confirmed(configuration)
        return None

    def _withdrawn(self, configuration: Configuration) -> Configuration | None:
        """The old tail cannot feed the new one: the addition is off."""
        if not configuration.pending or configuration.leaving:
            return None
        if self._records[configuration.view.members[-2].run_id].cannot_feed_epoch != configuration.view.epoch:
            return None
        return self._decided(Remove(configuration.view.tail, self.health(), is_fault=True))

    def _unlinked(self, configuration: Configuration) -> Configuration | None:
        """Two members that both answer here have had no connection to each other for the timeout: one has to go.

        While a view is pending, its new tail goes in any case.
        """
        if not self._settled_but_for_links(configuration):
            return None
        suspect = most_complained_about(configuration.view.members, self._records, self.settings.timeout_ms)
        return self._decided(Remove(suspect, self.health(), is_fault=True)) if suspect else None

    def _settled_but_for_links(self, configuration: Configuration) -> bool:
        if configuration.leaving or len(configuration.view.members) < 2:
            return False
        return all(
            self.is_well(member.run_id) and self._records[member.run_id].epoch == configuration.view.epoch
            for member in configuration.view.members
        )

    def _stalled(self, configuration: Configuration) -> Configuration | None:
        """A new tail that answers, knows its view, and does not come to serve for the timeout has not what it takes.

        Another master, which led before and did not know better, may have had it begin anew meanwhile.
        """
        if not configuration.pending or self._unchanged < self.settings.timeout_ms / 1000:
            return None
        if not self._settled_but_for_links(configuration) or self._serves(configuration.view.tail):
            return None
        return self._decided(Remove(configuration.view.tail, self.health(), is_fault=True))

    def _lapsed(self, configuration: Configuration) -> Configuration | None:
        """It answers here, and yet its heartbeat has been missing for the timeout and more: it has to go, too.

        Unless nobody else's beats: then etcd, or the way to it, is to blame, and no member.
        """
        if configuration.leaving or not any(self._has_heartbeat(member.run_id) for member in configuration.complete):
            return None
        for member in configuration.view.members:
            record = self._records[member.run_id]
            if record.lapsed_at is not None and record.lapsed >= self.settings.timeout_ms / 1000:
                return self._decided(Remove(member, self.health(), is_fault=True))
        return None

    def _has_heartbeat(self, run_id: str) -> bool:
        record = self._records[run_id]
        return record.had_heartbeat and record.lapsed_at is None

    def _moved(self, configuration: Configuration) -> Configuration | None:
        """A member that answers at another address than the view's, where its neighbours look for it in vain."""
        found = (
            None if configuration.leaving or configuration.pending else moved(configuration.view.members, self._records)
        )
        return self._decided(Move(found)) if found and self.is_well(found.run_id) else None

    def _termed(self, configuration: Configuration) -> Configuration | None:
        """Longer leases than the stored length are granted once that is stored."""
        length_ms = self._length_to_store()
        return replace(configuration, lease_ms=length_ms) if length_ms != configuration.lease_ms else None

    def _kept(self, configuration: Configuration) -> Configuration | None:
        """Who has everything on its disk: when the chain is dead, nobody gives that up without knowing it."""
        if not self.is_settled:
            return None
        seen = {run_id for run_id, record in self._records.items() if record.report and record.report.durable}
        durable = tuple(member.run_id for member in configuration.view.members if member.run_id in seen)
        return replace(configuration, durable=durable) if durable != configuration.durable else None

    def _length_to_store(self) -> int:
        """A master that restarts reckons with leases of this length: a shorter one waits until longer ones are over."""
        shorter = self.now + self._longest_ms / 1000 * (1 + self.settings.drift)
        if self.configuration and any(record.granted_until > shorter for record in self._records.values()):
            return max(self.configuration.lease_ms, self._longest_ms)
        return self._longest_ms
