# SPDX-License-Identifier: Apache-2.0
"""A member in a chain refuses native writes, which would make the copies differ (design.md, section 4)."""

from collections.abc import Iterator

import pytest
import redis

from chainredis.local_cluster.cluster import MASTER, MEMBER, Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, Word, ask, assert_serves, become_chain, state

REFUSED: list[tuple[Word, ...]] = [
    ("SET", "k", "v"), ("set", "k", "v"), ("SeT", "k", "v"), ("SETNX", "k", "v"), ("SETEX", "k", 9, "v"),
    ("GETSET", "k", "v"), ("GETDEL", "k"), ("GETEX", "k", "EX", 9), ("MSET", "k", "v"), ("MSETNX", "n", "v"),
    ("APPEND", "k", "v"), ("SETRANGE", "k", 0, "v"), ("INCR", "n"), ("DECR", "n"), ("INCRBY", "n", 1),
    ("INCRBYFLOAT", "n", 1), ("SETBIT", "k", 0, 1), ("BITOP", "NOT", "n", "k"), ("BITFIELD", "k", "SET", "u8", 0, 1),
    ("DEL", "k"), ("UNLINK", "k"), ("RENAME", "k", "n"), ("RENAMENX", "k", "n"), ("COPY", "k", "n"), ("MOVE", "k", 1),
    ("EXPIRE", "k", 1), ("PEXPIRE", "k", 1), ("EXPIREAT", "k", 1), ("PEXPIREAT", "k", 1), ("PERSIST", "k"),
    ("RESTORE", "n", 0, "x"), ("MIGRATE", "127.0.0.1", 1, "k", 0, 1), ("SORT", "k", "STORE", "n"), ("LPUSH", "n", 1),
    ("RPUSH", "n", 1), ("LPOP", "n"), ("BLPOP", "n", 0), ("BRPOPLPUSH", "n", "m", 0),
    ("LMOVE", "n", "m", "LEFT", "LEFT"), ("SADD", "n", 1), ("SREM", "n", 1), ("SPOP", "n"), ("SINTERSTORE", "n", "m"),
    ("ZADD", "n", 1, 1), ("ZPOPMIN", "n"), ("BZPOPMIN", "n", 0), ("ZRANGESTORE", "n", "m", 0, 1), ("HSET", "n", "f", 1),
    ("HDEL", "n", "f"), ("HINCRBY", "n", "f", 1), ("PFADD", "n", 1), ("PFMERGE", "n", "m"), ("GEOADD", "n", 1, 1, "a"),
    ("XADD", "n", "*", "f", 1), ("XGROUP", "CREATE", "n", "g", "$", "MKSTREAM"), ("xgroup", "destroy", "n", "g"),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "n", ">"), ("XTRIM", "n", "MAXLEN", 0), ("FLUSHALL",),
    ("FLUSHALL", "ASYNC"), ("FLUSHDB",), ("SWAPDB", 0, 1), ("FUNCTION", "FLUSH"),
    ("FUNCTION", "LOAD", "#!lua name=x\n"), ("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE"),
    ("SLAVEOF", "127.0.0.1", 1), ("FAILOVER",), ("FAILOVER", "ABORT"), ("DEBUG", "RELOAD"),
    ("debug", "reload", "NOSAVE"), ("DEBUG", "LOADAOF"), ("DEBUG", "FLUSHALL"), ("DEBUG", "POPULATE", 10),
    ("EVAL", "return redis.call('SET', 'k', 'v')", 1, "k"), ("EVAL", "return redis.pcall('DEL', KEYS[1])", 1, "k"),
]  # fmt: skip

# Redis's own commands that a client may use.
ALLOWED: list[tuple[Word, ...]] = [
    ("PING",), ("GET", "k"), ("EXISTS", "k"), ("KEYS", "*"), ("SCAN", 0), ("TYPE", "k"), ("OBJECT", "ENCODING", "k"),
    ("DBSIZE",), ("XINFO", "HELP"), ("DEBUG", "SLEEP", 0), ("CONFIG", "GET", "save"), ("PUBLISH", "channel", "text"),
    ("CLIENT", "LIST"), ("EVAL", "return redis.call('GET', KEYS[1])", 1, "k"),
]  # fmt: skip


@pytest.fixture
def debug_chain(chain: StartChain) -> Cluster:
    cluster = chain(3, member_config={"enable-debug-command": "yes"})
    assert ask(cluster.head, "MEMBER.PUT", "k", "mine") == 0
    return cluster


