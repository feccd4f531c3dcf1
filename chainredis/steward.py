"""The master's side of the protocol, pure: what it saw of the members goes in, what is to be done comes out.

    seen            `answered`, `adopted`, `reported`, `dropped`, `refused`, `replaced`, `unfed`, `beating`
    to be done      `next_change` to store; then `view_to_tell` and `lease_to_grant` for each member in `followed`

Every time is in seconds on one clock that runs on through suspend. The same code runs in the server and in the
simulation. It is not thread-safe.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chainredis.errors import CommandError
from chainredis.transitions import Change, Event, Health, Remove, Repair, decide
from chainredis.view import Member, View

# Between two moments of attention at most so many seconds, and such a part of the timeout, count as silence of the
# members: a master that was itself stopped has heard nobody, and may conclude nothing from it.
MAX_ATTENTION_GAP, MAX_ATTENTION_PART = 0.5, 0.1


@dataclass(frozen=True)
class Terms:
    """timeout_ms: a member silent for so long is gone; also the length of a lease. drift: how much quicker one clock
    may run than another, as a fraction. trust_refused: a port that refuses is taken for a dead process's.
    """

    timeout_ms: int
    drift: float = 0.01
    trust_refused: bool = True


@dataclass(frozen=True)
class Lease:
    """What goes with a poll. stamp_ms: the member's own clock when it last answered, from which the lease counts."""

    epoch: int
    stamp_ms: int
    length_ms: int


@dataclass(frozen=True)
class Trouble:
    """A member has no connection to `run_id`. dropped: it had one, and that side closed it."""

    run_id: str
    for_ms: int
    dropped: bool


@dataclass(frozen=True)
class Sighting:
    """What a member's answer said. durable: nothing has left it, in this epoch, before it was on its disk."""

    epoch: int
    serving: bool
    stamp_ms: int
    troubles: tuple[Trouble, ...] = ()
    durable: bool = False
    checkpointed: int = -1


@dataclass
class _Record:
    """Of one process. heard_at: when it last showed life by itself or answered. silent: seconds of attention since it
    answered. noticed_at: when its end was first suspected. lapsed_at: when its heartbeat ceased, None while it beats or
    if it never did; lapsed: seconds of attention since then.
    """

    granted_until: float
    answered_at: float
    heard_at: float
    silent: float = 0.0
    sighting: Sighting | None = None
    is_dropped: bool = False
    is_refused: bool = False
    is_replaced: bool = False
    unfed_epoch: int = 0
    noticed_at: float | None = None
    has_beaten: bool = False
    lapsed_at: float | None = None
    lapsed: float = 0.0

    @property
    def epoch(self) -> int:
        return self.sighting.epoch if self.sighting else 0


