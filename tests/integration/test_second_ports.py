# SPDX-License-Identifier: Apache-2.0
"""Servers with a plain port and one with TLS: each client is told the ports that fit its own connection."""

import asyncio
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from certificates import Certificates, Identity
from chainredis.client import AsyncChain, Chain
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import free_port
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Endpoint
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Error, Talk, ask, await_repair, info, proven, state, stored_view
from integration.test_tls_links import by
from servers import DEFAULT, needs_tls, use

pytestmark = needs_tls()

ANNOUNCE = {"member.cluster-announce": "yes"}
SLOT_OF_K = 7629
WITH_TLS = ("redis-7.0", "redis-8.0", "valkey-8.0") if DEFAULT == "redis-7.0" else (DEFAULT,)


class Doors:
    """A chain whose members have two ports each, and clients of both kinds. links: the kind of its links."""

    def __init__(self, cluster: Cluster, links: str, mine: Identity) -> None:
        self.cluster, self.links, self.mine = cluster, links, mine

    @property
    def second(self) -> str:
        return {"plain": "tls", "tls": "plain"}[self.links]

    def port(self, member: Server, kind: str) -> int:
        """What the server's own settings say."""
        name = {"plain": "port", "tls": "tls-port"}[kind]
        return int(ask(member, "CONFIG", "GET", name)[1])

    def ports(self, kind: str) -> list[int]:
        return [self.port(member, kind) for member in self.cluster.members]

    def identity(self, kind: str) -> Identity | None:
        return self.mine if kind == "tls" else None

    def talk(self, member: Server, kind: str) -> Talk:
        return Talk(Endpoint("127.0.0.1", self.port(member, kind)), tls=self.identity(kind))

    def options(self, kind: str) -> dict[str, Any]:
        return {"ssl": True, **self.mine.client} if kind == "tls" else {}

    def told(self, member: Server, kind: str) -> list[int]:
        """The ports of all members that MEMBER.VIEW names."""
        with self.talk(member, kind) as talk:
            return [int(text.rpartition(b":")[2]) for text in talk("MEMBER.VIEW")[1:]]

    def await_told(self, kind: str) -> None:
        ports = self.ports(kind)
        wait_until(lambda: all(self.told(member, kind) == ports for member in self.cluster.members), 10)


def give_tls_port(member: Server) -> None:
    assert ask(member, "CONFIG", "SET", "tls-port", free_port()) == b"OK"


def opened(chain: StartChain, certificates: Certificates, links: str, commands: str, size: int = 3) -> Doors:
    mine = certificates.identity("client")
    options: dict[str, Any] = {"commands": commands, "member_config": ANNOUNCE if commands == "all" else {}}
    if links == "tls":
        cluster = chain(size, tls=by(certificates), **options)
    else:
        options["member_config"] = {**options["member_config"], **certificates.identity().server}
        cluster = chain(size, **options)
        for member in cluster.members:
            give_tls_port(member)
    doors = Doors(cluster, links, mine)
    doors.await_told(doors.second)
    return doors


@pytest.fixture(params=["plain", "tls"], ids=["links without TLS", "links with TLS"])
def doors(request: pytest.FixtureRequest, chain: StartChain, certificates: Certificates) -> Doors:
    return opened(chain, certificates, request.param, "all")


# ----------------------------------------------------------------------------------------------- what is answered


