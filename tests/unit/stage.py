# SPDX-License-Identifier: Apache-2.0
"""A controller amid its members, as a table of what was seen and what follows, on a clock that tests turn."""

from chainredis.protocol.controller import Controller
from chainredis.protocol.leases import Lease
from chainredis.protocol.member_record import BrokenLink, Lifeline, MemberReport
from chainredis.protocol.reconfiguration import Configuration, Event
from chainredis.protocol.settings import ProtocolSettings
from chainredis.protocol.view import Member, View

SETTINGS = ProtocolSettings(timeout_ms=1000, lease_ms=1000, drift=0.1)
STEP_S = 0.05


def member(number: int) -> Member:
    return Member("h", "10.0.0.1", 7000 + number, f"{number:040x}")
A, B, C, D = map(member, range(4))


def chain_of(*members: Member, lease_ms: int = 1000) -> Configuration:
    return Configuration(View("0a" * 16, 7, members, "0b" * 16), lease_ms=lease_ms)


class Stage:
    """A controller that has just started with a chain of these: everybody has adopted its view and serves, and it
    holds their lifelines.
    """

    def __init__(
        self, *members: Member, settings: ProtocolSettings = SETTINGS, stored: Configuration | None = None
    ) -> None:
        self.now = 100.0
        self.controller = Controller(stored or chain_of(*members), settings, self.now)
        if not stored:
            self.answer(*members)
            self.hold(*members)

    @property
    def configuration(self) -> Configuration:
        assert self.controller.configuration
        return self.controller.configuration

    @property
    def chain(self) -> tuple[Member, ...]:
        return self.configuration.view.members

    def answer(self, *members: Member, epoch: int | None = None, serving: bool = True, lost: str = "") -> None:
        broken_links = tuple(BrokenLink(run_id, 5000, True) for run_id in lost.split())
        epoch = self.configuration.view.epoch if epoch is None else epoch
        for each in members:
            report = MemberReport(epoch, serving, int(self.now * 1000), broken_links)
            self.controller.detector.answered(each.run_id, report, self.now)

    def write(self, each: Member, applied: int, committed: int) -> None:
        """It answers amid a write."""
        report = MemberReport(self.configuration.view.epoch, True, 0, applied=applied, committed=committed)
        self.controller.detector.answered(each.run_id, report, self.now)

    def hold(self, *members: Member) -> None:
        for each in members:
            self.controller.detector.lifeline(each.run_id, Lifeline.HELD)

    def kill(self, *members: Member) -> None:
        for each in members:
            self.controller.detector.lifeline(each.run_id, Lifeline.ENDED)
            self.controller.detector.refused(each.run_id)

    def hide(self, *members: Member) -> None:
        """What a living process can do by itself: close its connections, and leave its port."""
        for each in members:
            self.controller.detector.dropped(each.run_id)
            self.controller.detector.refused(each.run_id)

    def pass_time(self, seconds: float, *answering: Member, polled: tuple[Member, ...] = ()) -> None:
        """Those that answer do so in the epoch that they are in."""
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.controller.detector.attend(self.now)
            for each in answering:
                self.answer(each)
            for each in polled:
                self.controller.lease_to_grant(each.run_id)

    def store(self) -> Configuration | None:
        """Carry out what is to be done, if anything."""
        configuration = self.controller.next_configuration()
        if configuration:
            self.controller.stored(configuration)
        return configuration

    def store_all(self) -> None:
        while self.store():
            pass

    def propose(self, event: Event) -> Configuration:
        configuration = self.controller.propose(event)
        self.controller.stored(configuration)
        return configuration

    def told(self, *members: Member) -> list[bool]:
        return [self.controller.view_to_tell(each.run_id) is not None for each in members]

    def lease(self, each: Member) -> Lease | None:
        return self.controller.lease_to_grant(each.run_id)
