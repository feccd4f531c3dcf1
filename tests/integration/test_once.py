# SPDX-License-Identifier: Apache-2.0
"""MEMBER.ONCE: a command is executed once, whatever becomes of its connection and of the head."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.transport.waiting import wait_until
from commands.run import same_data
from commands.wire import Typed, Wire, Word
from integration.conftest import StartChain
from integration.helpers import PATIENT, Error, Talk, ask, await_chain, member_number, paused
from servers import SERVERS, use

MEMBER_CONFIG = {"enable-debug-command": "yes"}
MANY = 5000
SCRIPT = "redis.call('INCR', KEYS[1]); return redis.call('INCR', KEYS[1])"
WRITES: list[list[Word]] = [
    ["INCR", "n"],
    ["SET", "k", "v"],
    ["SET", "k", "w", "GET"],
    ["GETDEL", "absent"],
    ["SADD", "set", *map(str, range(100))],
    ["SPOP", "set", 7],
    ["SPOP", "set"],
    ["XADD", "stream", "*", "field", "value"],
    ["ZADD", "sorted", "INCR", "1.5", "a"],
    ["ZPOPMIN", "sorted"],
    ["RPUSH", "list", *map(str, range(10))],
    ["LPOP", "list", 3],
    ["BLPOP", "list", 0],
    ["BLPOP", "empty", 0],
    ["INCR", "list"],
    ["EXPIRE", "k", "1000"],
    ["EXPIRE", "k", "-1"],
    ["EVAL", SCRIPT, 1, "n"],
    ["EVAL", "return redis.error_reply('MINE own')", 0],
    ["EVAL", "redis.setresp(3); return redis.call('HGETALL', KEYS[1])", 1, "hash"],
    ["EVAL", "return {1, {2, 'three', {}}, false, redis.status_reply('FINE')}", 0],
    ["EVAL", "return {double = 3.25}", 0],
    ["EVAL", "return {map = {a = 1}}", 0],
    ["EVAL", "return {big_number = '123456789012345678901234567890'}", 0],
    ["EVAL", "redis.setresp(3); return {{set = {a = true}}, true, false}", 0],
    ["EVAL", "return {verbatim_string = {format = 'txt', string = 'lines'}}", 0],
    ["EVAL", "redis.call('INCR', KEYS[1]); return redis.call('NOSUCH')", 1, "n"],
    ["RPUSH", "list", "1"],
    ["SETRANGE", "large", 3_000_000, "x"],
    ["GETDEL", "large"],
    ["PUBLISH", "channel", "text"],
    ["MEMBER.PUT", "put", "1"],
    ["MEMBER.DEL", "put"],
    ["DEL", "k"],
    ["FLUSHALL"],
]


@pytest.fixture(params=SERVERS)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use(request.param, monkeypatch)
    return str(request.param)


def start(chain: StartChain, size: int = 3, **config: str) -> Cluster:
    return chain(size, commands="all", member_config=MEMBER_CONFIG | config, master_config=PATIENT)


@contextmanager
def connected(cluster: Cluster, protocol: int = 2) -> Iterator[Wire]:
    with closing(Wire(cluster.head.endpoint, protocol)) as wire:
        yield wire


def code(reply: Any) -> str:
    """The first word of an error."""
    assert isinstance(reply, Typed) and reply.type in "-!", reply
    return str(reply.value.split()[0].decode())


def same_tables(cluster: Cluster) -> None:
    """All members keep equally many replies, with as many bytes."""
    wait_until(lambda: len({_table(member) for member in cluster.members}) == 1, 10)


def _table(member: Any) -> tuple[int, int]:
    return member_number(member, "once_clients"), member_number(member, "once_bytes")


def test_a_repetition_gets_the_reply_and_changes_nothing(version: str, chain: StartChain) -> None:
    """In both protocols, with effects of all kinds, errors, scripts and long replies."""
    cluster = start(chain)
    for protocol in (2, 3):
        numbers = itertools.count(1)
        with connected(cluster, protocol) as wire, connected(cluster, protocol) as other:
            for number, words in zip(numbers, WRITES, strict=False):
                first = wire("MEMBER.ONCE", f"client-{protocol}", number, *words)
                before = other("DEBUG", "DIGEST")
                assert other("MEMBER.ONCE", f"client-{protocol}", number, *words) == first, words
                assert other("DEBUG", "DIGEST") == before, words
    refused = [words for words in WRITES if version == "redis-7.0" and words[0] == "BLPOP"]   # as in a script there
    assert member_number(cluster.head, "once_repetitions") == 2 * (len(WRITES) - len(refused))
    same_data(cluster.members)
    same_tables(cluster)


def test_what_is_no_repetition(version: str, chain: StartChain) -> None:
    """Older commands and others in their place, reads, refusals, and arguments that make no sense."""
    cluster = start(chain)
    with connected(cluster) as wire:
        assert wire("MEMBER.ONCE", "a", 5, "INCR", "n") == 1
        assert code(wire("MEMBER.ONCE", "a", 4, "INCR", "n")) == "ONCEOLD"
        assert code(wire("MEMBER.ONCE", "a", 5, "INCR", "other")) == "ONCEOTHER"
        assert wire("MEMBER.ONCE", "a", 9, "INCR", "n") == 2    # numbers may be left out
        assert wire("MEMBER.ONCE", "b", 9, "INCR", "n") == 3    # each client has its own
        # A read is simply executed.
        assert wire("MEMBER.ONCE", "a", 1, "GET", "n") == b"3"
        assert wire("MEMBER.ONCE", "unknown", 1, "XLEN", "x") == 0
        assert member_number(cluster.head, "once_clients") == 2
        # A refusal is not kept: the sequence number is free.
        for words in (["NOSUCH"], ["INCR"], ["SUBSCRIBE", "x"], ["MULTI"], ["MEMBER.ONCE", "c", 1, "INCR", "n"],
                      ["CONFIG", "SET", "maxmemory", 1], ["CHAIN.ONCE", 1], ["WAIT", 1, 0]):
            assert code(wire("MEMBER.ONCE", "c", 1, *words)) == "ERR", words
        assert wire("MEMBER.ONCE", "c", 1, "INCR", "n") == 4
        for words in (["", 1, "INCR", "n"], ["x" * 65, 1, "INCR", "n"], ["a", 0, "INCR", "n"], ["a", "z", "INCR", "n"],
                      ["a", 1], ["a"]):
            assert code(wire("MEMBER.ONCE", *words)) == "ERR", words
        assert code(wire("CHAIN.ONCE", 1)) == "ERR"
        # An error is kept if the command was executed.
        assert wire("RPUSH", "list", "x") == 1
        assert code(wire("MEMBER.ONCE", "a", 10, "INCR", "list")) == "WRONGTYPE"
        assert wire("DEL", "list") == 1
        assert code(wire("MEMBER.ONCE", "a", 10, "INCR", "list")) == "WRONGTYPE"
        # Memory: the refusal is kept, since a delayed copy of the command might find memory later.
        assert wire("CONFIG", "SET", "maxmemory", 1).value == b"OK"
        assert code(wire("MEMBER.ONCE", "a", 11, "SET", "k", "v")) == "OOM"
        assert wire("CONFIG", "SET", "maxmemory", 0).value == b"OK"
        assert code(wire("MEMBER.ONCE", "a", 11, "SET", "k", "v")) == "OOM"
        assert wire("GET", "n") == b"4"
    same_data(cluster.members)
    same_tables(cluster)


def test_transactions_pipelines_and_databases(version: str, chain: StartChain) -> None:
    cluster = start(chain)
    with connected(cluster) as wire:
        wire.send_all([["MEMBER.ONCE", "a", number, "INCR", "n"] for number in range(1, MANY)])
        assert [wire.receive() for _ in range(1, MANY)] == list(range(1, MANY))
        for expected in ([MANY, 1], [MANY, 2]):
            wire.send_all([["MULTI"], ["MEMBER.ONCE", "a", MANY, "INCR", "n"],
                           ["INCR", "plain"], ["EXEC"]])
            assert [wire.receive() for _ in range(4)][3] == expected    # only the one in ONCE is not executed again
        assert wire("SELECT", 7).value == b"OK"
        assert wire("MEMBER.ONCE", "a", MANY + 1, "INCR", "n") == 1
        assert wire("MEMBER.ONCE", "a", MANY + 1, "INCR", "n") == 1
    same_data(cluster.members)
    same_tables(cluster)


def test_the_user_needs_the_right_to_the_command_itself(version: str, chain: StartChain) -> None:
    cluster = start(chain, 1)
    with connected(cluster) as wire, connected(cluster) as admin:
        assert admin("ACL", "SETUSER", "u", "on", "nopass", "~mine:*", "+@read", "+incr", "+eval", "+member.once")
        assert wire("AUTH", "u", "x").value == b"OK"
        assert wire("MEMBER.ONCE", "a", 1, "INCR", "mine:n") == 1
        for words in (["INCR", "n"], ["SET", "mine:n", "x"], ["GET", "n"]):
            assert code(wire("MEMBER.ONCE", "a", 2, *words)) == "NOPERM", words
        assert wire("MEMBER.ONCE", "a", 2, "EVAL", "return redis.call('DEL', 'mine:n')", 0).type == "-"
        assert wire("MEMBER.ONCE", "a", 3, "INCR", "mine:n") == 2
        assert admin("COMMAND", "GETKEYS", "MEMBER.ONCE", "a", 1, "MSET", "x", 1, "y", 2) == [b"x", b"y"]


def test_the_others_send_to_the_head(version: str, chain: StartChain) -> None:
    cluster = start(chain, 2)
    with Talk(cluster.tail) as talk:
        wait_until(lambda: str(talk("MEMBER.ONCE", "a", 1, "INCR", "foo")).startswith(("MOVED", "READONLY")), 10)
        reply = talk("MEMBER.ONCE", "a", 1, "INCR", "foo")
    slot = "MOVED 12182 "
    assert str(reply) == f"{slot}{cluster.head.endpoint.host}:{cluster.head.endpoint.port}", reply


def test_the_reply_is_lost_with_the_head(version: str, chain: StartChain) -> None:
    """The next head gives the reply again, and waits for the commit first."""
    cluster = start(chain)
    with Talk(cluster.head) as talk:
        assert talk("MEMBER.ONCE", "a", 1, "INCR", "n") == 1
    head, middle, tail = cluster.members
    with paused(tail), Talk(head) as talk, Talk(head) as again:
        talk.send("MEMBER.ONCE", "a", 2, "INCR", "n")
        assert talk.is_silent()
        again.send("MEMBER.ONCE", "a", 2, "INCR", "n")
        assert again.is_silent()
        head.kill()
    cluster.members[:] = [middle, tail]
    await_chain(cluster, middle, tail)
    with Talk(middle) as talk:
        assert talk("MEMBER.ONCE", "a", 2, "INCR", "n") == 2
        assert talk("GET", "n") == b"2"
        assert str(talk("MEMBER.ONCE", "a", 1, "INCR", "n")).startswith("ONCEOLD")
        assert talk("MEMBER.ONCE", "a", 3, "INCR", "n") == 3
    same_tables(cluster)


def test_a_chain_of_puts_refuses(chain: StartChain) -> None:
    cluster = chain(1, commands="put")
    assert ask(cluster.head, "MEMBER.ONCE", "a", 1, "INCR", "n") == Error(
        "ERR MEMBER.ONCE is in chains of all commands (member.commands); nothing was done"
    )
