# SPDX-License-Identifier: Apache-2.0
"""A copy in a chain of all commands comes through the joiner's own module: its server connects to no other machine."""

import re

import pytest

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind
from chainredis.transport.waiting import wait_until
from commands.run import same_data
from integration.conftest import StartChain, StartServer
from integration.helpers import (
    Error,
    Talk,
    ask,
    become_chain,
    info,
    member_number,
    proven,
    state,
    stored_view,
)
from servers import SERVERS, use

DEBUG = {"enable-debug-command": "yes", "rdbcompression": "no"}
# 20 MB over two databases: more than the sockets of a connection hold.
FILL = """
redis.call('SELECT', ARGV[1] % 2 * 5)
local block = {}
for j = 1, 1250 do block[j] = redis.sha1hex(ARGV[1] .. ':' .. j) end
for i = 1, 10 do redis.call('SET', ARGV[1] .. ':' .. i, table.concat(block)) end
"""
SLOW = ("CONFIG", "SET", "rdb-key-save-delay")


def fill(server: Server) -> None:
    # The first member has answered that it serves, and its server is about to become a master.
    wait_until(lambda: ask(server, "SET", "ready", "1") == b"OK", 20)
    for i in range(40):
        assert ask(server, "EVAL", FILL, 0, i) is None
    for i in range(100):
        assert ask(server, "RPUSH", f"list:{i}", *range(10)) == 10


def masters_of(server: Server) -> set[str]:
    """The ports that Redis itself has connected to as a replica, by its log."""
    return set(re.findall(r"Connecting to (?:MASTER|PRIMARY) [^ ]+:(\d+)", server.log()))


def assert_never_followed_another(cluster: Cluster) -> None:
    for server in cluster.members:
        assert not masters_of(server) & {str(other.port) for other in cluster.members}, server


@pytest.mark.parametrize("version", SERVERS)
def test_the_snapshot_comes_through_the_own_module(
    chain: StartChain, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the tail's memory and from its disk, and under load."""
    use(version, monkeypatch)
    cluster = chain(1, commands="all", member_config=DEBUG)
    fill(cluster.head)
    for diskless in ("yes", "no"):
        assert ask(cluster.tail, "CONFIG", "SET", "repl-diskless-sync", diskless) == b"OK"
        joiner = cluster.grow()
        assert member_number(joiner, "joins_by_copy") == 1
        assert masters_of(joiner)
        with Talk(cluster.head) as talk:
            assert talk("SELECT", 5) == b"OK"
            assert talk("SET", "after", diskless) == b"OK"
    same_data(cluster.members)
    assert_never_followed_another(cluster)
    assert not any(ask(server, "CLIENT", "LIST", "TYPE", "replica") for server in cluster.members[1:])


def test_passwords_of_redis_s_own_replication_are_not_needed(chain: StartChain) -> None:
    config = DEBUG | {"requirepass": "pw", "member.auth-password": "pw", "masterauth": "wrong", "masteruser": "nobody"}
    cluster = chain(2, commands="all", member_config=config, master_config={"master.auth-password": "pw"})
    assert ask(cluster.head, "SET", "k", "v") == b"OK"
    same_data(cluster.members)
    assert ask(cluster.tail, "CONFIG", "GET", "masterauth") == [b"masterauth", b"wrong"]
    assert_never_followed_another(cluster)


def start_slow_join(cluster: Cluster, talk: Talk) -> Server:
    """Begin an addition whose snapshot takes long."""
    fill(cluster.head)
    assert ask(cluster.tail, *SLOW, 10_000) == b"OK"
    joiner = cluster.spare()
    talk.send("MASTER.ADD", HOST, joiner.port)
    wait_until(lambda: is_loading(joiner), 20)
    return joiner


def is_loading(server: Server) -> bool:
    return info(server, "persistence")["loading"] == "1"


def assert_joins(cluster: Cluster, joiner: Server) -> None:
    assert ask(cluster.tail, *SLOW, 0) == b"OK"
    cluster.add(joiner)
    assert ask(cluster.head, "SET", "k", "v") == b"OK"
    same_data(cluster.members)
    assert_never_followed_another(cluster)


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_member_dies_amid_the_copy(chain: StartChain, victim: int) -> None:
    """The master begins anew, with the chain that is left."""
    cluster = chain(3, commands="all", member_config=DEBUG)
    with Talk(cluster.master, 100) as talk:
        joiner = start_slow_join(cluster, talk)
        assert ask(cluster.tail, *SLOW, 0) == b"OK"
        dead = cluster.members[victim]
        dead.kill()
        assert talk.receive() == b"OK"
    cluster.members.remove(dead)
    cluster.members.append(joiner)
    assert cluster.command("MASTER.GET_CHAIN") == [str(each.endpoint).encode() for each in cluster.members]
    assert "MASTER.ADD goes on with the chain of epoch" in cluster.master.log()
    assert victim != 2 or "the old tail has closed" in joiner.log()
    assert ask(cluster.head, "SET", "k", "v") == b"OK"
    same_data(cluster.members)
    assert_never_followed_another(cluster)


def test_the_joiner_dies_amid_the_copy(chain: StartChain) -> None:
    cluster = chain(2, commands="all", member_config=DEBUG)
    with Talk(cluster.master) as talk:
        joiner = start_slow_join(cluster, talk)
        joiner.kill()
        assert isinstance(talk.receive(), Error)
    assert ask(cluster.head, "SET", "k", "older") == b"OK"
    joiner.start()
    assert_joins(cluster, joiner)


def test_an_addition_is_called_off_amid_the_copy(chain: StartChain) -> None:
    cluster = chain(2, commands="all", member_config=DEBUG)
    with Talk(cluster.master) as talk:
        joiner = start_slow_join(cluster, talk)
        assert ask(cluster.master, "MASTER.REMOVE", HOST, joiner.port) == b"OK"
        assert "has called this off" in talk.receive()
    wait_until(lambda: not is_loading(joiner) and state(joiner).join == "failed", 20)
    assert ask(joiner, "DBSIZE") == 0 or str(ask(joiner, "DBSIZE")).startswith("MASTERDOWN")
    assert_joins(cluster, joiner)


def test_a_snapshot_that_does_not_move_on_ends_the_join(chain: StartChain) -> None:
    """The joiner's Redis has the same limit, in whole seconds, and may be the first to give up."""
    cluster = chain(1, commands="all", member_config=DEBUG)
    fill(cluster.head)
    assert ask(cluster.tail, *SLOW, 4_000_000) == b"OK"
    joiner = cluster.spare(repl_timeout="2", repl_ping_replica_period="1")
    with pytest.raises(LauncherError, match=r"old tail sends nothing for 2 s|closed the connection of its own copy"):
        cluster.add(joiner)
    assert_joins(cluster, joiner)


def test_only_a_learner_that_a_master_has_announced_gets_a_copy(chain: StartChain, server: StartServer) -> None:
    cluster = chain(2, commands="all", member_config=DEBUG)
    assert "has not proved the chain's secret" in ask(cluster.tail, "CHAIN.COPY")
    assert isinstance(ask(cluster.tail, "PSYNC", "?", "-1"), Error)
    link = proven(cluster.tail, stored_view(cluster))
    try:
        assert "no learner copies this member" in Talk.over(cluster.tail, link)("CHAIN.COPY")
    finally:
        link.close()
    only = server(MEMBER)
    link = proven(only, become_chain(only, Kind.PUT))
    try:
        assert "no learner copies this member" in Talk.over(only, link)("CHAIN.COPY")
    finally:
        link.close()
