# SPDX-License-Identifier: Apache-2.0
"""MASTER commands that must fail. The error is clear, nothing changes, and the chain serves as before.

None of these commands may end the server (rule 7).
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER, Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, Word, ask, assert_serves, info, stored_view

BAD_ENDPOINTS: list[tuple[Word, Word]] = [
    (HOST, "x"), (HOST, ""), (HOST, "65536"), (HOST, "0"), (HOST, "-1"), (HOST, "6370x"), (HOST, " 6370"),
    (HOST, "6.37e3"), (HOST, "99999999999999999999"), (HOST, "0x18e2"), (HOST, b"63\x0070"), (HOST, "6370\r\n"),
    (HOST, "\u0661"), ("", "6370"), (" ", "6370"), ("a b", "6370"), (b"\0", "6370"), (b"\xff\xfe", "6370"),
    ("%s%n", "6370"),
    ("no-such-host.invalid", "6370"), ("x" * 300, "6370"), ("x" * 100_000, "6370"), ("..", "6370"),
    ("256.1.1.1", "6370"), ("127.0.0.1\r\nFLUSHALL", "6370"), ("[::1", "6370"),
    (HOST, "1" * 100_000),
]  # fmt: skip

WRONG_ARITY: list[tuple[Word, ...]] = [
    ("MASTER.ADD",), ("MASTER.ADD", HOST), ("MASTER.ADD", HOST, 1, "ADOPT", "INCOMPLETE", "x"),
    ("MASTER.REMOVE",),
    ("MASTER.REMOVE", HOST), ("MASTER.REMOVE", HOST, 1, "x"), ("MASTER.FORM",), ("MASTER.FORM", HOST),
    ("MASTER.FORM", HOST, 1, "x"),
    ("MASTER.GET_CHAIN", "x"), ("MASTER.REFRESH_HEAD", "x"), ("MASTER.REFRESH_TAIL", "x"),
]  # fmt: skip


def fails(cluster: Cluster, *words: Word, within_s: float = 10) -> Error:
    """Assert that the command fails definitely and in time, and leaves the master's view; returns the error."""
    before, began = stored_view(cluster) if cluster.members else None, monotonic()
    reply = ask(cluster.master, *words)
    assert monotonic() - began < within_s
    assert isinstance(reply, Error) and reply.startswith("ERR "), (words, reply)
    assert "\n" not in reply
    assert (stored_view(cluster) if cluster.members else None) == before
    chain = [str(member.endpoint).encode() for member in cluster.members]
    assert ask(cluster.master, "MASTER.GET_CHAIN") == chain
    return reply


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("command", ["MASTER.ADD", "MASTER.REMOVE", "MASTER.FORM"])
def test_bad_endpoints(chain: StartChain, size: int, command: str) -> None:
    cluster = chain(size)
    for host, port in BAD_ENDPOINTS:
        fails(cluster, command, host, port)
    if size:
        assert_serves(cluster)


@pytest.mark.parametrize("size", [0, 2])
def test_wrong_number_of_arguments(chain: StartChain, size: int) -> None:
    cluster = chain(size)
    for words in WRONG_ARITY:
        assert "wrong number of arguments" in fails(cluster, *words), words


@pytest.mark.parametrize("option", ["", "x", "DISCARDED", b"\0", "-", "ADOPT INCOMPLETE", "INCOMPLETE"])
def test_unknown_options(chain: StartChain, option: Word) -> None:
    cluster = chain(1)
    newcomer = cluster.spare()
    assert "syntax error" in fails(cluster, "MASTER.ADD", HOST, newcomer.port, option)
    assert ask(cluster.master, "MASTER.ADD", HOST, newcomer.port, b"discard") == b"OK"


def test_an_empty_chain(chain: StartChain) -> None:
    cluster = chain(0)
    newcomer = cluster.spare()
    assert ask(cluster.master, "MASTER.GET_CHAIN") == []
    for words in [
        ("MASTER.REFRESH_HEAD",), ("MASTER.REFRESH_TAIL",), ("MASTER.REMOVE", HOST, newcomer.port),
        ("MASTER.FORM", HOST, newcomer.port),
    ]:  # fmt: skip
        fails(cluster, *words)
    cluster.add(newcomer)
    assert_serves(cluster)


