"""Keeps the stored view and the protocol's state together: what is decided is stored, then told (rule 5).

Everything here may be called from any thread. The lock is held for short pure steps only, never while anybody waits
for a disk or a member.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from chainredis.coordinator.complaints import Complaint
from chainredis.protocol.controller import Controller
from chainredis.protocol.errors import CommandError, Deposed, OutcomeUnknown, StoreError
from chainredis.protocol.leases import Lease
from chainredis.protocol.member_record import BrokenLink, Lifeline, MemberReport, MemberStatus
from chainredis.protocol.reconfiguration import Configuration, Event, Health
from chainredis.protocol.view import Member, View
from chainredis.storage.view_store import ViewStore
from chainredis.transport.settings import POLLS_A_LEASE, Settings

log = logging.getLogger(__name__)

UNSETTLED_POLL_S = 0.02
# Of a lease, up to a bound: so often the master notices that time has passed.
TICK, LONGEST_TICK_S = 0.05, 0.25


def boot_seconds() -> float:
    """A clock that runs on through suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class MemberSessions(Protocol):
    """Who talks with the members."""

    def follow(self, members: tuple[Member, ...]) -> None:
        """With these, and nobody else. Called with the runtime's lock held."""

    def wake(self, run_ids: Iterable[str]) -> None:
        """Look at these now, and tell them what there is to be told."""


@dataclass(frozen=True)
class LeadershipTerm:
    """The right to lead, which a master that is the only one has for good. until: nobody else can lead before, on the
    runtime's clock. slack_ms: as in Controller.
    """

    until: Callable[[], float] = lambda: math.inf
    slack_ms: int = 0


PERMANENT = LeadershipTerm()


