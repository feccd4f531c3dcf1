# SPDX-License-Identifier: Apache-2.0
"""Chains of all commands: Redis's own commands at the head, the same data at all members, replies after the commit."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import psutil
import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import PATIENT, Talk, ask, await_chain, await_repair, info, member_number, paused, state
from servers import SERVERS, use

DEBUG = {"enable-debug-command": "yes"}


@pytest.fixture(params=SERVERS, autouse=True)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All tests run on each server of the issue of versions."""
    use(request.param, monkeypatch)
    return str(request.param)


def start(chain: StartChain, size: int = 3, **config: str) -> Cluster:
    return chain(size, commands="all", member_config={**DEBUG, **config})


def client(server: Server, **options: Any) -> redis.Redis:
    return redis.Redis(server.endpoint.host, server.endpoint.port, decode_responses=True, **options)


def digests(cluster: Cluster) -> set[str]:
    return {ask(member, "DEBUG", "DIGEST") for member in cluster.members}


def assert_same(cluster: Cluster) -> None:
    """All members come to have the same data."""
    wait_until(lambda: len({state(member).applied for member in cluster.members}) == 1, 10)
    wait_until(lambda: len(digests(cluster)) == 1, 10)


def write_each_type(head: redis.Redis) -> None:
    head.set("text", "1")
    head.incrby("number", 7)
    head.lpush("list", *range(10))
    head.hset("hash", mapping={"a": "1", "b": "2"})
    head.sadd("set", *range(100))
    head.spop("set", 10)
    head.zadd("sorted", {"a": 1, "b": 2})
    head.xadd("stream", {"field": "value"})
    head.xgroup_create("stream", "group", "0")
    head.xreadgroup("group", "one", {"stream": ">"})
    head.pfadd("hyper", *range(100))
    head.setbit("bits", 100, 1)
    head.geoadd("places", [13.36, 38.11, "Palermo"])
    head.expire("text", 1000)
    head.psetex("brief", 1, "gone")
    head.eval("for i = 1, 100 do redis.call('INCR', KEYS[1]) end", 1, "by-script")
    with head.pipeline(transaction=True) as transaction:
        transaction.rename("number", "renamed")
        transaction.append("renamed", "0")
        transaction.copy("hash", "copied")
        transaction.execute()
    head.swapdb(0, 5)
    head.swapdb(0, 5)


def test_each_type_in_several_databases(chain: StartChain) -> None:
    cluster = start(chain)
    for database in (0, 7):
        write_each_type(client(cluster.head, db=database))
    assert client(cluster.head).get("renamed") == "70"
    assert_same(cluster)
    for member in cluster.members:
        assert client(member, db=7).get("by-script") == "100"
        assert client(member, db=7).get("brief") is None


def test_nothing_is_said_before_it_is_committed(chain: StartChain) -> None:
    """While the tail is stopped, neither the write nor a read that could show it is answered, at any member."""
    cluster = chain(3, commands="all", member_config=DEBUG, master_config=PATIENT)
    assert client(cluster.head).set("key", "old")
    address = (cluster.head.endpoint.host, cluster.head.endpoint.port)
    with paused(cluster.tail), socket.create_connection(address) as writer:
        writer.settimeout(0.3)
        writer.sendall(b"SET key new\r\n")
        with pytest.raises(TimeoutError):
            writer.recv(100)
        for member in cluster.members[:-1]:
            with pytest.raises(redis.TimeoutError):
                client(member, socket_timeout=0.3, retry=None).get("key")
    wait_until(lambda: client(cluster.tail).get("key") == "new", 10)


def test_a_write_is_seen_at_every_member_once_it_is_acknowledged(chain: StartChain) -> None:
    cluster = start(chain)
    clients = [client(member) for member in cluster.members]
    for number in range(300):
        clients[0].set("key", number)
        assert [each.get("key") for each in clients] == [str(number)] * 3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_is_killed_under_load(chain: StartChain, place: int) -> None:
    """No acknowledged increment is lost, and the survivors have the same data."""
    cluster = start(chain)
    acknowledged = load(client(cluster.head), 500)
    victim = cluster.members[place]
    victim.kill()
    await_repair(cluster, victim)
    assert int(client(cluster.head).get("counter") or 0) >= acknowledged
    load(client(cluster.head), 100)
    assert_same(cluster)


def load(head: redis.Redis, count: int) -> int:
    value = 0
    with contextlib.suppress(redis.RedisError):
        for _ in range(count):
            value = head.incr("counter")
    return value


def test_a_member_joins_by_copy_under_load(chain: StartChain) -> None:
    cluster = start(chain, 2)
    write_each_type(client(cluster.head))
    cluster.grow()
    load(client(cluster.head), 100)
    assert_same(cluster)


def test_a_member_that_was_killed_comes_back_by_log(chain: StartChain) -> None:
    cluster = start(chain)
    victim = cluster.members[1]
    write_each_type(client(cluster.head))
    assert_same(cluster)
    wait_until(lambda: info(victim, "persistence")["rdb_bgsave_in_progress"] == "0", 10)  # the one of a join
    client(victim).save()
    load(client(cluster.head), 100)
    victim.kill()
    await_repair(cluster, victim)
    load(client(cluster.head), 100)
    victim.start()
    cluster.add(victim)
    await_chain(cluster, *cluster.members)
    assert member_number(victim, "joins_by_log") == 1
    assert_same(cluster)


