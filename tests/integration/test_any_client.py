# SPDX-License-Identifier: Apache-2.0
"""Chains of all commands where it is hard: slow and many clients, forks, large values, busy scripts, pauses, WAIT."""

import resource
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Thread

import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from commands.run import same_data
from commands.wire import Wire
from integration.conftest import StartChain
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    Word,
    ask,
    await_chain,
    await_repair,
    member_number,
    paused,
    savers,
    unheld,
)

DEBUG = {"enable-debug-command": "yes"}
ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
MIB = 1 << 20
MANY = 10_000
BUSY_LOOP = "while true do end"
WAITS: list[list[Word]] = [["WAIT", 0, 0], ["WAIT", 1, 0], ["WAIT", 2, 0], ["WAIT", 3, 50]]


@pytest.fixture
def three(chain: StartChain) -> Cluster:
    return chain(3, commands="all", member_config=DEBUG, master_config=PATIENT)


def test_a_client_that_sends_without_reading(three: Cluster) -> None:
    """Its replies wait in the server; nothing is lost, and the copies follow."""
    count = 200_000
    with Talk(three.head, 60) as talk:
        sender = Thread(target=talk.send_bytes, args=(b"INCR n\r\n" * count,))
        sender.start()
        wait_until(lambda: int(ask(three.tail, "GET", "n") or 0) >= 50_000, 60)
        assert [talk.receive() for _ in range(count)] == list(range(1, count + 1))
        sender.join()
    same_data(three.members)


def test_a_client_that_sends_while_nothing_is_committed(three: Cluster) -> None:
    """The head stops reading from it once the limit of what is uncommitted is reached."""
    assert ask(three.head, "CONFIG", "SET", "member.log-limit", MIB) == b"OK"
    count, value = 500, b"x" * 100_000
    with closing(Wire(three.head.endpoint, timeout_s=60)) as wire, unheld(three.head) as operator:
        with paused(three.tail):
            sender = Thread(target=wire.send_all, args=([("APPEND", "k", value)] * count,))
            sender.start()
            wait_until(lambda: operator("STRLEN", "k") > MIB, 20)
            wait_until(lambda: operator("STRLEN", "k") == operator("STRLEN", "k"), 20, 0.2)
            assert operator("STRLEN", "k") < len(value) * count / 2
            assert sender.is_alive()
        assert [wire.receive() for _ in range(count)] == [len(value) * number for number in range(1, count + 1)]
        sender.join()
    same_data(three.members)


def test_ten_thousand_idle_clients(chain: StartChain) -> None:
    """Or as many as the limit of descriptors permits: the server needs two for each."""
    three = chain(3, commands="all", member_config=DEBUG | {"maxclients": str(MANY + 100)}, master_config=PATIENT)
    with open_sockets(three.head, MANY) as sockets:
        for connection in sockets:
            connection.sendall(b"INCR n\r\n")
        numbers = [int(connection.recv(100)[1:]) for connection in sockets]
        assert sorted(numbers) == list(range(1, len(sockets) + 1))
        assert ask(three.tail, "GET", "n") == str(len(sockets)).encode()
    wait_until(lambda: member_number(three.head, "gate_clients") < 10, 30)


