# SPDX-License-Identifier: Apache-2.0
"""Replies are held until they are committed: what waits, what does not, and what becomes of clients that leave."""

import re
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from threading import Event

import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    Word,
    ask,
    await_chain,
    await_repair,
    info,
    member_number,
    paused,
    running,
    unheld,
)
from integration.test_gate_connections import gate_threads
from integration.test_gate_relay import connected, read_to_end, receive, words


def patient(chain: StartChain, **config: str) -> Cluster:
    """A chain whose master waits for a member that a test has stopped."""
    return chain(3, commands="all", master_config=PATIENT, member_config=config)


def field(talk: Talk, name: str) -> int:
    """Of INFO member, by a connection that is not held."""
    lines = talk("INFO", "member").decode().splitlines()
    return int(dict(line.split(":", 1) for line in lines if ":" in line)[f"member_{name}"])


def member_role(server: Server) -> str:
    return info(server, "member")["member_role"]


def await_held(talk: Talk, count: int) -> None:
    wait_until(lambda: field(talk, "gate_held_clients") == count, 20)


# -------------------------------------------------------------------------------------------------- what is held


def test_nothing_is_told_before_the_tail_has_it(chain: StartChain) -> None:
    cluster = patient(chain)
    with Talk(cluster.head) as writer, Talk(cluster.head) as reader, Talk(cluster.head) as subscriber:
        assert writer("SET", "k", "old") == b"OK"
        assert subscriber("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        with unheld(cluster.head) as operator, paused(cluster.tail):
            writer.send_all([("SET", "k", "new"), ("PUBLISH", "news", "one"), ("MULTI",), ("INCR", "n"), ("EXEC",)])
            wait_until(lambda: operator("GET", "n") == b"1", 10)
            reader.send_all([("PING",), ("GET", "k")])
            await_held(operator, 3)
            for talk in (writer, reader, subscriber):
                assert talk.is_silent()
            assert field(operator, "gate_held_bytes") > 60
            assert field(operator, "gate_oldest_held_ms") >= 200
        assert [writer.receive() for _ in range(5)] == [b"OK", 1, b"OK", b"QUEUED", [1]]
        assert (reader.receive(), reader.receive()) == (b"PONG", b"new")
        assert subscriber.receive() == [b"message", b"news", b"one"]
    wait_until(lambda: member_number(cluster.head, "gate_held_clients") == 0, 10)


def test_a_client_with_a_port_that_the_tap_had_is_held(chain: StartChain) -> None:
    """The tap's connection goes on over a pair of sockets, and its port is free."""
    head = chain(1, commands="all").head

    def connected_from_it() -> bool:
        listed = re.search(rb" addr=127\.0\.0\.1:(\d+) ", ask(head, "CLIENT", "LIST", "TYPE", "replica"))
        with suppress(OSError), socket.socket() as client:      # another program may have got the port
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("127.0.0.1", int(listed[1]) if listed else 0))
            client.connect(("127.0.0.1", head.port))
            client.sendall(words("PING"))
            assert client.recv(100) == b"+PONG\r\n"
            assert member_number(head, "gate_clients") == 2      # with the one that asks
            return listed is not None
        ask(head, "CLIENT", "KILL", "TYPE", "replica")
        return False

    wait_until(connected_from_it, 20)


def test_a_client_that_becomes_unheld_gets_what_was_held(chain: StartChain) -> None:
    cluster = patient(chain)
    with Talk(cluster.head) as talk, unheld(cluster.head) as operator, paused(cluster.tail):
        talk.send("SET", "k", "v")
        await_held(operator, 1)
        talk.send("MEMBER.UNHELD")
        assert (talk.receive(), talk.receive()) == (b"OK", b"OK")
        assert talk("GET", "k") == b"v"


