"""Keeps the stored view and the protocol's state together: what is decided is stored, then told (rule 5).

Everything here may be called from any thread. The lock is held for short pure steps only, never while anybody waits
for a disk or a member.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from chainredis.errors import CommandError, OutcomeUnknown, StoreError
from chainredis.settings import Heartbeat
from chainredis.steward import Lease, Sighting, Steward
from chainredis.stores import ViewStore
from chainredis.transitions import Change, Event, Health
from chainredis.view import Member, View

log = logging.getLogger(__name__)

UNSETTLED_POLL_S = 0.02
TICKS_S = (0.01, 0.25)


def boot_seconds() -> float:
    """A clock that runs on through suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lookout(Protocol):
    """Who talks with the members."""

    def follow(self, members: tuple[Member, ...]) -> None:
        """These, and nobody else."""

    def nudge(self) -> None:
        """Look at everybody now, and tell them what there is to be told."""


class Keeper:
    """Owns the steward and the store. `start` begins the work."""

    def __init__(
        self,
        store: ViewStore,
        heartbeat: Callable[[], Heartbeat],
        *,
        settle_timeout_s: float,
        retry_interval_s: float,
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        self._store = store
        self._storing = threading.Lock()
        self._heartbeat = heartbeat
        self._settle_timeout_s = settle_timeout_s
        self._retry_interval_s = retry_interval_s
        self._clock = clock
        self._changed = threading.Condition()
        self._steward = Steward(None, heartbeat().terms, clock())
        # Why it is not known for certain what is stored; None: it is known.
        self._doubt: StoreError | None = StoreError("the stored view has not been read yet")
        self._is_read = False
        self._is_closed = False
        self._repairs = 0
        self._lookout: Lookout

    def start(self, lookout: Lookout) -> None:
        self._lookout = lookout
        try:
            self._learn()
        except StoreError as error:
            log.error("%s: no change will be made before this is repaired", error)
        threading.Thread(target=self._run, name="chain-keeper", daemon=True).start()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._lookout.follow(())

    # ------------------------------------------------------------------------------------- what members said

    def answered(self, run_id: str, sighting: Sighting) -> None:
        with self._changed:
            self._steward.answered(run_id, sighting, self._clock())
            self._changed.notify_all()

    def adopted(self, run_id: str, epoch: int) -> None:
        with self._changed:
            self._steward.adopted(run_id, epoch, self._clock())
            self._changed.notify_all()

    def dropped(self, run_id: str) -> None:
        """Whoever may be dead: a repair begins with an answer of a survivor, so everybody is asked at once."""
        self._notice(Steward.dropped, run_id)
        self._lookout.nudge()

    def refused(self, run_id: str) -> None:
        self._notice(Steward.refused, run_id)

    def replaced(self, run_id: str) -> None:
        self._notice(Steward.replaced, run_id)

    def look(self) -> None:
        """Somebody suspects somebody."""
        self._lookout.nudge()

    def unfed(self, run_id: str, epoch: int) -> None:
        with self._changed:
            self._steward.unfed(run_id, epoch)
            self._changed.notify_all()

    def _notice(self, what: Callable[[Steward, str], None], run_id: str) -> None:
        with self._changed:
            self._steward.attend(self._clock())
            what(self._steward, run_id)
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------ what they are to hear

    def due(self, run_id: str) -> tuple[View | None, Lease | None]:
        """The view that this process is to be told; if there is none, the lease that goes with its next poll."""
        with self._changed:
            view = self._steward.view_to_tell(run_id)
            return view, None if view else self._steward.lease_to_grant(run_id)

    def pause_s(self, run_id: str) -> float:
        """Until it is to be looked at again."""
        with self._changed:
            if self._steward.view_to_tell(run_id):
                return 0
            return self._heartbeat().interval_s if self._steward.is_settled else UNSETTLED_POLL_S

    # --------------------------------------------------------------------------------------------- for commands

    @property
    def change(self) -> Change | None:
        """The newest one that is stored for certain. StoreError when it could never be read."""
        with self._changed:
            if self._doubt and not self._is_read:
                raise self._doubt
            return self._steward.change

    @property
    def view(self) -> View | None:
        return self.change.view if self.change else None

    @property
    def health(self) -> Health:
        with self._changed:
            self._steward.attend(self._clock())
            return self._steward.health()

    @property
    def is_lost(self) -> bool:
        with self._changed:
            return self._steward.is_lost

    def enact(self, event: Callable[[Change | None, Health], Event]) -> Change:
        """Decide and store. CommandError when it cannot be; OutcomeUnknown when it may be stored, or not."""
        if self._doubt:
            self._learn()
        with self._changed:
            self._changed.wait_for(lambda: self._steward.is_open, self._patience_s)
            self._steward.attend(self._clock())
            change = self._steward.propose(event(self._steward.change, self._steward.health()))
        try:
            self._keep(change)
        except StoreError as error:
            raise OutcomeUnknown(f"{error}: the change may come into force when that is repaired") from error
        return change

    def await_settled(self) -> bool:
        """Until the chain is whole and serves, or is lost. False: it does not, or not in time."""
        self.wait_for(lambda steward: steward.is_settled or steward.is_lost, self._patience_s)
        with self._changed:
            return self._steward.is_settled

    def await_service(self, newcomer: Member | None = None) -> None:
        """Until the chain serves as it was decided, with `newcomer`. OutcomeUnknown when that takes too long."""
        run_id = newcomer.run_id if newcomer else ""

        def is_over(steward: Steward) -> bool:
            return steward.is_settled or bool(newcomer and not steward.has(run_id))

        is_in_time = self.wait_for(is_over, self._patience_s)
        with self._changed:
            if newcomer and not self._steward.has(run_id):
                raise CommandError(f"{newcomer} did not come to serve, and was taken out again: the chain goes on")
            if is_in_time:
                return
        raise OutcomeUnknown(
            f"the change is decided, and stored as epoch {self.view.epoch if self.view else 0}, but "
            f"{self.unsettled_by}. The master goes on trying"
        )

    def await_answer(self, place: int) -> Member | None:
        """The member at that place of the chain, once it has answered a question that was asked now; None: in vain."""
        with self._changed:
            since = self._clock()
        self._lookout.nudge()

        def has_answered(steward: Steward) -> bool:
            change = steward.change
            return change is not None and steward.answered_since(change.view.members[place].run_id, since)

        self.wait_for(has_answered, self._patience_s)
        with self._changed:
            is_found = self._steward.change and has_answered(self._steward)
            return self._steward.change.view.members[place] if is_found else None

    @property
    def unsettled_by(self) -> str:
        with self._changed:
            return self._steward.unsettled_by

    @property
    def _patience_s(self) -> float:
        """As long as a lease may have to run out before, and some more."""
        return self._heartbeat().longest_lease_s + self._settle_timeout_s

    def wait_for(self, condition: Callable[[Steward], bool], timeout_s: float) -> bool:
        """Until it holds for the steward, which is not to be touched; False: not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._steward), timeout_s)

    # -------------------------------------------------------------------------------------------------- the work

    def _run(self) -> None:
        while not self._is_closed:
            try:
                self._step()
            except StoreError as error:
                log.error("%s", error)
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed or not self._doubt, self._retry_interval_s)

    def _step(self) -> None:
        if self._doubt:
            self._learn()
        with self._changed:
            heartbeat = self._heartbeat()
            self._steward.terms = heartbeat.terms
            self._steward.attend(self._clock())
            change = self._steward.next_change()
            if change is None:
                shortest, longest = TICKS_S
                self._changed.wait(min(max(heartbeat.timeout_ms / 20_000, shortest), longest))
                return
            before = self._steward.change
        self._keep(change)
        if before and before.view.epoch != change.view.epoch:
            self._repairs += 1
            log.warning("repaired: the chain of epoch %d: %s", change.view.epoch, ", ".join(map(str, change.view.members)))

    def _keep(self, change: Change) -> None:
        """Raises StoreError; then it is open which change is stored, and nobody may be told of either."""
        try:
            with self._storing:
                self._store.save(change)
        except StoreError as error:
            with self._changed:
                self._doubt = error
            raise
        self._stored(change)

    def _learn(self) -> None:
        """Know for certain what is stored. Raises StoreError."""
        with self._storing:
            if not self._doubt:
                return
            try:
                change = self._store.load()
                if change:
                    # What was just read may be in the system's cache alone, when the last attempt to save it failed.
                    self._store.save(change)
            except StoreError as error:
                self._doubt = error
                raise
            self._stored(change)

    def _stored(self, change: Change | None) -> None:
        with self._changed:
            self._doubt, self._is_read = None, True
            self._steward.stored(change)
            self._lookout.follow(self._steward.followed)
            self._changed.notify_all()
        self._lookout.nudge()