def test_native_writes_are_refused_at_every_member(debug_chain: Cluster) -> None:
    cluster = debug_chain
    digests = {ask(member, "DEBUG", "DIGEST") for member in cluster.members}
    assert len(digests) == 1
    for member in cluster.members:
        for words in REFUSED:
            reply = ask(member, *words)
            assert isinstance(reply, Error) and "refused on a chain member" in reply, (words, reply)
        for words in ALLOWED:
            assert not isinstance(ask(member, *words), Error), words
    assert {ask(member, "DEBUG", "DIGEST") for member in cluster.members} == digests
    assert_serves(cluster)


def commands_of(talk: Talk) -> Iterator[tuple[str, int, list[str]]]:
    """The name, arity and flags of every command and subcommand that is not of this project."""
    entries = talk("COMMAND")
    while entries:
        name, arity, flags, *_, subcommands = entries.pop()
        if not name.startswith((b"member.", b"chain.", b"read")):
            yield name.decode(), arity, [flag.decode() for flag in flags]
        entries += subcommands


def test_every_write_command_that_redis_knows_is_refused(chain: StartChain) -> None:
    """The test takes the commands and their numbers of arguments from Redis, so that none is forgotten."""
    cluster = chain(2)
    assert ask(cluster.head, "MEMBER.PUT", "k", "mine") == 0
    with Talk(cluster.tail) as talk:
        writes = {name: arity for name, arity, flags in commands_of(talk) if "write" in flags}
        assert len(writes) > 100
        for name, arity in writes.items():
            words = name.split("|")
            reply = talk(*words, *["k"] * (abs(arity) - len(words)))
            # Of CLUSTER's own, Valkey 9.1 has one that writes. No server that is a node of a cluster loads the module.
            refusal = "cluster support disabled" if words[0] == "cluster" else "refused on a chain member"
            assert isinstance(reply, Error) and refusal in reply, (name, reply)
    assert_serves(cluster)


def test_writes_in_a_transaction_are_refused(debug_chain: Cluster) -> None:
    with Talk(debug_chain.head) as talk:
        assert talk("MULTI") == b"OK"
        assert talk("SET", "k", "other") == b"QUEUED"
        assert talk("GET", "k") == b"QUEUED"
        refusal, value = talk("EXEC")
        assert "refused on a chain member" in refusal
        assert value == b"mine"
    assert_serves(debug_chain)


@pytest.mark.parametrize("size", [0, 2])
def test_writes_queued_before_the_server_was_chained_are_never_executed(chain: StartChain, size: int) -> None:
    """The server becomes the first member, or the new tail."""
    cluster = chain(size)
    newcomer = cluster.spare()
    with Talk(newcomer) as queued, Talk(newcomer) as bystander:
        queued("MULTI")
        assert queued("SET", "k", "smuggled") == b"QUEUED"
        assert bystander("WATCH", "k") == b"OK"
        cluster.add(newcomer)
        with pytest.raises(redis.ConnectionError):
            queued("EXEC")
        assert bystander("PING") == b"PONG"
    for member in cluster.members:
        assert ask(member, "GET", "k") is None
    assert_serves(cluster)


def test_a_blocked_native_command_writes_nothing_later(server: StartServer) -> None:
    """BLPOP was permitted when it began. It must not write later, and must not wait for ever."""
    only = server(MEMBER)
    with Talk(only) as blocked, Talk(only) as bystander:
        blocked.send("BLPOP", "list", 0)
        assert blocked.is_silent()
        become_chain(only)
        with pytest.raises(redis.ConnectionError):
            blocked.receive()
        assert bystander("PING") == b"PONG"


def test_a_postponed_native_command_writes_nothing_later(server: StartServer) -> None:
    """CLIENT PAUSE delays the command. Newer servers execute it later without calling the filter again."""
    source, only = server(MEMBER), server(MEMBER)
    view = become_chain(source)
    with Talk(only) as paused:
        assert ask(only, "CLIENT", "PAUSE", 60_000, "WRITE") == b"OK"
        paused.send("SET", "k", "smuggled")
        assert paused.is_silent()
        assert ask(only, "CHAIN.JOIN", *view.wire()) == b"OK"
        with pytest.raises(redis.ConnectionError):
            paused.receive()
        assert ask(only, "CLIENT", "UNPAUSE") == b"OK"
    wait_until(lambda: state(only).join == "copied", 20)
    assert ask(only, "CONFIG", "SET", "member.serve-removed-data", "yes") == b"OK"
    assert ask(only, "EXISTS", "k") == 0


def test_other_databases_are_refused(chain: StartChain) -> None:
    cluster = chain(2)
    for member in cluster.members:
        with Talk(member) as talk:
            assert talk("SELECT", 1) == b"OK"
            for words in [("MEMBER.PUT", "k", "v"), ("MEMBER.PUT", "k", "v", "me"), ("MEMBER.DEL", "k"), ("READ", "k")]:
                reply = talk(*words)
                assert isinstance(reply, Error), words
                assert reply.startswith(("ERR a chain has database 0 only", "MOVED ")), words
            assert talk("DBSIZE") == 0
    assert ask(cluster.head, "MEMBER.SN") == -1
    assert_serves(cluster)


