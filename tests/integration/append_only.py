# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the append-only files of members."""

from collections.abc import Sequence
from pathlib import Path

from chainredis.local_cluster.server import Server
from integration.helpers import (
    Word,
)


def file_of(server: Server) -> Path:
    """The file to which the server appends at present."""
    return max((server.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[2]))


def append(server: Server, *commands: Sequence[Word]) -> None:
    """Append the commands to the file of a server that has ended."""
    with file_of(server).open("ab") as file:
        for words in commands:
            texts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            file.write(b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts))


def an_update(key: bytes, value: bytes) -> bytes:
    absent = b"\xff" * 4
    return len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little") + absent + key + value


def data(server: Server) -> dict[bytes, bytes]:
    """All keys and values in the server's memory."""
    with server.client() as client:
        client.config_set("member.serve-removed-data", "yes")
        keys = sorted(client.scan_iter(count=1000))
        found = dict(zip(keys, client.mget(keys), strict=True)) if keys else {}
        client.config_set("member.serve-removed-data", "no")
        return found
