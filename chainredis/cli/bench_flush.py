# SPDX-License-Identifier: Apache-2.0
"""`chainredis bench-flush`: what checkpoints and flushing cost, and that they keep memory bounded."""

import argparse
from collections.abc import Callable, Sequence

from chainredis.benchmarks.figures import Outcome, Row
from chainredis.benchmarks.fills import MEMBERS, Fills
from chainredis.benchmarks.flush_report import FlushReport
from chainredis.benchmarks.flushes import CONFIG, measure_pauses, reads_row
from chainredis.benchmarks.report import describe
from chainredis.cli.bench import RESULTS, add_number, terminal
from chainredis.cli.subcommands import AddParser
from chainredis.local_cluster.cluster import Cluster


def register(add_parser: AddParser) -> None:
    parser = add_parser("bench-flush", help="measure checkpoints and flushing, and write what they cost to benchmarks/")
    add_number(parser, "--rounds", 3, "of which the medians are taken")
    add_number(parser, "--writes", 1_000_000, "of unique keys, to a chain")
    add_number(parser, "--keys", 100_000, "to checkpoint, flush and READ")
    parser.set_defaults(call=bench_flush)


def bench_flush(options: argparse.Namespace) -> None:
    """LauncherError if a server fails or refuses a command. A missed goal is not an error."""
    console, say = terminal()
    fills = Fills(options.writes)
    with Cluster(MEMBERS, member_config=CONFIG) as cluster:
        machine = describe(cluster.master)
        outcomes = measure_pauses(cluster, options.rounds, options.keys, say)
        say("reading what was flushed")
        outcomes += _measured([reads_row(cluster, options.keys)], options.rounds, lambda _: None)
    outcomes = _measured(fills.rows(), options.rounds, say) + outcomes
    report = FlushReport(machine, options.rounds, options.keys, fills, outcomes)
    report.show(console)
    report.write(RESULTS)
    console.print(f"Written to {RESULTS.name}/flush.md, flush.json and flush.png")


def _measured(rows: Sequence[Row], rounds: int, progress: Callable[[str], None]) -> list[Outcome]:
    outcomes = [Outcome(row) for row in rows]
    for number in range(rounds):
        for outcome in outcomes:
            progress(f"{outcome.row.title}, {number + 1} of {rounds}")
            outcome.measure()
    return outcomes
