# SPDX-License-Identifier: Apache-2.0
"""A client's way to the head or the tail: members tell each change, and nobody else is asked."""

import threading
import time
from collections.abc import Sequence
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
# A client tries again where it was, if no newer view comes within this time.
LOOK_AGAIN_S = 0.001
# The pause before a member that has ended, or does not answer, is asked anew.
RECONNECT_S = 0.005
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
    """What all clients of a process know of the chain. Each member is asked for the next view, and answers when it has
    adopted one: nobody searches.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.newest = Sight(0, endpoints)
        self._changed = threading.Condition()
        for endpoint in endpoints:
            threading.Thread(target=self._follow, args=[endpoint], daemon=True).start()

    def renewed(self, outdated: Sight) -> Sight:
        """The sight to use after `outdated` has failed; the same one if no member tells a newer one in time."""
        with self._changed:
            self._changed.wait_for(lambda: self.newest is not outdated, LOOK_AGAIN_S)
            return self.newest

    def _follow(self, endpoint: Endpoint) -> None:
        connection, epoch = _connection(endpoint, None), 0
        while True:
            try:
                connection.send_command("MEMBER.VIEW", epoch, 0, check_health=False)
                epoch, *members = connection.read_response(disable_decoding=True)
            except TROUBLE:
                connection.disconnect()
                epoch = 0
                time.sleep(RECONNECT_S)
            else:
                self._learn(Sight(epoch, [parse_endpoint(*member.rsplit(b":", 1)) for member in members]))

    def _learn(self, sight: Sight) -> None:
        with self._changed:
            if sight.members and sight.epoch > self.newest.epoch:
                self.newest = sight
                self._changed.notify_all()


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


def _connection(endpoint: Endpoint, timeout_s: float | None = ANSWER_TIMEOUT_S) -> Any:  # redis-py annotates no class
    return Connection(  # type: ignore[no-untyped-call]
        host=endpoint.host,
        port=endpoint.port,
        socket_timeout=timeout_s,
        protocol=2,
        driver_info=None,
        retry=Retry(NoBackoff(), 0),
    )


_ENCODER = _connection(Endpoint("", 0))
