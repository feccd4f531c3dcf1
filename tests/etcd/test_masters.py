# SPDX-License-Identifier: Apache-2.0
"""Several masters: one leads, the others name it, and one that has lost the lead cannot change anything."""

import contextlib
import threading
import time
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import redis.sentinel

from chainredis.coordinator.commands import Coordinator
from chainredis.etcd.client import Access
from chainredis.etcd.master import EtcdMaster
from chainredis.etcd.url import parse_url
from chainredis.local_cluster.etcd_cluster import EtcdChain
from chainredis.local_cluster.server import Server, module_path
from chainredis.operator.looking import look
from chainredis.protocol.errors import CommandError, Elsewhere
from chainredis.transport.settings import Credentials, PollSettings, Settings
from chainredis.transport.waiting import wait_until
from etcd.conftest import QUICK, StartChain
from integration.conftest import StartServer
from integration.helpers import Error, ask, assert_serves, await_chain, info, paused, savers


def others(chain: EtcdChain, leader: Server) -> list[Server]:
    return [master for master in chain.masters if master is not leader]


def leads(master: Server) -> bool:
    return info(master, "master")["master_leads"] == "1"


def chain_seen_by(master: Server) -> list[int]:
    return [int(name.rpartition(b":")[2]) for name in ask(master, "MASTER.GET_CHAIN")]


def ports(*members: Server) -> list[int]:
    return [member.port for member in members]


def await_seen(master: Server, *members: Server) -> None:
    wait_until(lambda: chain_seen_by(master) == ports(*members), 10)


def await_connected(master: Server) -> None:
    """Wait until the master has a connection to etcd.

    Before that it answers changes with the error of its connection to etcd, although it knows the leader.
    """
    wait_until(lambda: info(master, "master")["master_etcd"] == "connected", 10)


def test_one_leads_and_the_others_send_changes_to_it(chain: StartChain, url: str) -> None:
    c = chain(2, url=url, masters=3)
    leader, spare = c.leader(), c.spare()
    for other in others(c, leader):
        await_seen(other, *c.members)
        assert ask(other, "MASTER.ADD", "127.0.0.1", spare.port) == Error(f"MOVED 0 127.0.0.1:{leader.port}")
        assert info(other, "master")["master_leader"] == f"127.0.0.1:{leader.port}"
        seen = look(other.endpoint, Credentials())
        assert [(master.endpoint, master.leads) for master in seen.masters] == [
            (other.endpoint, False), (leader.endpoint, True),
        ]  # fmt: skip
        assert seen.findings() == []
        assert info(other, "master")["master_state"] == "another master leads"
    c.add(spare)
    assert_serves(c)


def test_each_is_a_sentinel_that_names_the_others(chain: StartChain, url: str) -> None:
    """The chain's name in etcd is the name for clients; all publish what the leader changes."""
    c = chain(2, url=url, masters=3, **QUICK)
    name = parse_url(url).keys.chain
    clients: list[Any] = [redis.Redis(port=master.port, decode_responses=True) for master in c.masters]
    channels = [client.pubsub() for client in clients]
    for channel, master in zip(channels, c.masters, strict=True):
        channel.subscribe("+switch-master")
        channel.get_message(timeout=5)
        await_seen(master, *c.members)
        rest = {other.port for other in others(c, master)}
        wait_until(lambda at=master, rest=rest: sentinels(at, name) == rest, 10)  # type: ignore[misc]
        assert ask(master, "SENTINEL", "CKQUORUM", name).startswith(b"OK 3 usable Sentinels.")
    hosts = [("127.0.0.1", master.port) for master in c.masters]
    sentinel: Any = redis.sentinel.Sentinel(hosts, min_other_sentinels=2)  # type: ignore[no-untyped-call]
    assert sentinel.discover_master(name) == ("127.0.0.1", c.head.port)
    old, new = c.members
    c.remove(old)
    for channel in channels:
        message = channel.get_message(timeout=10)
        assert message
        assert message["data"] == f"{name} 127.0.0.1 {old.port} 127.0.0.1 {new.port}"
        channel.close()
    c.masters[0].kill()
    left = {master.port for master in c.masters[1:]}
    for master in c.masters[1:]:
        wait_until(lambda at=master: sentinels(at, name) | {at.port} == left, 30)  # type: ignore[misc]
        assert ask(master, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name) == [b"127.0.0.1", b"%d" % new.port]


