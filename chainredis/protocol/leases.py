# SPDX-License-Identifier: Apache-2.0
"""Leases to read (design.md, "Leases"): how long each that is granted may last, and when all of them are over.

A lease counts, at the member, from a moment before the member's last answer reached the master. So the master waits for
the length of the lease from that answer on, times one plus the bound on clock drift.
"""

import math
from dataclasses import dataclass

from chainredis.protocol.failure_detector import FailureDetector
from chainredis.protocol.member_record import MemberRecord


@dataclass(frozen=True)
class Lease:
    """What goes with a poll. stamp_ms: the member's own clock at its last answer, from which `length_ms` count."""

    epoch: int
    stamp_ms: int
    length_ms: int


class Leases:
    """Grants leases to the members that `detector` follows.

    slack_ms: with several masters, by how much a leadership may outlast the timeout; 0 for the only master.
    leads_until: no other master can lead before; every lease that is granted here is over by then. stored_ms: the
    length in the stored configuration: longer leases are granted only after a longer length is stored.
    """

    def __init__(self, detector: FailureDetector, slack_ms: int) -> None:
        self.leads_until = math.inf
        self.stored_ms = 0
        self._detector = detector
        self._slack_ms = slack_ms

    def grant(self, run_id: str) -> Lease | None:
        """The lease for the member's next poll; None if no time is left for one. The member must have answered."""
        record = self._detector.records[run_id]
        assert record.report
        lease_ms = record.lease_ms(self._detector.settings)
        length_ms = min(self.stored_ms, lease_ms, self._leadership_ms(record.answered_at))
        if length_ms <= 0:
            return None
        self._note_grant(record, length_ms)
        return Lease(record.epoch, record.report.stamp_ms, length_ms)

    def _leadership_ms(self, since: float) -> int:
        """The length of a lease from `since` on that is over everywhere before another master can lead."""
        lease_ms = self._detector.settings.lease_ms
        left_ms = (self.leads_until - since) * 1000 / self._drift_factor
        return lease_ms if left_ms >= lease_ms else int(left_ms)

    def _note_grant(self, record: MemberRecord, length_ms: int) -> None:
        until = record.answered_at + length_ms / 1000 * self._drift_factor
        record.granted_until = max(record.granted_until, until)

    def full_lease_until(self) -> float:
        """When a lease that another master, or an earlier life of this one, has granted by now is certainly over."""
        return self._detector.now + self.longest_s

    @property
    def longest_s(self) -> float:
        """How long any lease may last that was granted up to now, by any master."""
        longest_ms = max(self._longest_granted_ms, self._detector.longest_lease_ms)
        return (longest_ms + self._slack_ms) / 1000 * self._drift_factor

    def length_to_store(self) -> int:
        """The length in milliseconds for the next configuration: a master that restarts reckons with such leases.

        A length shorter than the stored one waits until the longer leases are over.
        """
        shorter_until = self._detector.now + self._longest_granted_ms / 1000 * self._drift_factor
        if any(record.granted_until > shorter_until for record in self._detector.records.values()):
            return max(self.stored_ms, self._longest_granted_ms)
        return self._longest_granted_ms

    @property
    def _longest_granted_ms(self) -> int:
        """One of several masters may lose its leadership and not know: it grants leases until that is over."""
        settings = self._detector.settings
        return max(settings.lease_ms, settings.timeout_ms if self._slack_ms else 0)

    @property
    def _drift_factor(self) -> float:
        return 1 + self._detector.settings.drift