def test_many_clients_and_large_replies(chain: StartChain) -> None:
    """More of each client than the gate keeps."""
    cluster = patient(chain)
    value = "x" * 3_000_000
    with unheld(cluster.head) as operator:
        talks = [Talk(cluster.head) for _ in range(20)]
        assert talks[0]("SET", "big", value) == b"OK"
        with paused(cluster.tail):
            talks[0].send("SET", "k", "v")
            await_held(operator, 1)
            for number, talk in enumerate(talks):
                talk.send_all([("INCR", "n"), ("GET", "big"), ("ECHO", number)])
            await_held(operator, len(talks))
            assert field(operator, "gate_held_bytes") < len(talks) * 2_000_000
        assert talks[0].receive() == b"OK"
        for number, talk in enumerate(talks):
            assert 1 <= talk.receive() <= len(talks)
            assert [talk.receive(), talk.receive()] == [value.encode(), str(number).encode()]
            talk.close()


def test_each_number_that_is_told_is_at_the_tail(chain: StartChain) -> None:
    """By writes and by reads at the head, alone and pipelined, in EXEC, in scripts, and behind BLPOP."""
    cluster = chain(3, commands="all")
    seconds, told = 4.0, []

    def compare(requests: Sequence[Sequence[Word]], number_of: int) -> None:
        until = time.monotonic() + seconds
        with Talk(cluster.head) as head, unheld(cluster.tail) as tail:
            while time.monotonic() < until:
                reply = head.pipeline(requests)[number_of]
                number = int(reply[0] if isinstance(reply, list) else reply or 0)
                assert number <= int(tail("GET", "n") or 0)
                told.append(number)

    def feed(stop: Event) -> None:
        with Talk(cluster.head) as talk:
            while not stop.is_set():
                talk("RPUSH", "queue", "x")

    script = "redis.call('INCR', KEYS[1]) return redis.call('GET', KEYS[1])"
    shapes: list[tuple[list[Sequence[Word]], int]] = [
        ([("INCR", "n")], 0),
        ([("GET", "n")], 0),
        ([("INCR", "n")] * 16, 15),
        ([("MULTI",), ("INCR", "n"), ("EXEC",)], 2),
        ([("EVAL", script, 1, "n")], 0),
        ([("BLPOP", "queue", 1), ("INCR", "n")], 1),
    ]
    jobs = [lambda _stop, shape=shape: compare(*shape) for shape in shapes]
    with running(*jobs, feed) as futures:
        for future in futures[: len(jobs)]:
            future.result(60)
    assert len(told) > 100


def test_a_lone_writer_gets_at_once_what_need_not_wait(chain: StartChain) -> None:
    """The gate does not watch for the reply to the next request of a lone client that has written."""
    cluster = chain(3, commands="all")
    after_a_write: list[tuple[Word, ...]] = [
        ("GET", "k"), ("GET", "long"), ("LPOP", "none"), ("SET", "k", "v", "NX"), ("NONSENSE",), ("PING",),
        ("INCR", "n"), ("EVAL", "return 1", 0),
    ]  # fmt: skip

    def median_s(talk: Talk, request: Sequence[Word], writes: int) -> float:
        """How long the request takes after so many writes."""
        times_s = []
        for _ in range(15):
            assert [talk("SET", "k", "v") for _ in range(writes)] == [b"OK"] * writes
            begin = time.monotonic()
            talk(*request)
            times_s.append(time.monotonic() - begin)
        return sorted(times_s)[7]

    with Talk(cluster.head) as talk:
        assert talk("SET", "long", "x" * 300_000) == b"OK"
        write_s = median_s(talk, ("SET", "k", "v"), 0)
        for request in after_a_write:
            assert median_s(talk, request, 2) < 2 * write_s + 0.03, request


