# SPDX-License-Identifier: Apache-2.0
"""Chains whose etcd is stopped, restarted, slow, full, compacted, or has lost servers."""

import itertools
import subprocess
from collections.abc import Callable
from contextlib import closing
from threading import Event

from chainredis.etcd.client import Connection
from chainredis.etcd.url import Keys
from chainredis.local_cluster.etcd_cluster import EtcdChain, EtcdServer, etcd_program, url_of
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from etcd.conftest import QUICK, StartChain
from etcd.test_masters import await_seen, leads
from integration.helpers import Error, ask, assert_serves, await_repair, chain_of, info, paused, running, settled


def etcdctl(server: EtcdServer, *words: str) -> str:
    command = [str(etcd_program("etcdctl")), "--endpoints", str(server.endpoint), "--command-timeout=20s", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return str(done.stdout)


def writes(head: Server, key: str) -> Callable[[Event], None]:
    """A job that writes until it is told to stop, and fails if a write fails."""

    def write(stop: Event) -> None:
        with head.client() as client:
            for number in itertools.count():
                if stop.is_set():
                    return
                client.execute_command("MEMBER.PUT", key, number)

    return write


def test_the_chain_serves_on_while_etcd_is_stopped_and_all_comes_back_by_itself(
    chain: StartChain, etcd: EtcdServer
) -> None:
    c = chain(3, url=url_of("chain", etcd), **QUICK)
    with running(writes(c.head, "written")):
        etcd.stop()
        wait_until(lambda: not leads(c.master), 20)
        wait_until(lambda: info(c.tail, "member")["member_lease_ms"] == "0", 20)
        written = ask(c.tail, "READ", "written")
        wait_until(lambda: ask(c.tail, "READ", "written") != written, 20)
        reply = ask(c.master, "MASTER.REMOVE", "127.0.0.1", c.tail.port)
        assert isinstance(reply, Error)
        assert reply.startswith("ERR etcd cannot be reached")
        assert chain_of(c) == c.members
        assert info(c.head, "member")["member_heartbeat"].startswith("etcd cannot be reached")
        etcd.start()
        wait_until(lambda: leads(c.master), 20)
        wait_until(lambda: info(c.master, "master")["master_heartbeats"] == "3", 20)
    assert chain_of(c) == c.members
    c.tail.kill()
    await_repair(c, c.tail)
    c.add(c.spare())
    assert_serves(c)


def test_who_dies_while_etcd_is_away_is_taken_out_when_it_is_back(chain: StartChain, etcd: EtcdServer) -> None:
    c = chain(3, url=url_of("chain", etcd))
    etcd.stop()
    c.members[1].kill()
    etcd.start()
    await_repair(c, c.members[1])
    assert_serves(c)


def test_an_etcd_that_is_killed_and_comes_back_at_once_is_hardly_noticed(chain: StartChain, etcd: EtcdServer) -> None:
    c = chain(3, url=url_of("chain", etcd))
    epoch = info(c.master, "master")["master_epoch"]
    term = info(c.master, "master")["master_term"]
    etcd.kill()
    etcd.start()
    c.remove(c.members[1])
    assert info(c.master, "master")["master_term"] == term
    assert int(info(c.master, "master")["master_epoch"]) == int(epoch) + 1
    assert_serves(c)


def test_an_etcd_that_hangs(chain: StartChain, etcd: EtcdServer) -> None:
    """Connections stay up and nothing is answered: no request may wait for ever."""
    c = chain(2, url=url_of("chain", etcd), **QUICK)
    etcd.pause()
    wait_until(lambda: not leads(c.master), 20)
    assert_serves(c)
    etcd.resume()
    wait_until(lambda: leads(c.master), 20)
    c.add(c.spare())
    assert_serves(c)


def test_an_etcd_that_is_slow_costs_nobody_anything_but_time(chain: StartChain, etcd: EtcdServer) -> None:
    """The etcd server stops for a moment again and again, as with a slow disk."""
    c = chain(3, url=url_of("chain", etcd))
    term = info(c.master, "master")["master_term"]

    def hiccup(stop: Event) -> None:
        while not stop.wait(0.1):
            etcd.pause()
            stop.wait(0.4)
            etcd.resume()

    with running(hiccup, writes(c.head, "written")):
        for _ in range(2):
            c.remove(c.members[1])
            c.add(c.spare())
    assert info(c.master, "master")["master_term"] == term
    assert info(c.master, "master")["master_repairs"] == "0"
    assert_serves(c)


def test_one_of_three_etcd_servers_is_lost(chain: StartChain, three: list[EtcdServer]) -> None:
    """Each of the servers is lost in turn, including etcd's leader and the server to which the master talks."""
    c = chain(3, url=url_of("chain", *three), timeout_ms=10_000, heartbeat="1 10")
    with running(writes(c.head, "written")):
        for lost in three:
            lost.kill()
            c.remove(c.members[1])
            c.add(c.spare())
            lost.start()
    assert_serves(c)
    assert info(c.master, "master")["master_repairs"] == "0"


def test_two_of_three_etcd_servers_are_lost(chain: StartChain, three: list[EtcdServer]) -> None:
    c = chain(2, url=url_of("chain", *three), **QUICK)
    for lost in three[:2]:
        lost.kill()
    wait_until(lambda: not leads(c.master), 20)
    assert_serves(c)
    for lost in three[:2]:
        lost.spawn()
    wait_until(lambda: leads(c.master), 30)
    c.add(c.spare())
    assert_serves(c)


def test_deletions_are_not_missed_in_a_history_that_was_compacted_away(chain: StartChain, etcd: EtcdServer) -> None:
    """The master hangs while a heartbeat ends, and etcd compacts the history that tells of it."""
    c = chain(3, url=url_of("chain", etcd), masters=2, **QUICK)
    wait_until(lambda: info(c.leader(), "master")["master_heartbeats"] == "3", 10)
    standby = next(master for master in c.masters if master is not c.leader())
    with paused(standby):
        c.members[1].kill()
        await_seen(c.leader(), c.head, c.tail)
        gone = Keys("chain").heartbeats
        with closing(Connection(etcd.access, 5)) as connection:
            wait_until(lambda: len(connection.read(gone).entries) == 2, 20)
            newest = connection.read(gone).revision
        etcdctl(etcd, "compact", str(newest))
    wait_until(lambda: info(standby, "master")["master_heartbeats"] == "2", 20)
    wait_until(lambda: info(standby, "master")["master_members"] == "2", 10)


def test_a_full_etcd_is_said(chain: StartChain, etcd: EtcdServer) -> None:
    c = chain(2, url=url_of("chain", etcd))
    etcdctl(etcd, "put", "filling", "x")
    # etcd raises this alarm when its disk or its database is full.
    with closing(Connection(etcd.access, 5)) as connection:
        raise_alarm(connection)
        reply = ask(c.leader(), "MASTER.REMOVE", "127.0.0.1", c.tail.port)
        assert isinstance(reply, Error)
        assert "give it room, then etcdctl alarm disarm" in reply
    assert_serves(c)
    etcdctl(etcd, "alarm", "disarm")
    c.remove(c.tail)
    assert_serves(c)


def raise_alarm(connection: Connection) -> None:
    connection._connected().create_alarm()


def test_a_view_that_is_garbage_is_said_and_nothing_is_overwritten(chain: StartChain, etcd: EtcdServer) -> None:
    c = chain(2, url=url_of("chain", etcd), masters=2)
    good = etcdctl(etcd, "get", "chain/view", "--print-value-only")
    etcdctl(etcd, "put", "chain/view", "garbage")
    reply = ask(c.leader(), "MASTER.REMOVE", "127.0.0.1", c.tail.port)
    assert isinstance(reply, Error)
    wait_until(lambda: "chain/view in etcd is damaged" in info(c.leader(), "master")["master_state"], 10)
    assert etcdctl(etcd, "get", "chain/view", "--print-value-only").strip() == "garbage"
    assert_serves(c)
    etcdctl(etcd, "put", "chain/view", good)
    wait_until(lambda: info(c.leader(), "master")["master_state"] == "serving", 10)
    c.add(c.spare())
    assert_serves(c)


def test_a_leader_key_that_is_garbage_or_gone_makes_another_election(chain: StartChain, etcd: EtcdServer) -> None:
    c = chain(2, url=url_of("chain", etcd), masters=2)
    for damage in (["put", "chain/leader", "garbage"], ["del", "chain/leader"]):
        term = info(c.leader(), "master")["master_term"]
        etcdctl(etcd, *damage)
        wait_until(lambda term=term: info(c.leader(), "master")["master_term"] != term, 10)  # type: ignore[misc]
        c.add(c.spare())
    settled(c)
    assert_serves(c)


def test_masters_that_start_before_etcd_wait_for_it(chain: StartChain, etcd: EtcdServer) -> None:
    url = url_of("chain", etcd)
    etcd.stop()
    c = EtcdChain(0, url=url, folder=etcd.folder.parent / "early")
    try:
        c.start()
        reply = ask(c.master, "MASTER.ADD", "127.0.0.1", 1)
        assert isinstance(reply, Error)
        assert reply.startswith("ERR etcd cannot be reached")
        etcd.start()
        wait_until(lambda: leads(c.master), 20)
    finally:
        c.stop()
