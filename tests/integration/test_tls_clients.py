# SPDX-License-Identifier: Apache-2.0
"""Clients with TLS: the gate holds what it cannot read, and lets in those that ask not to be held."""

import asyncio
import random
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import cycle, islice

import pytest
import redis

from certificates import Certificates, Identity
from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import ROOT, Server
from chainredis.protocol.view import Endpoint
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, ask, await_repair, info, member_number, paused, unheld
from integration.test_gate_hold import await_held, field, patient
from integration.test_gate_relay import GATE, MIB, PLAIN, assert_others_wake, read_to_end, receive, replies_to, words
from servers import DEFAULT, needs_tls
from simulation.seeds import SEED

pytestmark = needs_tls()


@pytest.fixture(scope="module")
def mine(certificates: Certificates) -> Identity:
    return certificates.identity()


def tls_endpoint(server: Server) -> Endpoint:
    """Where the server speaks TLS. It gets a port for that if it has none."""
    if "tls-port" not in server.config:
        server.config["tls-port"] = str(free_port())
        assert ask(server, "CONFIG", "SET", "tls-port", server.config["tls-port"]) == b"OK"
    return Endpoint(server.endpoint.host, int(server.config["tls-port"]))


def context_of(mine: Identity, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=mine.ca)
    context.check_hostname = False
    context.load_cert_chain(mine.cert, mine.key)
    context.maximum_version = newest
    return context