def test_a_pause_that_a_transaction_begins_releases_nothing(chain: StartChain) -> None:
    """The filter saw its CLIENT PAUSE long before. What comes in one pass of the event loop follows a slow script."""
    cluster = patient(chain)
    slow: tuple[Word, ...] = ("EVAL_RO", "for i = 1, 2e7 do end", 0)
    end_pause: tuple[Word, ...] = ("CLIENT", "UNPAUSE")
    execute: tuple[Word, ...] = ("EXEC",)
    write: tuple[Word, ...] = ("SET", "k", "w")
    talks = [Talk(cluster.head) for _ in range(4)]
    first, second, writer, other = talks
    with ExitStack() as stack:
        for talk in talks:
            stack.enter_context(closing(talk))
        operator = stack.enter_context(unheld(cluster.head))
        # A transaction ends a pause of writes and begins another in one pass.
        assert writer.pipeline([("MULTI",), ("SET", "k", "v"), ("CLIENT", "PAUSE", 60_000, "WRITE")])[0] == b"OK"
        assert other("CLIENT", "PAUSE", 60_000, "WRITE") == b"OK"
        with paused(cluster.tail):
            for talk, command in ((first, slow), (other, end_pause), (writer, execute)):
                talk.send(*command)
                time.sleep(0.03)
            wait_until(lambda: operator("GET", "k") == b"v", 10)
            assert writer.is_silent()
            assert operator("CLIENT", "UNPAUSE") == b"OK"
        assert writer.receive() == [b"OK", b"OK"]
        assert [first.receive(), other.receive()] == [None, b"OK"]
        # The pause of a transaction is over when the pass ends, and another client's write is run after that.
        assert writer.pipeline([("MULTI",), ("CLIENT", "PAUSE", 1, "WRITE"), *[("PING",)] * 5])[0] == b"OK"
        for _ in range(5):
            assert operator("PING") == b"PONG"
        with paused(cluster.tail):
            for talk, command in ((first, slow), (writer, execute), (other, write), (second, slow)):
                talk.send(*command)
                time.sleep(0.03)
            wait_until(lambda: operator("GET", "k") == b"w", 10)
            assert other.is_silent()
        assert other.receive() == b"OK"


# ---------------------------------------------------------------------------------------- clients that leave meanwhile


def cpu_ms(thread: Path) -> float:
    return int((thread / "schedstat").read_text().split()[0]) / 1e6


def test_quit_is_answered_when_all_before_it_is_committed(chain: StartChain) -> None:
    """The server has closed the connection by then; the gate sleeps meanwhile."""
    cluster = patient(chain)
    (gate,) = gate_threads(cluster.head)
    with connected(cluster.head) as connection, unheld(cluster.head) as operator:
        with paused(cluster.tail):
            connection.sendall(words("SET", "k", "v") + words("GET", "k") + words("QUIT"))
            await_held(operator, 1)
            before = cpu_ms(gate)
            time.sleep(0.5)
            assert cpu_ms(gate) - before < 100
        assert b"".join(read_to_end(connection)) == b"+OK\r\n$1\r\nv\r\n+OK\r\n"


@pytest.mark.parametrize("way", ["reset", "closed", "half-closed"])
def test_a_client_leaves_while_its_reply_is_held(chain: StartChain, way: str) -> None:
    cluster = patient(chain)
    (gate,) = gate_threads(cluster.head)
    with connected(cluster.head) as connection, unheld(cluster.head) as operator:
        with paused(cluster.tail):
            connection.sendall(words("SET", "k", "v") * 100)
            await_held(operator, 1)
            if way == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if way == "half-closed":
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.close()
                await_held(operator, 0 if way == "reset" else 1)
            before = cpu_ms(gate)
            time.sleep(0.5)
            assert cpu_ms(gate) - before < 100
        if way == "half-closed":
            assert receive(connection, 500) == b"+OK\r\n" * 100
            assert connection.recv(1) == b""
        await_held(operator, 0)
        assert operator("GET", "k") == b"v"
        wait_until(lambda: field(operator, "gate_clients") == 0, 10)


def test_a_client_is_closed_when_its_reply_was_held_for_too_long(chain: StartChain) -> None:
    cluster = patient(chain)
    with Talk(cluster.head) as late, Talk(cluster.head) as idle, unheld(cluster.head) as operator:
        assert idle("PING") == b"PONG"
        with paused(cluster.tail):
            late.send("SET", "k", "v")
            await_held(operator, 1)
            assert operator("CONFIG", "SET", "member.hold-timeout", 100) == b"OK"
            with pytest.raises(redis.ConnectionError):
                late.receive()
            assert field(operator, "gate_dropped_clients") == 1
        assert idle("GET", "k") == b"v"


