# SPDX-License-Identifier: Apache-2.0
"""A connection that speaks RESP2 or RESP3 and returns each reply as the server wrote it, with its type."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chainredis.protocol.view import Endpoint

Word = bytes | str | int


@dataclass(frozen=True)
class Typed:
    """A reply other than a bulk string, an integer or an array: the type's first byte and the value."""

    type: str
    value: Any = field(hash=False)

    def __repr__(self) -> str:
        return f"{self.type}{self.value!r}"


class Wire:
    """One connection.

    A reply is bytes (bulk string), an integer, None, a list (array), or a Typed: `+` status, `-` error, `%` map (a list
    of pairs), `~` set, `>` push, `,` double, `#` boolean, `=` verbatim string, `(` big number. protocol: 2 or 3.
    """

    def __init__(self, endpoint: Endpoint, protocol: int = 2, timeout_s: float = 15) -> None:
        self._socket = socket.create_connection((endpoint.host, endpoint.port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        try:
            if protocol != 2:
                self("HELLO", protocol)
            self.id: int = self("CLIENT", "ID")
        except BaseException:
            self.close()    # nobody else can
            raise

    def __call__(self, *words: Word) -> Any:
        self.send(*words)
        return self.receive()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def send(self, *words: Word) -> None:
        self.send_all([words])

    def send_all(self, commands: Sequence[Sequence[Word]]) -> None:
        self._socket.sendall(b"".join(map(_packed, commands)))

    def receive(self) -> Any:
        """The next reply. ConnectionError if the server closes the connection, TimeoutError if nothing comes."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed by the server")
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=!":
            return self._bulk(kind, int(rest))
        if kind == b":":
            return int(rest)
        if kind == b"_" or (kind == b"*" and rest == b"-1"):
            return None
        if kind in b"*~%>|":
            return self._aggregate(kind, int(rest))
        return Typed(kind.decode(), rest)

    def _bulk(self, kind: bytes, length: int) -> Any:
        if length < 0:
            return None
        text = self._file.read(length + 2)[:-2]
        return text if kind == b"$" else Typed(kind.decode(), text)

    def _aggregate(self, kind: bytes, length: int) -> Any:
        if kind in b"%|":
            return Typed(kind.decode(), [(self.receive(), self.receive()) for _ in range(length)])
        items = [self.receive() for _ in range(length)]
        return items if kind == b"*" else Typed(kind.decode(), items)


def _packed(words: Sequence[Word]) -> bytes:
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n%s" % (len(parts), b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