def reach(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection((endpoint.host, endpoint.port), 30)


@contextmanager
def secured(server: Server, mine: Identity, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[ssl.SSLSocket]:
    with reach(tls_endpoint(server)) as plain:
        plain.settimeout(60)
        with context_of(mine, newest).wrap_socket(plain) as connection:
            yield connection


def talk_to(server: Server, mine: Identity) -> Talk:
    return Talk(tls_endpoint(server), tls=mine)


@pytest.fixture
def one(server: StartServer, mine: Identity) -> Server:
    return server(MEMBER, **GATE, **mine.server)


# ------------------------------------------------------------------------------------------------- what is held


def test_nothing_is_told_before_the_tail_has_it(chain: StartChain, mine: Identity) -> None:
    """Neither to clients that were there before, nor to those that come and shake hands meanwhile."""
    cluster = patient(chain, **mine.server)
    head = cluster.head
    with (
        talk_to(head, mine) as writer, talk_to(head, mine) as subscriber, secured(head, mine) as tracker,
        secured(head, mine, ssl.TLSVersion.TLSv1_2) as older, talk_to(head, mine) as operator,
    ):  # fmt: skip
        assert writer("SET", "k", "old") == b"OK"
        assert subscriber("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
        tracker.sendall(words("HELLO", 3) + words("CLIENT", "TRACKING", "ON") + words("GET", "k"))
        read_until(tracker, b"+OK\r\n$3\r\nold\r\n")
        assert operator("MEMBER.UNHELD") == b"OK"
        with paused(cluster.tail):
            writer.send_all([("SET", "k", "new"), ("PUBLISH", "news", "one"), ("MULTI",), ("INCR", "n"), ("EXEC",)])
            wait_until(lambda: operator("GET", "n") == b"1", 10)
            older.sendall(words("GET", "k"))
            await_held(operator, 4)
            with talk_to(head, mine) as late, secured(head, mine) as latest, talk_to(head, mine) as other:
                late.send("GET", "k")
                latest.sendall(words("GET", "k") + words("QUIT"))
                await_held(operator, 6)
                for talk in (writer, subscriber, late):
                    assert talk.is_silent()
                for connection in (tracker, older, latest):
                    assert is_silent(connection)
                # Who asks not to be held gets in, and what was held for another stays so.
                assert other.pipeline([("MEMBER.UNHELD",), ("GET", "k")]) == [b"OK", b"new"]
                assert late.is_silent()
                cluster.tail.resume()
                assert late.receive() == b"new"
                assert b"".join(read_to_end(latest)) == b"$3\r\nnew\r\n+OK\r\n"
        assert [writer.receive() for _ in range(5)] == [b"OK", 1, b"OK", b"QUEUED", [1]]
        assert subscriber.receive() == [b"message", b"news", b"one"]
        assert receive(older, 9) == b"$3\r\nnew\r\n"
        read_until(tracker, b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n")
    wait_until(lambda: member_number(head, "gate_held_clients") == member_number(head, "gate_unheld_clients") == 0, 10)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        piece = connection.recv(1000)
        assert piece, seen
        seen += piece
    return seen


def is_silent(connection: ssl.SSLSocket, for_s: float = 0.2) -> bool:
    before = connection.gettimeout()
    connection.settimeout(for_s)
    try:
        return bool(connection.recv(1)) and False
    except TimeoutError:
        return True
    finally:
        connection.settimeout(before)


@pytest.mark.parametrize("way", ["reset", "closed", "said"])
def test_a_client_leaves_while_its_reply_is_held(chain: StartChain, mine: Identity, way: str) -> None:
    cluster = patient(chain, **mine.server)
    with secured(cluster.head, mine) as connection, unheld(cluster.head) as operator:
        with paused(cluster.tail):
            connection.sendall(words("INCR", "n") * 100)
            await_held(operator, 1)
            if way == "said":       # that it sends no more: the alert of TLS, which ends the connection for Redis
                connection.settimeout(0.1)
                with pytest.raises((TimeoutError, ssl.SSLWantReadError)):
                    connection.unwrap()
                connection.settimeout(60)
            else:
                linger = struct.pack("ii", way == "reset", 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.close()
        wait_until(lambda: field(operator, "gate_clients") == 0 and operator("GET", "n") == b"100", 20)
        await_held(operator, 0)


def test_a_head_that_is_out_of_the_chain_tells_nothing_of_what_it_held(chain: StartChain, mine: Identity) -> None:
    cluster = chain(3, commands="all", member_config=mine.server)
    head = cluster.head
    with talk_to(head, mine) as writer, talk_to(head, mine) as idle, unheld(head) as operator:
        assert writer("SET", "k", "old") == idle("SET", "other", "x") == b"OK"
        with paused(cluster.members[1]):
            writer.send_all([("SET", "k", "new"), ("GET", "k")])
            await_held(operator, 1)
            head.pause()
        await_repair(cluster, head)
        head.resume()
        for talk in (writer, idle):
            with pytest.raises(redis.ConnectionError):
                talk.receive()


# ------------------------------------------------------------------------------- who asks not to be held gets in


def test_unheld_when_too_much_is_uncommitted(chain: StartChain, mine: Identity) -> None:
    """Links of members and masters come in so. The gate cannot read that they ask for it."""
    cluster = patient(chain, **mine.server, **{"member.log-limit": "1mb"})
    value = "x" * 300_000
    with talk_to(cluster.head, mine) as writer, unheld(cluster.head) as operator:
        assert writer("PING") == b"PONG"
        with paused(cluster.tail):
            for _ in range(5):
                writer.send("SET", "k", value)
            wait_until(lambda: field(operator, "uncommitted_bytes") > 1 << 20, 10)
            with talk_to(cluster.head, mine) as late:
                assert late.pipeline([("MEMBER.UNHELD",), ("PING",)]) == [b"OK", b"PONG"]
            with talk_to(cluster.head, mine) as stopped:
                stopped.send("SET", "late", "1")
                assert stopped.is_silent()
                cluster.tail.resume()
                assert stopped.receive() == b"OK"
        assert [writer.receive() for _ in range(5)] == [b"OK"] * 5


def test_who_is_unheld_leaves_the_gate(one: Server, mine: Identity) -> None:
    """Links with TLS cost no more than others then. Requests may follow the first one at once, in pieces."""
    value = "x" * 50_000
    for number in islice(cycle(range(100, 150)), 500):  # who has something under way just then stays
        requests = words("MEMBER.UNHELD") + words("SET", "k", number) + words("ECHO", value) + words("GET", "k")
        expected = b"+OK\r\n+OK\r\n$50000\r\n%s\r\n$3\r\n%d\r\n" % (value.encode(), number)
        step = (number - 99) * 1000     # at the end all in one piece
        newest = ssl.TLSVersion.TLSv1_2 if number % 2 else ssl.TLSVersion.TLSv1_3
        with secured(one, mine, newest) as connection:
            for place in range(0, len(requests), step):
                connection.sendall(requests[place : place + step])
            assert receive(connection, len(expected)) == expected
            connection.sendall(words("PING"))
            assert receive(connection, 7) == b"+PONG\r\n"
        if number == 149 and member_number(one, "gate_handed_back") > 20:
            break
    assert member_number(one, "gate_handed_back") > 20
    wait_until(lambda: member_number(one, "gate_clients") == 1, 10)


def is_held(talk: Talk) -> bool:
    talk.send("GET", "k")
    return talk.is_silent() or not talk.receive()


def test_unheld_at_a_server_that_may_take_no_requests(chain: StartChain, mine: Identity) -> None:
    """A tail that is busy with a script, and so executes nothing of what it has received."""
    cluster = patient(chain, **mine.server, **{"busy-reply-threshold": "50"})
    tail = cluster.tail
    with ExitStack() as stack:
        known, busy, writer = (stack.enter_context(talk_to(server, mine)) for server in (tail, tail, cluster.head))
        operator = stack.enter_context(unheld(tail))
        assert known("GET", "k") is None
        busy.send("EVAL_RO", "while true do end", 0)
        wait_until(lambda: isinstance(operator("GET", "k"), Error), 10)
        writer.send("SET", "k", "v")
        wait_until(partial(is_held, known), 10)
        late, reader = (stack.enter_context(talk_to(tail, mine)) for _ in range(2))
        late.send_all([("MEMBER.UNHELD",), ("MEMBER.UNHELD",)])
        assert [late.receive(), late.receive()] == [b"OK", b"OK"]
        reader.send("GET", "k")
        with pytest.raises(redis.ConnectionError):
            reader.receive()        # the answer is from before what was received
        assert known.is_silent()
        assert late("SCRIPT", "KILL") == b"OK"
        assert b"v" in (known.receive(), known("GET", "k"))     # what was held may have been a reply, too
        assert writer.receive() == b"OK"


# ----------------------------------------------------------------------------------------------- what passes through


def exchange(server: Server, pieces: Iterator[bytes], most: int, *, mine: Identity) -> bytes:
    """A connection of TLS is no thing for two threads, so this is asyncio."""

    async def talk() -> bytes:
        endpoint = tls_endpoint(server)
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=context_of(mine))

        async def send() -> None:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()

        sending, replies = asyncio.create_task(send()), []
        while piece := await reader.read(most):
            replies.append(piece)
        await sending
        writer.close()
        return b"".join(replies)

    return asyncio.run(asyncio.wait_for(talk(), 60))


def breaks_of_redis(server: Server) -> int:
    """How many connections the server itself has broken (findings/redis_tls_reply_breaks_the_connection.sh)."""
    return (server.folder / "log").read_text(errors="replace").count("SSL routines::bad length")


def exchange_in_spite_of_redis(server: Server, pieces: Iterator[bytes], most: int, *, mine: Identity) -> bytes:
    """As `exchange`. Where the server itself has broken the connection, everything is done once more."""
    same = list(pieces)
    for _ in range(20):
        broken = breaks_of_redis(server)
        try:
            replies = exchange(server, iter(same), most, mine=mine)
        except ConnectionResetError:
            assert breaks_of_redis(server) > broken
        if breaks_of_redis(server) == broken:
            return replies
        ask(server, "FLUSHALL")
    pytest.fail("the server has broken all of 20 connections")


@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_same_bytes_as_without_a_gate(server: StartServer, mine: Identity, threads: str) -> None:
    config = {**mine.server, "io_threads": threads, "io_threads_do_reads": "yes", "loglevel": "verbose"}
    gated, plain = server(MEMBER, **GATE, **config), server(MEMBER, **PLAIN)
    seed = SEED + int(threads)
    assert replies_to(gated, seed, partial(exchange_in_spite_of_redis, mine=mine)) == replies_to(plain, seed)
    assert member_number(gated, "gate_relayed_bytes") > 3 * MIB
    assert info(gated, "member")["member_gate_error"] == ""
    wait_until(lambda: member_number(gated, "gate_clients") == 1, 10)


@pytest.mark.skipif(DEFAULT != "redis-7.0", reason="later servers list their keys in another order each time")
def test_redis_breaks_the_connection_of_a_slow_reader(server: StartServer, mine: Identity) -> None:
    """It does so without a gate, too. Whatever it had written before reaches the client, and nothing else."""
    one = server(MEMBER, **GATE, **mine.server, loglevel="verbose")
    elements = [f"{number:04d}" * 250 for number in range(40)]
    ask(one, "RPUSH", "list", *elements)
    requests, sent = words("PING") + words("LRANGE", "list", "0", "-1"), 0
    with secured(one, mine) as slow, Talk(one) as operator:
        slow.sendall(words("CLIENT", "SETNAME", "slow") + requests)
        reply = b"+PONG\r\n*40\r\n" + b"".join(b"$1000\r\n%s\r\n" % element.encode() for element in elements)
        assert receive(slow, 5 + len(reply)) == b"+OK\r\n" + reply

        def ask_for_more() -> None:
            nonlocal sent
            slow.sendall(requests)
            sent += 1
            wait_until(lambda: calls(operator, "lrange") == 1 + sent, 10)

        while not waiting_replies(operator, "slow"):
            ask_for_more()
        for _ in range(3):
            ask_for_more()
        got = b"".join(receive_at_most(slow, sent * len(reply)))
    assert (reply * sent).startswith(got)
    assert len(got) == sent * len(reply) or breaks_of_redis(one) == 1
    wait_until(lambda: member_number(one, "gate_clients") == 1, 10)


def calls(operator: Talk, command: str) -> int:
    """How often the command has been executed."""
    found = operator("INFO", "commandstats").decode().partition(f"cmdstat_{command}:calls=")[2]
    return int(found.partition(",")[0] or 0)


def waiting_replies(operator: Talk, name: str) -> int:
    """How many pieces of replies the server has for the client of that name."""
    line = next(line for line in operator("CLIENT", "LIST").decode().splitlines() if f" name={name} " in line)
    return int(line.partition(" oll=")[2].partition(" ")[0])


def receive_at_most(connection: socket.socket, count: int) -> Iterator[bytes]:
    """What comes, until so many bytes have come, or the server closes."""
    while count and (piece := connection.recv(count)):
        yield piece
        count -= len(piece)


def test_megabytes_for_a_slow_reader(one: Server, mine: Identity) -> None:
    value = random.Random(SEED).randbytes(MIB) * 20
    with secured(one, mine) as connection:
        connection.sendall(words("SET", "big", value))
        assert receive(connection, 5) == b"+OK\r\n"
        connection.sendall(words("GET", "big") + words("QUIT"))
        wait_until(lambda: int(info(one, "memory")["used_memory"]) > 35 * MIB, 20)     # in the server's output
        assert b"".join(read_to_end(connection)) == b"$%d\r\n%s\r\n+OK\r\n" % (len(value), value)


def test_many_pipelined_requests_of_a_client_that_does_not_read(one: Server, mine: Identity) -> None:
    count = 50_000
    with secured(one, mine) as connection:
        connection.sendall(words("INCR", "n") * count)
        wait_until(lambda: int(ask(one, "GET", "n") or 0) == count, 30)
        expected = b"".join(b":%d\r\n" % number for number in range(1, count + 1))
        assert receive(connection, len(expected)) == expected


def test_blocked_and_subscribed_clients(one: Server, mine: Identity) -> None:
    waiter, subscriber, other = (talk_to(one, mine) for _ in range(3))
    with waiter, subscriber, other:
        assert_others_wake(waiter, subscriber, other)
        assert other("BLPOP", "nothing", "0.05") is None


def test_sessions_are_resumed(one: Server, mine: Identity) -> None:
    """Tickets of TLS are the server's business: the gate gets a connection when the handshake is over."""
    for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = context_of(mine, newest)
        with reach(tls_endpoint(one)) as plain, context.wrap_socket(plain) as first:
            first.sendall(words("PING"))
            assert receive(first, 7) == b"+PONG\r\n"
            session = first.session
        with (
            reach(tls_endpoint(one)) as plain, context.wrap_socket(plain, session=session) as again,
        ):  # fmt: skip
            again.sendall(words("PING"))
            assert receive(again, 7) == b"+PONG\r\n"
            assert again.session_reused


def test_who_speaks_the_other_way(one: Server, mine: Identity) -> None:
    """Plain requests to the port of TLS, TLS to the plain port, and one who says nothing."""
    with reach(tls_endpoint(one)) as plain, reach(tls_endpoint(one)) as mute:
        plain.sendall(words("SET", "k", "v"))
        with suppress(ConnectionResetError):
            assert b"OK" not in b"".join(read_to_end(plain))
        with reach(one.endpoint) as other, suppress(OSError), pytest.raises(ssl.SSLError):
            context_of(mine).wrap_socket(other)
        assert ask(one, "EXISTS", "k") == 0
        mute.settimeout(0.1)
        with pytest.raises(TimeoutError):
            mute.recv(1)
    wait_until(lambda: member_number(one, "gate_clients") == 1, 10)


def test_certificates_of_clients(one: Server, certificates: Certificates, mine: Identity) -> None:
    """As Redis does it: `tls-auth-clients yes` is the default."""
    stranger, ended = certificates.identity("bad"), certificates.identity("ended")
    for who in (stranger, ended, Identity(mine.ca, "", "")):
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)), talk_to(one, who) as talk:
            talk("PING")
    with talk_to(one, certificates.identity("client")) as talk:
        assert talk("PING") == b"PONG"
    assert ask(one, "CONFIG", "SET", "tls-auth-clients", "no") == b"OK"
    with talk_to(one, Identity(mine.ca, "", "")) as talk:
        assert talk("SET", "k", "v") == b"OK"
    wait_until(lambda: member_number(one, "gate_clients") == 1, 10)


def test_redis_cli(chain: StartChain, mine: Identity) -> None:
    cluster = chain(2, commands="all", member_config=mine.server)
    program = ROOT / "vendor/redis/src/redis-cli"
    port = tls_endpoint(cluster.head).port
    for request, reply in (("SET k v", "OK"), ("GET k", '"v"'), ("INCR n", "1")):
        run = subprocess.run([program, "-p", str(port), *mine.cli], input=request, text=True, capture_output=True,
                             timeout=60, check=True)  # fmt: skip
        assert reply in run.stdout or reply.strip('"') in run.stdout
