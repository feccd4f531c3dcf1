# SPDX-License-Identifier: Apache-2.0
"""Names of processes. The core knows a process by its run_id alone, the master also by its address."""

from __future__ import annotations

from functools import lru_cache

from chainredis.protocol.view import Kind, Member, View
from core_extension import core

MASTER, FORMER = -1, -2  # their places, where a member's is from 0
FIRST_PORT = 7000
SECRET = "00" * 16


def run_id_of(place: int, life: int) -> str:
    """The run_id of the `life`-th process at this place."""
    return f"{place:02x}{life:038x}"  # digits, as of a real one


def place_of(run_id: str) -> int:
    return int(run_id[:2], 16)


def short(run_id: str) -> str:
    """A short name, for people."""
    return f"{place_of(run_id)}.{int(run_id[-8:], 16)}"


@lru_cache(maxsize=4096)
def member_of(run_id: str) -> Member:
    return Member("127.0.0.1", "127.0.0.1", FIRST_PORT + place_of(run_id), run_id)


@lru_cache(maxsize=4096)
def as_told(view: View) -> core.View:
    """A view in the form that members know."""
    kind = core.KIND_ALL if view.kind is Kind.ALL else core.KIND_PUT
    return core.View(bytes.fromhex(view.history), view.epoch, tuple(member.run_id for member in view.members), kind)


def from_told(view: core.View) -> View:
    """A view in the form that a master knows. The secret does not matter here."""
    kind = Kind.ALL if view.kind == core.KIND_ALL else Kind.PUT
    return View(view.history.hex(), view.epoch, tuple(map(member_of, view.members)), SECRET, kind)