class Runtime:
    """Owns the controller and the store. `start` begins the work."""

    def __init__(
        self,
        store: ViewStore,
        settings: Settings,
        *,
        leadership: LeadershipTerm = PERMANENT,
        clock: Callable[[], float] = boot_seconds,
        remembered: View | None = None,
    ) -> None:
        """remembered: the newest view that this master knew in an earlier term, if there was one."""
        self._remembered = remembered
        self._store = store
        self._settings = settings
        self._leadership = leadership
        self._clock = clock
        self._controller = Controller(None, settings.polling().protocol, clock(), slack_ms=leadership.slack_ms)
        self._detector = self._controller.detector
        # Guards all that is here but the store; notified whenever the controller may have come to another conclusion.
        self._changed = threading.Condition()
        self._storing = threading.Lock()
        # Why it is not known for certain what is stored; None: it is known.
        self._doubt: StoreError | None = StoreError("the stored view has not been read yet")
        self._is_read = False
        self.is_closed = False
        self.repairs = 0
        self._sessions: MemberSessions

    def start(self, sessions: MemberSessions) -> None:
        self._sessions = sessions
        try:
            self.learn()
        except StoreError as error:
            log.error("%s: no change will be made before this is repaired", error)
        threading.Thread(target=self._run, name="chain-runtime", daemon=True).start()

    def close(self) -> None:
        with self._changed:
            self.is_closed = True
            self._sessions.follow(())
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------- what members said

    def answered(self, run_id: str, report: MemberReport) -> None:
        with self._changed:
            self._detector.answered(run_id, report, self._clock())
            self._changed.notify_all()

    def adopted(self, run_id: str, epoch: int) -> None:
        with self._changed:
            self._detector.adopted(run_id, epoch, self._clock())
            self._changed.notify_all()

    def superseded(self, view: View) -> None:
        """Somebody who knows the chain's secret is, or was, in this view."""
        with self._changed:
            is_news = self._controller.superseded(view)
            self._changed.notify_all()
            trouble = self._controller.why_unsettled
            if is_news and not self.is_closed:
                self._sessions.follow(self._controller.followed)
        if is_news:
            log.error("%s", trouble)

    def cannot_feed(self, run_id: str, epoch: int) -> None:
        with self._changed:
            self._controller.cannot_feed(run_id, epoch)
            self._changed.notify_all()

    def spoke(self, run_id: str) -> None:
        """It lives, but has no answer."""
        with self._changed:
            self._detector.spoke(run_id, self._clock())

    def dropped(self, run_id: str) -> None:
        """To be followed by an attempt to connect again, whose outcome tells more."""
        with self._changed:
            self._detector.attend(self._clock())
            self._detector.dropped(run_id)

    def refused(self, run_id: str) -> None:
        self._suspect(lambda controller: controller.detector.refused(run_id))

    def replaced(self, run_id: str) -> None:
        self._suspect(lambda controller: controller.detector.replaced(run_id))

    def lifeline(self, run_id: str, lifeline: Lifeline) -> None:
        self._suspect(lambda controller: controller.detector.lifeline(run_id, lifeline) and lifeline is Lifeline.ENDED)

    def located(self, run_id: str, address: str, *, is_another: bool = False) -> None:
        """The very process of that member has proved itself there; or it is another one that answers."""
        with self._changed:
            self._detector.located(run_id, address, is_another=is_another)
            self._changed.notify_all()

    def _suspect(self, learn: Callable[[Controller], bool]) -> None:
        """Somebody may be dead. He is looked at, and a repair begins with an answer of a survivor: all are asked."""
        with self._changed:
            self._detector.attend(self._clock())
            is_news = learn(self._controller)
            self._changed.notify_all()
        if is_news:
            self._sessions.wake(self._followed())
        self._advance()

    def reported(self, run_id: str, broken_links: tuple[BrokenLink, ...]) -> None:
        """Whom it misses is looked at now, if that is not happening already."""
        with self._changed:
            self._detector.reported(run_id, broken_links, self._clock())
            self._changed.notify_all()
            suspects = [each.run_id for each in broken_links if not self._detector.is_dead(each.run_id)]
        self._sessions.wake(suspects)
        self._advance()

    def saw_heartbeats(self, run_ids: frozenset[str]) -> None:
        """Whose heartbeats there are now. Who has ceased to beat is looked at."""
        with self._changed:
            lapsed = self._detector.heartbeats(run_ids, self._clock())
            self._changed.notify_all()
        self._sessions.wake(lapsed)

    # ------------------------------------------------------------------------------------ what they are to hear

    def due(self, run_id: str) -> tuple[View | None, Lease | None]:
        """The view that this process is to be told; if there is none, the lease that goes with its next poll."""
        with self._changed:
            self._controller.leases.leads_until = self._leadership.until()
            if self.is_closed or self._clock() >= self._controller.leases.leads_until:
                return None, None
            view = self._controller.view_to_tell(run_id)
            return view, None if view else self._controller.lease_to_grant(run_id)

    def pause_s(self, run_id: str) -> float:
        """Until it is to be looked at again."""
        with self._changed:
            if self._controller.view_to_tell(run_id):
                return 0
            if not self._controller.is_settled:
                return UNSETTLED_POLL_S
            return min(self._settings.polling().interval_ms, self._detector.lease_ms(run_id) / POLLS_A_LEASE) / 1000

    # --------------------------------------------------------------------------------------------- for commands

    @property
    def configuration(self) -> Configuration | None:
        """The newest one that is stored for certain. StoreError when it could never be read."""
        with self._changed:
            if self._doubt and not self._is_read:
                raise self._doubt
            return self._controller.configuration

    @property
    def view(self) -> View | None:
        configuration = self.configuration
        return configuration.view if configuration else None

    @property
    def known_view(self) -> View | None:
        """The newest one that is known, stored or not."""
        with self._changed:
            return self._controller.known_view

    @property
    def is_lost(self) -> bool:
        with self._changed:
            return self._controller.is_lost

    def missing(self, fallen: bool) -> tuple[Member, ...]:
        with self._changed:
            return self._controller.missing(fallen)

    @property
    def why_unsettled(self) -> str:
        """Why the chain is not as it was decided, for people; empty when it is."""
        with self._changed:
            return str(self._doubt) if self._doubt else self._controller.why_unsettled

    def member_statuses(self) -> list[tuple[Member, MemberStatus]]:
        """Of each member in the view."""
        with self._changed:
            view = self._controller.configuration.view if self._controller.configuration else None
            return [(member, self._detector.member_status(member.run_id)) for member in view.members] if view else []

    def lifeline_port(self, run_id: str) -> int:
        with self._changed:
            return self._detector.lifeline_port(run_id)

    def is_well(self, run_id: str) -> bool:
        with self._changed:
            return self._detector.is_well(run_id)

    def learn(self) -> None:
        """Know for certain what is stored. Raises StoreError."""
        if self._is_in_doubt():
            with self._storing:
                # Another thread may have learned it by now, and have decided since: that is not to be undone.
                if self._is_in_doubt():
                    self._read()

    def _is_in_doubt(self) -> bool:
        return self._doubt is not None

    def _read(self) -> None:
        try:
            configuration = self._not_gone_back(self._store.load())
            if configuration:
                # What was just read may be in the system's cache alone, when the last attempt to save it failed.
                self._store.save(configuration)
        except StoreError as error:
            self._doubt = error
            raise
        self._stored(configuration)
        if self._remembered:
            self.superseded(self._remembered)  # unless the store has that, or a newer one

    def _not_gone_back(self, found: Configuration | None) -> Configuration | None:
        """What this master itself has stored last, when the store has gone back since: nobody else could store."""
        known = self._controller.configuration
        if known is None or (found and found.view.epoch >= known.view.epoch):
            return found
        what = f"had gone back to epoch {found.view.epoch}" if found else "was lost"
        log.error("the stored view %s: the newest one, of epoch %d, is stored again", what, known.view.epoch)
        return known

    def doubt(self) -> None:
        """What is stored may be another thing than what this master has stored: it is read again."""
        with self._changed:
            self._doubt = self._doubt or StoreError("the stored view is being read again")
            self._changed.notify_all()

    def enact(self, event: Callable[[Configuration | None, Health], Event]) -> Configuration:
        """Decide and store. CommandError when it cannot be; OutcomeUnknown when it may be stored, or not."""
        self.learn()
        with self._changed:
            self._changed.wait_for(lambda: self._controller.is_open, self._patience_s)
            self._detector.attend(self._clock())
            configuration = self._controller.propose(event(self._controller.configuration, self._detector.health()))
        try:
            self._keep(configuration)
        except Deposed as error:
            raise CommandError(str(error)) from error
        except StoreError as error:
            raise OutcomeUnknown(f"{error}: the change may come into force when that is repaired") from error
        return configuration

    def wait_for(self, condition: Callable[[Controller], bool], timeout_s: float | None) -> bool:
        """Until it holds for the controller, which is not to be touched; False: not in time, or the end has come."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_closed or condition(self._controller), timeout_s)
            return not self.is_closed and condition(self._controller)

    def stir(self) -> None:
        """Who waits here for something of its own looks at that again."""
        with self._changed:
            self._changed.notify_all()

    def await_settled(self, is_off: Callable[[], bool] = lambda: False) -> bool:
        """Until the chain is whole and serves. False: it is lost, or does not come to serve in time, or `is_off`."""
        self.wait_for(lambda controller: controller.is_settled or controller.is_lost or is_off(), self._patience_s)
        return self.wait_for(lambda controller: controller.is_settled, 0)

    def await_departure(self, member: Member, is_off: Callable[[], bool]) -> bool:
        """Until the chain goes on without this process, or is lost. False: not in time, or `is_off`."""

        def is_out(controller: Controller) -> bool:
            return controller.is_lost or not controller.has(member.run_id)

        self.wait_for(lambda controller: is_out(controller) or is_off(), self._patience_s)
        return self.wait_for(is_out, 0)

    def await_service(self, newcomer: Member | None = None) -> None:
        """Until the chain serves as it was decided, with `newcomer`. OutcomeUnknown when that takes too long."""

        def is_out(controller: Controller) -> bool:
            return newcomer is not None and not controller.has(newcomer.run_id)

        is_over = self.wait_for(lambda controller: controller.is_settled or is_out(controller), self._patience_s)
        if self.wait_for(is_out, 0):
            raise CommandError(f"the chain had to go on without {newcomer}, before that was seen to serve: try again")
        if not is_over:
            view = self.view
            raise OutcomeUnknown(
                f"the change is decided, and stored as epoch {view.epoch if view else 0}, but {self.why_unsettled}. "
                "The master goes on trying"
            )

    def await_answer(self, place: int) -> Member | None:
        """The member at that place, once it has answered what was asked now: that it serves there.

        None: the chain is lost, or hangs.
        """
        since = self._clock()
        self._sessions.wake(self._followed())

        def answerer() -> Member | None:
            return self._controller.found_serving(place, since)

        with self._changed:
            self._changed.wait_for(lambda: self._controller.is_lost or answerer(), self._patience_s)
            return answerer()

    def _followed(self) -> list[str]:
        with self._changed:
            return [member.run_id for member in self._controller.followed]

    @property
    def _patience_s(self) -> float:
        """As long as a lease may have to run out before, and some more."""
        return self._settings.polling().longest_lease_s + self._settings.settle_timeout_s

    # -------------------------------------------------------------------------------------------------- the work

    def _run(self) -> None:
        complaint = Complaint()
        while not self.is_closed:
            try:
                self._step()
                complaint.over()
            except StoreError as error:
                if line := complaint.line(str(error)):
                    log.error("%s", line)
                self.wait_for(lambda _: self._doubt is None, self._settings.retry_interval_s)
            except Exception:
                log.exception("keeping the chain failed in a way that nobody has thought of")
                self.wait_for(lambda _: False, self._settings.retry_interval_s)

    def _step(self) -> None:
        """Carry out what time alone, or an answer, has brought about; else wait until there may be something."""
        self.learn()
        with self._changed:
            polling = self._settings.polling()
            self._detector.settings = polling.protocol
            self._detector.attend(self._clock())
            configuration = self._next_configuration()
            if configuration is None:
                self._changed.wait(min(TICK * polling.protocol.lease_ms / 1000, LONGEST_TICK_S))
        if configuration:
            self._carry_out(configuration)

    def _advance(self) -> None:
        """Carry out at once what follows from bad news: to wake another thread for that would take its time."""
        with self._changed:
            configuration = self._next_configuration()
        if configuration:
            with contextlib.suppress(StoreError):  # the runtime's own thread goes on with that
                self._carry_out(configuration)

    def _next_configuration(self) -> Configuration | None:
        return None if self._doubt or self.is_closed else self._controller.next_configuration()

    def _carry_out(self, configuration: Configuration) -> None:
        before = self._controller.configuration
        self._keep(configuration)
        if before and before.view != configuration.view:
            self.repairs += 1
            log.warning("repaired: the chain of epoch %d is %s", configuration.view.epoch, configuration.view.names)

    def _keep(self, configuration: Configuration) -> None:
        """Raises StoreError; then it is open which change is stored, and nobody may be told of either."""
        try:
            with self._storing:
                self._store.save(configuration)
        except Exception as error:
            with self._changed:
                self._doubt = error if isinstance(error, StoreError) else StoreError(f"a fault of the store: {error!r}")
            raise
        self._stored(configuration)

    def _stored(self, configuration: Configuration | None) -> None:
        with self._changed:
            self._doubt, self._is_read = None, True
            # Another master may have granted leases until now, while this one waited for what is stored.
            self._detector.attend(self._clock())
            self._controller.stored(configuration)
            self._changed.notify_all()
        # Milliseconds count: who is followed already hears of it first.
        self._sessions.wake(self._followed())
        with self._changed:
            if not self.is_closed:
                self._sessions.follow(self._controller.followed)
