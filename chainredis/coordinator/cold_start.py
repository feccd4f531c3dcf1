# SPDX-License-Identifier: Apache-2.0
"""Members that come back without a command (design.md, "Restart").

A chain that died as a whole is formed again from what its members kept on disk. Members that have been missing since,
or that a fault took out, are added again.
"""

import logging
import threading
from time import monotonic

from chainredis.coordinator.add_member import Additions
from chainredis.coordinator.complaints import Complaint
from chainredis.coordinator.probe import ProbedServer, at_current_address
from chainredis.coordinator.runtime import Runtime
from chainredis.protocol.errors import CommandError, MemberError, StoreError
from chainredis.protocol.reconfiguration import Configuration, Health, Reform, Returned
from chainredis.protocol.view import Endpoint, Member
from chainredis.transport.addresses import Addresses
from chainredis.transport.member_client import Dial
from chainredis.transport.settings import Settings

log = logging.getLogger(__name__)

# An address where nobody answers is probed less often each time, at the least once in so many retry intervals.
LOOK_MOST = 4
# After an addition that failed, and after a member failed again soon, the pause is twice as long each time.
TRY_LEAST_S, TRY_MOST_S = 5.0, 300.0
FALL_LEAST_S = 1.0
# After so long in the chain, an earlier failure of the member counts no more.
STEADY_S = 60.0


class RetryPace:
    """When one address is probed next. A member that comes back and fails again and again costs the chain little."""

    def __init__(self) -> None:
        self._due_at = 0.0
        self._look_s = self._try_s = 0.0
        self._came_at: float | None = None

    def is_due(self, now: float) -> bool:
        """To be asked when the member is missing. Returns True if its address is to be probed now."""
        if self._came_at is not None:
            self._fell(now)
        return now >= self._due_at

    def _fell(self, now: float) -> None:
        if not self.is_fresh(now):
            self._try_s = 0.0
            self._due_at = now
        else:
            self._try_s = min(max(2 * self._try_s, FALL_LEAST_S), TRY_MOST_S)
            self._due_at = now + self._try_s
        self._came_at = None

    def is_fresh(self, now: float) -> bool:
        """Returns True if the member came back a short while ago."""
        return self._came_at is not None and now < self._came_at + max(STEADY_S, 2 * self._try_s)

    def missed(self, least_s: float) -> None:
        """Nobody answers at the address."""
        self._look_s = min(max(2 * self._look_s, least_s), LOOK_MOST * least_s)
        self._due_at = monotonic() + self._look_s

    def failed(self) -> None:
        """The member could not be added."""
        self._try_s = min(max(2 * self._try_s, TRY_LEAST_S), TRY_MOST_S)
        self._due_at = monotonic() + self._try_s

    def succeeded(self) -> None:
        self._look_s, self._came_at = 0.0, monotonic()


