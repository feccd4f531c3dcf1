# SPDX-License-Identifier: Apache-2.0
"""Heartbeats: what ends them, what does not, and what their end causes."""

from pathlib import Path
from shutil import copy
from time import sleep

import pytest

from chainredis.etcd.client import Access, Connection
from chainredis.etcd.url import parse_url
from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.etcd_cluster import EtcdChain
from chainredis.local_cluster.server import Server, module_path
from chainredis.transport.waiting import wait_until
from etcd.conftest import QUICK, StartChain
from integration.conftest import StartServer
from integration.helpers import (
    Error,
    Talk,
    ask,
    assert_serves,
    await_chain,
    await_repair,
    chain_of,
    info,
    paused,
    state,
)

IN_ETCD = "libmember.so 1 1 2"
PATIENCE_S = 60


def heartbeats(url: str) -> dict[str, int]:
    """The lease of each heartbeat, by the last part of its key in etcd."""
    where = parse_url(url)
    connection = Connection(access_to(url), PATIENCE_S)
    try:
        found = connection.read(where.keys.heartbeats).entries
    finally:
        connection.close()
    return {key.removeprefix(where.keys.heartbeats): entry.lease for key, entry in found.items()}


def access_to(url: str) -> Access:
    return Access(parse_url(url).endpoints)


def beats(url: str, server: Server) -> bool:
    return state(server).run_id in heartbeats(url)


def await_heartbeats(c: EtcdChain) -> None:
    wait_until(lambda: int(info(c.leader(), "master")["master_heartbeats"]) == len(c.members), 10)


def test_every_member_has_a_key_that_hangs_on_a_lease(chain: StartChain, url: str) -> None:
    c = chain(3, url=url)
    await_heartbeats(c)
    assert set(heartbeats(url)) == {state(member).run_id for member in c.members}
    assert all(heartbeats(url).values())
    for member in c.members:
        shown = info(member, "member")
        assert (shown["member_master"], shown["member_heartbeat"]) == (url, "beating")
        assert shown["member_leader"] == f"127.0.0.1:{c.master.port}"


def test_a_killed_member_is_not_waited_for(chain: StartChain, url: str) -> None:
    """The chain is repaired while the key of the killed member still exists."""
    c = chain(3, url=url, heartbeat="20 60", timeout_ms=60_000)
    await_heartbeats(c)
    dead = state(c.members[1]).run_id
    c.members[1].kill()
    await_repair(c, c.members[1])
    assert dead in heartbeats(url)
    assert_serves(c)


def test_a_member_that_hangs_is_taken_out(chain: StartChain, url: str) -> None:
    c = chain(3, url=url, **QUICK)
    await_heartbeats(c)
    victim = c.tail
    with paused(victim):
        await_repair(c, victim)
        assert_serves(c)
    c.add(victim)
    assert_serves(c)


def test_the_heartbeat_stops_with_the_event_loop(server: StartServer, url: str) -> None:
    """A separate thread sends the heartbeat, but only while the event loop turns."""
    member = server("libmember.so 1 1 2", busy_reply_threshold="100")
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", url) == b"OK"
    wait_until(lambda: beats(url, member), 10)
    run_id = state(member).run_id
    with Talk(member, 60) as stuck:
        stuck.send("EVAL", "while true do end", 0)
        wait_until(lambda: run_id not in heartbeats(url), 30)
        assert ask(member, "SCRIPT", "KILL") == b"OK"
        assert isinstance(stuck.receive(), Error)
    wait_until(lambda: run_id in heartbeats(url), 10)


def test_a_pause_shorter_than_the_timeout_is_no_reason(server: StartServer, url: str) -> None:
    member = server("libmember.so 1 1 20", enable_debug_command="yes")
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", url) == b"OK"
    wait_until(lambda: beats(url, member), 10)
    before = heartbeats(url)
    assert ask(member, "DEBUG", "SLEEP", "3") == b"OK"
    sleep(1.5)
    assert heartbeats(url) == before


def test_heartbeats_go_on_after_a_restart(chain: StartChain, url: str) -> None:
    """The restarted member gets no new MEMBER.CONNECT_TO_MASTER, and returns to the chain by itself."""
    c = chain(2, url=url)
    await_heartbeats(c)
    victim = c.tail
    victim.kill()
    await_repair(c, victim)
    victim.start()
    wait_until(lambda: state(victim).run_id in heartbeats(url), 20)
    shown = info(victim, "member")
    assert shown["member_master"] == url
    await_chain(c, *c.members, victim)
    assert_serves(c)


