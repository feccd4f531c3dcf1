# SPDX-License-Identifier: Apache-2.0
"""The results of a benchmark: on the terminal, and in files for people and for programs."""

import datetime as dt
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from chainredis.benchmarks.figures import Outcome, Verdict
from chainredis.benchmarks.load import CLIENTS, KEYS, VALUE, LoopCheck
from chainredis.local_cluster.server import ROOT, Server

GIB = 1024**3
COLORS = {Verdict.AIM: "green", Verdict.FLOOR: "yellow", Verdict.SHORT: "red"}
LEFT = ("measured", "verdict")
COLUMNS = ("measured", "ours", "Redis", "figure", "rounds", "floor", "aim", "verdict")
RATE_COLUMNS = ("rate", "a second", "earlier")

TEXT = """\
# Benchmark

{date}, commit {commit}: Redis {redis}, Python {python}, Linux {kernel}, {cores} × {cpu}, {memory_gib:.0f} GiB.
The load average before it began was {load:.2f}.

All servers run on this machine at once, without persistence; only the one that is measured has work. {clients} clients,
{keys:,} keys, values of {value_bytes} bytes. In each of {rounds} rounds both sides of each row run one right after the
other. A figure is the median of the rounds' own, whose range stands beside it. `make bench` repeats it.
{idle}

{table}

Rates, and those of the same load when this project began:

{rates}

{loop}
"""

HALTS = """\
Processors that have nothing to do halt. To wake one may take longer than what it is woken for, above all in a virtual
machine; with `make bench ARGS=--awake` they spin."""
SPINS = "Processors that have nothing to do spin, so that nobody waits until one wakes that has halted."


@dataclass(frozen=True)
class Machine:
    """The machine and the software. load: of the last minute before the benchmark began; it should be near 0."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    redis: str
    python: str
    commit: str
    date: str
    load: float


@dataclass(frozen=True)
class Rate:
    """An absolute rate. earlier: the rate when this project began, with the same load; empty if there is none."""

    name: str
    per_s: float
    earlier: str = ""


@dataclass(frozen=True)
class Report:
    """awake: processors that had nothing to do spun meanwhile; else they halted."""

    machine: Machine
    rounds: int
    requests: int
    awake: bool
    outcomes: Sequence[Outcome]
    rates: Sequence[Rate]
    loop: LoopCheck

    def show(self, console: Console) -> None:
        console.print(outcome_table(f"Medians of {self.rounds} rounds", COLUMNS, self.outcomes))
        rates = Table(*RATE_COLUMNS)
        for rate in self.rates:
            rates.add_row(*_rate_cells(rate))
        console.print(rates)
        console.print(self._loop())

    def write(self, folder: Path) -> None:
        """Write latest.json and latest.md."""
        write_result(folder, "latest", self._for_programs(), self._for_people())

    def _for_programs(self) -> dict[str, object]:
        rows = [outcome.for_programs("ours", "redis") for outcome in self.outcomes]
        return {
            "machine": asdict(self.machine), "rounds": self.rounds, "requests": self.requests, "awake": self.awake,
            "rows": rows,
            "rates": [asdict(rate) for rate in self.rates], "closed_loop": asdict(self.loop),
        }  # fmt: skip

    def _for_people(self) -> str:
        machine = self.machine
        return TEXT.format(
            **asdict(machine),
            rounds=self.rounds,
            idle=SPINS if self.awake else HALTS,
            clients=CLIENTS,
            keys=KEYS,
            value_bytes=len(VALUE),
            table=markdown(COLUMNS, [cells(outcome) for outcome in self.outcomes]),
            rates=markdown(RATE_COLUMNS, [_rate_cells(rate) for rate in self.rates]),
            loop=self._loop(),
        )

    def _loop(self) -> str:
        loop = self.loop
        return (
            f"The closed loop of our own reaches {loop.loop_per_s:,.0f} PINGs a second, for which it needs "
            f"{loop.loop_core_share:.0%} of a core; redis-benchmark reaches {loop.redis_benchmark_per_s:,.0f}."
        )


def describe(server: Server) -> Machine:
    """The machine here, and the Redis that runs as `server`."""
    with server.client() as client:
        version = str(client.info("server")["redis_version"])
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=psutil.virtual_memory().total / GIB,
        kernel=platform.release(),
        redis=version,
        python=platform.python_version(),
        commit=_commit(),
        date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        load=os.getloadavg()[0],
    )


def _cpu() -> str:
    names = [line.partition(":")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return " ".join(names[0].split()) if names else platform.machine()


def _commit() -> str:
    """The short hash, with `-dirty` if the tree differs from the commit; "unknown" outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def outcome_table(title: str, columns: Sequence[str], outcomes: Sequence[Outcome]) -> Table:
    """A table for the terminal. columns: the names for what `cells` returns."""
    table = Table(title=title)
    for name in columns:
        table.add_column(name, no_wrap=name != columns[0], justify="left" if name in LEFT else "right")
    for outcome in outcomes:
        color = COLORS[outcome.verdict]
        *figures, verdict = cells(outcome)
        table.add_row(*figures, f"[{color}]{verdict}[/{color}]")
    return table


def cells(outcome: Outcome) -> list[str]:
    unit, goal = outcome.row.unit, outcome.row.goal
    sides = [f"{_side(side)}{'' if unit == '/s' else ' '}{unit}" for side in (outcome.ours, outcome.theirs)]
    figures = [*sides, _figure(outcome.figure), f"{_figure(min(outcome.figures))}–{_figure(max(outcome.figures))}"]
    return [outcome.row.title, *figures, _figure(goal.floor), _figure(goal.aim), outcome.verdict]


def _side(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _rate_cells(rate: Rate) -> list[str]:
    return [rate.name, f"{rate.per_s:,.0f}", rate.earlier]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def write_result(folder: Path, name: str, for_programs: dict[str, object], for_people: str) -> None:
    """Write `name`.json and `name`.md there."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(for_programs, indent=2, ensure_ascii=False) + "\n")
    (folder / f"{name}.md").write_text(for_people)
