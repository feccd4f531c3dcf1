# SPDX-License-Identifier: Apache-2.0
"""A client's way to the head or the tail: found again after each change, by asking members only."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from chainredis.protocol.view import Endpoint, parse_endpoint

HEAD, TAIL = 0, -1
# Errors of a member that dies, restarts, or has another place now. Another request may succeed.
TROUBLE = (redis.RedisError, OSError)
# The pause after all members were asked and none knew a newer view.
LOOK_AGAIN_S = 0.0005
# Longer than a member lets a writer wait: such a silence is a fault, and not a gap.
ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Request:
    """Commands that are sent together, as bytes; each has one reply."""

    packed: Sequence[bytes]
    replies: int


class Sight(NamedTuple):
    """The chain as one member sees it."""

    epoch: int
    members: Sequence[Endpoint]


class Chart:
    """What all clients of a process know of the chain. One client at a time asks, for all of them."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.newest = Sight(0, endpoints)
        self._connections = {endpoint: _connection(endpoint) for endpoint in endpoints}
        self._asking = threading.Lock()

    def renewed(self, outdated: Sight) -> Sight:
        """The sight to use after `outdated` has failed; the same one if no member knows a newer one."""
        with self._asking:
            if self.newest is outdated:
                self._look()
            return self.newest

    def _look(self) -> None:
        newest = max([self.newest, *self._sights()], key=lambda sight: sight.epoch)
        if newest.epoch == self.newest.epoch:
            time.sleep(LOOK_AGAIN_S)
            return
        self.newest = newest
        for endpoint in newest.members:
            self._connections.setdefault(endpoint, _connection(endpoint))

    def _sights(self) -> Iterator[Sight]:
        for connection in self._connections.values():
            with contextlib.suppress(*TROUBLE):
                connection.send_command("MEMBER.VIEW", check_health=False)
                epoch, *members = connection.read_response(disable_decoding=True)
                if members:
                    yield Sight(epoch, [parse_endpoint(*member.rsplit(b":", 1)) for member in members])


class Route:
    """One client's connections to the members. place: its goal in the chain, HEAD or TAIL."""

    def __init__(self, chart: Chart, place: int) -> None:
        self._chart = chart
        self._place = place
        self._connections: dict[Endpoint, Any] = {}
        self._sight = chart.newest

    def ask(self, request: Request) -> None:
        """Returns when the whole request has succeeded. Raises the errors in TROUBLE: then `look`, and ask again."""
        goal = self._sight.members[self._place]
        connection = self._connections.get(goal) or self._connections.setdefault(goal, _connection(goal))
        try:
            connection.send_packed_command(request.packed, check_health=False)
            for _ in range(request.replies):
                connection.read_response(disable_decoding=True)
        except TROUBLE:
            if request.replies > 1:  # the replies after the error would be taken for those of the next request
                connection.disconnect()
            raise

    def look(self) -> None:
        self._sight = self._chart.renewed(self._sight)


def pack(commands: Sequence[Sequence[str | int]]) -> Request:
    return Request(_ENCODER.pack_commands(commands), len(commands))


def _connection(endpoint: Endpoint) -> Any:  # redis-py does not annotate the class
    return Connection(  # type: ignore[no-untyped-call]
        host=endpoint.host,
        port=endpoint.port,
        socket_timeout=ANSWER_TIMEOUT_S,
        protocol=2,
        driver_info=None,
        retry=Retry(NoBackoff(), 0),
    )


_ENCODER = _connection(Endpoint("", 0))