@pytest.mark.parametrize("version", WITH_TLS)
@pytest.mark.parametrize("links", ["plain", "tls"])
def test_every_answer_names_ports_of_the_client_s_kind(
    chain: StartChain, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, links: str, version: str
) -> None:
    use(version, monkeypatch)
    doors = opened(chain, certificates, links, "all")
    head, _, tail = doors.cluster.members
    both = list(zip(doors.ports("plain"), doors.ports("tls"), strict=True))
    for kind in ("plain", "tls"):
        ports = doors.ports(kind)
        for member in doors.cluster.members:
            with doors.talk(member, kind) as talk:
                assert [node[1] for node in talk("CLUSTER", "SLOTS")[0][2:]] == ports
                names = [line.split()[1] for line in talk("CLUSTER", "NODES").splitlines()]
                assert names == [b"127.0.0.1:%d@%d" % (port, port + 10000) for port in ports]
                nodes = [dict(zip(node[::2], node[1::2], strict=True)) for node in talk("CLUSTER", "SHARDS")[0][3]]
                assert [(node[b"port"], node[b"tls-port"]) for node in nodes] == both
                assert [int(name.rpartition(b":")[2]) for name in talk("MEMBER.VIEW")[1:]] == ports
        with doors.talk(tail, kind) as talk:
            moved = talk("SET", "k", "v")
            assert moved == Error(f"MOVED {SLOT_OF_K} 127.0.0.1:{ports[0]}") or moved.startswith("READONLY")
            assert talk("MEMBER.PUT", "k", "v").endswith(f" 127.0.0.1:{ports[0]}")
            assert talk("ROLE")[1:3] == [b"127.0.0.1", ports[0]]
            assert b"master_port:%d\r\n" % ports[0] in talk("INFO", "replication")
        with doors.talk(head, kind) as talk:
            assert talk("READ", "k") == Error(f"MOVED 0 127.0.0.1:{ports[-1]}")
            assert [int(replica[1]) for replica in talk("ROLE")[2]] == ports[1:]
            assert b"slave0:ip=127.0.0.1,port=%d," % ports[1] in talk("INFO", "replication")


def test_a_poll_reads_no_settings(chain: StartChain) -> None:
    member = chain(1).head

    def calls(command: str) -> int:
        return int(info(member, "commandstats")[f"cmdstat_{command}"].split(",")[0].removeprefix("calls="))

    def reads_in_ten_polls() -> int:
        polls, reads = calls("chain.poll"), calls("config|get")
        wait_until(lambda: calls("chain.poll") >= polls + 10, 20)
        return calls("config|get") - reads

    wait_until(lambda: reads_in_ten_polls() == 0, 20)   # a clock's first ticks read settings, each once


def test_links_stay_where_they_are(doors: Doors) -> None:
    """What servers and operators use are the ports of the view, whoever asks."""
    link_ports = doors.ports(doors.links)
    for kind in ("plain", "tls"):
        with doors.talk(doors.cluster.head, kind) as talk:
            found = dict(line.split(b":", 1) for line in talk("INFO", "member").splitlines() if b":" in line)
            assert found[b"member_successor"] == b"127.0.0.1:%d" % link_ports[1]
    assert [int(name.rpartition(b":")[2]) for name in ask(doors.cluster.master, "MASTER.GET_CHAIN")] == link_ports


def test_a_client_of_a_unix_socket_is_told_the_view(doors: Doors) -> None:
    tail = doors.cluster.tail
    path = str(tail.folder / "own.sock")
    tail.kill()
    await_repair(doors.cluster, tail)
    tail.config["unixsocket"] = path
    tail.start()
    if doors.links == "plain":
        give_tls_port(tail)
    doors.cluster.add(tail)
    doors.await_told(doors.second)
    client: Any = redis.Redis(unix_socket_path=path)
    with closing(client):
        view = client.execute_command("MEMBER.VIEW")
    assert [int(name.rpartition(b":")[2]) for name in view[1:]] == doors.ports(doors.links)


def test_who_was_blocked_is_sent_to_the_fitting_port(chain: StartChain, certificates: Certificates) -> None:
    """A client is told when the outcome is decided, and by then Redis has no command of it any more."""
    doors = opened(chain, certificates, "tls", "put", 2)
    head, tail = doors.cluster.members
    with doors.talk(head, "plain") as plain, doors.talk(head, "tls") as tls:
        for talk in (plain, tls):
            talk.send("MEMBER.WAIT", 7)
            assert talk.is_silent()
        view = stored_view(doors.cluster)
        turned = replace(view, epoch=view.epoch + 1, members=view.members[::-1])
        doors.cluster.master.kill()
        for member in (tail, head):
            proven(member, view).adopt(turned)
        assert plain.receive() == Error(f"MOVED 0 127.0.0.1:{doors.port(tail, 'plain')}")
        assert tls.receive() == Error(f"MOVED 0 127.0.0.1:{doors.port(tail, 'tls')}")


# ------------------------------------------------------------------------------------------- clients find the head


def lose_the_head(doors: Doors) -> None:
    head = doors.cluster.head
    head.kill()
    await_repair(doors.cluster, head)


