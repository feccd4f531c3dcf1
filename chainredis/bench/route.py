"""A client's way to the head, or to the tail: found again, after every change, by asking the members alone."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from chainredis.view import Endpoint, parse_endpoint

HEAD, TAIL = 0, -1
# What may come of asking a member that dies, restarts, or has another place by now. Another request may fare better.
TROUBLE = (redis.RedisError, OSError)
# A client that has asked everybody, and heard of no better member, asks again after this.
LOOK_AGAIN_S = 0.0005
# Longer than a member lets a writer wait: such a silence is no gap but a fault.
ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Request:
    """Commands that are sent together, as bytes; each has one reply."""

    packed: Sequence[bytes]
    replies: int


class Sight(NamedTuple):
    """The chain as a member sees it."""

    epoch: int
    members: Sequence[Endpoint]


class Route:
    """Connections to all members, open before they are needed. place: where requests go to, HEAD or TAIL."""

    def __init__(self, endpoints: Sequence[Endpoint], place: int) -> None:
        self._place = place
        self._goal = endpoints[place]
        self._connections = {endpoint: _connection(endpoint) for endpoint in endpoints}
        self.look()

    def ask(self, request: Request) -> None:
        """Returns when all of it has succeeded. Raises what is in TROUBLE: then `look`, and ask again."""
        connection = self._connections[self._goal]
        try:
            connection.send_packed_command(request.packed, check_health=False)
            for _ in range(request.replies):
                connection.read_response(disable_decoding=True)
        except TROUBLE:
            if request.replies > 1:    # those that follow the error would be taken for the next request's
                connection.disconnect()
            raise

    def look(self) -> None:
        """Aim at the member that has the place in the newest view that anybody knows of."""
        newest = max(self._sights(), key=lambda sight: sight.epoch, default=None)
        if newest is None or newest.members[self._place] == self._goal:
            time.sleep(LOOK_AGAIN_S)
            return
        self._goal = newest.members[self._place]
        if self._goal not in self._connections:
            self._connections[self._goal] = _connection(self._goal)

    def _sights(self) -> Iterator[Sight]:
        for connection in self._connections.values():
            with contextlib.suppress(*TROUBLE):
                connection.send_command("MEMBER.VIEW", check_health=False)
                epoch, *members = connection.read_response(disable_decoding=True)
                if members:
                    yield Sight(epoch, [parse_endpoint(*member.rsplit(b":", 1)) for member in members])


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