def test_a_head_that_is_out_of_the_chain_tells_nothing_of_what_it_held(chain: StartChain) -> None:
    cluster = chain(3, commands="all")
    head = cluster.head
    with Talk(head) as writer, Talk(head) as idle, unheld(head) as operator:
        assert writer("SET", "k", "old") == idle("SET", "other", "x") == b"OK"
        with paused(cluster.members[1]):
            writer.send_all([("SET", "k", "new"), ("GET", "k")])
            await_held(operator, 1)
            head.pause()
        await_repair(cluster, head)
        assert ask(cluster.head, "GET", "k") in (b"old", b"new")
        head.resume()
        with pytest.raises(redis.ConnectionError):
            writer.receive()
        with pytest.raises(redis.ConnectionError):
            idle("GET", "k")        # nothing was held for it, and it has to look for the new head
        assert field(operator, "gate_dropped_clients") >= 1


def has_grown(told: list[int], length: int) -> bool:
    return len(told) >= length


def test_a_head_under_load_that_is_out_of_the_chain(chain: StartChain) -> None:
    """What its server has done, and its tap has not read, is not the chain's. No number is told twice."""
    cluster = chain(3, commands="all", master_config={"master.auto-return": "yes"})
    told: list[int] = []

    def count(stop: Event) -> None:
        while not stop.is_set():
            with suppress(redis.ConnectionError, redis.TimeoutError), Talk(cluster.head, timeout_s=5) as talk:
                while not stop.is_set():
                    replies = talk.pipeline([("INCR", "n")] * 20)
                    told.extend(reply for reply in replies if isinstance(reply, int))
                    if isinstance(replies[-1], Error):
                        break

    with running(*[count] * 4):
        for _ in range(3):
            head, *others = cluster.members
            with paused(head):
                await_chain(cluster, *others)
            await_chain(cluster, *others, head, timeout_s=60)
            wait_until(partial(has_grown, told, len(told) + 1000), 30)
    assert len(told) == len(set(told))


def test_a_tail_that_is_out_of_the_chain_shows_no_data(chain: StartChain) -> None:
    cluster = chain(3, commands="all")
    head, middle, tail = cluster.members
    assert ask(head, "SET", "k", "old") == b"OK"
    with Talk(tail) as reader:
        wait_until(lambda: reader("GET", "k") == b"old", 10)
        tail.pause()
        await_repair(cluster, tail)
        assert ask(head, "SET", "k", "new") == b"OK"
        reader.send("GET", "k")
        tail.resume()
        with suppress(redis.ConnectionError):       # which it gets depends on when it hears of the view
            assert reader.receive().startswith("MASTERDOWN")
    wait_until(lambda: member_role(tail) == "removed", 10)
    for command in (("GET", "k"), ("EXISTS", "k"), ("EVAL", "return redis.call('GET', KEYS[1])", 1, "k")):
        assert "MASTERDOWN" in ask(tail, *command)
    assert middle in cluster.members


# ------------------------------------------------------------------------------------------------------------ limits


def send_until_nobody_reads(connection: socket.socket, request: bytes, sent: int) -> int:
    """Goes on after so many bytes of requests. Returns how many there are then."""
    while True:
        try:
            sent += connection.send(request[sent % len(request) :])
        except TimeoutError:
            return sent


def test_requests_wait_while_too_much_is_uncommitted(chain: StartChain) -> None:
    cluster = patient(chain, **{"member.log-limit": "1mb"})
    value = "x" * 10_000
    with connected(cluster.head) as connection, Talk(cluster.head) as other, unheld(cluster.head) as operator:
        connection.settimeout(1)
        with paused(cluster.tail):
            sent = 0
            while field(operator, "uncommitted_bytes") <= 1 << 20:
                sent = send_until_nobody_reads(connection, words("SET", "k", value), sent)
            assert field(operator, "uncommitted_bytes") < 8 << 20
            other.send("SET", "k", "last")
            assert other.is_silent(0.5)
            assert operator("GET", "k") == value.encode()       # not held, and not stopped
        connection.settimeout(30)
        assert other.receive() == b"OK"
        whole = sent // len(words("SET", "k", value))
        assert receive(connection, 5 * whole) == b"+OK\r\n" * whole
