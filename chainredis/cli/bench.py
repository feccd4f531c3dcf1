# SPDX-License-Identifier: Apache-2.0
"""`chainredis bench`: measure against plain Redis, side by side."""

import argparse
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from chainredis.benchmarks.awake import processors_awake
from chainredis.benchmarks.figures import Outcome, Row
from chainredis.benchmarks.held_rows import HeldRows
from chainredis.benchmarks.instructions import can_count
from chainredis.benchmarks.load import CLIENTS
from chainredis.benchmarks.report import Rate, Report, describe
from chainredis.benchmarks.rows import Rows
from chainredis.benchmarks.systems import running_systems
from chainredis.benchmarks.two_trees import DISKS, compare
from chainredis.cli.subcommands import AddParser
from chainredis.local_cluster.server import ROOT

RESULTS = ROOT / "benchmarks"
FILE_WIDTH = 160  # of the table in a file, which has no width of its own


def register(add_parser: AddParser) -> None:
    parser = add_parser("bench", help="measure against plain Redis, and write the result to benchmarks/")
    add_number(parser, "--rounds", 9, "of which the medians are taken")
    add_number(parser, "--requests", 500_000, "in a pipelined run; other runs have fewer")
    add_other(parser)
    parser.add_argument("--awake", action="store_true", help="let processors spin that have nothing to do")
    parser.set_defaults(call=bench)


def bench(options: argparse.Namespace) -> None:
    """LauncherError if a server fails or refuses a command. A missed goal is not an error."""
    console, say = terminal()
    awake = processors_awake if options.awake else contextlib.nullcontext
    if options.other:
        with awake():
            console.print(compare(options.other, DISKS, [max(options.requests // 100, CLIENTS)], options.rounds, say))
        return
    with running_systems(say) as systems:
        machine = describe(systems.plain)
        rows, held = Rows(systems, options.requests), HeldRows(systems, options.requests)
        with awake():
            outcomes = _measure([*rows.repeated, *held.repeated], options.rounds, console)
        outcomes.append(_measure_once(rows.memory, "waiting for the memory of idle servers", console))
        if can_count():
            outcomes.append(_measure_once(rows.instructions, "counting instructions", console))
        by_row = {outcome.row: outcome for outcome in outcomes}
        rates = [
            Rate("SET, unreplicated (-P 16)", by_row[rows.singleton].theirs, "460,000"),
            Rate("GET (-P 16)", by_row[rows.reads].theirs),
            Rate("SET on replicas A←B←C (-P 16)", by_row[rows.chain].theirs, "250,000"),
            Rate("MEMBER.PUT k v id, 3 members (-P 16)", by_row[rows.chain].ours, "153,000 (the original in C++)"),
            Rate("READ (-P 16)", by_row[rows.reads].ours),
        ]
        with awake():
            loop = rows.loop_check()
        report = Report(machine, options.rounds, options.requests, options.awake, outcomes, rates, loop)
    report.show(console)
    report.write(RESULTS)
    console.print(f"Written to {RESULTS.name}/latest.md and latest.json")


def _measure(rows: Sequence[Row], rounds: int, console: Console) -> list[Outcome]:
    """All rows once in each round: a bad minute of the machine disturbs one round of each row."""
    outcomes = [Outcome(row) for row in rows]
    with Progress(console=console, transient=True, refresh_per_second=1) as progress:
        task = progress.add_task("", total=(1 + rounds) * len(outcomes))
        for number in range(1 + rounds):
            name = f"round {number} of {rounds}" if number else "warming up"
            progress.console.print(f"{name} …", highlight=False)
            for outcome in outcomes:
                progress.update(task, description=outcome.row.title.partition(" / ")[0])
                outcome.measure()
                progress.advance(task)
                if number == 0:
                    outcome.rounds.clear()
    return outcomes


def _measure_once(row: Row, what: str, console: Console) -> Outcome:
    console.print(f"{what} …", highlight=False)
    outcome = Outcome(row)
    outcome.measure()
    return outcome


def terminal() -> tuple[Console, Callable[[str], None]]:
    """The console for tables, and a function that tells people what begins."""
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH

    def say(text: str) -> None:
        console.print(f"{text} …", highlight=False, markup=False)

    return console, say


def add_number(parser: argparse.ArgumentParser, option: str, default: int, text: str, metavar: str = "N") -> None:
    parser.add_argument(option, type=positive, default=default, metavar=metavar, help=f"{text} (default: %(default)s)")


def add_other(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--other", type=Path, metavar="CLONE", help="measure in this other built clone, too, by turns, and only compare"
    )


def positive(text: str) -> int:
    """A number from 1 on that somebody typed."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)
