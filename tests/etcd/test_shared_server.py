# SPDX-License-Identifier: Apache-2.0
"""Heartbeats in a server that also runs a master, saves, or runs scripts: none may disturb another."""

from chainredis.local_cluster.cluster import MASTER
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from etcd.conftest import StartChain
from etcd.test_heartbeats import await_heartbeats, beats
from integration.conftest import StartServer
from integration.helpers import Error, Talk, ask, assert_serves, info, state

IN_ETCD = "libmember.so 1 1 2"


def await_field(server: Server, section: str, name: str, value: str) -> None:
    wait_until(lambda: info(server, section).get(name) == value, 20)


def test_a_master_and_a_member_in_one_server_share_an_interpreter(server: StartServer, url: str) -> None:
    for modules in ([MASTER, IN_ETCD], [IN_ETCD, f"etcd/libetcd_master.so {url}-other"]):
        both = server(*modules)
        assert ask(both, "MEMBER.CONNECT_TO_MASTER", url) == b"OK"
        await_field(both, "member", "member_heartbeat", "beating")
        await_field(both, "master", "master_epoch", "0")
        assert ask(both, "MEMBER.PUT", "a", "1") == 0


def test_a_server_that_saves_and_rewrites_beats_on(chain: StartChain, url: str) -> None:
    """The process forks while threads of a Python interpreter and of grpc run in it."""
    c = chain(2, url=url, member_config={"appendonly": "yes"})
    await_heartbeats(c)
    for _ in range(3):
        for member in c.members:
            ask(member, "BGSAVE")
            await_field(member, "persistence", "rdb_bgsave_in_progress", "0")
            ask(member, "BGREWRITEAOF")
            await_field(member, "persistence", "aof_rewrite_in_progress", "0")
    for member in c.members:
        shown = info(member, "persistence")
        assert (shown["rdb_last_bgsave_status"], shown["aof_last_bgrewrite_status"]) == ("ok", "ok")
        assert info(member, "member")["member_heartbeat"] == "beating"
    assert info(c.master, "master")["master_repairs"] == "0"
    assert_serves(c)


def test_connecting_waits_for_nothing_that_a_script_could_wait_for(server: StartServer, url: str) -> None:
    member = server(IN_ETCD)
    with Talk(member) as talk:
        assert talk("MULTI") == b"OK"
        assert talk("MEMBER.CONNECT_TO_MASTER", url) == b"QUEUED"
        (reply,) = talk("EXEC")
        assert isinstance(reply, Error)
        assert "inside MULTI" in reply
    assert not beats(url, member)
    assert state(member).role == "alone"


def test_connecting_often_leaves_one_heartbeat(server: StartServer, url: str) -> None:
    member = server(IN_ETCD)
    with Talk(member) as one, Talk(member) as other:
        for _ in range(10):
            one.send("MEMBER.CONNECT_TO_MASTER", url)
            other.send("MEMBER.CONNECT_TO_MASTER", f"{url}-other")
        assert [talk.receive() for _ in range(10) for talk in (one, other)] == [b"OK"] * 20
    last = info(member, "member")["member_master"]
    rest = {url, f"{url}-other"} - {last}
    wait_until(lambda: beats(last, member) and not any(beats(each, member) for each in rest), 20)
