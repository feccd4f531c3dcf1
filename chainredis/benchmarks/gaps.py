# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of interruptions: for how long no client of a kind was served, and the spread over many times."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Window(NamedTuple):
    """A time from begin to end, in nanoseconds of the monotonic clock."""

    begin: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.begin) / NS_PER_S


@dataclass(frozen=True)
class Trace:
    """The requests of one client, in order: when each was first made, and when it succeeded."""

    begins: Sequence[int]
    ends: Sequence[int]

    def within(self, window: Window) -> Iterator[tuple[int, int]]:
        """The begin and end of each request that was under way at any time in the window."""
        first, last = bisect_left(self.ends, window.begin), bisect_right(self.begins, window.end)
        return zip(self.begins[first:last], self.ends[first:last], strict=True)


class Service:
    """The requests of all clients of a kind."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        self.traces = traces
        self._successes = sorted(end for trace in traces for end in trace.ends)

    def longest_gap_ms(self, window: Window) -> float:
        """The longest time between successes, one right after the other. ValueError if none follows the window.

        A gap that is only partly in the window counts as a whole: it may have ended much later.
        """
        first = max(bisect_left(self._successes, window.begin) - 1, 0)
        last = bisect_right(self._successes, window.end) + 1
        moments = self._successes[first:last]
        if moments[-1] < window.end:
            raise ValueError("no success after the end of the window")
        return max(after - before for before, after in pairwise(moments)) / NS_PER_MS

    def longest_latency_ms(self, window: Window) -> float:
        return max(end - begin for trace in self.traces for begin, end in trace.within(window)) / NS_PER_MS

    def per_s(self, window: Window) -> float:
        return (bisect_right(self._successes, window.end) - bisect_left(self._successes, window.begin)) / window.seconds


@dataclass(frozen=True)
class Spread:
    """The distribution of many measurements."""

    median: float
    p90: float
    worst: float


def spread(values: Sequence[float]) -> Spread:
    """p90: the smallest value that nine of ten do not exceed."""
    ordered = sorted(values)
    return Spread(median(ordered), ordered[math.ceil(0.9 * len(ordered)) - 1], ordered[-1])
