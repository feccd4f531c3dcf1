"""The arithmetic of the benchmark: two sides of a round, the median over rounds, and what that is worth."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from operator import truediv
from statistics import median


class Verdict(StrEnum):
    """What has been reached."""

    AIM = "aim"
    FLOOR = "floor"
    SHORT = "short"


@dataclass(frozen=True)
class Goal:
    """floor: what must be reached. aim: what should be; below the floor when less is better."""

    floor: float
    aim: float

    def verdict(self, value: float) -> Verdict:
        sign = 1 if self.aim >= self.floor else -1
        if sign * value >= sign * self.aim:
            return Verdict.AIM
        return Verdict.FLOOR if sign * value >= sign * self.floor else Verdict.SHORT


@dataclass(frozen=True)
class Row:
    """One comparison. ours, theirs: measure a side once, in `unit`. compare: makes the row's figure of the two."""

    title: str
    unit: str
    goal: Goal
    ours: Callable[[], float] = field(repr=False)
    theirs: Callable[[], float] = field(repr=False)
    compare: Callable[[float, float], float] = truediv


@dataclass
class Outcome:
    """A row's rounds so far. Figures are medians over the rounds; the row's own is the median of each round's figure.

    The sides of a round were measured one right after the other, so what slows the machine down for a while slows
    both and leaves the round's figure alone; a quotient of two medians would not have that.
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
        """The fields of a JSON object. ours, theirs: what the two sides are called there."""
        return {
            "measured": self.row.title, "unit": self.row.unit, **asdict(self.row.goal),
            ours: self.ours, theirs: self.theirs, "rounds": self.rounds,
            "figure": self.figure, "verdict": self.verdict,
        }  # fmt: skip
