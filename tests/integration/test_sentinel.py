# SPDX-License-Identifier: Apache-2.0
"""The master as a Sentinel, on real servers: the forms of replies, rights, and what is published when."""

from typing import Any

import pytest
import redis
from redis.sentinel import MasterNotFoundError, Sentinel

from chainredis.local_cluster.cluster import MASTER, Cluster
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, await_chain
from servers import use

NAME = "orders"


def started(chain: StartChain, size: int, **config: str) -> Cluster:
    return chain(size, commands="all", master_config={"master.name": NAME, **config})


@pytest.mark.parametrize("is_newer", [False, True], ids=["oldest", "newest"])
def test_replies_have_the_forms_of_a_sentinel(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch, is_newer: bool
) -> None:
    if is_newer:
        use("valkey-9.1", monkeypatch)
    cluster = started(chain, 2)
    head, tail = cluster.head.endpoint, cluster.tail.endpoint
    with Talk(cluster.master) as talk:
        assert talk("SENTINEL", "get-master-addr-by-name", NAME) == [head.host.encode(), b"%d" % head.port]
        assert talk("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "other") is None
        flat = talk("SENTINEL", "MASTER", NAME)
        assert flat[:6] == [b"name", NAME.encode(), b"ip", head.host.encode(), b"port", b"%d" % head.port]
        assert dict(zip(flat[::2], flat[1::2], strict=True))[b"flags"] == b"master"
        assert [each[1] for each in talk("SENTINEL", "REPLICAS", NAME)] == [str(tail).encode()]
        assert talk("SENTINEL", "SENTINELS", NAME) == []
        assert talk("SENTINEL", "CKQUORUM", NAME).startswith(b"OK 1 usable Sentinels.")
        assert len(talk("SENTINEL", "MYID")) == 40
        assert talk("SENTINEL", "MASTER", "other") == Error("ERR No such master with that name")
        assert talk("SENTINEL", "MASTER") == Error("ERR wrong number of arguments for 'sentinel|master' command")
        assert talk("SENTINEL") == Error("ERR wrong number of arguments for 'sentinel' command")
        assert talk("SENTINEL", "NOPE") == Error("ERR unknown subcommand 'NOPE'. Try SENTINEL HELP.")
        assert talk("ROLE") == [b"sentinel", [NAME.encode()]]
        assert f"master0:name={NAME},status=ok,address={head},slaves=1,sentinels=1\r\n".encode() in talk("INFO")
        assert b"_mode:sentinel\r\n" in talk("INFO", "server")
        assert b"# Sentinel" not in talk("INFO", "server")
    with redis.Redis(*_place(cluster), protocol=3, decode_responses=True) as new:
        fields = new.execute_command("SENTINEL", "MASTERS")[0]
        assert (fields["ip"], fields["port"]) == (head.host, str(head.port))
        assert new.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "other") is None


def _place(cluster: Cluster) -> tuple[str, int]:
    endpoint = cluster.master.endpoint
    return endpoint.host, endpoint.port


def test_a_master_without_a_chain_knows_no_name(server: StartServer) -> None:
    master = server(MASTER)
    with Talk(master) as talk:
        assert talk("SENTINEL", "MASTERS") == []
        assert talk("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") is None
        assert talk("ROLE") == [b"sentinel", []]
        assert talk("CONFIG", "GET", "master.name") == [b"master.name", b"mymaster"]
    client: Any = Sentinel([(master.endpoint.host, master.port)])  # type: ignore[no-untyped-call]
    with pytest.raises(MasterNotFoundError):
        client.discover_master("mymaster")


def test_clients_that_have_not_logged_in_learn_nothing(server: StartServer) -> None:
    master = server(MASTER, requirepass="secret")
    with Talk(master.endpoint) as talk:
        for words in (["SENTINEL", "MASTERS"], ["ROLE"], ["INFO"]):
            assert talk(*words) == Error("NOAUTH Authentication required.")
        assert talk("AUTH", "secret") == b"OK"
        assert talk("ROLE") == [b"sentinel", []]
    with Talk(master) as talk:
        assert talk("ACL", "SETUSER", "default", "nopass", "-@all", "+sentinel|get-master-addr-by-name") == b"OK"
    with Talk(master.endpoint) as talk:
        assert talk("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster") is None
        for words in (["SENTINEL", "MASTERS"], ["ROLE"], ["INFO"]):
            assert talk(*words).startswith("NOPERM")


def test_changes_are_published_as_by_a_sentinel(chain: StartChain) -> None:
    cluster = started(chain, 3)
    heard: list[tuple[str, str]] = []
    with redis.Redis(*_place(cluster), decode_responses=True) as client, client.pubsub() as channel:
        channel.psubscribe("*")

        def hears(*messages: tuple[str, str]) -> bool:
            message = channel.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message:
                heard.append((message["channel"], message["data"]))
            return heard == list(messages)

        assert hears()
        first, second, third = (str(member.endpoint).replace(":", " ") for member in cluster.members)
        dead, _, last = cluster.members
        dead.kill()
        at_second = f"@ {NAME} {second}"
        down = [
            ("+sdown", f"master {NAME} {first}"),
            ("+switch-master", f"{NAME} {first} {second}"),
            ("+slave", f"slave {last.endpoint} {third} {at_second}"),
        ]
        wait_until(lambda: hears(*down), 20)
        await_chain(cluster, *cluster.members[1:])
        with Talk(cluster.master) as talk:
            replicas = talk("SENTINEL", "REPLICAS", NAME)
            assert [each[each.index(b"flags") + 1] for each in replicas] == [b"slave", b"s_down,slave,disconnected"]
        dead.start()
        cluster.add(dead)
        back = [*down, ("-sdown", f"slave {dead.endpoint} {first} {at_second}")]
        wait_until(lambda: hears(*back), 20)
        cluster.remove(last)
        cluster.add(last, "DISCARD")
        wait_until(lambda: hears(*back, ("+slave", f"slave {last.endpoint} {third} {at_second}")), 20)
