# SPDX-License-Identifier: Apache-2.0
"""The results of the benchmark of checkpoints and flushing, for people and for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chainredis.benchmarks.clients import VALUE as SMALL_VALUE
from chainredis.benchmarks.figures import Outcome
from chainredis.benchmarks.fills import (
    BLOCKING_SHARE,
    FLUSH_ABOVE_MIB,
    INTERVAL_MS,
    MEMBERS,
    MODES,
    WATCHED,
    Fill,
    Fills,
)
from chainredis.benchmarks.flushes import NORMAL_S, READS, VALUE_BYTES, WRITERS
from chainredis.benchmarks.load import CLIENTS
from chainredis.benchmarks.report import Machine, cells, markdown, outcome_table, write_result

COLUMNS = ("measured", "with", "without", "figure", "rounds", "floor", "aim", "verdict")
MEMORY_COLUMNS = ("member", "mode", "highest", "at the end", "resident at the end", "µs of a processor for each write")
PLOTTED = {"normal": "tab:red", "checkpoint-flush": "tab:blue"}

TEXT = """\
# Checkpoints and flushing

{date}, commit {commit}: Redis {redis}, Python {python}, Linux {kernel}, {cores} × {cpu}, {memory_gib:.0f} GiB.
The load average before it began was {load:.2f}. All servers and all clients run on this machine, and all checkpoints
are on its disk. `make bench-flush` repeats it.

## Memory

A chain of {members} members gets {writes:,} unique keys with values of {value_bytes} bytes, as fast as it takes them
({clients} clients, pipelined): once without checkpoints, once with `member.gcs-mode checkpoint-flush`,
`member.checkpoint-interval {interval}` and `member.flush-above {flush_above}mb`. Solid is what Redis counts
(`used_memory`), dotted what the process has of the machine, LevelDB's buffers included, but not those pages of its
tables that the kernel keeps for as long as it has room.

![Memory over time: growing without flushing, bounded with it](flush.png)

In MiB, and what all threads of that member took of the processors; `checkpoint` writes checkpoints and flushes nothing:

{memory}

## Speed

In each of {rounds} rounds both sides of each row run one right after the other, in the first three each on a chain of
its own. A figure is the median of the rounds' own, whose range stands beside it. Checkpoints are automatic there, every
{interval} ms; blocking writers make {share:.0%} of the writes, with {clients} clients. A gap is the longest time
between two successes, one right after the other, of {writers} writers of their own keys ({small_bytes} bytes), each
with one `MEMBER.PUT` under way, while all members checkpoint, or flush, {keys:,} new keys, and in {normal:g} s before;
the figure is what it is longer. READs are {reads:,} of {keys:,} keys in random order; the figure is the difference.

{table}
"""


@dataclass(frozen=True)
class FlushReport:
    """The results. keys: of each checkpoint and flush whose gaps were measured, and of the READs."""

    machine: Machine
    rounds: int
    keys: int
    fills: Fills
    outcomes: Sequence[Outcome]

    def show(self, console: Console) -> None:
        console.print(outcome_table(f"Medians of {self.rounds} rounds", COLUMNS, self.outcomes))
        table = Table(*MEMORY_COLUMNS)
        for row in self._memory_rows():
            table.add_row(*row)
        console.print(table)

    def write(self, folder: Path) -> None:
        """Write flush.md, flush.json and flush.png."""
        write_result(folder, "flush", self._for_programs(), self._for_people())
        _draw([self.fills.typical(mode) for mode in PLOTTED], folder / "flush.png")

    def _memory_rows(self) -> Iterator[list[str]]:
        for mode in MODES:
            fill = self.fills.typical(mode)
            for name, samples in fill.memory.items():
                highest = max(sample.used_mib for sample in samples)
                figures = (highest, samples[-1].used_mib, samples[-1].resident_mib)
                yield [name, mode, *(f"{figure:,.0f}" for figure in figures), f"{fill.cpu_us[name]:.1f}"]

    def _for_programs(self) -> dict[str, object]:
        rows = [outcome.for_programs("with", "without") for outcome in self.outcomes]
        memory = {mode: asdict(self.fills.typical(mode)) for mode in MODES}
        return {
            "machine": asdict(self.machine), "rounds": self.rounds, "keys": self.keys, "writes": self.fills.writes,
            "rows": rows, "memory": memory,
        }  # fmt: skip

    def _for_people(self) -> str:
        return TEXT.format(
            **asdict(self.machine),
            members=MEMBERS,
            writes=self.fills.writes,
            value_bytes=VALUE_BYTES,
            clients=CLIENTS,
            interval=INTERVAL_MS,
            flush_above=FLUSH_ABOVE_MIB,
            memory=markdown(MEMORY_COLUMNS, list(self._memory_rows())),
            rounds=self.rounds,
            share=BLOCKING_SHARE,
            writers=WRITERS.writers,
            small_bytes=len(SMALL_VALUE),
            keys=self.keys,
            normal=NORMAL_S,
            reads=READS,
            table=markdown(COLUMNS, [cells(outcome) for outcome in self.outcomes]),
        )


def _draw(fills: Sequence[Fill], path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - as slow to load as all of the command line

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for name, axes in zip(WATCHED, figure.subplots(1, len(WATCHED), sharey=True), strict=True):
        for fill in fills:
            seconds, used, resident = zip(*fill.memory[name], strict=True)
            axes.plot(seconds, used, color=PLOTTED[fill.mode], label=fill.mode)
            axes.plot(seconds, resident, ":", color=PLOTTED[fill.mode])
        axes.axhline(FLUSH_ABOVE_MIB, color="black", linewidth=0.8, label="member.flush-above")
        axes.set_title(f"memory of the {name}, MiB", loc="left")
        axes.set_xlabel("seconds since the writers began")
        axes.grid(axis="y", alpha=0.3)
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.savefig(path, dpi=100)