def sentinels(master: Server, name: str) -> set[int]:
    return {int(fields[fields.index(b"port") + 1]) for fields in ask(master, "SENTINEL", "SENTINELS", name)}


def test_another_leads_when_the_leader_is_killed_and_repairs_what_happened_meanwhile(
    chain: StartChain, url: str
) -> None:
    c = chain(3, url=url, masters=2, **QUICK)
    leader = c.leader()
    c.members[1].kill()
    leader.kill()
    (other,) = others(c, leader)
    await_seen(other, c.head, c.tail)
    c.members.pop(1)
    assert c.leader() is other
    assert_serves(c)
    leader.start()
    assert ask(leader, "MASTER.REMOVE", "127.0.0.1", c.tail.port) == Error(f"MOVED 0 127.0.0.1:{other.port}")


def test_a_master_that_is_restarted_goes_on_at_once(chain: StartChain, url: str) -> None:
    """A new process answers at the address of the former leader, so the former leader's lease need not run out."""
    c = chain(2, url=url, timeout_ms=60_000)
    c.master.kill()
    c.master.start()
    began = time.monotonic()
    c.add(c.spare())
    assert time.monotonic() - began < 30
    assert_serves(c)


def test_a_leader_that_was_paused_changes_nothing_when_it_wakes(chain: StartChain, url: str) -> None:
    c = chain(3, url=url, masters=2, **QUICK)
    leader = c.leader()
    (other,) = others(c, leader)
    with paused(leader):
        wait_until(lambda: leads(other), 20)
        assert ask(other, "MASTER.REMOVE", "127.0.0.1", c.tail.port) == b"OK"
        removed = c.members.pop()
    wait_until(lambda: info(leader, "master")["master_leads"] == "0", 10)
    await_connected(leader)
    # Its connections to etcd may have been cut while it slept: then the answer says so, and that nothing was done.
    moved = Error(f"MOVED 0 127.0.0.1:{other.port}")
    wait_until(lambda: ask(leader, "MASTER.ADD", "127.0.0.1", removed.port) == moved, 10)
    await_seen(leader, *c.members)
    assert_serves(c)


@pytest.mark.parametrize(("how", "masters"), [("kill", 2), ("pause", 3)])
def test_the_leader_is_lost_amid_an_addition(chain: StartChain, url: str, how: str, masters: int) -> None:
    """The chain shows whether the new member was added. Each member of the chain serves."""
    c = chain(2, url=url, masters=masters, member_config={"rdb-key-save-delay": "1000000"}, **QUICK)
    for number in range(20):  # makes the copy take 20 seconds, were it not ended
        assert ask(c.head, "MEMBER.PUT", f"key-{number}", number) == number
    leader, spare = c.leader(), c.spare()
    replies: list[object] = []

    def add() -> None:
        try:
            replies.append(ask(leader, "MASTER.ADD", "127.0.0.1", spare.port))
        except redis.RedisError as error:
            replies.append(error)

    adding = threading.Thread(target=add)
    adding.start()
    wait_until(lambda: "copying" in info(leader, "master")["master_addition"], 10)
    leader.kill() if how == "kill" else leader.pause()
    wait_until(lambda: any(leads(other) for other in others(c, leader)), 20)
    other = next(filter(leads, others(c, leader)))
    assert ask(c.tail, "CONFIG", "SET", "rdb-key-save-delay", 0) == b"OK"
    for child in savers(c.tail):
        child.kill()
    leader.resume()
    adding.join(60)
    assert not adding.is_alive()
    wait_until(lambda: info(other, "master")["master_state"] == "serving", 20)
    if spare.port not in chain_seen_by(other):
        assert replies and replies != [b"OK"]
        assert ask(other, "MASTER.ADD", "127.0.0.1", spare.port) == b"OK"
    await_chain(EtcdView(c, other), *c.members, spare)
    c.members.append(spare)
    assert_serves(c)