# ----------------------------------------------------------------------------- other servers at the address


@contextmanager
def listening(serve: Callable[[socket.socket], None] | None) -> Iterator[int]:
    """A port on which `serve` handles each connection; None: no connection is accepted."""
    with socket.create_server((HOST, 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        serve(connection)  # type: ignore[misc]
                    except OSError:
                        continue

        thread = threading.Thread(target=accept) if serve else None
        if thread:
            thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            if thread:
                thread.join(20)


def answering(junk: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(junk)

    return serve


def resetting(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def flooding(connection: socket.socket) -> None:
    connection.sendall(b"$2000000000\r\n" + b"x" * 10_000_000)


LISTENERS: dict[str, Callable[[socket.socket], None] | None] = {
    "closes": lambda _: None,
    "resets": resetting,
    "floods": flooding,
    "speaks-http": answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "says-ok": answering(b"+OK\r\n"),
    "says-error": answering(b"-ERR unknown command\r\n"),
    "says-nil": answering(b"$-1\r\n"),
    "says-empty-list": answering(b"*0\r\n"),
    "says-huge-list": answering(b"*2147483647\r\n"),
    "says-half-a-state": answering(b"*4\r\n$6\r\nrun_id\r\n$2\r\nxx\r\n$4\r\nrole\r\n$5\r\nalone\r\n"),
    "says-no-number": answering(b":x\r\n"),
    "says-no-length": answering(b"$x\r\n"),
    "nests": answering(b"*1\r\n" * 50_000),
    "says-zeros": answering(b"\0" * 1000 + b"\r\n"),
    "never-answers": None,
}


@pytest.mark.parametrize("kind", LISTENERS)
def test_what_answers_there_is_no_member(chain: StartChain, kind: str) -> None:
    cluster = chain(1)
    with listening(LISTENERS[kind]) as port:
        fails(cluster, "MASTER.ADD", HOST, port, within_s=20)
    assert_serves(cluster)


@pytest.mark.parametrize("size", [0, 2])
def test_a_closed_port(chain: StartChain, size: int) -> None:
    cluster = chain(size)
    gone = cluster.spare()
    gone.kill()
    assert "nobody listens" in fails(cluster, "MASTER.ADD", HOST, gone.port)
    fails(cluster, "MASTER.FORM", HOST, gone.port)
    fails(cluster, "MASTER.REMOVE", HOST, gone.port)


@pytest.mark.parametrize("size", [0, 2])
def test_a_server_without_the_module(chain: StartChain, server: StartServer, size: int) -> None:
    cluster = chain(size)
    assert "without libmember.so" in fails(cluster, "MASTER.ADD", HOST, server().port)
    assert "without libmember.so" in fails(cluster, "MASTER.ADD", HOST, server(MASTER).port)


def test_a_server_that_hangs(chain: StartChain) -> None:
    cluster = chain(1)
    hung = cluster.spare()
    hung.pause()
    fails(cluster, "MASTER.ADD", HOST, hung.port, within_s=20)
    hung.resume()
    cluster.add(hung)
    assert_serves(cluster)


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("name", [HOST, "localhost"])
def test_the_master_itself(chain: StartChain, size: int, name: str) -> None:
    cluster = chain(size)
    assert "this master itself" in fails(cluster, "MASTER.ADD", name, cluster.master.port)


def test_a_master_with_both_modules_cannot_add_itself(server: StartServer) -> None:
    both = server(MASTER, MEMBER)
    reply = ask(both, "MASTER.ADD", HOST, both.port)
    assert isinstance(reply, Error) and "this master itself" in reply
    assert ask(both, "MASTER.GET_CHAIN") == []
    assert ask(both, "MEMBER.PUT", "k", "v") == 0


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", [HOST, "localhost"])
@pytest.mark.parametrize("options", [(), ("DISCARD",)], ids=["", "discard"])
def test_the_same_member_twice(chain: StartChain, place: int, name: str, options: tuple[str, ...]) -> None:
    """Adding a member again, even the head with DISCARD, must not drop its data."""
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    assert "already in the chain" in fails(cluster, "MASTER.ADD", name, cluster.members[place].port, *options)
    assert ask(cluster.members[place], "GET", "k") == b"v"
    assert_serves(cluster)


def test_a_member_of_another_chain(chain: StartChain) -> None:
    ours, theirs = chain(2), chain(2)
    assert ask(theirs.head, "MEMBER.PUT", "k", "theirs") == 0
    for place in theirs.members:
        for options in [(), ("DISCARD",)]:
            fails(ours, "MASTER.ADD", HOST, place.port, *options)
        fails(ours, "MASTER.REMOVE", HOST, place.port)
        fails(ours, "MASTER.FORM", HOST, place.port)
    assert ask(theirs.tail, "READ", "k") == b"theirs"
    assert_serves(ours)
    assert_serves(theirs)


def test_wrong_credentials(chain: StartChain, server: StartServer) -> None:
    cluster = chain(2)
    fails(cluster, "MASTER.ADD", HOST, server(MEMBER, requirepass="secret").port)
    assert_serves(cluster)


# -------------------------------------------------------------------------------------- removing, forming


def test_removing_who_is_no_member(chain: StartChain) -> None:
    cluster = chain(2)
    assert "not in the chain" in fails(cluster, "MASTER.REMOVE", HOST, cluster.spare().port)
    assert "not in the chain" in fails(cluster, "MASTER.REMOVE", HOST, cluster.master.port)
    removed = cluster.tail
    cluster.remove(removed)
    assert "not in the chain" in fails(cluster, "MASTER.REMOVE", HOST, removed.port)
    assert_serves(cluster)


def test_the_only_member_cannot_be_removed(chain: StartChain) -> None:
    cluster = chain(1)
    assert "only member" in fails(cluster, "MASTER.REMOVE", HOST, cluster.head.port)
    assert_serves(cluster)


def test_a_hung_member_is_removed_when_its_lease_has_run_out(chain: StartChain) -> None:
    """The member may be alive and might answer a READ later (rule 4)."""
    cluster = chain(3, master_config={"master.heartbeat-timeout": "2000"})
    hung = cluster.tail
    hung.pause()
    cluster.remove(hung)
    assert_serves(cluster)
    hung.resume()
    assert isinstance(ask(hung, "READ", "does-it-serve"), Error)


def test_forming_from_a_server_without_the_chain_s_data(chain: StartChain) -> None:
    cluster = chain(2)
    assert "no data of this chain" in fails(cluster, "MASTER.FORM", HOST, cluster.spare().port)
    assert_serves(cluster)


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_adding_right_after_a_death(chain: StartChain, victim: int) -> None:
    """The chain is repaired first, or when the copy has begun: the master begins anew then."""
    cluster = chain(3)
    newcomer, dead = cluster.spare(), cluster.members[victim]
    dead.kill()
    cluster.add(newcomer)
    cluster.members.remove(dead)
    assert_serves(cluster)


@pytest.mark.parametrize(("victim", "command"), [(0, "MASTER.REFRESH_HEAD"), (2, "MASTER.REFRESH_TAIL")])
def test_refresh_of_a_dead_end(chain: StartChain, victim: int, command: str) -> None:
    cluster = chain(3)
    dead = cluster.members[victim]
    assert ask(cluster.master, command) == str(dead.endpoint).encode()
    dead.kill()
    cluster.members.remove(dead)
    assert ask(cluster.master, command) == str(cluster.members[0 if victim == 0 else -1].endpoint).encode()
    assert_serves(cluster)


def test_a_member_that_refuses_its_view_is_asked_again_at_leisure(chain: StartChain) -> None:
    """The member refuses as on a full disk, which a log line for each attempt would keep full."""
    cluster = chain(0)
    server = cluster.spare()
    in_the_way = server.folder / f"chain.member.{server.port}.new"
    in_the_way.mkdir()
    with Talk(cluster.master) as talk:
        talk.send("MASTER.ADD", HOST, server.port)
        wait_until(lambda: "cannot write" in server.log() and "cannot write" in cluster.master.log(), 10)
        before = int(info(server, "stats")["total_connections_received"])
        assert talk.is_silent(1.0)
        assert int(info(server, "stats")["total_connections_received"]) - before < 50
        in_the_way.rmdir()
        assert talk.receive() == b"OK"
    assert server.log().count("cannot write") == cluster.master.log().count("cannot write") == 1
