# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the benchmark: the two sides of a round, medians over rounds, and verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from operator import truediv
from statistics import median


class Verdict(StrEnum):
    """Which of a goal's values was reached."""

    AIM = "aim"
    FLOOR = "floor"
    SHORT = "short"


@dataclass(frozen=True)
class Goal:
    """floor: the value that must be reached. aim: the value that should be; below the floor if less is better."""

    floor: float
    aim: float

    def verdict(self, value: float) -> Verdict:
        sign = 1 if self.aim >= self.floor else -1
        if sign * value >= sign * self.aim:
            return Verdict.AIM
        return Verdict.FLOOR if sign * value >= sign * self.floor else Verdict.SHORT


@dataclass(frozen=True)
class Row:
    """One comparison. ours, theirs: measure one side once, in `unit`. compare: gives the row's figure from the two."""

    title: str
    unit: str
    goal: Goal
    ours: Callable[[], float] = field(repr=False)
    theirs: Callable[[], float] = field(repr=False)
    compare: Callable[[float, float], float] = truediv


@dataclass
class Outcome:
    """A row's rounds so far. Figures are medians over the rounds; the row's own is the median of each round's figure.

    The two sides of a round are measured one right after the other. What slows the machine down for a while slows both,
    and changes the round's figure little. A quotient of two medians would change.
    """

    row: Row
    rounds: list[tuple[float, float]] = field(default_factory=list)

    def measure(self) -> None:
        self.rounds.append((self.row.ours(), self.row.theirs()))

    @property
    def figures(self) -> Sequence[float]:
        return [self.row.compare(ours, theirs) for ours, theirs in self.rounds]

    @property
    def figure(self) -> float:
        return median(self.figures)

    @property
    def ours(self) -> float:
        return median(ours for ours, _ in self.rounds)

    @property
    def theirs(self) -> float:
        return median(theirs for _, theirs in self.rounds)

    @property
    def verdict(self) -> Verdict:
        return self.row.goal.verdict(self.figure)

    def for_programs(self, ours: str, theirs: str) -> dict[str, object]:
        """The fields of a JSON object. ours, theirs: the names of the two sides there."""
        return {
            "measured": self.row.title, "unit": self.row.unit, **asdict(self.row.goal),
            ours: self.ours, theirs: self.theirs, "rounds": self.rounds,
            "figure": self.figure, "verdict": self.verdict,
        }  # fmt: skip