@pytest.mark.parametrize("before", [
    [("SELECT", 1), ("SET", "k", "v")], [("SELECT", 15), ("SET", "k", "v")],
    [("SET", "session:1", "v", "EX", 1000)], [("RPUSH", "session:1", "v"), ("EXPIRE", "session:1", 1000)],
])  # fmt: skip
def test_data_that_a_chain_cannot_have_is_named(chain: StartChain, before: list[tuple[Word, ...]]) -> None:
    cluster = chain(0)
    newcomer = cluster.spare()
    with Talk(newcomer) as talk:
        for words in before:
            assert not isinstance(talk(*words), Error)
    with pytest.raises(LauncherError) as caught:
        cluster.add(newcomer)
    assert ("session:1" if before[-1][1] == "session:1" else "database 0 only") in str(caught.value)
    assert cluster.command("MASTER.GET_CHAIN") == []
    with Talk(newcomer) as talk:
        assert talk("FLUSHALL") == b"OK"
    cluster.add(newcomer)
    assert_serves(cluster)


def test_a_replica_is_refused_as_first_member(chain: StartChain, server: StartServer) -> None:
    cluster = chain(0)
    source, newcomer = server(), cluster.spare()
    assert ask(newcomer, "REPLICAOF", "127.0.0.1", source.port) == b"OK"
    with pytest.raises(LauncherError, match="REPLICAOF NO ONE"):
        cluster.add(newcomer)
    assert ask(newcomer, "REPLICAOF", "NO", "ONE") == b"OK"
    cluster.add(newcomer)
    assert_serves(cluster)


def fill_with_every_type(server: Server) -> None:
    commands: list[tuple[Word, ...]] = [
        ("SET", "string", "s"), ("SET", "number", 7), ("RPUSH", "list", 1, 2, 3), ("SADD", "set", 1, "two"),
        ("ZADD", "zset", 1, "one", 2, "two"), ("HSET", "hash", "field", "value"), ("XADD", "stream", "1-1", "f", "v"),
        ("XGROUP", "CREATE", "stream", "group", 0), ("PFADD", "hll", 1, 2), ("SETBIT", "bits", 7, 1),
        ("MEMBER.PUT", "put", "before the chain"),
    ]  # fmt: skip
    with Talk(server) as talk:
        for words in commands:
            assert not isinstance(talk(*words), Error), words


def test_data_from_before_the_chain_is_at_every_later_tail(chain: StartChain) -> None:
    """The data is of every type, although the chain itself writes only strings."""
    cluster = chain(0, member_config={"enable-debug-command": "yes"})
    first = cluster.spare()
    fill_with_every_type(first)
    keys, digest = ask(first, "DBSIZE"), ask(first, "DEBUG", "DIGEST")
    cluster.add(first)
    cluster.grow()
    cluster.grow()
    for member in cluster.members:
        assert ask(member, "DBSIZE") == keys
        assert ask(member, "DEBUG", "DIGEST") == digest
    assert ask(cluster.tail, "LRANGE", "list", 0, -1) == [b"1", b"2", b"3"]
    assert ask(cluster.tail, "READ", "string") == b"s"
    assert ask(cluster.tail, "READ", "list").startswith("WRONGTYPE ")
    assert ask(cluster.head, "MEMBER.PUT", "list", "now a string") == 1
    assert ask(cluster.head, "MEMBER.DEL", "hash") == 2
    assert ask(cluster.tail, "READ", "list") == b"now a string"
    assert len({ask(member, "DEBUG", "DIGEST") for member in cluster.members}) == 1
    assert_serves(cluster)


def test_a_chained_member_evicts_nothing(chain: StartChain) -> None:
    cluster = chain(2, member_config={"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"})
    for member in cluster.members:
        assert ask(member, "CONFIG", "GET", "maxmemory-policy")[1] == b"noeviction"


def test_eviction_stays_off(chain: StartChain) -> None:
    """A policy that an operator sets later would make one copy lose keys."""
    cluster = chain(2)
    for member in cluster.members:
        ask(member, "CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        assert ask(member, "CONFIG", "GET", "maxmemory-policy")[1] == b"noeviction"


def test_a_server_with_both_modules_refuses_native_writes_when_chained(server: StartServer) -> None:
    """The server's own master cannot make it a member, but another master can."""
    both, master = server(MASTER, MEMBER), server(MASTER)
    assert ask(both, "SET", "k", "v") == b"OK"
    assert ask(master, "MASTER.ADD", "127.0.0.1", both.port) == b"OK"
    assert isinstance(ask(both, "SET", "k", "v"), Error)
    assert ask(both, "READ", "k") == b"v"
