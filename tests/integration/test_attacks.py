# SPDX-License-Identifier: Apache-2.0
"""Faults that a reviewer found: each test was once a crash, a loss or a leak."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Member, View
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    ask,
    assert_serves,
    info,
    member_number,
    paused,
    proven,
    state,
    stored_view,
)

MIB = 1024 * 1024


def own_view(server: Server, *others: Member) -> View:
    """A view that begins with this server."""
    own = Member(HOST, HOST, server.port, state(server).run_id)
    return View(history="ab" * 16, secret="cd" * 16, epoch=1, members=(own, *others))


@pytest.mark.parametrize("command", ["CHAIN.ADOPT", "CHAIN.JOIN"])
def test_no_view_inside_a_transaction(server: StartServer, command: str) -> None:
    """Entering a chain disconnects clients in MULTI: the client that sent the view was freed while it was served."""
    alone = server(MEMBER)
    view = own_view(alone)
    if command == "CHAIN.JOIN":
        view = replace(view, members=(replace(view.members[0], run_id="00" * 20),))
    with Talk(alone) as talk:
        assert talk("MULTI") == b"OK"
        assert talk(command, *view.wire()) == b"QUEUED"
        (reply,) = talk("EXEC")
    assert isinstance(reply, Error) and "not inside MULTI" in reply
    assert state(alone).role == "alone"


@pytest.mark.parametrize("words", [("MEMBER.WAIT", 1 << 60), ("MEMBER.PUT", "held", "x" * 1000)])
def test_who_leaves_while_waiting_leaves_nothing_behind(chain: StartChain, words: tuple[str | int, ...]) -> None:
    config = {"member.log-limit": "1mb", "member.write-timeout": "60000"}
    cluster = chain(2, member_config=config, master_config=PATIENT)
    with paused(cluster.tail), Talk(cluster.head) as blocked:
        blocked.send("MEMBER.PUT", "full", "x" * (MIB - 200))
        wait_until(lambda: member_number(cluster.head, "uncommitted_bytes") > MIB - 200, 10)
        waiting = [Talk(cluster.head) for _ in range(50)]
        for talk in waiting:
            talk.send(*words)
        wait_until(lambda: info(cluster.head, "clients")["blocked_clients"] == "52", 10)  # one is CHAIN.WATCH
        for talk in waiting[1:-1]:
            talk.close()
        wait_until(lambda: info(cluster.head, "clients")["blocked_clients"] == "4", 10)
    assert blocked_is_over(cluster.head, 1 if words[0] == "MEMBER.WAIT" else 0)
    # The first and the last of the held writers are still there. Those between them wrote nothing.
    assert state(cluster.head).applied == (0 if words[0] == "MEMBER.WAIT" else 2)
    for talk in (waiting[0], waiting[-1]):
        talk.close()
    assert_serves(cluster)


def blocked_is_over(server: Server, at_least: int) -> bool:
    wait_until(lambda: int(info(server, "clients")["blocked_clients"]) <= 2 * at_least + 1, 10)
    return True


def test_a_write_takes_the_time_to_live_away(server: StartServer) -> None:
    alone = server(MEMBER)
    for value in ("same length", "another one"):
        assert ask(alone, "SET", "key", "before a put", "PX", 60_000) == b"OK"
        ask(alone, "MEMBER.PUT", "key", value[:12].ljust(12))
        assert ask(alone, "PTTL", "key") == -1


def test_waiting_at_a_head_that_is_removed_is_no_definite_failure(chain: StartChain) -> None:
    cluster = chain(2)
    with Talk(cluster.head) as waiter:
        waiter.send("MEMBER.WAIT", 10)
        assert waiter.is_silent()
        former = cluster.head
        cluster.remove(former)
        assert str(waiter.receive()).startswith("UNKNOWN ")
    assert str(ask(former, "MEMBER.WAIT", 0)).startswith("UNKNOWN ")


def test_a_read_that_would_write_is_refused(chain: StartChain) -> None:
    """PFCOUNT caches its count inside the value: the members' copies would differ."""
    cluster = chain(1)
    assert "refused" in str(ask(cluster.head, "PFCOUNT", "key"))


def with_line(folder: Path, line: str) -> Server:
    """A server with a line in its redis.conf that is not a pair of name and value."""
    (folder / "line.conf").write_text(f"{line}\n")
    config = {"include": str(folder / "line.conf"), "member.commands": "put"}
    return Server(folder / "server", modules=[MEMBER], config=config)


@pytest.mark.parametrize("renamed", ["SET", "COMMAND", "CONFIG", "CLIENT", "REPLICAOF"])
def test_renamed_commands_are_refused_at_loading(tmp_path: Path, renamed: str) -> None:
    """Under another name a write command would pass the filter, or a needed command would be missing."""
    with pytest.raises(LauncherError, match="cannot do without"):
        with_line(tmp_path, f"rename-command {renamed} another-name").start()


def test_a_native_write_that_is_switched_off_is_fine(tmp_path: Path) -> None:
    alone = with_line(tmp_path, 'rename-command FLUSHALL ""')
    alone.start()
    try:
        assert ask(alone, "MEMBER.PUT", "key", "value") == 0
    finally:
        alone.stop()


