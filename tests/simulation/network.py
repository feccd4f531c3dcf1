# SPDX-License-Identifier: Apache-2.0
"""Connections that deliver in order, may be cut at any moment, and may still deliver late what was under way.

As in the real thing, a process makes a connection of its own to each other that it has something to tell: requests go
out on it, answers come back on it. When its owner loses or closes one, the peer may have received some of the requests
that were under way, and gets to them whenever it likes, after newer connections' too. Between two places each
direction can be blocked by itself: what is under way then waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from .messages import Closed, Reply, Request


class Process(Protocol):
    """A process that has connections. running: alive and not stopped."""

    run_id: str
    place: int

    @property
    def running(self) -> bool: ...
    def on_request(self, link: Link, request: Request) -> None: ...
    def on_reply(self, link: Link, reply: Reply) -> None: ...
    def on_lost(self, link: Link, dropped: bool) -> None: ...
    def on_room(self) -> None: ...


@dataclass(eq=False)
class Link:
    """One connection. Numbers grow, as the ids of a server's clients do.

    alive: as far as its owner knows. ended: the peer's process has, and its owner sees that after the last answer.
    is_lifeline: nothing is said on it, and nothing in a living peer closes it.
    """

    number: int
    owner: Process
    peer: Process
    alive: bool = True
    ended: bool = False
    is_lifeline: bool = False
    requests: deque[Request] = field(default_factory=deque)
    replies: deque[Reply] = field(default_factory=deque)

    def answer(self, reply: Reply) -> None:
        """Sends an answer. Answers on a connection that its owner has lost are dropped."""
        if self.alive:
            self.replies.append(reply)


class Network:
    def __init__(self) -> None:
        self._numbers = count()
        self._links: list[Link] = []
        self.blocked: set[tuple[int, int]] = set()

    # ---- connections

    def connect(self, owner: Process, peer: Process, *, is_lifeline: bool = False) -> Link:
        link = Link(next(self._numbers), owner, peer, is_lifeline=is_lifeline)
        self._links.append(link)
        return link

    def open(self, source: int, target: int) -> bool:
        """Does what is sent at `source` arrive at `target`?"""
        return not self.blocked or (source, target) not in self.blocked

    def reaches(self, source: int, target: int) -> bool:
        """Is the network open in both directions, as connecting needs?"""
        return not self.blocked or not {(source, target), (target, source)} & self.blocked

    def cut(self, link: Link, received: int) -> None:
        """The owner has lost or closed the connection. The peer still gets the first `received` requests later."""
        if not link.alive:
            return
        link.alive = False
        link.replies.clear()
        while len(link.requests) > received:
            link.requests.pop()
        if link.owner.place < 0 and not link.is_lifeline:  # a master's
            link.requests.append(Closed())
        if link.ended or not link.requests:
            self._links.remove(link)

    def end(self, process: Process, received: int) -> None:
        """The process has ended. Its connections are closed, and connections to it have no peer any more."""
        for link in list(self._links):
            if link.owner is process:
                self.cut(link, received)
            elif link.peer is process:
                link.ended = True
                link.requests.clear()
                if not link.alive:
                    self._links.remove(link)

    def forget(self, place: int) -> None:
        """Requests that processes at this place have sent, and that are not delivered yet, are dropped."""
        for link in list(self._links):
            if link.owner.place == place:
                link.requests = deque(request for request in link.requests if isinstance(request, Closed))

    def live(self) -> list[Link]:
        return [link for link in self._links if link.alive]

    # ---- what happens on them

    def has_event(self, link: Link) -> bool:
        return self._has_answer(link) or self._has_request(link)

    def _has_answer(self, link: Link) -> bool:
        return bool(link.replies or link.ended) and link.owner.running and self.open(link.peer.place, link.owner.place)

    def _has_request(self, link: Link) -> bool:
        return bool(link.requests) and link.peer.running and self.open(link.owner.place, link.peer.place)

    def busy(self, start: int = 0) -> Link | None:
        """The first connection, from the `start`-th on, that has an event."""
        links = self._links
        for i in range(len(links)):
            link = links[(start + i) % len(links)]
            if self.has_event(link):
                return link
        return None

    def all_busy(self) -> Iterator[Link]:
        return (link for link in list(self._links) if self.has_event(link))

    def between(self, owner: int, peer: int) -> list[Link]:
        return [link for link in self._links if link.owner.place == owner and link.peer.place == peer and link.alive]

    def of_place(self, owner: int) -> list[Link]:
        return [link for link in self._links if link.owner.place == owner]

    def of(self, owner: Process) -> list[Link]:
        return [link for link in self._links if link.owner is owner]

    def deliver(self, link: Link, limit: int) -> None:
        """Delivers up to `limit` events of one connection."""
        for _ in range(limit):
            if self._has_answer(link):
                self._deliver_answer(link)
            elif self._has_request(link):
                link.peer.on_request(link, link.requests.popleft())
                link.owner.on_room()
            else:
                break
        if not link.alive and not link.requests and link in self._links:
            self._links.remove(link)

    def request(self, peer: Process, limit: int) -> None:
        """Delivers up to `limit` requests of each connection to this process, and no replies."""
        for link in list(self._links):
            for _ in range(limit):
                if link.peer is peer and self._has_request(link):
                    link.peer.on_request(link, link.requests.popleft())
                    link.owner.on_room()

    def _deliver_answer(self, link: Link) -> None:
        if link.replies:
            link.owner.on_reply(link, link.replies.popleft())
        else:
            self.cut(link, 0)
            link.owner.on_lost(link, dropped=True)
