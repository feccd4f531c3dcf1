# SPDX-License-Identifier: Apache-2.0
"""Connections of subscribers, which go to another member when theirs is gone.

redis-py subscribes again to everything when such a connection is made anew.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio.retry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from chainredis.client.connections import (
    AsyncChainConnection,
    AsyncChainSSLConnection,
    ChainConnection,
    ChainSSLConnection,
)
from chainredis.client.errors import Unreached
from chainredis.client.routing import FIRST_PAUSE_S, LONGEST_PAUSE_S, Address

FindPlace = Callable[[Address | None], Address]
AsyncFindPlace = Callable[[Address | None], Awaitable[Address]]


def _backoff() -> ExponentialBackoff:
    return ExponentialBackoff(cap=LONGEST_PAUSE_S, base=FIRST_PAUSE_S)


def roaming_retries(timeout_s: float) -> Retry:
    """A subscription may be made as often as one likes."""
    return Retry(_backoff(), int(timeout_s / LONGEST_PAUSE_S))


def async_roaming_retries(timeout_s: float) -> redis.asyncio.retry.Retry:
    return redis.asyncio.retry.Retry(_backoff(), int(timeout_s / LONGEST_PAUSE_S))


class _Roaming:
    """Mixin: each time that it connects, it asks where. find_place is told where that failed."""

    host: str
    port: int

    def __init__(self, *, find_place: FindPlace, **options: Any) -> None:
        super().__init__(host="", port=0, **options)  # type: ignore[call-arg]
        self._find_place = find_place
        self._failed: Address | None = None

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        if not self.is_connected:  # type: ignore[attr-defined]
            self.host, self.port = self._find_place(self._failed)
        try:
            super().connect_check_health(*args, **options)  # type: ignore[misc]
        except Unreached:
            self._failed = (self.host, self.port)
            raise
        self._failed = None


class _AsyncRoaming:
    """The same for asyncio."""

    host: str
    port: int

    def __init__(self, *, find_place: AsyncFindPlace, **options: Any) -> None:
        super().__init__(host="", port=0, **options)  # type: ignore[call-arg]
        self._find_place = find_place
        self._failed: Address | None = None

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        if not self.is_connected:  # type: ignore[attr-defined]
            self.host, self.port = await self._find_place(self._failed)
        try:
            await super().connect_check_health(*args, **options)  # type: ignore[misc]
        except Unreached:
            self._failed = (self.host, self.port)
            raise
        self._failed = None


class RoamingConnection(_Roaming, ChainConnection):
    """A subscriber's connection for threads."""


class RoamingSSLConnection(_Roaming, ChainSSLConnection):
    """A subscriber's connection for threads, with TLS."""


class AsyncRoamingConnection(_AsyncRoaming, AsyncChainConnection):
    """A subscriber's connection for asyncio."""


class AsyncRoamingSSLConnection(_AsyncRoaming, AsyncChainSSLConnection):
    """A subscriber's connection for asyncio, with TLS."""
