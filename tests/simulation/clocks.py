# SPDX-License-Identifier: Apache-2.0
"""Time, and the clocks of machines that do not agree about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Time:
    """The true time, which no process in the simulation knows."""

    now_ms: float = 0


@dataclass
class Clock:
    """The clock of one machine. It has an offset, and is faster than the slowest allowed by a part of the bound."""

    time: Time
    offset_ms: float
    rate: float

    def ms(self) -> int:
        return int(self.offset_ms + self.time.now_ms * self.rate)

    def seconds(self) -> float:
        return (self.offset_ms + self.time.now_ms * self.rate) / 1000
