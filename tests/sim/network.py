"""Connections that deliver in order, may be cut at any moment, and may still deliver late what was under way.

As in the real thing, a member makes a connection of its own to each peer that it has something to tell: requests go
out on it, answers come back on it. When one is cut its owner notices, and makes a new one; of the requests that
were under way the peer may have received some, and gets to them whenever it likes, after newer connections' too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from chainredis import core


class Adopt(NamedTuple):
    view: core.View


class Greet(NamedTuple):
    greeting: core.Greeting


class Forward(NamedTuple):
    batch: core.Batch
    payload: bytes


class Ack(NamedTuple):
    ack: core.Ack


class Stale(NamedTuple):
    view: core.View


class Behind(NamedTuple):
    epoch: int


class Welcome(NamedTuple):
    greeting: core.Greeting


class Regreet(NamedTuple):
    pass


Request = Adopt | Greet | Forward | Ack
Reply = Stale | Behind | Welcome | Regreet


@dataclass(eq=False)
class Link:
    """One connection, from `owner` to `peer` (run_ids). Numbers grow, as the ids of a server's clients do."""

    number: int
    owner: str
    peer: str
    alive: bool = True
    requests: deque[Request] = field(default_factory=deque)
    replies: deque[Reply] = field(default_factory=deque)

    def answer(self, reply: Reply) -> None:
        """Answers on a connection that its owner has lost go nowhere."""
        if self.alive:
            self.replies.append(reply)


class Network:
    def __init__(self) -> None:
        self._numbers = count()
        self._links: dict[tuple[str, str], Link] = {}
        self._late: list[Link] = []

    def link(self, owner: str, peer: str | None) -> Link | None:
        return None if peer is None else self._links.get((owner, peer))

    def connect(self, owner: str, peer: str) -> Link:
        link = self._links[owner, peer] = Link(next(self._numbers), owner, peer)
        return link

    def cut(self, link: Link, received: int) -> None:
        """The first `received` requests under way are already at the peer, which will get to them some time."""
        del self._links[link.owner, link.peer]
        link.alive = False
        link.replies.clear()
        link.requests = deque(list(link.requests)[:received])
        if link.requests:
            self._late.append(link)

    def live(self) -> list[Link]:
        return list(self._links.values())

    def busy(self) -> list[Link]:
        """All connections with something to deliver."""
        self._late = [link for link in self._late if link.requests]
        return [link for link in self._links.values() if link.requests or link.replies] + self._late
