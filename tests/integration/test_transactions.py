# SPDX-License-Identifier: Apache-2.0
"""Commands of this project inside MULTI/EXEC and Lua: each has a defined reply and never hangs."""

import pytest

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.server import Server
from integration.conftest import StartChain, StartServer
from integration.helpers import PATIENT, Error, Talk, ask, assert_serves, paused

Commands = list[tuple[str | int, ...]]

WRITES: Commands = [
    ("MEMBER.PUT", "k", "v"), ("MEMBER.PUT", "k", "v", "me"), ("MEMBER.DEL", "k"), ("MEMBER.DEL", "k", "me"),
]  # fmt: skip


def transaction(server: Server, *commands: tuple[str | int, ...]) -> list[object]:
    """The reply of EXEC."""
    with Talk(server) as talk:
        assert talk("MULTI") == b"OK"
        for words in commands:
            assert talk(*words) == b"QUEUED"
        replies = talk("EXEC")
        assert isinstance(replies, list)
        assert talk("PING") == b"PONG"
        return replies


def script(server: Server, *words: str | int, call: str = "call") -> object:
    """The reply of a script that runs this command."""
    quoted = ", ".join(f"'{word}'" for word in words)
    return ask(server, "EVAL", f"return redis.{call}({quoted})", 0)


@pytest.fixture(params=["alone", "singleton", "head"])
def writable(request: pytest.FixtureRequest, chain: StartChain, server: StartServer) -> Server:
    """A server that takes writes, in each role that takes writes."""
    if request.param == "alone":
        return server(MEMBER)
    return chain(1 if request.param == "singleton" else 3).head


def test_writes_in_a_transaction_are_refused(writable: Server) -> None:
    for words in WRITES:
        (reply,) = transaction(writable, words)
        assert isinstance(reply, Error) and reply.startswith("ERR a chain commits each update by itself"), words
    assert ask(writable, "MEMBER.SN") == -1
    assert ask(writable, "MEMBER.PUT", "k", "v") == 0


def test_writes_in_a_script_are_refused(writable: Server) -> None:
    for words in WRITES:
        for call in ("call", "pcall"):
            reply = script(writable, *words, call=call)
            assert isinstance(reply, Error) and "not allowed from script" in reply, (words, reply)
    assert ask(writable, "MEMBER.SN") == -1
    assert ask(writable, "MEMBER.PUT", "k", "v") == 0


def test_writes_in_a_function_are_refused(server: StartServer) -> None:
    alone = server(MEMBER)
    code = "#!lua name=lib\nredis.register_function('put', function() return redis.call('MEMBER.PUT', 'k', 'v') end)"
    assert ask(alone, "FUNCTION", "LOAD", code) == b"lib"
    assert isinstance(ask(alone, "FCALL", "put", 0), Error)
    assert ask(alone, "MEMBER.SN") == -1


def test_a_wait_in_a_transaction(chain: StartChain) -> None:
    """For a committed sn the command answers. For others it would have to block, which EXEC cannot."""
    cluster = chain(2, master_config=PATIENT)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    with paused(cluster.tail):
        assert ask(cluster.head, "MEMBER.PUT", "k", "v", "me") == 1
        committed, *blocked = transaction(
            cluster.head, ("MEMBER.WAIT", 0), ("MEMBER.WAIT", 1), ("MEMBER.WAIT", 1, 100), ("MEMBER.WAIT", 9)
        )
        assert committed == 0
        assert all(isinstance(reply, Error) and reply.startswith("ERR MEMBER.WAIT would block") for reply in blocked)
        assert isinstance(script(cluster.head, "MEMBER.WAIT", 1), Error)
    assert_serves(cluster)


def test_reads_in_transactions_and_scripts(chain: StartChain) -> None:
    cluster = chain(3)
    head, _, tail = cluster.members
    assert ask(head, "MEMBER.PUT", "k", "v") == 0
    assert transaction(tail, ("READ", "k"), ("GET", "k"), ("READ", "none")) == [b"v", b"v", None]
    assert script(tail, "READ", "k") == b"v"
    assert transaction(head, ("READ", "k"), ("GET", "k")) == [Error(f"MOVED 0 {tail.endpoint}"), b"v"]
    assert isinstance(script(head, "READ", "k"), Error)
    assert transaction(head, ("MEMBER.SN",), ("MEMBER.VIEW",))[0] == 0
    assert transaction(tail, WRITES[0]) == [Error(f"MOVED 0 {head.endpoint}")]


