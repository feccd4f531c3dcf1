# SPDX-License-Identifier: Apache-2.0
"""`chainredis status` and `doctor`: a running chain, given one address, and what to do about what is wrong."""

import argparse
import json
import time
from collections.abc import Callable
from typing import NoReturn

from rich.console import Console
from rich.live import Live

from chainredis.cli.addresses import add_login, address, credentials, tls_of
from chainredis.cli.exit_status import ExitStatus
from chainredis.cli.picture import Rates, bullets, picture
from chainredis.cli.subcommands import AddParser
from chainredis.operator.chain_status import ChainStatus
from chainredis.operator.doctor import examine
from chainredis.operator.looking import examine_masters, examine_members, look
from chainredis.protocol.errors import MemberError

MAX_WATCH_S = 86400
STATUSES = "1 when something is wrong, 3 when the chain cannot be asked"


def register(add_parser: AddParser) -> None:
    parser = add_parser(
        "status",
        help="show a running chain, given the address of a master or a member",
        epilog=f"The exit status is 0 when all is well, {STATUSES}.",
    )
    parser.add_argument("address", type=address, metavar="HOST:PORT", help="of a master, or of any member")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--watch", type=_seconds, metavar="SECONDS", help="show it again and again, until Ctrl-C")
    add_login(parser)
    parser.set_defaults(call=status)
    parser = add_parser(
        "doctor",
        help="examine a running chain: versions, clocks, settings, rights, links, limits, and what to change",
        epilog=f"The exit status is 0 when nothing is found, {STATUSES}.",
    )
    parser.add_argument("address", type=address, metavar="HOST:PORT", help="of a master, or of any member")
    parser.add_argument("--json", action="store_true", help="for programs: a list of texts")
    add_login(parser)
    parser.set_defaults(call=doctor)


def status(options: argparse.Namespace) -> int:
    """Returns the exit status. MemberError if the server does not answer."""
    login, tls = credentials(options), tls_of(options)
    seen = look(options.address, login, tls)
    if options.watch:
        _watch(seen, lambda: look(options.address, login, tls), options.watch)
    if options.json:
        print(json.dumps(seen.to_json()))
    else:
        Console(highlight=False).print(picture(seen))
    return ExitStatus.NOT_WELL if seen.findings() else ExitStatus.WELL


def _watch(seen: ChainStatus, look_again: Callable[[], ChainStatus], interval_s: float) -> NoReturn:
    """A server that does not answer for some time does not end this."""
    rates = Rates()
    shown = picture(seen, rates.of(seen))
    with Live(auto_refresh=False) as live:
        while True:
            live.update(shown, refresh=True)
            time.sleep(interval_s)
            try:
                seen = look_again()
                shown = picture(seen, rates.of(seen))
            except MemberError as error:
                shown = bullets([str(error)], "")


def _seconds(text: str) -> float:
    """A time that somebody typed."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_WATCH_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, up to {MAX_WATCH_S}")
    return seconds


def doctor(options: argparse.Namespace) -> int:
    """Returns the exit status. MemberError if the server does not answer."""
    login, tls = credentials(options), tls_of(options)
    seen = look(options.address, login, tls)
    findings = examine(seen, examine_members(seen, login, tls), examine_masters(seen, login, tls))
    if options.json:
        print(json.dumps(findings))
    else:
        Console(highlight=False).print(bullets(findings, "nothing was found"))
    return ExitStatus.NOT_WELL if findings else ExitStatus.WELL
