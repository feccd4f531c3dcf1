# SPDX-License-Identifier: Apache-2.0
"""The results of the fail-over benchmark, for people and for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from chainredis.benchmarks.clients import VALUE, Load
from chainredis.benchmarks.figures import Goal, Verdict
from chainredis.benchmarks.gaps import spread
from chainredis.benchmarks.joins import NORMAL_S, Copy, Joins
from chainredis.benchmarks.kills import CLIENTS, POSITIONS, WINDOW_S, Failover
from chainredis.benchmarks.plots import draw
from chainredis.benchmarks.report import COLORS, Machine, markdown, write_result

MEDIAN_GAP, WORST_GAP = Goal(floor=30, aim=5), Goal(floor=30, aim=10)
JOIN_GAP = Goal(floor=30, aim=10)
GAP_COLUMNS = (
    "killed", "clients", "median", "90 %", "worst", "longest wait of one client",
    "undisturbed, median", "worst", "verdict",
)  # fmt: skip
JOIN_COLUMNS = ("load", "writes/s", "normal gap", "gap", "beyond normal", "verdict", "seconds", "MiB/s", "fork")

TEXT = """\
# Fail-over and joining

{date}, commit {commit}: Redis {redis}, Python {python}, Linux {kernel}, {cores} × {cpu}, {memory_gib:.0f} GiB.
The load average before it began was {load:.2f}. All servers and all clients run on this machine. Times without a
unit are milliseconds. `make bench-failover` repeats it.

## A member is killed

A chain of {members} members, {load_writers} clients that write, each with one `MEMBER.PUT` under way, and
{load_readers} that `READ`, without a pause. Each position is killed (SIGKILL) {kills} times; then that server is
started again, empty, and added. A gap is the longest time between two successes, one right after the other, of all
that write, or all that read, within {window:g} s from the kill on: detection, repair, and the clients' search for the
new head or tail. "Undisturbed" is the same for as long a time shortly before each kill: what the machine does by
itself. The aim is a median of {median_aim:g} and {worst_aim:g} at worst, the floor {floor:g} at worst.

{gaps}

A repair begins with a view that is made durable. Before each kill, that took a block on this disk {flush.median:.1f} in
the median, {flush.worst:.1f} at worst.

![How long each request took, from before a kill until the chain is whole again](failover.png)

## A member is added

`MASTER.ADD` to a chain of two with {keys:,} keys and values of {value_bytes} bytes, {rounds} times with each load:
medians, the worst in brackets. Here a gap is that of all writers while the member is added, the normal one that in
{normal:g} s before. The aim is {join_aim:g} beyond normal. "seconds" are from the order until the new tail serves,
"MiB/s" what the old one sent it in that time, and "fork" is how long that took at the old one. Redis's own is a full
synchronisation of the same data between two plain servers (`REPLICAOF`, diskless at both ends) in the same rounds.

{joins}

Without load, a member is added at {ratio:.2f} times the speed of Redis's own full synchronisation.
"""


@dataclass(frozen=True)
class FailoverReport:
    """The results. load: of the chain whose members were killed."""

    machine: Machine
    load: Load
    failover: Failover
    joins: Joins

    def show(self, console: Console) -> None:
        table = Table(*GAP_COLUMNS, title="A member is killed: gaps in ms")
        for *cells, verdict in self._gap_rows():
            table.add_row(*cells, f"[{COLORS[Verdict(verdict)]}]{verdict}[/]")
        console.print(table)
        table = Table(*JOIN_COLUMNS, title="A member is added: gaps in ms, medians (worst)")
        for cells in self._join_rows():
            table.add_row(*cells)
        console.print(table)

    def write(self, folder: Path) -> None:
        """Write failover.md, failover.json and failover.png."""
        write_result(folder, "failover", self._for_programs(), self._for_people())
        draw(self.failover, folder / "failover.png")

    def _gap_rows(self) -> Iterator[list[str]]:
        for position in POSITIONS:
            for clients in CLIENTS:
                gaps = self.failover.gaps(position, clients)
                gap, normal = (spread([getattr(one, name) for one in gaps]) for name in ("gap", "normal_gap"))
                latency = max(one.latency for one in gaps)
                figures = (gap.median, gap.p90, gap.worst, latency, normal.median, normal.worst)
                verdict = max(MEDIAN_GAP.verdict(gap.median), WORST_GAP.verdict(gap.worst), key=list(Verdict).index)
                yield [position, clients, *(f"{figure:.1f}" for figure in figures), verdict]

    def _join_rows(self) -> Iterator[list[str]]:
        yield ["Redis's own, no load", *[""] * 5, *_copy_cells(self.joins.native)]
        yield ["no load", *[""] * 5, *_copy_cells(self.joins.idle)]
        for name, joins in self.joins.loaded.items():
            beyond = [join.beyond_normal for join in joins]
            yield [
                name,
                f"{median(join.writes_per_s for join in joins):,.0f}",
                _median_and_worst([join.normal_gap for join in joins]),
                _median_and_worst([join.gap for join in joins]),
                _median_and_worst(beyond),
                JOIN_GAP.verdict(max(beyond)),
                *_copy_cells([join.copy for join in joins]),
            ]

    def _for_programs(self) -> dict[str, object]:
        kills = {
            position: {clients: [asdict(gaps) for gaps in self.failover.gaps(position, clients)] for clients in CLIENTS}
            for position in POSITIONS
        }
        return {
            "machine": asdict(self.machine), "load": asdict(self.load), "kills": kills,
            "flush_ms": [kill.flush_ms for kill in self.failover.kills], "joins": asdict(self.joins),
        }  # fmt: skip

    def _for_people(self) -> str:
        native, idle = (median(copy.mib_per_s for copy in copies) for copies in (self.joins.native, self.joins.idle))
        return TEXT.format(
            **asdict(self.machine),
            **{f"load_{name}": value for name, value in asdict(self.load).items()},
            members=len(POSITIONS),
            kills=len(self.failover.kills) // len(POSITIONS),
            window=WINDOW_S,
            median_aim=MEDIAN_GAP.aim,
            worst_aim=WORST_GAP.aim,
            floor=WORST_GAP.floor,
            flush=spread([kill.flush_ms for kill in self.failover.kills]),
            gaps=markdown(GAP_COLUMNS, list(self._gap_rows())),
            join_aim=JOIN_GAP.aim,
            keys=self.joins.keys,
            value_bytes=len(VALUE),
            normal=NORMAL_S,
            rounds=len(self.joins.native),
            joins=markdown(JOIN_COLUMNS, list(self._join_rows())),
            ratio=idle / native,
        )


def _copy_cells(copies: Sequence[Copy]) -> list[str]:
    return [
        f"{median(copy.seconds for copy in copies):.2f}",
        f"{median(copy.mib_per_s for copy in copies):.1f}",
        _median_and_worst([copy.fork_ms for copy in copies]),
    ]


def _median_and_worst(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({max(values):.1f})"
