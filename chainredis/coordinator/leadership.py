# SPDX-License-Identifier: Apache-2.0
"""Until when a master may lead, and the clock by which that is told."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


def boot_seconds() -> float:
    """Seconds on a clock that runs on through suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class LeadershipTerm:
    """The right to lead, which the only master has for ever.

    until: no other master can lead before, in seconds on the runtime's clock. slack_ms: as in Leases.
    """

    until: Callable[[], float] = lambda: math.inf
    slack_ms: int = 0


PERMANENT = LeadershipTerm()
