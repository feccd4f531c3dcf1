# SPDX-License-Identifier: Apache-2.0
"""Clients notice nothing of the gate: the same bytes, in the same order, whatever they send and however they read."""

import hashlib
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer
from integration.helpers import Talk, ask, info, member_number
from servers import use
from simulation.seeds import SEED

GATE = {"member.commands": "all"}
PLAIN = {"member.commands": "all", "member.gate": "no"}
MIB = 1 << 20
Exchange = Callable[[Server, Iterator[bytes], int], bytes]


def words(*texts: bytes | str | int) -> bytes:
    parts = [text if isinstance(text, bytes) else str(text).encode() for text in texts]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection((server.endpoint.host, server.port), 30) as connection:
        connection.settimeout(60)
        yield connection


def read_to_end(connection: socket.socket, most: int = MIB) -> Iterator[bytes]:
    while piece := connection.recv(most):
        yield piece


def receive(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = connection.recv(count - len(found))
        assert piece, f"closed after {found[-100:]!r}"
        found += piece
    return found


# ----------------------------------------------------------------------------------------------------- same bytes


def conversation(chance: random.Random) -> list[bytes]:
    """Requests whose replies depend on nothing but the requests."""
    requests = []
    for number in range(400):
        key, value = f"key:{chance.randrange(20)}", chance.randbytes(chance.choice([0, 1, 50, 2000, 70_000]))
        requests += chance.choice([
            [words("SET", key, value)],
            [words("GET", key)],
            [words("APPEND", key, value), words("STRLEN", key)],
            [words("LPUSH", f"list:{key}", value), words("LRANGE", f"list:{key}", 0, -1)],
            [words("INCR", "number")],
            [words("WATCH", key), words("MULTI"), words("SET", key, number), words("LPOP", "number"), words("EXEC")],
            [words("MULTI"), words("NOSUCH", key), words("EXEC")],
            [words("EVAL", "return {redis.call('GET', KEYS[1]), ARGV[1]}", 1, key, number)],
            [b"PING inline\r\n"],
            [words("PUBLISH", "channel", value)],
            [words("NOSUCH"), words("GET"), words("SET", key)],
            [words("DEL", key), words("ECHO", value)],
        ])  # fmt: skip
    big = chance.randbytes(3 * MIB)
    return [*requests, words("SET", "big", big), words("GET", "big"), words("HELLO", 3), words("GET", "big")]


def fragments(requests: bytes, chance: random.Random) -> Iterator[bytes]:
    place = 0
    while place < len(requests):
        length = chance.choice([1, 2, 7, 100, 5000, 200_000])
        yield requests[place : place + length]
        place += length


def send_in_fragments(connection: socket.socket, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        connection.sendall(piece)


def exchange(server: Server, pieces: Iterator[bytes], most: int) -> bytes:
    """Send the pieces, and meanwhile read what comes, at most so many bytes at once, until the server closes."""
    with connected(server) as connection:
        sender = Thread(target=send_in_fragments, args=(connection, pieces))
        sender.start()
        replies = b"".join(read_to_end(connection, most))
        sender.join()
    return replies


def replies_to(server: Server, seed: int, exchange: Exchange = exchange) -> bytes:
    """All bytes that the server replies to a conversation, but for HELLO's reply from the client's id on."""
    chance = random.Random(seed)
    requests = b"".join(conversation(chance)) + words("QUIT")
    replies = exchange(server, fragments(requests, random.Random(seed + 1)), chance.choice([300, 70_000, MIB]))
    before, hello, after = replies.partition(b"$2\r\nid\r\n:")
    return before + hello + after[after.index(b"$%d\r\n" % (3 * MIB)) :]


@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_same_bytes_as_without_a_gate(server: StartServer, threads: str) -> None:
    gated, plain = server(MEMBER, **GATE, io_threads=threads, io_threads_do_reads="yes"), server(MEMBER, **PLAIN)
    for seed in (SEED, SEED + 2):
        assert replies_to(gated, seed) == replies_to(plain, seed)
    assert member_number(gated, "gate_relayed_bytes") > 6 * MIB
    assert info(gated, "member")["member_gate_error"] == ""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_same_bytes_on_a_newer_server(server: StartServer, monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    use("valkey-9.1", monkeypatch)
    gated, plain = server(MEMBER, **GATE, io_threads=threads), server(MEMBER, **PLAIN)
    assert replies_to(gated, SEED) == replies_to(plain, SEED)
    with Talk(gated) as talk:
        assert talk("MEMBER.UNHELD") == b"OK"
    assert member_number(gated, "gate_handed_back") == (threads == "1")


def test_a_hundred_megabytes_for_a_slow_reader(server: StartServer) -> None:
    """The gate keeps a megabyte of it, the server the rest."""
    one = server(MEMBER, **GATE)
    value = random.Random(SEED).randbytes(MIB) * 100
    with connected(one) as connection:
        connection.sendall(words("SET", "big", value))
        assert receive(connection, 5) == b"+OK\r\n"
        connection.sendall(words("GET", "big") + words("QUIT"))
        wait_until(lambda: int(info(one, "memory")["used_memory"]) > 150 * MIB, 20)     # in the server's output
        digest, length = hashlib.sha256(), 0
        for piece in read_to_end(connection):
            digest.update(piece)
            length += len(piece)
    whole = b"$%d\r\n%s\r\n+OK\r\n" % (len(value), value)
    assert (length, digest.digest()) == (len(whole), hashlib.sha256(whole).digest())


def test_many_pipelined_requests_of_a_client_that_does_not_read(server: StartServer) -> None:
    one = server(MEMBER, **GATE)
    count = 200_000
    with connected(one) as connection:
        sender = Thread(target=connection.sendall, args=(words("INCR", "n") * count,))
        sender.start()
        wait_until(lambda: int(ask(one, "GET", "n") or 0) >= 100_000, 30)
        expected = b"".join(b":%d\r\n" % number for number in range(1, count + 1))
        assert receive(connection, len(expected)) == expected
        sender.join()


# ---------------------------------------------------------------------------------------------- replies by themselves


def assert_others_wake(waiter: Talk, subscriber: Talk, other: Talk) -> None:
    """What `other` says reaches a client that is blocked, and a subscriber."""
    assert subscriber("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
    waiter.send("BLPOP", "queue", 0)
    assert waiter.is_silent()
    assert other.pipeline([("LPUSH", "queue", "job"), ("PUBLISH", "news", "one")]) == [1, 1]
    assert waiter.receive() == [b"queue", b"job"]
    assert subscriber.receive() == [b"message", b"news", b"one"]


def test_blocked_and_subscribed_clients(server: StartServer) -> None:
    one = server(MEMBER, **GATE)
    with Talk(one) as waiter, Talk(one) as subscriber, Talk(one) as monitor, Talk(one) as other:
        assert monitor("MONITOR") == b"OK"
        assert_others_wake(waiter, subscriber, other)
        assert b'"SUBSCRIBE" "news"' in monitor.receive()


def test_tracking(server: StartServer) -> None:
    one = server(MEMBER, **GATE)
    with connected(one) as connection:
        connection.sendall(words("HELLO", 3) + words("CLIENT", "TRACKING", "ON") + words("GET", "k"))
        wait_until(lambda: b"cmd=get" in ask(one, "CLIENT", "LIST"), 10)
        ask(one, "SET", "k", "v")
        seen = b""
        while not seen.endswith(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"):
            seen += connection.recv(1000)
        assert b"+OK\r\n_\r\n" in seen


def test_timeouts_of_commands(server: StartServer) -> None:
    one = server(MEMBER, **GATE)
    with Talk(one) as talk:
        assert talk("BLPOP", "nothing", "0.05") is None
        assert talk("WAIT", 1, 10) == 0