class EtcdView(EtcdChain):
    """The chain as one of the masters sees it."""

    def __init__(self, chain: EtcdChain, master: Server) -> None:
        self.__dict__.update(chain.__dict__)
        self.master = master


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "takes one argument"),
        ("127.0.0.1:1/chain more", "takes one argument"),
        ("127.0.0.1:1", "names no chain: host:port[,host:port…]/chain_name is wanted"),
        ("127.0.0.1/chain", "is not host:port"),
        ("127.0.0.1:x/chain", "is not a number between 1 and 65535"),
    ],
)
def test_a_master_with_a_wrong_url_is_not_loaded_and_says_why(server: StartServer, arguments: str, says: str) -> None:
    """The server itself stays up, and has no process beside it that only a loaded module needs."""
    plain = server(enable_module_command="yes")
    reply = ask(plain, "MODULE", "LOAD", module_path("etcd/libetcd_master.so").as_posix(), *arguments.split())
    assert isinstance(reply, Error)
    assert says in plain.log()
    assert ask(plain, "PING") == b"PONG"
    assert psutil.Process(plain.pid).children() == []


Kind = TypeVar("Kind", bound=EtcdMaster)


class Clumsy(EtcdMaster):
    """A master whose first attempt to begin to lead fails."""

    failures = 1

    def _begin(self, term: int) -> Coordinator:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("can't start new thread")
        return super()._begin(term)


def in_this_process(kind: type[Kind], url: str, folder: Path, number: int) -> Kind:
    settings = Settings(folder, f"{number:040x}", 1 + number, polling=lambda: PollSettings(100, 2000))
    parsed = parse_url(url)
    return kind(parsed, Access(parsed.endpoints), settings)


def test_nobody_is_sent_to_a_leader_that_has_ended(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change waits at a master that stands for the ended leader's place, until somebody has it."""
    change = "MASTER.REMOVE", [b"127.0.0.1", b"1"]
    with contextlib.closing(in_this_process(EtcdMaster, url, tmp_path, 1)) as leader:
        wait_until(lambda: leader.status()["leads"] == 1, 10)
        with contextlib.closing(in_this_process(EtcdMaster, url, tmp_path, 2)) as standby:
            wait_until(lambda: standby.status()["state"] == "another master leads", 10)
            with pytest.raises(Elsewhere):
                standby.execute(*change)
            ended = standby._leader()
            assert ended
            # Nobody takes the place as yet, and the lease is not revoked.
            monkeypatch.setattr(standby._election, "succeed", lambda _: None)
            monkeypatch.setattr("chainredis.etcd.master.SUCCESSION_S", 60)
            monkeypatch.setattr("chainredis.etcd.master.PATIENCE_S", 0.05)
            standby._succeed(ended)
            with pytest.raises(CommandError, match="no master leads at the moment, one will soon"):
                standby.execute(*change)


def test_a_master_that_cannot_begin_to_lead_does_not_keep_the_lead(url: str, tmp_path: Path) -> None:
    """Another master leads. A single master tries again, and shows the error meanwhile."""
    with contextlib.closing(in_this_process(Clumsy, url, tmp_path, 1)) as clumsy:
        wait_until(lambda: "can't start new thread" in str(clumsy.status()["state"]), 10)
        assert clumsy.status()["leads"] == 0
        wait_until(lambda: clumsy.status()["leads"] == 1, 10)
        assert clumsy.status()["state"] == "no chain"
        clumsy.failures = 1
        clumsy._election.resign(clumsy._term, "the test says so")
        with contextlib.closing(in_this_process(EtcdMaster, url, tmp_path, 2)) as other:
            wait_until(lambda: other.status()["leads"] == 1, 10)
            wait_until(lambda: clumsy.status()["state"] in ("another master leads", "no chain"), 10)