@dataclass
class Steward:
    """change: what is stored, None for nothing. now: its start, at which any member may hold a lease of full length.
    leads_until: no other master can lead before; what is granted here is over by then. slack_ms: by how much leases
    that were granted by others may outlast those of full length.
    """

    change: Change | None
    terms: Terms
    now: float
    leads_until: float = math.inf
    slack_ms: int = 0
    _beating: frozenset[str] = frozenset()
    _records: dict[str, _Record] = field(default_factory=dict)
    _undecided: Change | None = None
    _unchanged: float = 0.0  # seconds of attention since the newest change was stored

    def __post_init__(self) -> None:
        self._started = self.now
        self._follow()

    # --------------------------------------------------------------------------------------------- what is seen

    def attend(self, now: float) -> None:
        """Time passes under the master's eyes. To be called often, much more so than the timeout is long."""
        most = min(MAX_ATTENTION_GAP, MAX_ATTENTION_PART * self.terms.timeout_ms / 1000)
        gap = min(max(0.0, now - self.now), most)
        self.now = max(self.now, now)
        self._unchanged += gap
        for record in self._records.values():
            record.silent += gap
            record.lapsed += gap

    def answered(self, run_id: str, sighting: Sighting, now: float) -> None:
        """It answered. now: read after its answer had come, since leases are reckoned from then."""
        self.attend(now)
        if record := self._records.get(run_id):
            record.sighting, record.silent = sighting, 0.0
            record.answered_at = record.heard_at = self.now
            record.is_dropped = record.is_refused = False
            record.noticed_at = None

    def adopted(self, run_id: str, epoch: int, now: float) -> None:
        """It has taken over the view of this epoch. Whether it serves in it, its next answer tells."""
        record = self._records.get(run_id)
        if record and record.sighting and record.epoch < epoch:
            self.answered(run_id, replace(record.sighting, epoch=epoch, serving=False), now)

    def reported(self, run_id: str, troubles: tuple[Trouble, ...], now: float) -> None:
        """It says by itself that it has no connection to these: it is alive, and they may not be."""
        self.attend(now)
        record = self._records.get(run_id)
        if record is None or record.sighting is None:
            return
        record.heard_at = self.now
        record.sighting = replace(record.sighting, troubles=troubles)
        for trouble in troubles:
            if trouble.dropped and (suspect := self._records.get(trouble.run_id)):
                self._notice(suspect)

    def dropped(self, run_id: str) -> None:
        """A connection to it that stood was closed by its side."""
        if record := self._records.get(run_id):
            record.is_dropped = True
            self._notice(record)

    def refused(self, run_id: str) -> bool:
        """Nobody listens on its port. False: that is no news."""
        record = self._records.get(run_id)
        if record is None or record.is_refused:
            return False
        record.is_refused = True
        self._notice(record)
        return True

    def replaced(self, run_id: str) -> bool:
        """Another process answers on its port, which this one would have to have given up. False: that is no news."""
        record = self._records.get(run_id)
        if record is None or record.is_replaced:
            return False
        record.is_replaced = True
        self._notice(record)
        return True

    def unfed(self, run_id: str, epoch: int) -> None:
        """It refuses the pending view of this epoch: it has not all that its new successor lacks."""
        change = self.change
        if change and change.pending and change.view.epoch == epoch and (record := self._records.get(run_id)):
            record.unfed_epoch = epoch

    def beating(self, run_ids: frozenset[str], now: float) -> list[str]:
        """Whose heartbeats there are now; of the others it counts who had one before. Whose has just ceased."""
        self.attend(now)
        self._beating = run_ids
        return [run_id for run_id, record in self._records.items() if self._listen(run_id, record)]

    def _listen(self, run_id: str, record: _Record) -> bool:
        if run_id in self._beating:
            record.has_beaten, record.lapsed_at = True, None
            return False
        if not record.has_beaten or record.lapsed_at is not None:
            return False
        record.lapsed_at, record.lapsed = self.now, 0.0
        self._notice(record)
        return True

    def _notice(self, record: _Record) -> None:
        if record.noticed_at is None:
            record.noticed_at = self.now

    # ------------------------------------------------------------------------------------------ what to conclude

    def is_dead(self, run_id: str) -> bool:
        """Known to have ended (DESIGN.md, "Detection")."""
        record = self._records.get(run_id)
        if record is None or not self.terms.trust_refused:
            return False
        return record.is_replaced or (record.is_refused and (record.is_dropped or self._is_missed(run_id)))

    def _is_missed(self, run_id: str) -> bool:
        """A neighbour's connection to it was closed by its side, too: that is known to a master that was away then."""
        return any(
            trouble.dropped and trouble.run_id == run_id
            for record in self._records.values()
            if record.sighting
            for trouble in record.sighting.troubles
        )

    def is_gone(self, run_id: str) -> bool:
        """It serves nothing and never will: dead, or silent for the timeout and certainly without a lease (rule 4)."""
        record = self._records.get(run_id)
        if record is None or self.is_dead(run_id):
            return record is not None
        if self._is_sole(run_id) and not self._is_missing(record):
            return False  # it needs no lease to serve
        return self._is_silent(record) and self.now >= record.granted_until

    def _is_missing(self, record: _Record) -> bool:
        """It is not where it was: nobody is, where that is to be believed, or another process."""
        return record.is_replaced or (record.is_refused and self.terms.trust_refused)

    def _is_silent(self, record: _Record) -> bool:
        """For the timeout it has not answered here; or not since it missed as much of its heartbeats."""
        if record.lapsed_at is not None and record.answered_at <= record.lapsed_at:
            return True
        return record.silent >= self.terms.timeout_ms / 1000

    def _is_sole(self, run_id: str) -> bool:
        return self.change is not None and [member.run_id for member in self.change.view.members] == [run_id]

    def health(self) -> Health:
        """Of the followed: alive are those that owe no answer; dead those that have ended, not those that are silent:
        cut off from here all together, these serve each other and whoever reaches them.
        """
        alive = frozenset(run_id for run_id in self._records if self._is_well(run_id))
        return Health(alive, frozenset(run_id for run_id in self._records if self._has_ended(run_id)))

    def _has_ended(self, run_id: str) -> bool:
        """As certainly as the terms allow: where a refusing port proves nothing, only the lease is left."""
        return self.is_gone(run_id) and (
            not self.terms.trust_refused or self.is_dead(run_id) or self._records[run_id].is_refused)

    def _is_well(self, run_id: str) -> bool:
        record = self._records[run_id]
        quiet = record.silent >= self.terms.timeout_ms / 2000
        return record.sighting is not None and record.noticed_at is None and not quiet

    @property
    def is_lost(self) -> bool:
        """No member with all the data is left."""
        return self.change is not None and all(self.is_gone(member.run_id) for member in self.change.complete)

    @property
    def is_settled(self) -> bool:
        """The newest view is in force, and every member serves in it."""
        change = self.change
        if change is None or change.leaving or change.pending or self._undecided:
            return False
        return all(self._serves(member) for member in change.view.members)

    @property
    def unsettled_by(self) -> str:
        """Why the newest view is not in force everywhere, for people; empty when it is."""
        change = self.change
        if change is None or self.is_settled:
            return ""
        if self.is_lost:
            return f"no process of the chain lives, which was {change.view.names}"
        if change.leaving:
            return f"{change.leaving[0]} may still serve, and has not acknowledged yet that it is no member any more"
        idle = [str(member) for member in change.view.members if not self._serves(member)]
        return f"not serving in it yet: {', '.join(idle)}" if idle else "it is just being changed"

    @property
    def is_open(self) -> bool:
        """A decision of an operator would not be refused for the moment's sake."""
        return self._undecided is None and not (self.change and self.change.leaving)

    def found_serving(self, place: int, since: float) -> Member | None:
        """The member at that place, if it has answered since then, and serves in the newest view."""
        member = self.change.view.members[place] if self.change else None
        found = member and self._serves(member) and self._records[member.run_id].answered_at > since
        return member if found else None

    def standing(self, run_id: str) -> tuple[str, int, int]:
        """For people: alive, silent or dead; for how many milliseconds it has not answered; where its checkpoint is."""
        record = self._records[run_id]
        word = "dead" if self.is_gone(run_id) else "alive" if self._is_well(run_id) else "silent"
        return word, round(record.silent * 1000), record.sighting.checkpointed if record.sighting else -1

    def knows_view(self, run_id: str) -> bool:
        """It has adopted the newest view, and so has the secret."""
        record = self._records.get(run_id)
        return record is not None and self.change is not None and record.epoch == self.change.view.epoch

    def has(self, run_id: str) -> bool:
        return self.change is not None and self.change.view.member(run_id) is not None

    @property
    def is_short(self) -> bool:
        """It serves, without members that are awaited."""
        return self.change is not None and bool(self.change.awaited) and self.is_settled

    def _serves(self, member: Member) -> bool:
        record, change = self._records.get(member.run_id), self.change
        if record is None or record.sighting is None or change is None or self.is_gone(member.run_id):
            return False
        return record.sighting.serving and record.epoch == change.view.epoch

    # ------------------------------------------------------------------------------------------------ what to do

    @property
    def followed(self) -> tuple[Member, ...]:
        """Whom to poll and to watch."""
        return self.change.view.members + self.change.leaving if self.change else ()

    def next_change(self) -> Change | None:
        """What is to be stored now, if anything; `stored` must follow. Whom it leaves out gets no lease any more."""
        if self.change is None or self._undecided:
            return None
        steps = (
            self._repaired, self._acknowledged, self._withdrawn, self._confirmed, self._unlinked, self._stalled,
            self._lapsed, self._termed, self._kept,
        )  # fmt: skip
        for step in steps:
            if change := step(self.change):
                self._undecided = change
                return change
        return None

    def propose(self, event: Event) -> Change:
        """As `next_change`, for what an operator wants. CommandError when that cannot be."""
        if self._undecided:
            raise CommandError("the chain is just being changed: try again")
        self._undecided = replace(decide(self.change, event), lease_ms=self._length_to_store())
        return self._undecided

    def stored(self, change: Change | None) -> None:
        """The store holds `change` now, for certain (rule 5)."""
        self.change, self._undecided, self._unchanged = change, None, 0.0
        self._follow()

    def view_to_tell(self, run_id: str) -> View | None:
        """The view that this process has to hear of; those that leave come first (rule 4), one by one, the last of the
        chain first: whoever knows a view tells it to its neighbours, which may not serve in it before a former tail has
        stopped to.
        """
        change, record = self.change, self._records.get(run_id)
        if change is None or record is None or record.sighting is None or record.epoch >= change.view.epoch:
            return None
        if record.unfed_epoch == change.view.epoch or (change.leaving and change.leaving[-1].run_id != run_id):
            return None
        return change.view

    def lease_to_grant(self, run_id: str) -> Lease | None:
        """For the poll that is about to go out. Nothing to whom a decision has left out, be it stored yet or not.

        Who has not adopted the newest view goes on with the one that it has: a lease of an epoch that it does not know
        would only stop it from serving (rule 2). A tail of both views, or one that is to feed a new tail, may do so.
        """
        change, record = self.change, self._records.get(run_id)
        if change is None or record is None or not change.view.member(run_id):
            return None
        if record.sighting is None or not 0 < record.epoch <= change.view.epoch:
            return None
        if self._undecided and not self._undecided.view.member(run_id):
            return None
        length_ms = min(change.lease_ms, self.terms.timeout_ms, self._leadership_ms(record.answered_at))
        if length_ms <= 0:
            return None
        self._note_grant(record, length_ms)
        return Lease(record.epoch, record.sighting.stamp_ms, length_ms)

    def _leadership_ms(self, since: float) -> int:
        """A lease from then on, of this length, is over everywhere before another master can lead."""
        left_ms = (self.leads_until - since) * 1000 / (1 + self.terms.drift)
        return self.terms.timeout_ms if left_ms >= self.terms.timeout_ms else int(left_ms)

    def _note_grant(self, record: _Record, length_ms: int) -> None:
        """It counts, at the member, from before its last answer came here."""
        until = record.answered_at + length_ms / 1000 * (1 + self.terms.drift)
        record.granted_until = max(record.granted_until, until)

    def _follow(self) -> None:
        """Records of the followed; of a process that is new here nothing is known, not even that it has no lease."""
        before = self._records
        self._records = {}
        for member in self.followed:
            self._records[member.run_id] = before.get(member.run_id) or self._unknown()
            self._listen(member.run_id, self._records[member.run_id])

    def _unknown(self) -> _Record:
        return _Record(self._full_lease(), self.now, self.now)

    def _full_lease(self) -> float:
        longest = max(self.terms.timeout_ms, self.change.lease_ms if self.change else 0) + self.slack_ms
        return self.now + longest / 1000 * (1 + self.terms.drift)

    # ------------------------------------------------------------------------------- the changes that nobody asks for

    def _decided(self, event: Event) -> Change | None:
        try:
            return decide(self.change, event)
        except CommandError:
            return None  # nobody who could carry it out is left; that may change

    def _repaired(self, change: Change) -> Change | None:
        """Without the gone, once a survivor was heard since: a view of processes that hang would help nobody."""
        gone = frozenset(member.run_id for member in self.followed if self.is_gone(member.run_id))
        lost = [member.run_id for member in change.view.members if member.run_id in gone]
        survivors = [member.run_id for member in change.complete if member.run_id not in gone]
        if not lost or not self._heard_since(survivors, lost):
            return None
        return self._decided(Repair(gone))

    def _heard_since(self, survivors: Iterable[str], lost: Iterable[str]) -> bool:
        noticed = [self._records[run_id].noticed_at for run_id in lost]
        since = max((at for at in noticed if at is not None), default=self._started)
        return any(self._records[each].heard_at >= since and self._is_well(each) for each in survivors)

    def _acknowledged(self, change: Change) -> Change | None:
        """Those that left know it now, or cannot serve any more: the view is in force."""
        leaving = tuple(
            member
            for member in change.leaving
            if self._records[member.run_id].epoch < change.view.epoch and not self.is_gone(member.run_id)
        )
        return replace(change, leaving=leaving) if leaving != change.leaving else None

    def _confirmed(self, change: Change) -> Change | None:
        """A new tail that serves has all that the old one applied, and the old one has adopted the view."""
        if change.pending and not change.leaving and self._serves(change.view.tail):
            return replace(change, pending=False)
        return None

    def _withdrawn(self, change: Change) -> Change | None:
        """The old tail cannot feed the new one: the addition is off."""
        if not change.pending or change.leaving:
            return None
        if self._records[change.view.members[-2].run_id].unfed_epoch != change.view.epoch:
            return None
        return self._decided(Remove(change.view.tail, self.health()))

    def _unlinked(self, change: Change) -> Change | None:
        """Two members that both answer here have had no connection to each other for the timeout: one has to go.

        While a view is pending, its new tail goes in any case.
        """
        if not self._settled_but_for_links(change):
            return None
        suspect = self._most_complained_about(change)
        return self._decided(Remove(suspect, self.health())) if suspect else None

    def _settled_but_for_links(self, change: Change) -> bool:
        if change.leaving or len(change.view.members) < 2:
            return False
        return all(
            self._is_well(member.run_id) and self._records[member.run_id].epoch == change.view.epoch
            for member in change.view.members
        )

    def _most_complained_about(self, change: Change) -> Member | None:
        """By as many broken links as possible at its end; of several the last, which has the least that others lack."""
        broken = dict.fromkeys((member.run_id for member in change.view.members), 0)
        for member in change.view.members:
            sighting = self._records[member.run_id].sighting
            for trouble in sighting.troubles if sighting else ():
                if trouble.for_ms >= self.terms.timeout_ms and trouble.run_id in broken:
                    broken[member.run_id] += 1
                    broken[trouble.run_id] += 1
        most = max(broken.values())
        return next((m for m in reversed(change.view.members) if most and broken[m.run_id] == most), None)

    def _stalled(self, change: Change) -> Change | None:
        """A new tail that answers, knows its view, and does not come to serve for the timeout has not what it takes.

        Another master, which led before and did not know better, may have had it begin anew meanwhile.
        """
        if not change.pending or self._unchanged < self.terms.timeout_ms / 1000:
            return None
        if not self._settled_but_for_links(change) or self._serves(change.view.tail):
            return None
        return self._decided(Remove(change.view.tail, self.health()))

    def _lapsed(self, change: Change) -> Change | None:
        """It answers here, and yet its heartbeat has been missing for the timeout and more: it has to go, too.

        Unless nobody else's beats: then etcd, or the way to it, is to blame, and no member.
        """
        if change.leaving or not any(self._beats(member.run_id) for member in change.complete):
            return None
        for member in change.view.members:
            record = self._records[member.run_id]
            if record.lapsed_at is not None and record.lapsed >= self.terms.timeout_ms / 1000:
                return self._decided(Remove(member, self.health()))
        return None

    def _beats(self, run_id: str) -> bool:
        record = self._records[run_id]
        return record.has_beaten and record.lapsed_at is None

    def _termed(self, change: Change) -> Change | None:
        """Longer leases than the stored length are granted once that is stored."""
        length_ms = self._length_to_store()
        return replace(change, lease_ms=length_ms) if length_ms != change.lease_ms else None

    def _kept(self, change: Change) -> Change | None:
        """Who has everything on its disk: when the chain is dead, nobody gives that up without knowing it."""
        if not self.is_settled:
            return None
        seen = {run_id for run_id, record in self._records.items() if record.sighting and record.sighting.durable}
        durable = tuple(member.run_id for member in change.view.members if member.run_id in seen)
        return replace(change, durable=durable) if durable != change.durable else None

    def _length_to_store(self) -> int:
        """A master that restarts reckons with leases of this length: a shorter one waits until longer ones are over."""
        shorter = self.now + self.terms.timeout_ms / 1000 * (1 + self.terms.drift)
        if self.change and any(record.granted_until > shorter for record in self._records.values()):
            return max(self.change.lease_ms, self.terms.timeout_ms)
        return self.terms.timeout_ms
