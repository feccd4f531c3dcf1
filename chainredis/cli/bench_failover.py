# SPDX-License-Identifier: Apache-2.0
"""`chainredis bench-failover`: kill and add members under load, and measure what clients notice."""

import argparse

from chainredis.benchmarks.clients import Load
from chainredis.benchmarks.failover_report import FailoverReport
from chainredis.benchmarks.joins import measure_joins
from chainredis.benchmarks.kills import POSITIONS, measure_failover
from chainredis.benchmarks.report import describe
from chainredis.benchmarks.two_trees import FAILOVER, compare
from chainredis.cli.bench import RESULTS, add_number, add_other, terminal
from chainredis.cli.subcommands import AddParser
from chainredis.local_cluster.cluster import Cluster

KILLS_A_TURN = 5


def register(add_parser: AddParser) -> None:
    parser = add_parser(
        "bench-failover", help="kill and add members under load, and write what clients notice to benchmarks/"
    )
    add_number(parser, "--kills", 20, "of each position")
    add_number(parser, "--joins", 3, "with each load")
    add_number(parser, "--keys", 1_000_000, "to copy when a member joins")
    add_other(parser)
    parser.add_argument(
        "--commands", choices=("put", "all"), default="put",
        help="kind of the chain, with --other (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(call=bench_failover)


def bench_failover(options: argparse.Namespace) -> None:
    """LauncherError if a server fails or refuses a command. A missed goal is not an error."""
    console, say = terminal()
    if options.other:
        arguments = [options.commands, KILLS_A_TURN]
        console.print(compare(options.other, FAILOVER, arguments, -(-options.kills // KILLS_A_TURN), say))
        return
    load = Load()
    with Cluster(len(POSITIONS), master_config={"master.auto-return": "no"}) as cluster:
        machine = describe(cluster.master)
        failover = measure_failover(cluster, options.kills, load, say)
    joins = measure_joins(options.joins, options.keys, say)
    report = FailoverReport(machine, load, failover, joins)
    report.show(console)
    report.write(RESULTS)
    console.print(f"Written to {RESULTS.name}/failover.md, failover.json and failover.png")
