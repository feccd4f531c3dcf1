"""`chainredis bench-failover`: kill and add members under load, and measure what clients notice."""

import argparse
from collections.abc import Callable

from chainredis.benchmarks.clients import Load
from chainredis.benchmarks.failover_report import FailoverReport
from chainredis.benchmarks.joins import measure_joins
from chainredis.benchmarks.kills import POSITIONS, measure_failover
from chainredis.benchmarks.report import describe
from chainredis.cli.bench import RESULTS, positive, terminal
from chainredis.local_cluster.cluster import Cluster


def register(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "bench-failover",
        help="kill and add members under load, and write what clients notice to benchmarks/",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--kills", type=positive, default=20, metavar="N", help="of each position")
    parser.add_argument("--joins", type=positive, default=3, metavar="N", help="with each load")
    parser.add_argument("--keys", type=positive, default=1_000_000, metavar="N", help="to copy when a member joins")
    parser.set_defaults(call=bench_failover)


def bench_failover(options: argparse.Namespace) -> None:
    """Raises LauncherError when a server fails or refuses; falling short of a goal is no error."""
    console, say = terminal()
    load = Load()
    with Cluster(len(POSITIONS), master_config={"master.auto-return": "no"}) as cluster:
        machine = describe(cluster.master)
        failover = measure_failover(cluster, options.kills, load, say)
    joins = measure_joins(options.joins, options.keys, say)
    report = FailoverReport(machine, load, failover, joins)
    report.show(console)
    report.write(RESULTS)
    console.print(f"Written to {RESULTS.name}/failover.md, failover.json and failover.png")
