# SPDX-License-Identifier: Apache-2.0
"""The messages on simulated connections, between members and from the master."""

from __future__ import annotations

from typing import NamedTuple

from chainredis.protocol.member_record import BrokenLink
from core_extension import core
from core_extension.core import Role, Verdict

from .disk import Record

# ---- requests of members


class Greet(NamedTuple):
    greeting: core.Greeting


class Forward(NamedTuple):
    batch: core.Batch
    payload: bytes


class Ack(NamedTuple):
    ack: core.Ack


class Adopt(NamedTuple):
    """A view to adopt, from a member or the master."""

    view: core.View


# ---- requests of the master


class Poll(NamedTuple):
    """A poll with a lease of this epoch. Epoch 0: without a lease."""

    epoch: int
    stamp_ms: int
    length_ms: int


class Pin(NamedTuple):
    """Pins the log for a newcomer at `position`: its newest sn, and the epoch of that sn. None: it has no data."""

    position: tuple[int, int] | None


class Join(NamedTuple):
    view: core.View


class Rejoin(NamedTuple):
    view: core.View


class Feed(NamedTuple):
    run_id: str


class Unpin(NamedTuple):
    pass


class Closed(NamedTuple):
    """No message: the other side has closed its connection."""


# ---- answers


class Stale(NamedTuple):
    view: core.View


class Behind(NamedTuple):
    epoch: int


class Welcome(NamedTuple):
    greeting: core.Greeting


class Regreet(NamedTuple):
    pass


class Adopted(NamedTuple):
    epoch: int


class Done(NamedTuple):
    pass


class Refusal(NamedTuple):
    verdict: Verdict


class State(NamedTuple):
    role: Role
    history: bytes
    epoch: int
    applied: int
    assigned: int
    committed: int
    serving: bool
    streaming: bool
    pinned: int
    join: str
    broken_links: tuple[BrokenLink, ...]
    stamp_ms: int
    record: Record
    longest_lease_ms: int


Request = Greet | Forward | Ack | Adopt | Poll | Pin | Join | Rejoin | Feed | Unpin | Closed
Reply = Stale | Behind | Welcome | Regreet | Adopted | Done | Refusal | State