def test_clients_of_the_second_port_follow_the_chain(doors: Doors) -> None:
    kind = doors.second
    options, port = doors.options(kind), doors.port(doors.cluster.tail, kind)
    place = f"127.0.0.1:{port}"

    async def write(key: str) -> None:
        async with AsyncChain([place], **options) as client:
            assert await client.set(key, "v")
            assert await client.get(key) == b"v"

    clients: Any = RedisCluster(host="127.0.0.1", port=port, **options)
    with Chain([place], **options) as client, closing(clients) as cluster:
        assert client.incr("n") == 1
        asyncio.run(write("before"))
        assert cluster.incr("m") == 1
        assert {node.port for node in cluster.get_nodes()} == set(doors.ports(kind))
        lose_the_head(doors)
        assert client.incr("n") == 2
        asyncio.run(write("after"))
        wait_until(lambda: _writes(cluster), 20)
        assert {node.port for node in cluster.get_nodes()} == set(doors.ports(kind))


def _writes(cluster: Any) -> bool:
    try:
        return bool(cluster.set("k", "v"))
    except (redis.RedisError, redis.exceptions.RedisClusterException):
        return False


# -------------------------------------------------------------------------------------------------- what changes


def test_a_port_that_changes_is_told_anew(doors: Doors) -> None:
    middle = doors.cluster.members[1]
    name = {"plain": "port", "tls": "tls-port"}[doors.second]
    with doors.talk(middle, doors.links) as talk:
        assert talk("CONFIG", "SET", name, free_port()) == b"OK"
        new = int(talk("CONFIG", "GET", name)[1])

        def told() -> int:
            with doors.talk(doors.cluster.head, doors.second) as asker:
                return int(asker("CLUSTER", "SLOTS")[0][3][1])

        wait_until(lambda: told() == new, 10)
        assert talk("CONFIG", "SET", f"cluster-announce-{name}", 7001) == b"OK"
        wait_until(lambda: told() == 7001, 10)
        assert talk("CONFIG", "SET", f"cluster-announce-{name}", 0) == b"OK"
        wait_until(lambda: told() == new, 10)
        if doors.second == "tls":
            assert talk("CONFIG", "SET", name, 0) == b"OK"
            wait_until(lambda: told() == doors.port(middle, "plain"), 10)  # the only one that there is


def test_a_restarted_member_and_a_new_one_are_told(doors: Doors) -> None:
    cluster, kind = doors.cluster, doors.second
    tail = cluster.tail
    tail.kill()
    await_repair(cluster, tail)
    tail.start()
    cluster.add(tail)
    if doors.links == "plain":
        give_tls_port(tail)
    doors.await_told(kind)
    cluster.grow()
    if doors.links == "plain":
        give_tls_port(cluster.tail)
    doors.await_told(kind)


def test_members_know_ports_without_their_master_and_a_new_master_learns_them(doors: Doors) -> None:
    cluster, kind = doors.cluster, doors.second
    cluster.master.kill()
    assert all(doors.told(member, kind) == doors.ports(kind) for member in cluster.members)
    cluster.master.start()
    cluster.grow()
    if doors.links == "plain":
        give_tls_port(cluster.tail)
    doors.await_told(kind)


# ------------------------------------------------------------------------------------------------- other versions


def test_a_master_of_an_earlier_version_tells_nothing(chain: StartChain, certificates: Certificates) -> None:
    """Then the port of the view is told, as before. What the master before it told, goes on to count."""
    doors = opened(chain, certificates, "tls", "all", 1)
    cluster, head = doors.cluster, doors.cluster.head
    view, port = stored_view(cluster), doors.port(head, "plain")
    own = view.head.run_id
    cluster.master.kill()
    link = proven(head, view)
    with Talk.over(head, link) as earlier:
        answer = earlier("CHAIN.POLL", view.epoch, state(head).stamp, 1000)
        assert b"plain_port" in answer
        assert doors.told(head, "plain") == [port]
        lease = (view.epoch, state(head).stamp, 1000)
        for nonsense in ((own, -1, 0), (own, 0, 65536), ("x", 1, 1), (own, "", 0)):
            assert "no member of a chain says this" in earlier("CHAIN.POLL", *lease, *nonsense)
        assert "wrong number" in earlier("CHAIN.POLL", *lease, own, 1)
        assert doors.told(head, "plain") == [port]
        earlier("CHAIN.POLL", 0, 0, 0, own, 0, 0)    # of another epoch
        assert doors.told(head, "plain") == [doors.port(head, "tls")]
        head.kill()
    head.start()
    assert [state(head).plain_port, state(head).tls_port] == [port, 0]
