# SPDX-License-Identifier: Apache-2.0
"""redis-py's parser, for answers that may come from anybody: it takes no answer without end."""

from typing import Any

import redis
from redis._parsers import _RESP2Parser
from redis._parsers.socket import SocketBuffer

MAX_ANSWER_BYTES = 4 * 1024 * 1024  # the longest is INFO, of some kilobytes


class BoundedParser(_RESP2Parser):
    """redis.InvalidResponse if an answer is longer than MAX_ANSWER_BYTES."""

    def on_connect(self, connection: Any) -> None:
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        self._buffer = _BoundedBuffer(
            connection._sock,  # noqa: SLF001 - as redis-py itself does
            self.socket_read_size,
            connection.socket_timeout,
        )


class _BoundedBuffer(SocketBuffer):
    """It has all that has come of an answer, and is emptied when the answer is whole."""

    def _read_from_socket(self, length: int | None = None, *args: Any, **options: Any) -> bool:
        """length: how much more of a string is to come, if that is known."""
        if self._buffer.getbuffer().nbytes + (length or 0) > MAX_ANSWER_BYTES:
            raise redis.InvalidResponse("an answer without end")
        return bool(super()._read_from_socket(length, *args, **options))
