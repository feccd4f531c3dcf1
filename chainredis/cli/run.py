# SPDX-License-Identifier: Apache-2.0
"""`chainredis run`: a chain on this machine, shown live until Ctrl-C."""

import argparse
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from chainredis.cli.picture import Rates, picture
from chainredis.cli.subcommands import AddParser
from chainredis.local_cluster.certificates import throw_away
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import is_free
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import ROOT, server_path
from chainredis.operator.chain_status import ChainStatus, MemberStatus
from chainredis.operator.looking import look_around
from chainredis.protocol.view import MAX_MEMBERS, Endpoint, Kind

ETCD_PORT = 12379
MASTERS_IN_ETCD, MAX_MASTERS = 2, 7
LIVE_INTERVAL_S = 0.5
LINES_INTERVAL_S = 5.0


def register(add_parser: AddParser) -> None:
    parser = add_parser(
        "run",
        help="start a master and members on this machine, and show the chain until Ctrl-C",
    )
    parser.add_argument(
        "--members", type=_members, default=3, metavar="N", help=f"members, 1 to {MAX_MEMBERS} (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=_port, default=6369, help="of the master; the members have those after it (default: %(default)s)"
    )
    parser.add_argument("--etcd", action="store_true", help=f"masters in an etcd, on port {ETCD_PORT} if that is free")
    parser.add_argument(
        "--masters", type=_masters, metavar="N", help=f"with --etcd: one of them leads (default: {MASTERS_IN_ETCD})"
    )
    parser.add_argument(
        "--commands", choices=("put", "all", "auto"), default="auto",
        help="put: MEMBER.PUT and READ; all, auto: any command (default: %(default)s)",
    )
    parser.add_argument("--tls", action="store_true", help="servers talk with TLS, on free ports; keys are made for it")
    parser.add_argument("--dir", type=Path, help="folder for logs and the master's state (default: a temporary one)")
    parser.set_defaults(call=run)


def run(options: argparse.Namespace) -> None:
    """Runs until KeyboardInterrupt; then all servers are stopped. LauncherError if one cannot be started."""
    if options.masters and not options.etcd:
        raise LauncherError("--masters goes with --etcd: a chain without etcd has one master")
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    console = Console()
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(_cluster(options, console, stack))
        console.print(_how_to_talk(cluster), highlight=False, markup=False, soft_wrap=True)
        with contextlib.suppress(KeyboardInterrupt):
            _show(cluster, console)
        console.print(_farewell(options.dir, cluster), highlight=False, markup=False, soft_wrap=True)


def _cluster(options: argparse.Namespace, console: Console, stack: contextlib.ExitStack) -> Cluster:
    """The cluster, not started yet. The etcd that it needs is started, and stops with the stack."""

    def progress(text: str) -> None:
        console.print(f"{text} …", highlight=False, markup=False)

    where: dict[str, Any] = {
        "folder": options.dir, "first_port": options.port, "commands": options.commands, "progress": progress,
    }  # fmt: skip
    if options.tls:
        keys = options.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chainredis-tls-")))
        where["tls"] = throw_away(keys / "tls")
    if not options.etcd:
        return Cluster(options.members, **where)
    # Loading etcd's client takes time: a chain without etcd does not wait for it.
    from chainredis.local_cluster.etcd_cluster import EtcdChain, EtcdServer, url_of  # noqa: PLC0415

    folder = options.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chainredis-etcd-")))
    etcd = EtcdServer(folder / "etcd", port=ETCD_PORT if is_free(ETCD_PORT) else None)
    stack.callback(etcd.stop)
    progress(f"starting etcd on port {etcd.port}")
    etcd.start()
    masters = options.masters or MASTERS_IN_ETCD
    return EtcdChain(options.members, url=url_of("my_cool_chain", etcd), masters=masters, **where)


def _show(cluster: Cluster, console: Console) -> None:
    rates = Rates()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                seen = _look(cluster)
                footer = Text("Ctrl-C stops everything", style="italic")
                live.update(Group(picture(seen, rates.of(seen), _advice(cluster)), footer), refresh=True)
                time.sleep(LIVE_INTERVAL_S)
    said: list[str] = []
    while True:
        seen = _look(cluster)
        speeds = rates.of(seen)
        print("  ".join(_line(member, seen, speeds) for member in seen.members), flush=True)
        if (findings := [*seen.findings(), *_advice(cluster)]) != said:
            print("\n".join(f"- {finding}" for finding in findings) or "all is well", flush=True)
            said = findings
        time.sleep(LINES_INTERVAL_S)


def _look(cluster: Cluster) -> ChainStatus:
    masters, members = ([each.link_endpoint for each in those] for those in (cluster.masters, cluster.members))
    return look_around(masters, members, cluster.tls)


def _advice(cluster: Cluster) -> list[str]:
    """How to start those servers again that have ended."""
    program = os.path.relpath(server_path())
    ended = (server for server in cluster.servers if not server.running and is_free(server.port))
    return [f"{server} has ended. In another terminal: {program} {server.folder / 'redis.conf'}" for server in ended]


def _line(member: MemberStatus, seen: ChainStatus, speeds: Mapping[Endpoint, float]) -> str:
    if member.trouble:
        return member.trouble
    numbers = {name: member.numbers.get(name, "") for name in ("epoch", "applied", "committed")}
    numbers |= {"behind": seen.lag(member) or 0, "held_clients": member.numbers.get("held_clients", 0)}
    told = " ".join(f"{name}={value}" for name, value in numbers.items())
    return f"{member.endpoint} {member.role} {told} per_second={speeds.get(member.endpoint, 0):.0f}"


def _how_to_talk(cluster: Cluster) -> str:
    built = ROOT / "vendor/redis/src/redis-cli"
    client = os.path.relpath(built) if built.exists() else "redis-cli"
    if tls := cluster.tls:
        client += f" --tls --cacert {tls.ca} --cert {tls.cert} --key {tls.key}"
    head, tail, master, *standbys = (
        server.link_endpoint.port for server in (cluster.head, cluster.tail, *cluster.masters)
    )
    stored = cluster.stored()
    write, read, where = "MEMBER.PUT", "READ", "at the tail"
    if stored and stored.view.kind is Kind.ALL:
        write, read, where = "SET", "GET", "at any member"
    lines = [
        (f"-p {head} {write} a 1", "write, at the head"),
        (f"-p {tail} {read} a", f"read what is committed, {where}"),
        (f"-c -p {tail} MEMBER.PUT a 2", "-c finds the head from any member"),
        (f"-p {master} MASTER.GET_CHAIN", "ask the master"),
        *((f"-c -p {each} MASTER.REFRESH_HEAD", "another master; -c finds the one that leads") for each in standbys),
    ]
    width = max(len(command) for command, _ in lines)
    talk = "\n".join(f"  {client} {command:{width}}   # {purpose}" for command, purpose in lines)
    return f"\nThe chain serves. Talk to it from another terminal:\n\n{talk}\n\nLogs: {cluster.folder}/*/log\n"


def _farewell(folder: Path | None, cluster: Cluster) -> str:
    if folder:
        return f"stopping …; logs and data stay in {folder}"
    return f"stopping, and deleting logs and data ({cluster.folder}; --dir FOLDER would keep them) …"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _members(text: str) -> int:
    return _number(text, 1, MAX_MEMBERS)


def _masters(text: str) -> int:
    return _number(text, 1, MAX_MASTERS)


def _port(text: str) -> int:
    return _number(text, 1, 65535 - MAX_MEMBERS - MAX_MASTERS)


def _number(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
    return int(text)
