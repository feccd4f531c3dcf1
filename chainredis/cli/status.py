# SPDX-License-Identifier: Apache-2.0
"""`chainredis status` and `doctor`: a running chain, given one address, and what to do about what is wrong."""

import argparse
import json
import time
from collections.abc import Callable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chainredis.cli.addresses import add_login, address, credentials
from chainredis.cli.exit_status import ExitStatus
from chainredis.operator.chain_status import ChainStatus, MemberStatus
from chainredis.operator.doctor import examine
from chainredis.operator.looking import examine_members, look

NUMBERS = ("epoch", "applied", "committed")
STATUSES = "1 when something is wrong, 3 when the chain cannot be asked"


def register(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "status",
        help="show a running chain, given the address of a master or a member",
        epilog=f"The exit status is 0 when all is well, {STATUSES}.",
    )
    parser.add_argument("address", type=address, metavar="HOST:PORT", help="of a master, or of any member")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="show it again and again, until Ctrl-C")
    add_login(parser)
    parser.set_defaults(call=status)
    parser = add_parser(
        "doctor",
        help="examine a running chain: versions, clocks, files, leases, links, limits, and what to change",
        epilog=f"The exit status is 0 when nothing is found, {STATUSES}.",
    )
    parser.add_argument("address", type=address, metavar="HOST:PORT", help="of a master, or of any member")
    parser.add_argument("--json", action="store_true", help="for programs: a list of texts")
    add_login(parser)
    parser.set_defaults(call=doctor)


def status(options: argparse.Namespace) -> int:
    """Returns the exit status. MemberError if the server does not answer."""
    login = credentials(options)
    if options.watch:
        with Live(auto_refresh=False) as live:
            while True:
                live.update(_picture(look(options.address, login)), refresh=True)
                time.sleep(options.watch)
    seen = look(options.address, login)
    if options.json:
        print(json.dumps(seen.to_json()))
    else:
        Console(highlight=False).print(_picture(seen))
    return ExitStatus.NOT_WELL if seen.findings() else ExitStatus.WELL


def doctor(options: argparse.Namespace) -> int:
    """Returns the exit status. MemberError if the server does not answer."""
    login = credentials(options)
    seen = look(options.address, login)
    findings = examine(seen, examine_members(seen, login))
    if options.json:
        print(json.dumps(findings))
    else:
        Console(highlight=False).print(_list(findings, "nothing was found"))
    return ExitStatus.NOT_WELL if findings else ExitStatus.WELL


def _list(findings: Sequence[str], otherwise: str) -> Group:
    lines = [Text(f"- {finding}", style="yellow") for finding in findings]
    return Group(*(lines or [Text(otherwise, style="green")]))


def _picture(seen: ChainStatus) -> Group:
    title = f"A chain of kind {seen.kind or 'unknown'}, in epoch {seen.epoch}"
    table = Table(title=title, title_justify="left", title_style="", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("member", "role", "serving"):
        table.add_column(column, no_wrap=True)
    for column in NUMBERS:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("replies held")
    for member in seen.members:
        table.add_row(*_row(member))
    return Group(table, _list(seen.findings(), "all is well"))


def _row(member: MemberStatus) -> list[str | Text]:
    if member.trouble:
        return [str(member.endpoint), Text("does not answer", style="red")]
    serving = Text("yes") if member.serving else Text("no", style="red")
    numbers = (str(member.numbers.get(name, "")) for name in NUMBERS)
    return [str(member.endpoint), member.role, serving, *numbers, _held(member)]


def _held(member: MemberStatus) -> str:
    """What waits until it is committed. A member whose gate holds nothing for long is well."""
    clients = member.numbers.get("held_clients", 0)
    if not clients:
        return ""
    held_bytes, oldest_ms = member.numbers.get("held_bytes", 0), member.numbers.get("oldest_held_ms", 0)
    return f"{held_bytes} bytes for {clients} clients, the oldest for {oldest_ms} ms"
