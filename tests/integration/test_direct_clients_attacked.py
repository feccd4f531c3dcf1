# SPDX-License-Identifier: Apache-2.0
"""Direct clients (docs/decisions/0016) under attack: what a reviewer found, and what held."""

import resource
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import PATIENT, Talk, ask, await_chain, member_number, paused, settled
from integration.test_direct_clients import MANY, become_direct, bytes_of, direct, is_direct, puts, reads
from servers import SERVERS, use

MIB = 1024 * 1024
REQUESTS_NEEDED = 32
READ_BY_SERVERS = 16 * 1024, 20_474  # bytes in one go, by their versions


@contextmanager
def bare(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.settimeout(15)
        yield raw


# ------------------------------------------------------------------------------------------------ becoming direct


def test_replies_that_the_server_has_not_sent_when_its_client_is_looked_at(chain: StartChain) -> None:
    """The server waits to write to the candidate, and goes on when the candidate stays the server's."""
    only = chain(1).head
    with Talk(only) as talk:
        talk("MEMBER.PUT", "long", "x" * MIB, "me")
        talk.send_all([("READ", "long")] * 60)
        time.sleep(0.5)
        assert [len(talk.receive()) for _ in range(60)] == [MIB] * 60


@pytest.mark.parametrize("mode", ["OFF", "SKIP"])
@pytest.mark.parametrize("behind", [0, 3])
def test_who_wants_no_replies_any_more_gets_none(chain: StartChain, mode: str, behind: int) -> None:
    """CLIENT REPLY comes with the requests that make the client a candidate, whose replies have not been sent yet."""
    only = chain(1).head
    with Talk(only) as talk:
        talk.send_all([*puts(MANY), ("CLIENT", "REPLY", mode), *puts(behind)])
        time.sleep(0.5)
        talk.send_all(puts(5))
        time.sleep(0.2)
        talk.send_all([("CLIENT", "REPLY", "ON"), ("ECHO", "end")])
        answers: list[object] = []
        while b"end" not in answers:
            answers.append(talk.receive())
        expected = MANY + (5 + behind - 1 if mode == "SKIP" else 0)
        assert len([answer for answer in answers if isinstance(answer, int)]) == expected


# ------------------------------------------------------------------------------------------------ the end of a client


@pytest.mark.parametrize("client_id", ["me", None])
def test_who_sends_no_more_is_answered_and_hung_up_on(chain: StartChain, client_id: str | None) -> None:
    """The requests and the end of what the client sends come in one and the same moment."""
    cluster = chain(2)
    head = cluster.head
    with bare(head) as raw, raw.makefile("rb") as stream:
        while not is_direct(head):
            raw.sendall(bytes_of(*puts(MANY)))
            assert all(stream.readline().startswith(b":") for _ in range(MANY))
        with paused(head):
            raw.sendall(bytes_of(("MEMBER.PUT", "k", "v", *([client_id] if client_id else []))))
            raw.shutdown(socket.SHUT_WR)
        assert stream.readline().startswith(b":")
        assert stream.read() == b""
        wait_until(lambda: not is_direct(head), 20)


# ------------------------------------------------------------------------------------------------ a server that is busy


@contextmanager
def busy(server: Server) -> Iterator[None]:
    """A script runs, and is killed at the end."""
    with Talk(server) as script, Talk(server) as rescue:
        rescue("PING")
        script.send("EVAL", "while true do end", "0")
        wait_until(lambda: str(rescue("PING")).startswith("BUSY"), 20)
        try:
            yield
        finally:
            rescue("SCRIPT", "KILL")
        assert "killed" in str(script.receive())


def test_a_script_that_does_not_end_can_be_killed_by_a_direct_client(chain: StartChain) -> None:
    only = chain(1, member_config={"busy-reply-threshold": "100"}).head
    with direct(only) as talk, busy(only):
        talk.send("SCRIPT", "KILL")
        assert not talk.is_silent(for_s=5)
        assert talk.receive() == b"OK"


def test_a_busy_server_says_so(chain: StartChain) -> None:
    only = chain(1, member_config={"busy-reply-threshold": "100"}).head
    with direct(only) as talk:
        with busy(only):
            talk.send("MEMBER.PUT", "a", "b", "me")
            assert not talk.is_silent(for_s=5)
            assert talk.receive().startswith("BUSY")
        assert talk("READ", "a") is None


# ------------------------------------------------------------------------------------------------ long pipelines


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("what", ["PUT", "READ"])
def test_who_sends_all_before_it_reads_gets_all(chain: StartChain, what: str, mixed: bool) -> None:
    """As pipelines of redis-py do, however long they are."""
    only = chain(1).head
    with direct(only) as talk:
        commands: list[tuple[str, ...]] = [("READ", "warm-1")] * 500_000
        if what == "PUT":
            commands = [("MEMBER.PUT", f"k{i % 1000}", "x", "me") for i in range(200_000)]
        if mixed:
            commands[150_000] = ("PING",)
        answers = talk.pipeline(commands)
        assert answers[-1] == (b"v" if what == "READ" else answers[0] + len(commands) - 1 - mixed)
        assert answers.count(b"PONG") == mixed




# ------------------------------------------------------------------------------------------------ the append-only file


@pytest.mark.parametrize("fsync", ["always", "no"])
@pytest.mark.parametrize("client_id", ["me", None])
def test_nothing_is_answered_before_it_is_written(server: StartServer, fsync: str, client_id: str | None) -> None:
    """A server that ends when it writes its append-only file has answered nothing that is not there."""
    only = server(MEMBER, appendonly="yes", appendfsync=fsync)
    with Talk(only) as talk:
        assert talk("MEMBER.PUT", "long", "x" * MIB, "me") >= 0
        become_direct(talk)
        size = max(file.stat().st_size for file in (only.folder / "appendonlydir").iterdir())
        resource.prlimit(only.pid, resource.RLIMIT_FSIZE, (size, size))
        with pytest.raises(redis.ConnectionError):
            talk("MEMBER.PUT", "k", "v", *([client_id] if client_id else []))
    only._told_to_end = True


# ------------------------------------------------------------------------------------------------ the other kind


def test_a_member_that_will_be_of_a_chain_of_all_commands(server: StartServer) -> None:
    """It takes PUTs before there is a chain, from clients that stay the server's."""
    only, master = server(MEMBER, **{"member.commands": "all"}), server(MASTER)
    with Talk(only) as talk:
        for _ in range(5):
            assert talk.pipeline(puts(MANY))[-1] > 0
            time.sleep(0.01)
        assert member_number(only, "direct_clients_made") == 0
        assert ask(master, "MASTER.ADD", only.endpoint.host, only.port) == b"OK"
        assert talk("MEMBER.PUT", "k", "v") > 0
        assert talk("GET", "k") == b"v"


# ------------------------------------------------------------------------------------------------ what held


def test_a_tail_that_was_stopped_reads_nothing_old(chain: StartChain) -> None:
    cluster = chain(2)
    with Talk(cluster.head) as writer:
        writer.pipeline(puts(MANY))
    with direct(cluster.tail, reads) as talk:
        assert ask(cluster.head, "MEMBER.PUT", "k", "old") > 0
        assert talk("READ", "k") == b"old"
        assert is_direct(cluster.tail)
        head, tail = cluster.members
        with paused(tail):
            await_chain(cluster, head, timeout_s=40)
            assert ask(head, "MEMBER.PUT", "k", "new") > 0
            talk.send_all([("READ", "k")] * 3)
        assert b"old" not in [talk.receive() for _ in range(3)]


@pytest.mark.parametrize("version", SERVERS)
def test_others_notice_direct_writes(chain: StartChain, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Of a client that has sent WATCH or MULTI, Valkey from 8.1 on says multi=0 for good, and not multi=-1."""
    use(version, monkeypatch)
    only = chain(1, member_config={"notify-keyspace-events": "KEA"}).head
    with direct(only) as talk, Talk(only) as other, Talk(only) as subscriber:
        assert other("WATCH", "k") == b"OK"
        subscriber("PSUBSCRIBE", "__keyevent*")
        assert talk("MEMBER.PUT", "k", "1", "me") < talk("MEMBER.DEL", "k", "me")
        assert is_direct(only)
        assert other.pipeline([("MULTI",), ("GET", "k"), ("EXEC",)])[-1] is None
        assert [subscriber.receive()[2:] for _ in range(2)] == [
            [b"__keyevent@0__:set", b"k"], [b"__keyevent@0__:del", b"k"]]
        assert talk("WATCH", "own") == b"OK"
        become_direct(talk)
        assert talk("MEMBER.PUT", "own", "1", "me") > 0
        assert is_direct(only)
        assert talk.pipeline([("MULTI",), ("GET", "own"), ("EXEC",)])[-1] is None
        become_direct(talk)


def test_connections_that_are_reset(chain: StartChain) -> None:
    """With requests on their way. Whatever became of these, all members agree."""
    cluster = chain(2)
    for round_ in range(20):
        with Talk(cluster.head) as talk:
            become_direct(talk)
            sock = talk._connection._sock
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            talk.send_all([("MEMBER.PUT", f"r{round_}-{i}", "v") for i in range(20)])
            if round_ % 2:
                time.sleep(0.01)
            sock.close()
        wait_until(lambda: not is_direct(cluster.head), 20)
    settled(cluster)
    keys = [f"r{round_}-{i}" for round_ in range(20) for i in range(20)]
    copies = []
    for member in cluster.members:
        with Talk(member) as talk:
            copies.append(talk.pipeline([("GET", key) for key in keys]))
    assert copies[0] == copies[1]


def forgery() -> bytes:
    """A PUT whose value looks like another one, wherever a server's first read of it may end."""
    forged = bytes_of(("MEMBER.PUT", "forged", "v"))
    request = bytearray(bytes_of(("MEMBER.PUT", "k", "x" * 30_000)))
    for end in READ_BY_SERVERS:
        request[end : end + len(forged)] = forged
    return bytes(request)


def test_no_part_of_a_value_is_taken_for_a_request_when_a_connection_is_reset(chain: StartChain) -> None:
    """The server hears of the end before the module does. Only one of them may read what came before it."""
    only = chain(1).head
    with Talk(only) as talk:
        become_direct(talk)
        sock = talk._connection._sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with paused(only):
            talk.send_bytes(forgery())
            sock.close()
    wait_until(lambda: not is_direct(only), 20)
    assert ask(only, "READ", "forged") is None


def test_no_part_of_a_value_is_taken_for_a_request_when_the_server_had_to_write(chain: StartChain) -> None:
    """While a candidate waits for a commit, the server writes it more than its socket takes, and then listens again."""
    cluster = chain(2, master_config=PATIENT)
    head = cluster.head
    assert ask(head, "MEMBER.PUT", "long", "x" * MIB) >= 0
    for _ in range(5):
        with Talk(head) as talk:
            with paused(cluster.tail):
                talk.send_all([*puts(REQUESTS_NEEDED - 1), *[("GET", "long")] * 16, ("MEMBER.PUT", "k", "v")])
                assert [talk.receive() for _ in range(REQUESTS_NEEDED - 1 + 16)][-1] == b"x" * MIB
            assert talk.receive() > 0
            talk.send_bytes(forgery())
            assert talk.receive() > 0
        assert ask(head, "GET", "forged") is None


def test_clients_to_which_the_server_may_write_by_itself(chain: StartChain) -> None:
    """Invalidations that one client has redirected to another one of RESP3 are written between any two replies."""
    only = chain(1).head
    with bare(only) as raw, raw.makefile("rb") as stream, Talk(only) as other:
        raw.sendall(bytes_of(("HELLO", "3"), ("CLIENT", "ID"), ("ECHO", "end")))
        lines = [stream.readline()]
        while lines[-1] != b"end\r\n":
            lines.append(stream.readline())
        number = lines[-3].strip(b":\r\n").decode()
        while not is_direct(only):
            raw.sendall(bytes_of(*puts(MANY)))
            assert all(stream.readline().startswith(b":") for _ in range(MANY))
        assert other("CLIENT", "TRACKING", "ON", "REDIRECT", number, "BCAST") == b"OK"
        for _ in range(10):
            raw.sendall(bytes_of(*[("READ", "warm-1")] * MANY))
            assert [stream.readline() for _ in range(2 * MANY)] == [b"$1\r\n", b"v\r\n"] * MANY
        assert not is_direct(only)


def test_who_reads_what_is_not_there(chain: StartChain) -> None:
    only = chain(1).head
    with direct(only, lambda count: [("READ", "nowhere")] * count) as talk:
        assert talk("READ", "nowhere") is None
