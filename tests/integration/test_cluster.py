# SPDX-License-Identifier: Apache-2.0
"""Members as nodes of a Redis Cluster, on real servers: `member.cluster-announce yes`."""

from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from chainredis.local_cluster.cluster import MEMBER, Cluster
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, ask, await_chain
from servers import use

ANNOUNCE = {"member.cluster-announce": "yes"}


def started(chain: StartChain, size: int) -> Cluster:
    return chain(size, commands="all", member_config=ANNOUNCE)


@pytest.mark.parametrize("is_newer", [False, True], ids=["oldest", "newest"])
def test_every_member_names_the_head_and_sends_clients_there(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch, is_newer: bool
) -> None:
    if is_newer:
        use("valkey-9.1", monkeypatch)
    cluster = started(chain, 3)
    ids = [ask(member, "CLUSTER", "MYID") for member in cluster.members]
    nodes = [
        [b"127.0.0.1", member.port, run_id, []] for member, run_id in zip(cluster.members, ids, strict=True)
    ]  # fmt: skip
    for member in cluster.members:
        assert ask(member, "CLUSTER", "SLOTS") == [[0, 16383, *nodes]]
        assert b"cluster_state:ok\r\n" in ask(member, "CLUSTER", "INFO")
        assert b"cluster_enabled:1\r\n" in ask(member, "INFO", "cluster")
        for word in ("READONLY", "READWRITE", "ASKING"):
            assert ask(member, word) == b"OK"
    with Talk(cluster.tail) as talk:
        assert talk("SET", "a{user}", "1") == Error(f"MOVED 5474 127.0.0.1:{cluster.head.port}")
        assert talk("CLUSTER", "KEYSLOT", "a{user}") == 5474
        assert talk("CLUSTER", "LINKS") == []
        assert len(talk("CLUSTER", "MYSHARDID")) == 40
        assert len(talk("CLUSTER", "REPLICAS", ids[0])) == 2
        assert talk("CLUSTER", "KEYSLOT") == Error("ERR wrong number of arguments for 'cluster|keyslot' command")
        assert talk("CLUSTER", "MEET", "127.0.0.1", "1").startswith("ERR refused on a chain member")
    client: Any = RedisCluster(host="127.0.0.1", port=cluster.tail.port)
    for number in range(20):
        client.set(f"key:{number}", number)
    slot = client.keyslot("key:3")
    with Talk(cluster.tail) as talk:
        keys = talk("CLUSTER", "GETKEYSINSLOT", slot, 10)
        assert b"key:3" in keys
        assert talk("CLUSTER", "COUNTKEYSINSLOT", slot) == len(keys)
        assert talk("CLUSTER", "GETKEYSINSLOT", slot, 0) == []
        assert talk("CLUSTER", "COUNTKEYSINSLOT", 16384) == Error("ERR Invalid or out of range slot")
    with redis.Redis(port=cluster.tail.port, protocol=3, decode_responses=True) as new:
        assert new.execute_command("CLUSTER SHARDS")[0]["slots"] == [0, 16383]
    client.close()


def test_a_database_is_not_searched_for_a_slot_for_long(server: StartServer) -> None:
    only = server(MEMBER, **{"member.cluster-announce": "yes", "enable-debug-command": "yes"})
    with Talk(only) as talk:
        assert talk("DEBUG", "POPULATE", 100_000) == b"OK"
        assert talk("CLUSTER", "COUNTKEYSINSLOT", 7) < 100
        assert len(talk("CLUSTER", "GETKEYSINSLOT", 7, 2)) == 2
        assert talk("SET", "one-more", "1") == b"OK"
        assert talk("CLUSTER", "COUNTKEYSINSLOT", 7).startswith("ERR this database has too many keys")


def test_a_removed_member_sends_clients_on_and_closes_those_that_it_had(chain: StartChain) -> None:
    cluster = started(chain, 2)
    old, new = cluster.members
    with Talk(old) as talk, Talk(old) as silent:
        assert talk("SET", "user", "1") == b"OK"
        cluster.remove(old)
        await_chain(cluster, new)
        with pytest.raises(redis.ConnectionError):
            talk("GET", "user")
        assert silent("SET", "user", "2") == Error(f"MOVED 5474 127.0.0.1:{new.port}")  # it has said nothing before
        assert silent("GET", "user") == Error(f"MOVED 5474 127.0.0.1:{new.port}")
        assert silent("CLUSTER", "SLOTS")[0][2][1] == new.port
    old.kill()
    old.start()
    with Talk(old) as talk:
        assert talk("CLUSTER", "SLOTS").startswith("CLUSTERDOWN")
        assert talk("GET", "user").startswith("CLUSTERDOWN")
        assert b"cluster_state:fail\r\n" in talk("CLUSTER", "INFO")


def test_without_the_setting_all_is_as_in_redis(server: StartServer) -> None:
    member = server(MEMBER)
    with Talk(member) as talk:
        assert talk("CLUSTER", "SLOTS") == Error("ERR This instance has cluster support disabled")
        assert talk("CONFIG", "SET", "member.cluster-announce", "yes") == b"OK"
        assert talk("CLUSTER", "SLOTS").startswith("CLUSTERDOWN")
        assert talk("CONFIG", "SET", "member.cluster-announce", "no") == b"OK"
        assert talk("READONLY") == ask(server(), "READONLY")     # an error, but for Valkey


def test_clients_need_the_rights_of_the_native_command(server: StartServer) -> None:
    member = server(MEMBER, requirepass="secret", **{"member.cluster-announce": "yes"})
    with Talk(member.endpoint) as talk:
        assert talk("CLUSTER", "NODES") == Error("NOAUTH Authentication required.")
        assert talk("AUTH", "secret") == b"OK"
        assert b"myself,master" in talk("CLUSTER", "NODES")
    ask(member, "ACL", "SETUSER", "default", "nopass", "-cluster|nodes")
    with Talk(member.endpoint) as talk:
        assert talk("CLUSTER", "NODES").startswith("NOPERM")
        assert b"cluster_state" in talk("CLUSTER", "INFO")
