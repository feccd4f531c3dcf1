# SPDX-License-Identifier: Apache-2.0
"""Waiting in one place: poll until a condition holds, for a bounded time."""

from collections.abc import Callable
from time import monotonic

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, stop_never, wait_fixed


class WaitTimeout(Exception):
    """A condition did not hold in time."""


def wait_until(ready: Callable[[], bool], timeout_s: float | None, interval_s: float = 0.01) -> None:
    """Poll `ready` until it returns True. WaitTimeout after `timeout_s` seconds; None for no such limit."""
    retrying = Retrying(
        retry=retry_if_result(lambda done: not done),
        stop=stop_never if timeout_s is None else stop_after_delay(timeout_s),
        wait=wait_fixed(interval_s),
    )
    try:
        retrying(ready)
    except RetryError as error:
        raise WaitTimeout(f"not within {timeout_s} s") from error


class StallWatch:
    """Notices that a progress stands still."""

    LOOK_EVERY_S = 0.5

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._last: object = None
        self._moved_at = monotonic()
        self._look_at = 0.0

    def check(self, progress: Callable[[], object]) -> None:
        """WaitTimeout if `progress()` has given the same value for too long. It is called seldom."""
        now = monotonic()
        if now < self._look_at:
            return
        self._look_at = now + self.LOOK_EVERY_S
        latest = progress()
        if latest != self._last:
            self._last, self._moved_at = latest, now
        elif now - self._moved_at > self._timeout_s:
            raise WaitTimeout(f"nothing has moved for {self._timeout_s:g} s")
