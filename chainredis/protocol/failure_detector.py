"""What a master knows of one process, and what follows from it (docs/design.md, "Detection").

A process has ended when only that explains what is seen. A living server closes connections and leaves its port, when
it is told to; the lifeline it cannot close (modules/member/membership/lifeline.pxd).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from chainredis.protocol.view import Member

# When no update has been committed for such a part of a lease, though there are some, somebody holds them up.
STUCK_PART = 0.25


@dataclass(frozen=True)
class ProtocolSettings:
    """timeout_ms: a member silent for so long is gone. lease_ms: the length of a lease, no longer than the timeout; a
    member that somebody waits for may be silent for no longer. drift: how much quicker one clock may run than another,
    as a fraction. trust_refused: ends that the network tells of are believed.
    """

    timeout_ms: int
    lease_ms: int
    drift: float = 0.01
    trust_refused: bool = True


@dataclass(frozen=True)
class BrokenLink:
    """A member has no connection to `run_id`. dropped: it had one, and that side closed it."""

    run_id: str
    for_ms: int
    dropped: bool


@dataclass(frozen=True)
class MemberReport:
    """What a member's answer said. durable: nothing has left it, in this epoch, before it was on its disk. lifeline:
    the port at which one can be held, 0 for none. timeout_ms: the heartbeat timeout that it was given, 0 for none.
    """

    epoch: int
    serving: bool
    stamp_ms: int
    broken_links: tuple[BrokenLink, ...] = ()
    durable: bool = False
    checkpointed: int = -1
    lifeline: int = 0
    applied: int = -1
    committed: int = -1
    timeout_ms: int = 0
    why: str = ""  # there is no connection to the first of `troubles`


@dataclass(frozen=True)
class Lease:
    """What goes with a poll. stamp_ms: the member's own clock when it last answered, from which the lease counts."""

    epoch: int
    stamp_ms: int
    length_ms: int


class MemberStatus(NamedTuple):
    """For people. word: alive, silent, dead, or restarted (another process is in its place). silent_ms: for how long it
    has not answered. checkpointed: the watermark of its checkpoint.
    """

    word: str
    silent_ms: int
    checkpointed: int
    lifeline: str


class Lifeline(Enum):
    """NONE: there has been none, or it was lost in a way that says nothing. ENDED: by the end of its process."""

    NONE = "none"
    HELD = "held"
    ENDED = "ended"


@dataclass
class MemberRecord:
    """heard_at: when it last showed life by itself or answered. silent: seconds of attention since it answered. mute:
    since it said anything at all. steady_at: since when it has answered without a pause. stuck_at: since when it has
    had updates of which none was committed, None when it has none. noticed_at: when its end was first suspected.
    is_refused: nobody listens on its port. is_replaced: another process answers there. is_displaced: another one
    answers where its name leads to now, elsewhere. address: where it proved itself, empty before. lapsed_at: when its
    heartbeat ceased, None while it beats or if it never did. lapsed: seconds of attention since then.
    """

    granted_until: float
    answered_at: float
    heard_at: float
    silent: float = 0.0
    mute: float = 0.0
    steady_at: float = math.inf
    stuck_at: float | None = None
    report: MemberReport | None = None
    lifeline: Lifeline = field(default=Lifeline.NONE)
    is_refused: bool = False
    is_replaced: bool = False
    is_displaced: bool = False
    address: str = ""
    cannot_feed_epoch: int = 0
    noticed_at: float | None = None
    had_heartbeat: bool = False
    lapsed_at: float | None = None
    lapsed: float = 0.0

    @property
    def epoch(self) -> int:
        return self.report.epoch if self.report else 0

    # ------------------------------------------------------------------------------------------- what is seen

    def attend(self, seconds: float) -> None:
        self.silent += seconds
        self.mute += seconds
        self.lapsed += seconds

    def spoke(self, now: float) -> None:
        self.heard_at, self.mute = now, 0.0

    def answered(self, report: MemberReport, now: float, settings: ProtocolSettings) -> None:
        if self.is_quiet(settings):
            self.steady_at = now
        if report.committed >= report.applied:
            self.stuck_at = None
        elif self.stuck_at is None or (self.report and self.report.committed != report.committed):
            self.stuck_at = now
        self.spoke(now)
        self.report, self.silent, self.answered_at = report, 0.0, now
        self.is_refused = self.is_replaced = False
        self.noticed_at = None

    def notice(self, now: float) -> None:
        if self.noticed_at is None:
            self.noticed_at = now

    # ---------------------------------------------------------------------------------------- what to conclude

    def timeout_ms(self, settings: ProtocolSettings) -> int:
        """The shortest of those given, at the master or to the member."""
        given = self.report.timeout_ms if self.report else 0
        return min(settings.timeout_ms, given or settings.timeout_ms)

    def lease_ms(self, settings: ProtocolSettings) -> int:
        return min(settings.lease_ms, self.timeout_ms(settings))

    def is_quiet(self, settings: ProtocolSettings) -> bool:
        """It owes an answer."""
        return self.report is None or self.silent >= self.lease_ms(settings) / 2000

    def is_stuck(self, now: float, settings: ProtocolSettings) -> bool:
        return self.stuck_at is not None and now - self.stuck_at >= settings.lease_ms / 1000 * STUCK_PART

    @property
    def has_ended(self) -> bool:
        return self.lifeline is Lifeline.ENDED and (self.is_refused or self.is_replaced)

    def may_have_ended(self, settings: ProtocolSettings) -> bool:
        """It has left its port, and nobody holds a lifeline that would tell that it lives."""
        is_elsewhere = self.is_replaced or self.is_displaced
        is_missing = is_elsewhere or (self.is_refused and settings.trust_refused)
        return is_missing and self.lifeline is not Lifeline.HELD


def most_complained_about(
    members: Sequence[Member], records: Mapping[str, MemberRecord], timeout_ms: int
) -> Member | None:
    """By as many links as possible at its end that have been broken for the timeout; of several the last, which has the
    least that others lack.
    """
    broken = dict.fromkeys((member.run_id for member in members), 0)
    for member in members:
        report = records[member.run_id].report
        for link in report.broken_links if report else ():
            if link.for_ms >= timeout_ms and link.run_id in broken:
                broken[member.run_id] += 1
                broken[link.run_id] += 1
    most = max(broken.values())
    return next((member for member in reversed(members) if most and broken[member.run_id] == most), None)


def moved(members: Sequence[Member], records: Mapping[str, MemberRecord]) -> Member | None:
    """The first that has proved itself at another address than its own, with that one."""
    found = (replace(each, address=records[each.run_id].address or each.address) for each in members)
    return next((each for each in found if each not in members), None)