class ColdStart(threading.Thread):
    """Waits for processes to come back: first for those that are the chain again, then for the other members."""

    def __init__(
        self, runtime: Runtime, additions: Additions, dial: Dial, addresses: Addresses, settings: Settings
    ) -> None:
        super().__init__(name="chain-returns", daemon=True)
        self._runtime = runtime
        self._additions = additions
        self._dial = dial
        self._addresses = addresses
        self._settings = settings
        self._paces: dict[tuple[str, int], RetryPace] = {}
        self._complaint = Complaint()
        self._trouble = ""

    def run(self) -> None:
        while self._runtime.wait_for(
            lambda controller: controller.is_lost or bool(controller.missing(self._takes_fallen)), None
        ):
            try:
                if self._runtime.is_lost:
                    self._reform()
                else:
                    self._complete()
            except (CommandError, StoreError) as error:
                self._wait_for(str(error))
            except Exception:
                log.exception("forming the chain again failed in a way that nobody has thought of")
            self._runtime.pause(self._settings.retry_interval_s)

    @property
    def _takes_fallen(self) -> bool:
        return self._settings.polling().auto_return

    @property
    def _missing(self) -> tuple[Member, ...]:
        return self._runtime.missing(self._takes_fallen)

    @property
    def waits_for(self) -> str:
        """Which members, or what, a dead or incomplete chain waits for, for people; empty if it does not wait."""
        return self._trouble if self._runtime.is_lost or self._missing else ""

    def _wait_for(self, text: str) -> None:
        if text and (line := self._complaint.line(text)):
            log.warning("%s", line)
        if not text:
            self._complaint.over()
        self._trouble = text

    def _reform(self) -> None:
        """Form a chain that is dead again. CommandError, for people, as long as that is impossible."""
        configuration = self._runtime.configuration
        assert configuration is not None
        found = [self._look(member) for member in configuration.view.members]
        if all(map(_kept_nothing, found)):
            others = configuration.awaited + configuration.fallen
            raise CommandError(_nothing_is_left([each for each in others if not _kept_nothing(self._look(each))]))
        returned = tuple(_returned(each) for each in found if each and each.state.history == configuration.view.history)

        def reform(now: Configuration | None, health: Health) -> Reform:
            if now != configuration or not self._runtime.is_lost:
                raise CommandError("the chain has just been changed")
            return Reform(returned, health)

        formed = self._runtime.enact(reform)
        log.warning("the chain is formed again by %s, with what it had on its disk", formed.view.head)
        self._wait_for("")

    def _complete(self) -> None:
        """Add the members that are back, each at its own pace: none may delay the others, or the chain."""
        missing = self._missing
        self._forget_paces(missing)
        for member in missing:
            pace = self._paces.setdefault((member.address, member.port), RetryPace())
            if not pace.is_due(monotonic()):
                continue
            if (found := self._look(member)) is None or self._lacks_heartbeat(found.member):
                pace.missed(self._settings.retry_interval_s)
                continue
            try:
                self._bring_back(member)
            except CommandError as error:
                pace.failed()
                self._wait_for(f"{member} is back, and cannot be added: {error}")

    def _lacks_heartbeat(self, found: Member) -> bool:
        """Returns True if the process was removed since its heartbeat had ceased: it would be removed again."""
        lacks = self._runtime.wait_for(lambda controller: controller.detector.has_lost_heartbeat(found.run_id), 0)
        if lacks:
            self._wait_for(f"{found} answers, and comes back when etcd has its heartbeat again")
        return lacks

    def _bring_back(self, member: Member) -> None:
        with self._additions.turn(member.endpoint) as addition:
            back = self._look(member, keep=True) if member in self._missing else None
            if back is None:
                return  # it was added by somebody else, or has gone again
            try:
                self._additions.bring_back(addition, back)
            finally:
                back.link.close()
        self._paces[member.address, member.port].succeeded()
        log.warning("%s is back in the chain", member)
        self._wait_for("")

    def _forget_paces(self, missing: tuple[Member, ...]) -> None:
        now, places = monotonic(), {(member.address, member.port) for member in missing}
        self._paces = {place: pace for place, pace in self._paces.items() if place in places or pace.is_fresh(now)}

    def _look(self, member: Member, *, keep: bool = False) -> ProbedServer | None:
        """The server that answers at the member's address now, if it has libmember.so and has loaded its data.

        keep: its link stays open.
        """
        member = at_current_address(self._addresses, member)
        try:
            link = self._dial(Endpoint(member.address, member.port))
        except MemberError:
            return None
        try:
            state = link.state()
            found = ProbedServer(Member(member.host, member.address, member.port, state.run_id), link, state)
        except (MemberError, ValueError):
            link.close()
            return None
        if not keep:
            link.close()
        return found


def _kept_nothing(back: ProbedServer | None) -> bool:
    return back is not None and back.state.applied < 0 and not back.state.record_epoch


def _nothing_is_left(others: list[Member]) -> str:
    """others: former members that may have kept something."""
    if others:
        return (
            f"no process of the chain lives, and none kept its data. Of those that were out of it before, "
            f"{', '.join(map(str, others))} may have kept what there was then: MASTER.FORM host port makes one the "
            "chain, with what it has"
        )
    return "no process of the chain lives, and none kept its data: MASTER.ADD begins a new history"


def _returned(back: ProbedServer) -> Returned:
    state = back.state
    return Returned(
        back.member, state.record_run_id, state.record_epoch, state.record_durable, state.assigned, state.applied
    )
