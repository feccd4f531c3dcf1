# SPDX-License-Identifier: Apache-2.0
"""Under which id and sequence number a command is sent, so that it is executed once (MEMBER.ONCE): pure, for both
clients.
"""

import itertools
import os
import secrets
from dataclasses import dataclass
from typing import Any

import redis

ID_BYTES = 16
FORGET_WITHIN_S = 0.5  # what is not forgotten by then is forgotten by its age


@dataclass
class Place:
    """An id for which the head keeps one reply: that of `sequence`, the newest command.

    is_clean: each of its commands was answered at the first attempt, so that no copy of one is on its way.
    """

    id: str
    sequence: int = 0
    is_clean: bool = True

    def words(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The command in the arguments, to be executed once. redis-py gives `XGROUP CREATE` as one word."""
        return ("MEMBER.ONCE", self.id, self.sequence, *_split(args[0]), *args[1:])


def _split(name: Any) -> list[Any]:
    return name.split() if isinstance(name, (str, bytes)) else [name]


class Places:
    """The ids of one client: each is for one command at a time. There are as many as were ever under way together."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._prefix = secrets.token_hex(ID_BYTES)
        self._numbers = itertools.count(1)
        self._free: list[Place] = []

    def take(self) -> Place:
        """A place with a new sequence number. A process that was forked has ids of its own."""
        if self._process != os.getpid():
            self._begin()
        try:
            place = self._free.pop()
        except IndexError:
            place = Place(f"{self._prefix}:{next(self._numbers)}")
        place.sequence += 1
        return place

    def give_back(self, place: Place) -> None:
        if place.id.startswith(self._prefix):
            self._free.append(place)

    def leave(self) -> list[tuple[Any, ...]]:
        """Begin with new ids. Returns the commands by which the head forgets the old ones.

        A place is left to its age if a copy of one of its commands may be on its way: that would be executed.
        """
        if self._process != os.getpid():
            self._begin()
        old, self._free = self._free, []
        return [("MEMBER.ONCE", place.id, "FORGET") for place in old if place.is_clean]


def is_without_once(error: redis.RedisError) -> bool:
    """Whether this says that commands cannot be sent so: the user may not, or the chain cannot. Nothing was done."""
    text = str(error)
    if isinstance(error, redis.exceptions.NoPermissionError):
        return "'member.once'" in text.lower()
    return isinstance(error, redis.ResponseError) and text.startswith(
        ("unknown command 'MEMBER.ONCE'", "MEMBER.ONCE is in chains of all commands")
    )
