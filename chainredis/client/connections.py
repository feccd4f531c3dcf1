# SPDX-License-Identifier: Apache-2.0
"""Connections of redis-py that tell whether anything of a command was sent."""

from typing import Any

import redis
import redis.asyncio
from redis.maint_notifications import MaintNotificationsConfig

from chainredis.client.errors import Unreached

CONNECT_TIMEOUT_S = 1.0
CONNECTIONS = 10_000  # of one member: redis-py raises an error if there would be more
ALREADY_SAID = (Unreached, redis.AuthenticationError, redis.exceptions.AuthorizationError)


def pool_options(options: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """The options of each member's pool of connections. `retry` must be added: redis-py repeats commands otherwise."""
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "max_connections": CONNECTIONS,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **{name: value for name, value in options.items() if not name.startswith("retry")},
    }


class _Reaching:
    """Mixin: what fails before there is a connection is Unreached."""

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        try:
            super().connect_check_health(*args, **options)  # type: ignore[misc]
        except ALREADY_SAID:
            raise
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Unreached(str(error)) from error


class _AsyncReaching:
    """The same for asyncio."""

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        try:
            await super().connect_check_health(*args, **options)  # type: ignore[misc]
        except ALREADY_SAID:
            raise
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise Unreached(str(error)) from error


class ChainConnection(_Reaching, redis.Connection):
    """A connection for threads."""


class ChainSSLConnection(_Reaching, redis.SSLConnection):
    """A connection for threads, with TLS."""


class AsyncChainConnection(_AsyncReaching, redis.asyncio.Connection):
    """A connection for asyncio."""


class AsyncChainSSLConnection(_AsyncReaching, redis.asyncio.SSLConnection):
    """A connection for asyncio, with TLS."""
