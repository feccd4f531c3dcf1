# SPDX-License-Identifier: Apache-2.0
"""`chainredis run`: a chain on this machine, shown live until Ctrl-C."""

import argparse
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import ROOT, Server
from chainredis.protocol.errors import MemberError
from chainredis.protocol.view import MAX_MEMBERS, Kind
from chainredis.transport.member_client import MemberState, RedisLink
from chainredis.transport.settings import Settings

ETCD_PORT = 12379
MAX_MASTERS = 7
LIVE_INTERVAL_S = 0.5
LINES_INTERVAL_S = 5.0


def register(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "run",
        help="start a master and members on this machine, and show the chain until Ctrl-C",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--members", type=_members, default=3, metavar="N", help=f"members, 1 to {MAX_MEMBERS}")
    parser.add_argument("--port", type=_port, default=6369, help="of the master; the members have those after it")
    parser.add_argument("--etcd", action="store_true", help=f"masters in etcd, which is started on port {ETCD_PORT}")
    parser.add_argument("--masters", type=_masters, default=2, metavar="N", help="with --etcd: one of them leads")
    parser.add_argument(
        "--commands", choices=("put", "all", "auto"), default="auto",
        help="put: MEMBER.PUT and READ; all, auto: any command",
    )
    parser.add_argument("--dir", type=Path, help="folder for logs and the master's state (default: a temporary one)")
    parser.set_defaults(call=run)


def run(options: argparse.Namespace) -> None:
    """Runs until KeyboardInterrupt; then all servers are stopped. LauncherError if one cannot be started."""
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
    if not options.etcd:
        return Cluster(options.members, **where)
    # Loading etcd's client takes time: a chain without etcd does not wait for it.
    from chainredis.local_cluster.etcd_cluster import EtcdChain, EtcdServer, url_of  # noqa: PLC0415

    folder = options.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chainredis-etcd-")))
    etcd = EtcdServer(folder / "etcd", port=ETCD_PORT)
    stack.callback(etcd.stop)
    progress(f"starting etcd on port {ETCD_PORT}")
    etcd.start()
    return EtcdChain(options.members, url=url_of("my_cool_chain", etcd), masters=options.masters, **where)


def _show(cluster: Cluster, console: Console) -> None:
    monitors = [Monitor(server) for server in cluster.members]
    masters = ", ".join(str(master.endpoint) for master in cluster.masters)
    caption = f"master{'s' if len(cluster.masters) > 1 else ''}: {masters}. Ctrl-C stops everything"
    if console.is_terminal:
        with Live(_table(monitors, caption), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(LIVE_INTERVAL_S)
                live.update(_table(monitors, caption), refresh=True)
    while True:
        print("  ".join(_line(monitor) for monitor in monitors), flush=True)
        time.sleep(LINES_INTERVAL_S)


@dataclass
class Monitor:
    """One member, polled for the table."""

    server: Server
    state: MemberState | None = None
    trouble: str = ""
    applied_per_s: float = 0
    _link: RedisLink | None = None
    _looked_at: float = field(default_factory=time.monotonic)

    @property
    def unit(self) -> str:
        """What `applied` counts, by the second: updates, or bytes of effects."""
        return "bytes/s" if self.state and self.state.kind == Kind.ALL else "writes/s"

    def look(self) -> None:
        before, last = self.state, self._looked_at
        self._looked_at = time.monotonic()
        try:
            self._link = self._link or RedisLink(self.server.endpoint, _settings(self.server))
            self.state = self._link.state()
            self.trouble = ""
        except MemberError as error:
            self.state, self.trouble = None, str(error)
            if self._link:
                self._link.close()
            self._link = None
        elapsed = self._looked_at - last
        moved = self.state.applied - before.applied if self.state and before and elapsed else 0
        self.applied_per_s = max(0.0, moved / elapsed) if elapsed else 0.0


def _settings(server: Server) -> Settings:
    return Settings(server.folder, "", server.port, connect_timeout_s=0.5, answer_timeout_s=0.5)


def _table(monitors: list[Monitor], caption: str) -> Table:
    table = Table(caption=caption)
    for column in ("member", "role", "serving"):
        table.add_column(column, no_wrap=column == "member")
    for monitor in monitors:
        monitor.look()
    for column in ("epoch", "applied", "committed", "keys", monitors[0].unit):
        table.add_column(column, justify="right")
    for monitor in monitors:
        state, where = monitor.state, str(monitor.server.endpoint)
        if state is None:
            table.add_row(where, Text(monitor.trouble.removeprefix(f"{where}: "), style="red"))
            continue
        numbers = (state.epoch, state.applied, state.committed, state.keys, round(monitor.applied_per_s))
        table.add_row(where, state.role, "yes" if state.serving else "[yellow]no[/yellow]", *map(str, numbers))
    return table


def _line(monitor: Monitor) -> str:
    monitor.look()
    state = monitor.state
    if state is None:
        return monitor.trouble
    return (
        f"{monitor.server.endpoint} {state.role} epoch={state.epoch} applied={state.applied} "
        f"committed={state.committed} {monitor.unit}={monitor.applied_per_s:.0f}"
    )


def _how_to_talk(cluster: Cluster) -> str:
    client = Path(os.path.relpath(ROOT / "vendor/redis/src/redis-cli"))
    head, tail, standbys = cluster.head, cluster.tail, cluster.masters[1:]
    stored = cluster.stored()
    write, read, where = "MEMBER.PUT", "READ", "at the tail"
    if stored and stored.view.kind is Kind.ALL:
        write, read, where = "SET", "GET", "at any member"
    lines = [
        (f"-p {head.port} {write} a 1", "write, at the head"),
        (f"-p {tail.port} {read} a", f"read what is committed, {where}"),
        (f"-c -p {tail.port} MEMBER.PUT a 2", "-c finds the head from any member"),
        (f"-p {cluster.master.port} MASTER.GET_CHAIN", "ask the master"),
        *((f"-c -p {m.port} MASTER.REFRESH_HEAD", "another master; -c finds the one that leads") for m in standbys),
    ]
    width = max(len(command) for command, _ in lines)
    talk = "\n".join(f"  {client} {command:{width}}   # {purpose}" for command, purpose in lines)
    return f"\nThe chain serves. Talk to it from another terminal:\n\n{talk}\n\nLogs: {cluster.folder}/*/log\n"


def _farewell(folder: Path | None, cluster: Cluster) -> str:
    if folder:
        return f"stopping …; logs and data stay in {folder}"
    return f"stopping, and deleting logs and data ({cluster.folder}; ARGS='--dir FOLDER' would keep them) …"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _members(text: str) -> int:
    return _number(text, 1, MAX_MEMBERS)


def _masters(text: str) -> int:
    return _number(text, 1, MAX_MASTERS)


def _port(text: str) -> int:
    return _number(text, 1, 65535 - MAX_MEMBERS)


def _number(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
    return int(text)
