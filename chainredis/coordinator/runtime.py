# SPDX-License-Identifier: Apache-2.0
"""The master's loop: what the controller decides is stored, and only then told to members (rule 5).

Every method may be called from any thread. The lock is held for short pure steps only, never while a thread waits for a
disk or a member.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable

from chainredis.coordinator.complaints import Complaint
from chainredis.coordinator.leadership import PERMANENT, LeadershipTerm, boot_seconds
from chainredis.coordinator.member_sessions import MemberSessions
from chainredis.protocol.controller import Controller
from chainredis.protocol.errors import CommandError, Deposed, OutcomeUnknown, StoreError
from chainredis.protocol.leases import Lease
from chainredis.protocol.member_record import BrokenLink, Lifeline, MemberReport, MemberStatus, SecondPort
from chainredis.protocol.reconfiguration import Configuration, Event, Health
from chainredis.protocol.view import Member, View
from chainredis.storage.view_store import ViewStore
from chainredis.transport.settings import POLLS_A_LEASE, Settings

log = logging.getLogger(__name__)

# A new view mostly serves within milliseconds: the pause between polls is as long as that has taken by now.
LEAST_POLL_S, UNSETTLED_POLL_S = 0.004, 0.02
# The master notices that time has passed after this part of a lease, at the latest after LONGEST_TICK_S.
TICK, LONGEST_TICK_S = 0.05, 0.25


class Runtime:
    """Owns the controller and the store. `start` begins the work.

    Methods without a docstring do what those of the same name in Controller or FailureDetector do. repairs: how many
    views this master has changed by itself.
    """

    def __init__(
        self,
        store: ViewStore,
        settings: Settings,
        *,
        leadership: LeadershipTerm = PERMANENT,
        clock: Callable[[], float] = boot_seconds,
        remembered: View | None = None,
    ) -> None:
        """remembered: the newest view that this master knew in an earlier term, if there was one.

        clock: gives seconds, and runs on through suspend.
        """
        self._remembered = remembered
        self._store = store
        self._settings = settings
        self._leadership = leadership
        self._clock = clock
        self._controller = Controller(None, settings.polling().protocol, clock(), slack_ms=leadership.slack_ms)
        self._detector = self._controller.detector
        lock = threading.RLock()  # guards everything here but the store
        # Notified whenever the controller may have come to another conclusion, and only when something was stored.
        self._changed, self._renewed = threading.Condition(lock), threading.Condition(lock)
        self._over = threading.Event()
        self._storing = threading.Lock()
        # Why it is not known for certain what is stored; None if it is known.
        self._doubt: StoreError | None = StoreError("the stored view has not been read yet")
        self._is_read, self.is_closed, self.repairs = False, False, 0
        self._sessions: MemberSessions

    def start(self, sessions: MemberSessions) -> None:
        """Read the store, and follow the members until `close`."""
        self._sessions = sessions
        try:
            self.ensure_read()
        except StoreError as error:
            log.error("%s: no change will be made before this is repaired", error)
        threading.Thread(target=self._work, name="chain-runtime", daemon=True).start()

    def close(self) -> None:
        """Follow nobody any more, and decide nothing."""
        with self._changed:
            self.is_closed = True
            self._over.set()
            self._sessions.follow(())
            self._changed.notify_all()
            self._renewed.notify_all()

    # ------------------------------------------------------------------------------------- what members said

    def now(self) -> float:
        """The time on the clock of everything here."""
        return self._clock()

    def answered(self, run_id: str, report: MemberReport, asked_at: float) -> None:
        """asked_at: `now` before the member was asked. All members are to hear of another second port at once."""
        with self._changed:
            before = self._detector.second_port(run_id)
            self._detector.answered(run_id, report, self._clock(), asked_at)
            self._changed.notify_all()
            is_news = (before or SecondPort()) != (self._detector.second_port(run_id) or SecondPort())
        if is_news:
            self._sessions.wake(self._followed())

    def adopted(self, run_id: str, epoch: int) -> None:
        """Who is left out has heard of the view first: with its answer the others hear of it."""
        with self._changed:
            self._detector.adopted(run_id, epoch, self._clock())
            view = self._controller.view
            informed = self._to_be_told(view) if view and not view.member(run_id) else []
        if view and informed:
            self._sessions.announce(view, informed)
            self._sessions.wake(informed)
        self.wake_waiters()

    def superseded(self, view: View) -> None:
        """A process that knows the chain's secret is, or was, in this view."""
        with self._changed:
            is_news = self._controller.superseded(view)
            self._changed.notify_all()
            why = self._controller.why_unsettled
            if is_news and not self.is_closed:
                self._sessions.follow(self._controller.followed)
        if is_news:
            log.error("%s", why)

    def cannot_feed(self, run_id: str, epoch: int) -> None:
        with self._changed:
            self._controller.cannot_feed(run_id, epoch)
            self._changed.notify_all()

    def spoke(self, run_id: str) -> None:
        """The member lives, and has no answer at present."""
        with self._changed:
            self._detector.spoke(run_id, self._clock())

    def dropped(self, run_id: str) -> bool:
        """The member has closed a connection. An attempt to connect again has to follow: its outcome tells more.

        Returns True if that is not urgent: the member's lifeline tells of its end.
        """
        with self._changed:
            self._detector.attend(self._clock())
            self._detector.dropped(run_id)
            return self._detector.has_lifeline(run_id)

    def refused(self, run_id: str) -> None:
        self._left_its_port(run_id, self._detector.refused)

    def replaced(self, run_id: str) -> None:
        self._left_its_port(run_id, self._detector.replaced)

    def _left_its_port(self, run_id: str, learn: Callable[[str], bool]) -> None:
        """If that leads to no repair yet, it begins with an answer of a survivor. learn: returns True if it is news."""
        with self._changed:
            self._detector.attend(self._clock())
            is_news = learn(run_id)
        if not self._repair_at_once():
            self.look_around([run_id] if is_news else [])

    def lifeline(self, run_id: str, lifeline: Lifeline, *, is_refused: bool = False) -> None:
        """is_refused: nobody listens on the member's port any more. After an end `look_around` has to follow."""
        with self._changed:
            self._detector.attend(self._clock())
            self._detector.lifeline(run_id, lifeline)
            if is_refused:
                self._detector.refused(run_id)
        self._repair_at_once()

    def located(self, run_id: str, address: str, *, is_another: bool = False) -> None:
        """The member has proved its identity at this address; or another process answers there."""
        with self._changed:
            self._detector.located(run_id, address, is_another=is_another)
            self._changed.notify_all()

    def reported(self, run_id: str, broken_links: tuple[BrokenLink, ...]) -> None:
        """The member reports broken links. `look_around` has to follow."""
        with self._changed:
            self._detector.reported(run_id, broken_links, self._clock())
        self._repair_at_once()

    def look_around(self, suspects: Iterable[str]) -> None:
        """Poll all, if the chain is to go on with one of them. To be called in a moment: a lifeline and a report mostly
        tell enough, and until a view without them is stored nobody else is to want the interpreter. Whoever waits looks
        again, too: time passes.
        """
        self.wake_waiters()
        if self.wait_for(lambda controller: any(map(controller.goes_on_with, suspects)), 0):
            self._sessions.wake(self._followed())

    def saw_heartbeats(self, run_ids: frozenset[str]) -> None:
        """All heartbeats that are in etcd now. Members whose heartbeat has ceased are polled."""
        with self._changed:
            lapsed = self._detector.heartbeats(run_ids, self._clock())
            self._changed.notify_all()
        self._sessions.wake(lapsed)

    # ------------------------------------------------------------------------------------ what they are to hear

    def due(self, run_id: str) -> tuple[View | None, Lease | None]:
        """The view that this process has to adopt; if there is none, the lease that goes with its next poll."""
        with self._changed:
            if not self._may_tell():
                return None, None
            view = self._controller.view_to_tell(run_id)
            return view, None if view else self._controller.lease_to_grant(run_id)

    def second_ports_to_tell(self, run_id: str) -> dict[str, SecondPort]:
        with self._changed:
            return self._controller.second_ports_to_tell(run_id)

    def _to_be_told(self, view: View | None) -> list[str]:
        """Those that have to adopt this view now, head first."""
        followed = self._controller.followed if view and self._may_tell() else ()
        return [each.run_id for each in followed if self._controller.view_to_tell(each.run_id) == view]

    def _may_tell(self) -> bool:
        until = self._controller.leases.leads_until = self._leadership.until()
        return not self.is_closed and self._clock() < until

    def pause_s(self, run_id: str) -> float:
        """Seconds until the process is to be polled again."""
        with self._changed:
            if self._controller.view_to_tell(run_id):
                return 0
            if not self._controller.is_settled:
                self._detector.attend(self._clock())
                return min(max(self._controller.unchanged_s, LEAST_POLL_S), UNSETTLED_POLL_S)
            return min(self._settings.polling().interval_ms, self._detector.lease_ms(run_id) / POLLS_A_LEASE) / 1000

    # --------------------------------------------------------------------------------------------- for commands

    @property
    def configuration(self) -> Configuration | None:
        """The newest one that is stored for certain, None for none. StoreError if the store could never be read."""
        # A question for the chain does not queue for the lock with all that a repair wakes.
        if not self._is_read and (doubt := self._doubt):
            raise doubt
        return self._controller.configuration

    @property
    def view(self) -> View | None:
        configuration = self.configuration
        return configuration.view if configuration else None

    @property
    def known_view(self) -> View | None:
        """The newest view that is known, stored or not."""
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
        """Why the chain is not as it was decided, for people; empty if it is."""
        with self._changed:
            return str(self._doubt) if self._doubt else self._controller.why_unsettled

    def member_statuses(self) -> list[tuple[Member, MemberStatus]]:
        """The status of each member in the view, head first."""
        with self._changed:
            view = self._controller.view
            return [(member, self._detector.member_status(member.run_id)) for member in view.members] if view else []

    def lifeline_port(self, run_id: str) -> int:
        with self._changed:
            return self._detector.lifeline_port(run_id)

    def is_well(self, run_id: str) -> bool:
        with self._changed:
            return self._detector.is_well(run_id)

    def ensure_read(self) -> None:
        """Returns when it is known for certain what is stored. Raises StoreError."""
        if self._is_in_doubt():
            with self._storing:
                # Another thread may have read the store by now, and decided since: that must not be undone.
                if self._is_in_doubt():
                    self._read()

    def _is_in_doubt(self) -> bool:
        return self._doubt is not None

    def _read(self) -> None:
        try:
            found = self._store.load()
            configuration = self._not_gone_back(found)
            if configuration and not (configuration is found and self._store.is_certain):
                self._store.save(configuration)
        except StoreError as error:
            self._doubt = error
            raise
        self._stored(configuration)
        if self._remembered:
            self.superseded(self._remembered)  # ignored if the store has that view, or a newer one

    def _not_gone_back(self, found: Configuration | None) -> Configuration | None:
        """What was found; or what this master stored last, if the store has gone back since."""
        known = self._controller.configuration
        if known is None or (found and found.view.epoch >= known.view.epoch):
            return found
        what = f"had gone back to epoch {found.view.epoch}" if found else "was lost"
        log.error("the stored view %s: the newest one, of epoch %d, is stored again", what, known.view.epoch)
        return known

    @property
    def is_storing(self) -> bool:
        """Returns True while nothing can be decided, since the store has not answered yet."""
        return self._storing.locked()

    def doubt(self) -> None:
        """The store may hold something else than what this master has stored: it is read again."""
        with self._changed:
            self._doubt = self._doubt or StoreError("the stored view is being read again")
            self._changed.notify_all()

    def enact(self, event: Callable[[Configuration | None, Health], Event]) -> Configuration:
        """Decide and store what an operator wants.

        event: made from the stored configuration and the members' health. CommandError if the event is impossible;
        OutcomeUnknown if the new configuration may be stored, or not.
        """
        self.ensure_read()
        with self._changed:
            self._changed.wait_for(lambda: self._controller.is_open, self._patience_s)
            self._detector.attend(self._clock())
            configuration = self._controller.propose(event(self._controller.configuration, self._detector.health()))
        try:
            self._save(configuration)
        except Deposed as error:
            raise CommandError(str(error)) from error
        except StoreError as error:
            raise OutcomeUnknown(f"{error}: the change may come into force when that is repaired") from error
        return configuration

    def wait_for(self, condition: Callable[[Controller], bool], timeout_s: float | None) -> bool:
        """Returns False if the condition did not hold in time, or the runtime was closed.

        condition: must not change the controller. timeout_s: None waits for ever.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.is_closed or condition(self._controller), timeout_s)
            return not self.is_closed and condition(self._controller)

    def pause(self, seconds: float) -> None:
        """Wait for so long, or until the runtime is closed, whatever members say meanwhile."""
        self._over.wait(seconds)

    def await_epoch_after(self, epoch: int, timeout_s: float) -> None:
        """Wait until another epoch's view is stored, the runtime is closed, or the time is over."""
        with self._renewed:
            self._renewed.wait_for(lambda: self.is_closed or self._controller.epoch != epoch, timeout_s)

    def wake_waiters(self) -> None:
        """Let threads that wait here for conditions of their own look at these again."""
        with self._changed:
            self._changed.notify_all()

    def await_settled(self, is_off: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the chain is whole and serves. Returns False if it is lost, takes too long, or `is_off`."""
        self.wait_for(lambda controller: controller.is_settled or controller.is_lost or is_off(), self._patience_s)
        return self.wait_for(lambda controller: controller.is_settled, 0)

    def await_departure(self, member: Member, is_off: Callable[[], bool]) -> bool:
        """Wait until the chain goes on without this process, or is lost. Returns False if that takes too long."""

        def is_out(controller: Controller) -> bool:
            return controller.is_lost or not controller.has(member.run_id)

        self.wait_for(lambda controller: is_out(controller) or is_off(), self._patience_s)
        return self.wait_for(is_out, 0)

    def await_service(self, newcomer: Member | None = None) -> None:
        """Wait until the chain serves as it was decided, with `newcomer`.

        CommandError if it had to go on without the newcomer; OutcomeUnknown if that takes too long.
        """

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

    def await_answer(self, place: int, is_off: Callable[[], bool] = lambda: False) -> Member | None:
        """The member at that place of the chain (0: head, -1: tail), once it has answered that it serves there.

        None if the chain is lost, or hangs, or `is_off`.
        """
        since = self._clock()
        self._sessions.wake(self._followed())

        def answerer() -> Member | None:
            return self._controller.found_serving(place, since)

        with self._changed:
            self._changed.wait_for(lambda: self._controller.is_lost or answerer() or is_off(), self._patience_s)
            return answerer()

    def _followed(self) -> list[str]:
        with self._changed:
            return [member.run_id for member in self._controller.followed]

    @property
    def _patience_s(self) -> float:
        """How long a command waits: for the longest lease to run out, and some more."""
        return self._settings.polling().longest_lease_s + self._settings.settle_timeout_s

    # -------------------------------------------------------------------------------------------------- the work

    def _work(self) -> None:
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
                self.pause(self._settings.retry_interval_s)

    def _step(self) -> None:
        """Store the next configuration, if there is one; else wait until there may be one."""
        self.ensure_read()
        with self._changed:
            polling = self._settings.polling()
            self._detector.settings = polling.protocol
            self._detector.attend(self._clock())
            configuration = self._next_configuration()
            if configuration is None:
                self._changed.wait(min(TICK * polling.protocol.lease_ms / 1000, LONGEST_TICK_S))
        if configuration:
            self._repair(configuration)

    def _repair_at_once(self) -> bool:
        """Store what follows from bad news, if anything does, before others are woken and want the interpreter."""
        with self._changed:
            configuration = self._next_configuration()
        if configuration is None:
            return False
        with contextlib.suppress(StoreError):  # the runtime's own thread tries again
            self._repair(configuration)
        return True

    def _next_configuration(self) -> Configuration | None:
        return None if self._doubt or self.is_closed else self._controller.next_configuration()

    def _repair(self, configuration: Configuration) -> None:
        before = self._controller.configuration
        self._save(configuration)
        if before and before.view != configuration.view:
            self.repairs += 1
            log.warning("repaired: the chain of epoch %d is %s", configuration.view.epoch, configuration.view.names)

    def _save(self, configuration: Configuration) -> None:
        """After a StoreError it is open which configuration is stored, and nobody may be told of either."""
        try:
            with self._storing:
                self._store.save(configuration)
        except Exception as error:
            with self._changed:
                self._doubt = error if isinstance(error, StoreError) else StoreError(f"a fault of the store: {error!r}")
                self._changed.notify_all()
            raise
        self._stored(configuration)

    def _stored(self, configuration: Configuration | None) -> None:
        with self._changed:
            # Another master may have granted leases until now, while this one waited for the store.
            self._detector.attend(self._clock())
            self._controller.stored(configuration)
            self._doubt, self._is_read = None, True
            view = configuration.view if configuration else None
            informed = self._to_be_told(view)
        # Milliseconds count: members that are followed already hear of it before other threads want the interpreter.
        if view:
            self._sessions.announce(view, informed)
        self._sessions.wake(self._followed())
        with self._changed:
            self._changed.notify_all()
            self._renewed.notify_all()
            if not self.is_closed:
                self._sessions.follow(self._controller.followed)
