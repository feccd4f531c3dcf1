# SPDX-License-Identifier: Apache-2.0
"""Nothing blocks the link to a native master: Redis would wait for ever, and Valkey 9 gives no blocked client there."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.protocol.view import Endpoint
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer
from integration.helpers import Talk, ask
from servers import EACH, use

EMPTY = b"REDIS0009\xff" + bytes(8)
WOULD_WAIT = [
    ("MEMBER.WAIT", "1000"), ("MEMBER.VIEW", "1000"), ("READ", "k"), ("MEMBER.PUT", "k", "v"), ("MEMBER.DEL", "k"),
    ("MEMBER.ONCE", "client", "1", "SET", "k", "v"), ("WAIT", "3", "0"), ("CHAIN.POLL", "1", "1", "1"),
    ("CHAIN.WATCH",), ("TAIL.CHECKPOINT",), ("LIST.CHECKPOINT",),
]  # fmt: skip


def packed(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


@contextmanager
def master_of(replica: Endpoint) -> Iterator[socket.socket]:
    """A native master with no data, whose replica this server is. Yields the connection, for the master's stream."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Talk(replica) as talk:
            assert talk("REPLICAOF", "127.0.0.1", listener.getsockname()[1]) == b"OK"
        listener.settimeout(20)
        link = listener.accept()[0]
        with link, link.makefile("rb") as lines:
            while request := lines.readline().upper():
                if request == b"PING\r\n":
                    link.sendall(b"+PONG\r\n")
                elif request == b"REPLCONF\r\n":
                    link.sendall(b"+OK\r\n")
                elif request == b"PSYNC\r\n":
                    link.sendall(b"+FULLRESYNC %s 1\r\n$%d\r\n%s" % (b"a" * 40, len(EMPTY), EMPTY))
                    break
            yield link


@pytest.mark.parametrize("kind", ["put", "all"])
@pytest.mark.parametrize("series", EACH)
def test_no_command_from_a_master_waits(
    server: StartServer, monkeypatch: pytest.MonkeyPatch, series: str, kind: str
) -> None:
    use(series, monkeypatch)
    member = server(MEMBER, **{"member.commands": kind})
    with master_of(member.endpoint) as link:
        for number, words in enumerate(WOULD_WAIT):
            link.sendall(packed(*words) + packed("SET", "after", str(number)))
            wait_until(lambda number=number: ask(member, "GET", "after") == b"%d" % number, 20)     # type: ignore[misc]
    assert ask(member, "EXISTS", "k") == 0