def test_watch_sees_an_update_of_the_chain(chain: StartChain) -> None:
    """WATCH sees the update at the head, which makes it, and at the tail, which gets it from another member."""
    cluster = chain(2)
    for member in cluster.members:
        with Talk(member) as talk:
            assert talk("WATCH", "k") == b"OK"
            assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", f"for {member.port}"), int)
            assert ask(cluster.tail, "READ", "k") == f"for {member.port}".encode()
            assert talk("MULTI") == b"OK"
            assert talk("GET", "k") == b"QUEUED"
            assert talk("EXEC") is None
    for member in cluster.members:
        with Talk(member) as talk:
            assert talk("WATCH", "k") == b"OK"
            assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "0123456789"), int)
            assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "9876543210"), int)
            assert talk("MULTI") == b"OK"
            assert talk("EXEC") is None


def test_master_commands_in_transactions_and_scripts(chain: StartChain) -> None:
    cluster = chain(1)
    commands: Commands = [
        ("MASTER.GET_CHAIN",), ("MASTER.REFRESH_HEAD",), ("MASTER.REFRESH_TAIL",), ("MASTER.ADD", "127.0.0.1", 1),
        ("MASTER.REMOVE", "127.0.0.1", 1), ("MASTER.FORM", "127.0.0.1", 1),
    ]  # fmt: skip
    replies = transaction(cluster.master, *commands)
    assert all(isinstance(reply, Error) and reply.startswith("ERR ") for reply in replies), replies
    for words in commands:
        assert isinstance(script(cluster.master, *words), Error), words
    assert_serves(cluster)


def internal_commands(cluster: Cluster) -> Commands:
    zeros, run_id = "0" * 32, "0" * 40
    view = (zeros, zeros, 1, "put", 1, "127.0.0.1", "127.0.0.1", 1, run_id)
    return [
        ("CHAIN.CHALLENGE", zeros), ("CHAIN.PROVE", zeros * 2, run_id), ("CHAIN.GREET", 1, zeros, 0, 0),
        ("CHAIN.FORWARD", 1, 1, 0, 0, 0, 0, 0, 0, ""), ("CHAIN.ACK", 1, 0, 0, 0), ("CHAIN.ADOPT", *view),
        ("CHAIN.JOIN", *view), ("CHAIN.REJOIN", *view), ("CHAIN.POLL", 1, 0, 0), ("CHAIN.WATCH",), ("CHAIN.PIN",),
        ("CHAIN.FEED", "127.0.0.1", "127.0.0.1", 1, run_id), ("CHAIN.UNPIN",), ("CHAIN.STATE",),
        ("CHAIN.REFUSED",),
    ]  # fmt: skip


def test_internal_commands_in_transactions_and_scripts(chain: StartChain) -> None:
    cluster = chain(2)
    for member in cluster.members:
        replies = transaction(member, *internal_commands(cluster))
        assert len(replies) == len(internal_commands(cluster))
        for words in internal_commands(cluster):
            script(member, *words)
        assert ask(member, "MEMBER.VIEW")[0] == 2
    assert_serves(cluster)


def test_a_script_that_runs_too_long_holds_nothing_up_for_ever(chain: StartChain) -> None:
    """Meanwhile Redis replies -BUSY to others and reads the module's sockets. Afterwards the chain continues."""
    cluster = chain(3, member_config={"busy-reply-threshold": "50"})
    for slow in cluster.members:
        with Talk(slow) as script_client, Talk(cluster.head) as writer:
            script_client.send("EVAL", "while true do end", 0)
            assert script_client.is_silent(0.3)
            writer.send("MEMBER.PUT", "k", f"while {slow.port} is busy")
            assert writer.is_silent(0.3) or slow is cluster.head
            assert ask(slow, "SCRIPT", "KILL") == b"OK"
            assert isinstance(script_client.receive(), Error)
            reply = writer.receive()
            assert isinstance(reply, int) or reply.startswith("BUSY ")
    assert_serves(cluster)
