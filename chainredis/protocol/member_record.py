# SPDX-License-Identifier: Apache-2.0
"""What a master knows of one process: its reports, its silence, and the traces of its end."""

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from chainredis.protocol.settings import ProtocolSettings

# If no update is committed for this part of a lease, though updates wait for it, somebody holds them up.
STUCK_PART = 0.25


@dataclass(frozen=True)
class BrokenLink:
    """A member has had no connection to the process `run_id` for `for_ms` milliseconds.

    dropped: there was a connection, and the other side closed it.
    """

    run_id: str
    for_ms: int
    dropped: bool


class SecondPort(NamedTuple):
    """The port of a server whose connections are not of the kind that links have: without TLS, or with it.

    0: there is none. The port in views is that of links.
    """

    plain: int = 0
    tls: int = 0


@dataclass(frozen=True)
class MemberReport:
    """What a member's answer to a poll says (docs/protocol.md, "Views").

    epoch: of the view that the member has adopted. serving: it serves in that view. stamp_ms: the member's clock.
    durable: everything that has left the member in this epoch was on its disk before. checkpointed: the watermark of
    its checkpoint, -1 for none. lifeline: the port of its lifelines, 0 for none. applied, committed: sequence numbers,
    -1 for none. timeout_ms: the heartbeat timeout that the member was given, 0 for none. why_broken: why the first of
    `broken_links` is broken, for people. longest_lease_ms: of all leases that any master has granted to this process.
    second_port: None of an earlier version, which tells none, and takes none.
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
    why_broken: str = ""
    longest_lease_ms: int = 0
    second_port: SecondPort | None = None


class MemberStatus(NamedTuple):
    """A member as INFO shows it.

    word: alive, silent, dead, or restarted (another process uses its port). silent_ms: the time since its last answer.
    checkpointed: the watermark of its checkpoint. lifeline: none, held or ended. applied: a sequence number, -1: none.
    """

    word: str
    silent_ms: int
    checkpointed: int
    lifeline: str
    applied: int = -1


class Lifeline(Enum):
    """NONE: there was none, or it was lost in a way that proves nothing. ENDED: its process has closed it by ending."""

    NONE = "none"
    HELD = "held"
    ENDED = "ended"


@dataclass
class MemberRecord:
    """Everything that the master has seen of one process. Times are in seconds on the master's clock.

    granted_until: no lease of the process lasts longer. answered_at: when it last answered. asked_at: when it was
    asked what it answered then. heard_at: it lived then, since it has answered what it was asked then, or has shown
    life by itself. silent: seconds of attention since its last answer. mute: seconds of attention since its last sign
    of life. steady_at: it has answered without a pause since then. stuck_at: it has had updates since then, and none
    was committed; None if it has none. suspected_at: when the first trace of its end was seen. is_refused: nobody
    listens on its port. is_replaced: another process answers on its port. is_displaced: another process answers where
    its host name leads now. address: where the process has proved its identity; empty before. cannot_feed_epoch: of the
    view that it refused for want of updates. lapsed_at: when its heartbeat in etcd ceased; None while there is one, or
    if there never was. lapsed: seconds of attention since then.
    """

    granted_until: float
    answered_at: float
    heard_at: float
    silent: float = 0.0
    mute: float = 0.0
    steady_at: float = math.inf
    stuck_at: float | None = None
    report: MemberReport | None = None
    asked_at: float = -math.inf
    lifeline: Lifeline = field(default=Lifeline.NONE)
    is_refused: bool = False
    is_replaced: bool = False
    is_displaced: bool = False
    address: str = ""
    cannot_feed_epoch: int = 0
    suspected_at: float | None = None
    had_heartbeat: bool = False
    lapsed_at: float | None = None
    lapsed: float = 0.0

    @property
    def epoch(self) -> int:
        """The epoch of the view that it has adopted, 0 if that is not known."""
        return self.report.epoch if self.report else 0

    # ------------------------------------------------------------------------------------------- what is seen

    def attend(self, seconds: float) -> None:
        """The master has listened for so many seconds more."""
        self.silent += seconds
        self.mute += seconds
        self.lapsed += seconds

    def spoke(self, now: float) -> None:
        """It has shown life by itself."""
        self.heard_at, self.mute = now, 0.0

    def answered(self, report: MemberReport, asked_at: float, now: float, settings: ProtocolSettings) -> None:
        """An answer also clears every trace of an end that was seen before the question, but for the lifeline's. What
        was asked before may have been answered before the end, and waited to be read.
        """
        if self.owes_answer(settings):
            self.steady_at = now
        if report.committed >= report.applied:
            self.stuck_at = None
        elif self.stuck_at is None or (self.report and self.report.committed != report.committed):
            self.stuck_at = now
        self.heard_at, self.mute = max(self.heard_at, asked_at), 0.0
        self.report, self.silent, self.answered_at, self.asked_at = report, 0.0, now, asked_at
        if self.suspected_at is None or asked_at >= self.suspected_at:
            self.is_refused = self.is_replaced = False
            self.suspected_at = None

    def suspect(self, now: float) -> None:
        if self.suspected_at is None:
            self.suspected_at = now

    def see_heartbeat(self, is_there: bool, now: float) -> bool:
        """Whether its heartbeat is in etcd. Returns True if the heartbeat has just ceased."""
        if is_there:
            self.had_heartbeat, self.lapsed_at = True, None
            return False
        if not self.had_heartbeat or self.lapsed_at is not None:
            return False
        self.lapsed_at, self.lapsed = now, 0.0
        self.suspect(now)
        return True

    # ---------------------------------------------------------------------------------------- what follows

    def timeout_ms(self, settings: ProtocolSettings) -> int:
        """The shorter of the master's timeout and the one that was given to the member itself."""
        given = self.report.timeout_ms if self.report else 0
        return min(settings.timeout_ms, given or settings.timeout_ms)

    def lease_ms(self, settings: ProtocolSettings) -> int:
        return min(settings.lease_ms, self.timeout_ms(settings))

    def owes_answer(self, settings: ProtocolSettings) -> bool:
        """Returns True if it has not answered for half a lease, or never."""
        return self.report is None or self.silent >= self.lease_ms(settings) / 2000

    def is_stuck(self, now: float, settings: ProtocolSettings) -> bool:
        """Returns True if its updates have waited too long to be committed."""
        return self.stuck_at is not None and now - self.stuck_at >= settings.lease_ms / 1000 * STUCK_PART

    @property
    def has_ended(self) -> bool:
        """Only the end of the process explains what is seen (design.md, "Detection").

        A living server closes connections and leaves its port when it is told to; the lifeline it cannot close.
        """
        return self.lifeline is Lifeline.ENDED and (self.is_refused or self.is_replaced)

    def may_have_ended(self, settings: ProtocolSettings) -> bool:
        """Returns True if it has left its port, and no lifeline shows that it lives."""
        is_elsewhere = self.is_replaced or self.is_displaced
        is_missing = is_elsewhere or (self.is_refused and settings.trust_refused)
        return is_missing and self.lifeline is not Lifeline.HELD

    @property
    def has_heartbeat(self) -> bool:
        return self.had_heartbeat and self.lapsed_at is None