@contextmanager
def open_sockets(server: Server, most: int) -> Iterator[list[socket.socket]]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(most, hard // 2 - 250)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets = [socket.create_connection((server.endpoint.host, server.port), 60) for _ in range(count)]
    try:
        yield sockets
    finally:
        for connection in sockets:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_head_is_killed_while_its_child_saves(chain: StartChain) -> None:
    """The child keeps no client's connection open; nothing that was acknowledged is lost."""
    cluster = chain(3, commands="all", member_config=DEBUG | {"rdb-key-save-delay": str(100 * 1_000_000)})
    head = cluster.head
    acknowledged = ask(head, "INCR", "n")
    with Talk(head) as idle, Talk(head) as writer:
        assert idle("PING") == b"PONG"
        assert b"ackground" in ask(head, "BGSAVE")
        (child,) = savers(head)
        child.suspend()     # nor does the child's own end close them
        writer.send_all([["INCR", "n"]] * 20_000)
        for _ in range(1000):
            acknowledged = writer.receive()
        head.kill()
        with pytest.raises(redis.ConnectionError):
            idle.receive()
        with suppress(redis.ConnectionError):
            while True:
                acknowledged = writer.receive()
    await_repair(cluster, head)
    assert int(ask(cluster.head, "GET", "n")) >= acknowledged
    same_data(cluster.members)


def test_replies_of_100_mb(three: Cluster) -> None:
    value = bytes(range(256)) * (100 * MIB // 256)
    with Talk(three.head, 60) as talk:
        assert talk("SET", "big", value) == b"OK"
        assert talk("GET", "big") == value
    with Talk(three.tail, 60) as talk:
        assert talk("GET", "big") == value
    same_data(three.members)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["head", "middle", "tail"])
def test_a_script_that_does_not_end(three: Cluster, place: int) -> None:
    """Whoever is not held is told BUSY there, and SCRIPT KILL ends it. A middle that is busy stops no writes."""
    member = three.members[place]
    assert ask(member, "CONFIG", "SET", "lua-time-limit", 50) == b"OK"
    with Talk(member, 60) as endless, Talk(three.head, 60) as writer, unheld(member) as operator:
        assert writer("SET", "k", "before") == b"OK"
        endless.send("EVAL", BUSY_LOOP, 0)
        wait_until(lambda: str(operator("GET", "k")).startswith("BUSY"), 20)
        writer.send("SET", "k", "during")
        if place == 1:
            assert writer.receive() == b"OK"
        else:
            assert writer.is_silent(0.3)
        assert operator("SCRIPT", "KILL") == b"OK"
        assert isinstance(endless.receive(), Error)
        if place == 0:
            assert str(writer.receive()).startswith("BUSY")
        if place == 2:
            assert writer.receive() == b"OK"
        assert writer("SET", "k", "after") == b"OK"
        assert all(ask(each, "GET", "k") == b"after" for each in three.members)
    same_data(three.members)


def test_a_busy_middle_takes_what_its_log_may_hold(three: Cluster) -> None:
    """Then it refuses more, and writes wait for the end of the script."""
    middle, value, count = three.members[1], b"x" * 100_000, 40
    for name, number in (("lua-time-limit", 50), ("member.log-limit", MIB)):
        assert ask(middle, "CONFIG", "SET", name, number) == b"OK"
    with Talk(middle, 60) as endless, Talk(three.head, 60) as writer, unheld(middle) as operator:
        endless.send("EVAL", BUSY_LOOP, 0)
        wait_until(lambda: str(operator("GET", "k")).startswith("BUSY"), 20)
        writer.send_all([["APPEND", "k", value]] * count)
        assert writer.receive() == len(value)
        answered = 1
        while not writer.is_silent(0.5):
            answered += 1
            assert writer.receive() == answered * len(value)
        assert answered < count
        assert operator("SCRIPT", "KILL") == b"OK"
        assert [writer.receive() for _ in range(answered, count)][-1] == count * len(value)
    same_data(three.members)


def test_a_busy_middle_that_takes_no_new_view_is_left_out(chain: StartChain) -> None:
    """It says that it is busy, and gives no answer for the heartbeat timeout. What it has passed on is not lost."""
    timeout = {"master.lease": "500", "master.heartbeat-timeout": "3000"}
    cluster = chain(3, commands="all", master_config=timeout, member_config={"busy-reply-threshold": "50"})
    head, middle, tail = cluster.members
    with Talk(middle, 60) as endless, Talk(head) as writer, unheld(middle) as operator:
        endless.send("EVAL", BUSY_LOOP, 0)
        wait_until(lambda: str(operator("GET", "k")).startswith("BUSY"), 20)
        assert writer("SET", "k", "during") == b"OK"
        head.kill()
        told = f"not serving in it yet: {middle.endpoint}".encode()
        wait_until(lambda: told in ask(cluster.master, "INFO", "master"), 20)
        await_chain(cluster, tail)
        assert ask(tail, "GET", "k") == b"during"
        assert ask(tail, "SET", "k", "after") == b"OK"
        assert operator("SCRIPT", "KILL") == b"OK"
        wait_until(lambda: ask(cluster.master, "MASTER.ADD", middle.endpoint.host, middle.port) == b"OK", 20)
    assert ask(middle, "GET", "k") == b"after"


def test_a_pause_of_clients(three: Cluster) -> None:
    """At the head it postpones writes, which are committed afterwards; elsewhere it is refused."""
    with Talk(three.head) as talk, Talk(three.head) as other:
        assert talk("CLIENT", "PAUSE", 60_000, "WRITE") == b"OK"
        other.send("INCR", "n")
        assert other.is_silent()
        assert talk("GET", "n") is None
        assert talk("CLIENT", "UNPAUSE") == b"OK"
        assert other.receive() == 1
        assert talk("CLIENT", "PAUSE", 200, "ALL") == b"OK"
        assert other("INCR", "n") == 2
    for member in three.members[1:]:
        assert isinstance(ask(member, "CLIENT", "PAUSE", 60_000, "WRITE"), Error)
    assert ask(three.tail, "GET", "n") == b"2"
    same_data(three.members)


@pytest.mark.parametrize("mode", [["WRITE"], ["ALL"], []], ids=["write", "all", "default"])
def test_nothing_uncommitted_is_told_during_a_pause(three: Cluster, mode: list[Word]) -> None:
    """Any pause is one of writes: the chain's own connections go on, so what was written before is committed."""
    with Talk(three.head) as writer, Talk(three.head) as other:
        with paused(three.tail):
            writer.send("INCR", "n")
            assert writer.is_silent()
            other.send_all([["CLIENT", "PAUSE", 60_000, *mode], ["GET", "n"]])
            assert other.is_silent()
        assert [writer.receive(), other.receive(), other.receive()] == [1, b"OK", b"1"]
        assert other("CLIENT", "UNPAUSE") == b"OK"


def test_a_pause_ends_where_a_member_does_not_lead(chain: StartChain) -> None:
    """A former head, and a server that was paused while it was in no chain, would postpone the stream of effects."""
    cluster = chain(2, commands="all")
    former = cluster.head
    with Talk(former) as talk:
        assert talk("CLIENT", "PAUSE", 60_000, "WRITE") == b"OK"
    cluster.remove(former)
    cluster.add(former)
    with Talk(cluster.head) as talk:
        assert talk("INCR", "n") == 1
        cluster.remove(former)
        assert ask(former, "CLIENT", "PAUSE", 60_000, "WRITE") == b"OK"
        cluster.add(former)
        assert talk("INCR", "n") == 2
    same_data(cluster.members)


def test_a_key_expires_during_a_pause(three: Cluster) -> None:
    with Talk(three.head) as talk:
        assert talk("SET", "k", "v", "PX", 100) == b"OK"
        assert talk("CLIENT", "PAUSE", 60_000, "WRITE") == b"OK"
        wait_until(lambda: talk("GET", "k") is None, 10)
        assert talk("CLIENT", "UNPAUSE") == b"OK"
    wait_until(lambda: all(ask(each, "DBSIZE") == 0 for each in three.members), 10)
    same_data(three.members)


@pytest.mark.parametrize("disk", [{}, ALWAYS], ids=["memory", "always"])
def test_shutdown_under_load(chain: StartChain, disk: dict[str, str]) -> None:
    """The server ends when all that it has executed is committed, and has been answered. With `appendfsync always` some
    outcomes are unknown: nothing can be recorded while Redis pauses its clients for the shutdown.
    """
    cluster = chain(3, commands="all", member_config=DEBUG | disk | {"shutdown-timeout": "3600"})
    head, answered = cluster.head, 0
    with Talk(head) as writer:
        sender = Thread(target=send_all_in_vain, args=(writer, b"INCR n\r\n" * 200_000))
        sender.start()
        answered = writer.receive()
        head.terminate()
        with suppress(redis.ConnectionError):
            while True:
                answered = writer.receive()
        sender.join()
    wait_until(lambda: not head.running, 20)
    await_repair(cluster, head)
    counted = int(ask(cluster.head, "GET", "n"))
    assert counted == answered or (disk and counted > answered)
    same_data(cluster.members)


def send_all_in_vain(talk: Talk, requests: bytes) -> None:
    with suppress(redis.ConnectionError):
        talk.send_bytes(requests)


def test_the_head_is_shut_down_when_the_others_have_ended(chain: StartChain) -> None:
    """As when a machine with all members is switched off. It does not wait for a commit that cannot come."""
    cluster = chain(2, commands="all", member_config=DEBUG | {"shutdown-timeout": "3600"}, master_config=PATIENT)
    cluster.master.kill()
    cluster.tail.kill()
    with Talk(cluster.head) as talk:
        talk.send("INCR", "n")
        assert talk.is_silent()
        cluster.head.terminate()
        with pytest.raises(redis.ConnectionError):
            talk.receive()


def test_shutdown_with_held_clients(chain: StartChain) -> None:
    """It waits for what is not committed, but not for ever. Then the connections are closed without the reply, which
    means that the outcome is unknown.
    """
    cluster = chain(3, commands="all", member_config=DEBUG | {"shutdown-timeout": "1"}, master_config=PATIENT)
    head = cluster.head
    with Talk(head) as held, Talk(head) as idle:
        assert idle("PING") == b"PONG"
        with paused(cluster.tail):
            held.send("INCR", "n")
            assert held.is_silent()
            head.terminate()
            for talk in (held, idle):
                with pytest.raises(redis.ConnectionError):
                    talk.receive()
            wait_until(lambda: not head.running, 20)


def test_wait(three: Cluster) -> None:
    """Output is held until every member has what was written, so the answer is the number of other members."""
    with Talk(three.head) as talk:
        for number, asked in enumerate(WAITS, 1):
            assert talk.pipeline([["SET", "k", number], asked]) == [b"OK", 2]
            assert ask(three.tail, "GET", "k") == str(number).encode()
            assert talk.pipeline([["MULTI"], ["INCR", "n"], asked, ["EXEC"]])[-1] == [number, 2]


def test_wait_at_another_member(three: Cluster) -> None:
    assert isinstance(ask(three.tail, "WAIT", 1, 10), Error)