def test_updates_are_numbered_among_other_commands(chain: StartChain) -> None:
    cluster = start(chain)
    head = cluster.head
    assert [ask(head, "MEMBER.PUT", "key", number) for number in range(3)] == [0, 1, 2]
    assert client(head).set("other", 1)
    assert ask(head, "MEMBER.DEL", "key") == 3
    assert ask(head, "MEMBER.WAIT", 3, 1000) == 3
    assert ask(cluster.members[1], "MEMBER.PUT", "key", "v").startswith("MOVED 12539 ")
    wait_until(lambda: [ask(member, "MEMBER.SN") for member in cluster.members] == [3] * 3, 10)
    head.kill()
    await_repair(cluster, head)
    assert ask(cluster.head, "MEMBER.PUT", "key", "v") == 4


REFUSED: list[tuple[str, ...]] = [
    ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), ("FAILOVER",), ("PSYNC", "?", "-1"), ("SYNC",),
    ("MIGRATE", "127.0.0.1", "1", "key", "0", "100"), ("DEBUG", "RELOAD"), ("DEBUG", "POPULATE", "10"),
    ("CHAIN.PUT", "1", "1", "key", "value"),
]


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_what_would_bypass_the_stream_is_refused(chain: StartChain, command: tuple[str, ...]) -> None:
    cluster = start(chain, 2)
    for member in cluster.members:
        assert str(ask(member, *command)).startswith(("ERR", "READONLY"))
    assert client(cluster.head).set("key", "value")
    assert_same(cluster)


def test_wait_counts_the_other_members(chain: StartChain) -> None:
    cluster = start(chain)
    head = client(cluster.head)
    assert head.set("key", 1)
    assert [head.wait(number, 0) for number in (0, 1, 2)] == [2, 2, 2]
    assert head.wait(3, 50) == 2


def test_waitaof_knows_what_all_have_on_their_disks(chain: StartChain, version: str) -> None:
    """As each reply, its own is held until what was written before is committed."""
    if version == "redis-7.0":
        pytest.skip("this server has no WAITAOF")
    cluster = chain(3, commands="all", member_config=DEBUG | {"appendonly": "yes"}, master_config=PATIENT)
    with Talk(cluster.head) as talk:
        assert talk("SET", "key", 1) == b"OK"
        assert talk("WAITAOF", 1, 1, 0) == talk("WAITAOF", 0, 2, 0) == [1, 1]
        assert talk("WAITAOF", 1, 3, 50) == [1, 1]
        assert ask(cluster.members[1], "CONFIG", "SET", "appendonly", "no") == b"OK"
        assert talk("SET", "key", 2) == b"OK"
        assert talk("WAITAOF", 1, 1, 2500) == [1, 0]
        cluster.remove(cluster.members[1])
        assert talk("WAITAOF", 1, 1, 0) == [1, 1]
        with paused(cluster.tail):
            talk.send_all([["SET", "key", 2], ["WAITAOF", 1, 0, 0]])
            assert talk.is_silent(0.3)
        assert [talk.receive(), talk.receive()] == [b"OK", [1, 0]]
    assert str(ask(cluster.tail, "WAITAOF", 1, 0, 0)).startswith("ERR")
    assert_same(cluster)


def test_a_stranger_is_not_fed(chain: StartChain) -> None:
    """The port on which a member's own server gets its effects closes all other connections."""
    cluster = start(chain, 2)
    sockets = psutil.Process(cluster.tail.pid).net_connections("tcp4")
    listening = {each.laddr[1] for each in sockets if each.status == psutil.CONN_LISTEN}
    (port,) = listening - {cluster.tail.port, member_number(cluster.tail, "lifeline_port")}
    place = (cluster.tail.endpoint.host, port)
    with contextlib.suppress(ConnectionError), socket.create_connection(place, 15) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b""
    assert client(cluster.head).set("key", 1)
    assert_same(cluster)


def test_a_tap_that_is_killed_goes_on(chain: StartChain) -> None:
    cluster = start(chain, 2)
    head = client(cluster.head)
    for number in range(20):
        assert head.client_kill_filter(_type="replica") == 1
        assert head.incr("counter") == number + 1
    assert_same(cluster)


def test_pauses_belong_to_the_head(chain: StartChain) -> None:
    cluster = start(chain, 2)
    assert ask(cluster.tail, "CLIENT", "PAUSE", "100").startswith("ERR refused")
    assert client(cluster.head).client_pause(200, all=False)
    assert client(cluster.head).incr("counter") == 1
    assert_same(cluster)


def test_a_chain_without_a_master_answers_without_leases(chain: StartChain) -> None:
    """Every member's replies go on when all leases have run out, since the members ask each other."""
    cluster = start(chain)
    cluster.master.kill()
    wait_until(lambda: all(member_number(member, "lease_ms") == 0 for member in cluster.members), 20)
    assert client(cluster.head).set("key", "value")
    for member in cluster.members:
        assert client(member).get("key") == "value"
