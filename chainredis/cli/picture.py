# SPDX-License-Identifier: Apache-2.0
"""How a running chain looks on a terminal: its masters, its members, and what to do."""

import time
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from chainredis.operator.chain_status import ChainStatus, MasterStatus, MemberStatus
from chainredis.protocol.view import Endpoint, Kind


class Rates:
    """By how much the members' positions grow in a second, from one look at a chain to the next."""

    def __init__(self) -> None:
        self._positions: dict[Endpoint, tuple[float, int]] = {}

    def of(self, seen: ChainStatus) -> dict[Endpoint, float]:
        """Those members are missing that were not seen before."""
        now = time.monotonic()
        before, self._positions = self._positions, {
            member.endpoint: (now, member.numbers["applied"]) for member in seen.members if "applied" in member.numbers
        }
        return {
            endpoint: max(0.0, (applied - before[endpoint][1]) / (now - before[endpoint][0]))
            for endpoint, (_, applied) in self._positions.items()
            if endpoint in before
        }


def picture(seen: ChainStatus, rates: Mapping[Endpoint, float] | None = None, advice: Sequence[str] = ()) -> Group:
    """rates: as Rates.of, if they are known. advice: what to do besides what the chain itself tells."""
    unit = "bytes" if seen.kind == Kind.ALL else "writes"  # what a position counts
    title = f"A chain of kind {seen.kind or 'unknown'}, in epoch {seen.epoch}"
    table = Table(
        title=title, title_justify="left", title_style="", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )  # fmt: skip
    table.add_column("member", no_wrap=True)
    table.add_column("role")
    speed = [] if rates is None else [f"{unit}/s"]
    for column in ("applied", "committed", f"{unit} behind", "keys", *speed):
        table.add_column(column, justify="right", overflow="fold")  # no number loses digits
    for member in seen.members:
        rate = [] if rates is None else [f"{rates[member.endpoint]:.0f}" if member.endpoint in rates else ""]
        table.add_row(*_row(seen, member, rate))
    masters = [_master(master) for master in seen.masters]
    held = filter(None, map(_held, seen.members))
    return Group(*masters, table, *held, bullets([*seen.findings(), *advice], "all is well"))


def bullets(findings: Sequence[str], otherwise: str) -> Group:
    lines = [Text(f"- {finding}", style="yellow") for finding in findings]
    return Group(*(lines or [Text(otherwise, style="green")]))


def _master(master: MasterStatus) -> Text:
    if master.trouble:
        return Text.assemble(f"master {master.endpoint}: ", ("does not answer", "red"))
    return Text(f"master {master.endpoint}: {f'leads, {master.state}' if master.leads else 'stands by'}")


def _row(seen: ChainStatus, member: MemberStatus, rate: Sequence[str]) -> list[str | Text]:
    if member.trouble:
        return [str(member.endpoint), Text("does not answer", style="red")]
    role = Text(member.role) if member.serving else Text(f"{member.role}, does not serve", style="red")
    numbers = [str(member.numbers.get(name, "")) for name in ("applied", "committed")]
    lag = seen.lag(member)
    behind = "" if lag is None else str(lag)
    return [str(member.endpoint), role, *numbers, behind, str(member.keys), *rate]


def _held(member: MemberStatus) -> Text | None:
    """What waits until it is committed. A member whose gate holds nothing for long is well."""
    clients = member.numbers.get("held_clients", 0)
    if not clients:
        return None
    held_bytes, oldest_ms = member.numbers.get("held_bytes", 0), member.numbers.get("oldest_held_ms", 0)
    return Text(f"{member.endpoint} holds {held_bytes} bytes of replies to {clients} clients, for up to {oldest_ms} ms")
