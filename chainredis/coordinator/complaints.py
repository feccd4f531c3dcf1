# SPDX-License-Identifier: Apache-2.0
"""Failures that repeat: the log has a new one at once, then seldom, with the number of times that it has happened.

The number of new reasons is limited, too: reasons may alternate.
"""

from collections.abc import Callable
from time import monotonic

SILENCE_S = 10.0  # before the same reason is logged again
REASONS = 4  # so many new reasons are logged in that time


class Complaint:
    """The failures of one thing. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._why = ""
        self._said_at = self._since = -SILENCE_S
        self._reasons = 0
        self._unsaid = 0

    def line(self, why: str) -> str:
        """The line for the log about this failure. Returns "" if there is none to be logged now."""
        now = self._clock()
        if not self._is_worth_a_line(why, now):
            self._unsaid += 1
            return ""
        unsaid, self._unsaid = self._unsaid, 0
        self._why, self._said_at = why, now
        return f"{why} ({unsaid} more failures since the last line)" if unsaid else why

    def _is_worth_a_line(self, why: str, now: float) -> bool:
        if why == self._why:
            return now - self._said_at >= SILENCE_S
        if now - self._since >= SILENCE_S:
            self._since, self._reasons = now, 0
        self._reasons += 1
        return self._reasons <= REASONS

    def over(self) -> None:
        """The thing works again: its next failure is new."""
        self._why, self._unsaid = "", 0
