# SPDX-License-Identifier: Apache-2.0
"""The master's side of the protocol: it decides who is in the chain, and tells each member what it has to know.

    seen            `detector`'s events; `cannot_feed`, `superseded`
    to be done      `next_configuration` to store, then `stored`; `view_to_tell` and `lease_to_grant` for each member in
                    `followed`

The same code runs in the server and in the simulation.
"""

from dataclasses import replace

from chainredis.protocol.errors import CommandError
from chainredis.protocol.failure_detector import FailureDetector
from chainredis.protocol.leases import Lease, Leases
from chainredis.protocol.member_record import SecondPort
from chainredis.protocol.reconfiguration import BringForward, Configuration, Event, Forget, Form, reconfigure
from chainredis.protocol.repairs import Repairs
from chainredis.protocol.settings import ProtocolSettings
from chainredis.protocol.status_text import why_outdated, why_unlinked, why_unsettled
from chainredis.protocol.view import Kind, Member, View


class Controller:
    """One master's knowledge from its start on. Not thread-safe.

    configuration: what is stored, None for nothing. newer: the newest view that anybody is known to know, if the stored
    one is older: the store has gone back, and nothing but that view is decided until it is stored again.
    """

    detector_class: type[FailureDetector] = FailureDetector
    leases_class: type[Leases] = Leases
    repairs_class: type[Repairs] = Repairs

    def __init__(
        self, configuration: Configuration | None, settings: ProtocolSettings, now: float, slack_ms: int = 0
    ) -> None:
        """now: the master's start, at which any member may hold a lease of full length. slack_ms: as in Leases."""
        self.configuration = configuration
        self.newer = configuration.newer if configuration else None
        self.detector = self.detector_class(settings, now)
        self.leases = self.leases_class(self.detector, slack_ms)
        self.repairs = self.repairs_class(self.detector, self.leases)
        self._undecided: Configuration | None = None  # until it is stored, or not
        self._stored_at = 0.0  # in the detector's attention
        self._follow()
        # Members of the configuration that was stored before this master's time, of which nothing was heard as yet.
        self._strangers = frozenset(self.detector.records)

    def _follow(self) -> None:
        self.leases.stored_ms = self.configuration.lease_ms if self.configuration else 0
        self.detector.longest_lease_ms = max(self.detector.longest_lease_ms, self.leases.stored_ms)
        chain = self.configuration.view.members if self.configuration else ()
        away = self.configuration.awaited + self.configuration.fallen if self.configuration else ()
        self.detector.follow(self.followed, chain, self.leases.full_lease_until(), away)

    # ------------------------------------------------------------------------------------- what only a controller sees

    def cannot_feed(self, run_id: str, epoch: int) -> None:
        """A member refuses the pending view of this epoch: it lacks updates that the new tail would need from it."""
        stored = self.configuration
        if stored and stored.pending and stored.view.epoch == epoch and (record := self.detector.records.get(run_id)):
            record.cannot_feed_epoch = epoch

    def superseded(self, view: View) -> bool:
        """A member, or this master in an earlier term, knows this view. Returns False if that is no news."""
        is_news = self.known_view is None or view.epoch > self.known_view.epoch
        if is_news:
            self.newer = view
            self._follow()
        return is_news

    # ------------------------------------------------------------------------------------------------- what is so now

    @property
    def followed(self) -> tuple[Member, ...]:
        """The members to poll and to watch."""
        stored = self.configuration.view.members + self.configuration.leaving if self.configuration else ()
        newer = self.newer.members if self.newer else ()
        return tuple({member.run_id: member for member in stored + newer}.values())

    @property
    def view(self) -> View | None:
        """The stored view."""
        return self.configuration.view if self.configuration else None

    @property
    def epoch(self) -> int:
        """Of the stored view, 0 for none."""
        return self.view.epoch if self.view else 0

    @property
    def known_view(self) -> View | None:
        """The newest view, stored or not."""
        return self.newer or self.view

    @property
    def is_lost(self) -> bool:
        """Returns True if no member with all the data is left."""
        if self.configuration is None or self.is_outdated:
            return False
        return all(self.detector.is_gone(member.run_id) for member in self.configuration.complete)

    @property
    def is_outdated(self) -> bool:
        """Returns True if the store has gone back: somebody is, or was, in a newer view than the stored one."""
        if self.newer is not None:
            return True
        return self.configuration is not None and self.detector.is_any_ahead_of(self.configuration.view)

    @property
    def unchanged_s(self) -> float:
        """For how many seconds the master has listened since it stored anything."""
        return self.detector.attention - self._stored_at

    @property
    def is_settled(self) -> bool:
        """Returns True if the newest view is in force, and every member serves in it. Notes that are just being stored
        beside that view change nothing of it.
        """
        if self.configuration is None or self.is_outdated:
            return False
        if self._undecided and self._undecided.view != self.configuration.view:
            return False
        return self.repairs.is_in_force(self.configuration)

    @property
    def is_open(self) -> bool:
        """Returns True if an operator's command would not be refused because of something that will soon be over."""
        if self._undecided or self.is_outdated:
            return self._undecided is None
        return self._has_heard_everybody() and not (self.configuration and self.configuration.leaving)

    @property
    def why_unsettled(self) -> str:
        """Why the newest view is not in force everywhere, for people; empty if it is."""
        if self.is_outdated:
            return self._why_outdated
        if self.configuration is None:
            return ""
        if self.is_settled:
            return why_unlinked(self.configuration.view, self.detector.records)
        now = replace(self.configuration, leaving=self.repairs.still_leaving(self.configuration))
        return why_unsettled(now, self._idle_in(now.view), is_lost=self.is_lost)

    @property
    def _why_outdated(self) -> str:
        members = self.newer.members if self.newer else ()
        silent = [member for member in members if not self.detector.is_well(member.run_id)]
        return why_outdated(self.view, self.newer, silent)

    def _idle_in(self, view: View) -> list[Member]:
        return [member for member in view.members if not self.detector.serves(member.run_id, view.epoch)]

    def has(self, run_id: str) -> bool:
        """Returns True if the process is a member of the stored view."""
        return self.configuration is not None and self.configuration.view.member(run_id) is not None

    def goes_on_with(self, run_id: str) -> bool:
        """Returns True if the process is a member of the newest view, be it stored yet or not."""
        newest = self._undecided or self.configuration
        return newest is not None and newest.view.member(run_id) is not None

    def knows_view(self, run_id: str) -> bool:
        """Returns True if the process has adopted the newest view: so it has the chain's secret, too."""
        return self.configuration is not None and self.detector.epoch_of(run_id) == self.configuration.view.epoch

    def found_serving(self, place: int, since: float) -> Member | None:
        """The member at that place of the chain, if it was asked since then, has answered, and serves there."""
        if self.configuration is None:
            return None
        member = self.configuration.view.members[place]
        if not self.repairs.serves(member, self.configuration):
            return None
        return member if self.detector.records[member.run_id].asked_at >= since else None

    def missing(self, fallen: bool) -> tuple[Member, ...]:
        """Members that may come back to a chain that serves. fallen: also those that a fault took out.

        Nobody while one still leaves: that may be the same, and with which fault it left is remembered afterwards.
        """
        if self.configuration is None or self.configuration.leaving or not self.is_settled:
            return ()
        return self.configuration.awaited + (self.configuration.fallen if fallen else ())

    # ---------------------------------------------------------------------------------------------------- what to store

    def next_configuration(self) -> Configuration | None:
        """What is to be stored now, if anything. `stored` must follow. Who is left out gets no more leases."""
        if self._undecided:
            return None
        if self.is_outdated:
            self._undecided = self._noted() or self._brought_forward()
        elif self.configuration and self._has_heard_everybody():
            self._undecided = self.repairs.next_configuration(self.configuration, self.unchanged_s)
        return self._undecided

    def propose(self, event: Event) -> Configuration:
        """As `next_configuration`, for what an operator wants. CommandError if that cannot be, or not now."""
        if self._undecided:
            raise CommandError("the chain is just being changed: try again")
        if self.is_outdated:
            if not isinstance(event, Form):
                raise CommandError(self._why_outdated)
            event = replace(event, newer=self.newer)
        elif not isinstance(event, Form | Forget) and not self._has_heard_everybody():
            raise CommandError(self._why_not_heard)
        self._undecided = replace(reconfigure(self.configuration, event), lease_ms=self.leases.length_to_store())
        return self._undecided

    def stored(self, configuration: Configuration | None) -> None:
        """The store holds this configuration now, for certain (rule 5)."""
        knew_nothing = self.configuration is None
        self.configuration, self._undecided, self._stored_at = configuration, None, self.detector.attention
        if configuration and self.newer and configuration.view.epoch >= self.newer.epoch:
            self.newer = None
        if configuration and configuration.newer:
            self.superseded(configuration.newer)
        self._follow()
        self._strangers = frozenset(self.detector.records) if knew_nothing else self._strangers

    def _has_heard_everybody(self) -> bool:
        """Returns True if everybody in what was stored before this master's time was heard by it, or is gone.

        Only then is it known whether the store has gone back.
        """
        self._strangers &= self.detector.unheard()
        return not self._strangers

    @property
    def _why_not_heard(self) -> str:
        members = self.configuration.view.members + self.configuration.leaving if self.configuration else ()
        silent = ", ".join(str(member) for member in members if member.run_id in self._strangers)
        return (
            f"{silent} has not answered since this master began, and may know a newer view than the stored one: try "
            "again when it is found dead or silent for the heartbeat timeout"
        )

    def _noted(self) -> Configuration | None:
        """The newer view is noted in the store: the next master has to know it, too, when its members are dead."""
        is_new = self.configuration and self.newer and self.configuration.newer != self.newer
        return replace(self.configuration, newer=self.newer) if self.configuration and is_new else None

    def _brought_forward(self) -> Configuration | None:
        """The newest view that any member knows, once all its members have answered, and none is in a newer one.

        They answer questions that were asked after all leases from before this master's start were over, and the last
        term of any other master: until then one that stored a still newer view may be telling it.
        """
        newer, detector = self.newer, self.detector
        if newer is None or detector.is_any_ahead_of(newer):
            return None
        if not detector.have_answered(newer.members, asked_since=detector.started + self.leases.longest_s):
            return None
        outside = tuple(member for member in self.followed if not newer.member(member.run_id))
        is_new_tail = len(newer.members) > 1 and not detector.serves_somewhere(newer.tail.run_id)
        return self.repairs.reconfigured(self.configuration, BringForward(newer, outside, is_new_tail))

    # -------------------------------------------------------------------------------------------- what to tell a member

    def view_to_tell(self, run_id: str) -> View | None:
        """The view that this process has to adopt, if any.

        Those that leave come first (rule 4), one by one, the last of the chain first: whoever knows a view tells it to
        its neighbours, and these may not serve in it before a former tail has ceased to serve. A member of a newer view
        is told the known one, too: it answers with its own.

        In a chain of all commands every member answers reads. So of several that leave none is told before the leases
        of the others are over: a survivor that hears of the view from one serves alone.
        """
        stored, record = self.configuration, self.detector.records.get(run_id)
        if record is None or record.report is None:
            return None
        if self.is_outdated:
            known = self.known_view
            return known if known and record.epoch > known.epoch else None
        if stored is None or record.epoch >= stored.view.epoch or record.cannot_feed_epoch == stored.view.epoch:
            return None
        leaving = self.repairs.still_leaving(stored)
        if leaving and (leaving[-1].run_id != run_id or self._may_answer(leaving[:-1], stored)):
            return None
        return stored.view

    def _may_answer(self, others: tuple[Member, ...], stored: Configuration) -> bool:
        records = (self.detector.records.get(member.run_id) for member in others)
        return stored.view.kind is Kind.ALL and any(
            record is None or self.detector.now < record.granted_until for record in records)

    def second_ports_to_tell(self, run_id: str) -> dict[str, SecondPort]:
        """Those of all that are followed, as far as they are known. Empty for a member that would not understand."""
        if self.detector.second_port(run_id) is None:
            return {}
        told = {member.run_id: self.detector.second_port(member.run_id) for member in self.followed}
        return {run_id: port for run_id, port in told.items() if port is not None}

    def lease_to_grant(self, run_id: str) -> Lease | None:
        """The lease for the member's next poll. None for members that a decision leaves out, be it stored yet or not.

        A member that has not adopted the newest view is granted one for its own view: a lease of an epoch that it does
        not know would only stop it from serving (rule 2). The tail of both views, or one that is to feed a new tail,
        may serve on.
        """
        stored, record = self.configuration, self.detector.records.get(run_id)
        if stored is None or record is None or record.report is None or not stored.view.member(run_id):
            return None
        if not 0 < record.epoch <= stored.view.epoch or self.is_outdated or not self._has_heard_everybody():
            return None
        if self._undecided and not self._undecided.view.member(run_id):
            return None
        return self.leases.grant(run_id)