def test_a_subscriber_in_a_transaction_gets_publications(server: StartServer) -> None:
    alone = server(MEMBER)
    with Talk(alone) as subscriber:
        assert subscriber("MULTI") == b"OK"
        assert subscriber("SUBSCRIBE", "me") == b"QUEUED"
        assert subscriber.is_silent(1.5)  # the member's rare tick sees no subscriber meanwhile
        subscriber.send("EXEC")
        subscriber.receive()
        assert ask(alone, "MEMBER.PUT", "key", "value", "me") == 0
        assert subscriber.receive() == [b"message", b"me", b"0"]


def test_a_renamed_subscription_gets_publications(tmp_path: Path) -> None:
    """The filter does not recognise it: the member counts subscribers after commands that it does not know."""
    alone = with_line(tmp_path, "rename-command SUBSCRIBE listen")
    alone.start()
    try:
        with Talk(alone) as subscriber, Talk(alone) as writer:
            assert writer("PING") == b"PONG"
            assert subscriber.is_silent(1.5)  # the member's rare tick sees no subscriber meanwhile
            assert subscriber("LISTEN", "me") == [b"subscribe", b"me", 1]
            wait_until(lambda: writer("MEMBER.PUT", "key", "value", "me") >= 0 and not subscriber.is_silent(0.1), 30)
            kind, channel, _ = subscriber.receive()
            assert (kind, channel) == (b"message", b"me")
    finally:
        alone.stop()


def test_a_postponed_subscription_gets_publications(server: StartServer) -> None:
    """From Redis 7.2 on the filter sees it when it comes, and not when it runs, after the pause."""
    alone = server(MEMBER)
    with Talk(alone) as subscriber, Talk(alone) as writer:
        assert writer("CLIENT", "PAUSE", 1500, "ALL") == b"OK"  # during which the member's rare tick sees no subscriber
        assert subscriber("SUBSCRIBE", "me") == [b"subscribe", b"me", 1]
        assert writer("MEMBER.PUT", "key", "value", "me") == 0
        assert not subscriber.is_silent(5)
        assert subscriber.receive() == [b"message", b"me", b"0"]


def test_a_shorter_argument_limit_at_a_member_is_set_back(chain: StartChain) -> None:
    """A successor that refuses the longest update would block the chain for ever."""
    cluster = chain(2)
    assert ask(cluster.tail, "CONFIG", "SET", "proto-max-bulk-len", "1mb") == b"OK"
    assert ask(cluster.head, "MEMBER.PUT", "long", b"x" * 2 * MIB) == 0
    assert len(ask(cluster.tail, "READ", "long")) == 2 * MIB


def test_time_to_live_of_one_key_in_many_is_reported_quickly(server: StartServer) -> None:
    """CHAIN.STATE must not scan all keys."""
    alone = server(MEMBER, enable_debug_command="yes")
    assert ask(alone, "DEBUG", "POPULATE", 200_000) == b"OK"
    assert ask(alone, "SET", "odd", "one", "EX", 1000) == b"OK"
    assert "time to live" in state(alone).unfit
    ask(alone, "CONFIG", "SET", "slowlog-log-slower-than", "0")
    calls = int(info(alone, "commandstats")["cmdstat_chain.state"].split("usec=")[1].split(",")[0])
    scan = 200_000  # microseconds: many times the duration of one scan of all keys
    assert calls < scan


@contextmanager
def endless_answers() -> Iterator[int]:
    """A port that answers each connection with an endless array. The test bounds how much the server takes."""
    listener = socket.create_server((HOST, 0))

    def answer() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.recv(1000)
                    peer.sendall(b"*100000000\r\n")
                    for _ in range(40):
                        peer.sendall(b":1\r\n" * 100_000)
                except OSError:
                    continue

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_an_endless_answer_ends_the_link(chain: StartChain) -> None:
    cluster = chain(1)
    before = int(info(cluster.head, "memory")["used_memory_rss"])
    with endless_answers() as port:
        view = stored_view(cluster)
        stranger = Member(HOST, HOST, port, "ee" * 20)
        link = proven(cluster.head, view)
        link.pin()
        link.feed(stranger)
        link.adopt(replace(view, epoch=view.epoch + 1, members=(*view.members, stranger)))
        wait_until(lambda: member_number(cluster.head, "link_failures") >= 3, 20)
        link.adopt(replace(view, epoch=view.epoch + 2))
        link.close()
    assert int(info(cluster.head, "memory")["used_memory_rss"]) - before < 50 * MIB
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "key", "value"), int)


def test_garbage_in_the_middle_of_a_proof(chain: StartChain) -> None:
    cluster = chain(1)
    with Talk(cluster.head) as talk:
        assert len(talk("CHAIN.CHALLENGE", "00" * 16)) == 3
        assert isinstance(talk("CHAIN.PROVE", "00" * 32, "ff" * 20), Error)
        assert isinstance(talk("CHAIN.PROVE", "00" * 32, "ff" * 20), Error)  # a challenge allows one attempt
        with pytest.raises(redis.ResponseError):
            cluster.head.call("CHAIN.PIN")