def test_a_lease_that_is_gone_is_replaced(server: StartServer, url: str) -> None:
    member = server(IN_ETCD)
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", url) == b"OK"
    run_id = state(member).run_id
    wait_until(lambda: run_id in heartbeats(url), 10)
    lease = heartbeats(url)[run_id]
    connection = Connection(access_to(url), PATIENCE_S)
    connection.revoke(lease)
    connection.close()
    wait_until(lambda: heartbeats(url).get(run_id, lease) != lease, 10)


def test_another_connect_replaces_the_former(server: StartServer, url: str) -> None:
    member = server(IN_ETCD)
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", f"{url}-a") == b"OK"
    wait_until(lambda: beats(f"{url}-a", member), 10)
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", f"{url}-b") == b"OK"
    wait_until(lambda: beats(f"{url}-b", member) and not beats(f"{url}-a", member), 10)
    assert info(member, "member")["member_master"] == f"{url}-b"


def test_chains_of_different_names_share_an_etcd(chain: StartChain, url: str) -> None:
    first, second = chain(2, url=f"{url}-a"), chain(2, url=f"{url}-b")
    assert_serves(first)
    assert_serves(second)
    first.tail.kill()
    await_repair(first, first.tail)
    assert [server.port for server in chain_of(second)] == [member.port for member in second.members]


# ------------------------------------------------------------------------- arguments of MEMBER.CONNECT_TO_MASTER


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("127.0.0.1:2379", "names no chain"),
        ("127.0.0.1:2379/", "names no chain"),
        ("127.0.0.1/name", "is not host:port"),
        ("127.0.0.1:0/name", "port"),
        ("127.0.0.1:2379/a/b", "the chain's name"),
        ("127.0.0.1:2379/a b", "the chain's name"),
        (":2379/name", "is not host:port"),
        (b"\xff\xfe:1/\xff", "the chain's name"),
        ("", "names no chain"),
        ("x" * 2000, "too long"),
    ],
)
def test_a_wrong_url_is_an_error_that_says_what_is_wanted(server: StartServer, typed: str | bytes, says: str) -> None:
    member = server(IN_ETCD)
    reply = ask(member, "MEMBER.CONNECT_TO_MASTER", typed)
    assert isinstance(reply, Error)
    assert says in reply
    assert ask(member, "MEMBER.PUT", "a", "1") == 0


def test_an_etcd_that_is_not_there_is_said_and_waited_for(server: StartServer) -> None:
    member = server(IN_ETCD)
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", "127.0.0.1:1/chain") == b"OK"
    wait_until(lambda: "cannot be reached at 127.0.0.1:1" in info(member, "member")["member_heartbeat"], 10)
    assert "cannot be reached" in member.log()
    assert ask(member, "MEMBER.PUT", "a", "1") == 0


def test_a_member_of_a_plain_master_notes_where_that_is(server: StartServer) -> None:
    member = server(MEMBER)
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", "127.0.0.1", 6369) == b"OK"
    assert info(member, "member")["member_master"] == "127.0.0.1:6369"
    assert ask(member, "MEMBER.CONNECT_TO_MASTER", "127.0.0.1:6368") == b"OK"
    assert info(member, "member")["member_master"] == "127.0.0.1:6368"
    for wrong in (["127.0.0.1"], ["127.0.0.1", "none"], ["127.0.0.1:1/chain"], ["127.0.0.1:70000"], [":1"]):
        assert "libmember.so 1" in ask(member, "MEMBER.CONNECT_TO_MASTER", *wrong)


def test_without_its_library_the_member_serves_on(tmp_path: Path, server: StartServer, url: str) -> None:
    """An operator has copied libmember.so without libheartbeat.so."""
    copy(module_path(MEMBER), tmp_path)
    lonely = server(f"{tmp_path / MEMBER} 1")
    assert "libheartbeat.so belongs beside libmember.so" in ask(lonely, "MEMBER.CONNECT_TO_MASTER", url)
    assert ask(lonely, "MEMBER.PUT", "a", "1") == 0
