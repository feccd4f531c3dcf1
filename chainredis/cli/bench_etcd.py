# SPDX-License-Identifier: Apache-2.0
"""`chainredis bench-etcd`: kill and stop members, masters and etcd, and measure how long repairs take."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

from chainredis.benchmarks.clients import Load
from chainredis.benchmarks.report import markdown
from chainredis.benchmarks.two_trees import ETCD, compare
from chainredis.cli.bench import RESULTS, add_number, add_other, terminal
from chainredis.cli.subcommands import AddParser

if TYPE_CHECKING:
    from chainredis.benchmarks.etcd import Measurements

ROUNDS_A_TURN = 3
COLUMNS = ("what happens", "median ms", "worst ms", "longest gap of all writers", "of all readers")
TEXT = """\
# Masters in etcd

{date}, commit {commit}: Redis {redis}, Python {python}, Linux {kernel}, {cores} × {cpu}, {memory_gib:.0f} GiB.
The load average before it began was {load:.2f}. All servers and all clients run on this machine. `make bench-etcd`
repeats it.

A chain of three, two masters, three etcd servers; heartbeats and the master's timeout are {timeout} s; {writers}
clients that write, each with one `MEMBER.PUT` under way, and {readers} that `READ`, all without pause; {rounds} times.
A gap is the longest time between two successes, one right after the other, of all that write, or all that read, from
what happens until what is waited for: medians, the worst in brackets. A change is a `MASTER.REMOVE`.

{table}

A member that hangs holds up writers until it is out: that is not before its lease has certainly run out. Nothing else
than its own members holds up a chain.
"""


def register(add_parser: AddParser) -> None:
    parser = add_parser(
        "bench-etcd", help="kill and stop members, masters and etcd, and write how long repairs take to benchmarks/"
    )
    add_number(parser, "--rounds", 5, "of each")
    add_number(parser, "--timeout", 5, "of heartbeats, in seconds", metavar="S")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults with this in their name, as killed")
    add_other(parser)
    parser.set_defaults(call=bench_etcd)


def bench_etcd(options: argparse.Namespace) -> None:
    """LauncherError if a server fails or refuses a command."""
    # Loading etcd's client takes time: the other commands do not wait for it.
    from chainredis.benchmarks.etcd import measure  # noqa: PLC0415

    console, say = terminal()
    if options.other:
        arguments = [options.timeout, ROUNDS_A_TURN, options.only]
        console.print(compare(options.other, ETCD, arguments, -(-options.rounds // ROUNDS_A_TURN), say))
        return
    load = Load()
    found = measure(options.timeout, options.rounds, load, options.only, say)
    rows = list(_rows(found))
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    RESULTS.mkdir(exist_ok=True)
    text = TEXT.format(
        **asdict(found.machine),
        timeout=options.timeout,
        rounds=options.rounds,
        writers=load.writers,
        readers=load.readers,
        table=markdown(COLUMNS, rows),
    )
    (RESULTS / "etcd.md").write_text(text)
    console.print(f"Written to {RESULTS.name}/etcd.md")


def _rows(found: "Measurements") -> Iterator[list[str]]:
    for what in dict.fromkeys(each.what for each in found.times):
        times = [each for each in found.times if each.what == what]
        taken = [each.ms for each in times]
        gaps = ([service.longest_gap_ms(each.window) for each in times] for service in found.recording)
        cells = (f"{median(gap):.1f} ({max(gap):.1f})" for gap in gaps)
        yield [what, f"{median(taken):.0f}", f"{max(taken):.0f}", *cells]
