# SPDX-License-Identifier: Apache-2.0
"""Members of chains of all commands that restart with an append-only file or an RDB."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind, Member
from chainredis.transport.waiting import wait_until
from integration.append_only import append, file_of
from integration.conftest import StartChain, StartServer
from integration.disks import ALWAYS, EVERY_SECOND, restart
from integration.helpers import (
    OWN_RUN_ID,
    Error,
    Talk,
    ask,
    await_all,
    await_chain,
    await_repair,
    await_written,
    become_chain,
    info,
    member_number,
    proven,
    running,
    state,
    unheld,
)
from integration.test_any_command import assert_same, client, start, write_each_type

FILES = pytest.mark.parametrize("files", [ALWAYS, EVERY_SECOND], ids=["always", "everysec"])


def come_back(cluster: Cluster, member: Server) -> None:
    """Start a member that has been killed, and add it again."""
    member.start()
    cluster.add(member)
    await_chain(cluster, *cluster.members)


def test_a_restarted_member_says_of_writes_that_it_is_in_no_chain(chain: StartChain) -> None:
    """And not that they are refused for good: its clients find another member."""
    cluster = start(chain, 1, **ALWAYS)
    cluster.master.kill()
    restart(cluster.head)
    with Talk(cluster.head) as talk:
        for words in (["SET", "k", "v"], ["MEMBER.PUT", "k", "v"]):
            assert str(talk(*words)).startswith(("ERR this member is in no chain at present", "READONLY"))


@pytest.mark.parametrize("files", [ALWAYS, EVERY_SECOND, {"save": "3600 1"}], ids=["always", "everysec", "rdb"])
def test_what_a_former_head_did_last_is_of_no_later_view(server: StartServer, files: dict[str, str]) -> None:
    """It executes a write and is taken out in one pass, before its tap reads. Its disk must not call the write one of
    the new view, in which others write in its place: it would come back by log, with other data than theirs.
    """
    one = server(MEMBER, **{"member.commands": "all", **files})
    view = become_chain(one, Kind.ALL)
    with Talk(one) as talk:
        wait_until(lambda: talk("SET", "k", "v") == b"OK", 20)
    wait_until(lambda: state(one).committed == state(one).applied, 20)
    before = state(one).applied
    other = Member(one.endpoint.host, one.endpoint.host, 1, OWN_RUN_ID)
    next_view = replace(view, epoch=2, members=(other,))
    link = proven(one, view)
    talk = Talk.over(one, link)
    talk.send_all([("SET", "k", "of nobody else"), ("CHAIN.ADOPT", *next_view.wire())])
    assert talk.receive() == b"OK"
    assert talk.receive()[:2] == [b"ADOPTED", 2]
    link.close()
    assert state(one).applied == before
    one.stop()
    one.start()
    found = state(one)
    assert found.applied > before
    assert found.assigned == 1


def positions(cluster: Cluster) -> set[int]:
    return {state(member).applied for member in cluster.members}


@FILES
def test_a_follower_comes_back_by_log(chain: StartChain, files: dict[str, str]) -> None:
    """Its file has the position and the database; writes go on in that database while it is away."""
    cluster = start(chain, 3, **files)
    head = client(cluster.head, db=7)
    write_each_type(head)
    victim = cluster.members[1]
    wait_until(lambda: len(positions(cluster)) == 1, 10)
    await_written(victim)
    victim.kill()
    await_repair(cluster, victim)
    for number in range(100):
        head.incr("counter")
        head.rpush("list", number)
    come_back(cluster, victim)
    assert member_number(victim, "joins_by_log") == 1
    for number in range(100, 200):
        head.rpush("list", number)
    assert_same(cluster)
    assert client(victim, db=7).lrange("list", -200, -1) == [str(number) for number in range(200)]


def test_the_whole_chain_restarts(chain: StartChain) -> None:
    cluster = start(chain, 3, **ALWAYS)
    before = written_in_two_databases(cluster)
    restart_all(cluster)
    assert_is_as_before(cluster, before)


def test_the_whole_chain_restarts_with_files_that_may_lack_a_second(chain: StartChain) -> None:
    """An operator says which member's data counts, and the others join it."""
    cluster = start(chain, 3, **EVERY_SECOND)
    before = written_in_two_databases(cluster)
    await_written(*cluster.members)
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    first, *others = cluster.members
    cluster.members[:] = [first]
    cluster.command("MASTER.FORM", first.endpoint.host, first.endpoint.port)
    for member in others:
        cluster.add(member)
    await_chain(cluster, first, *others)
    assert_is_as_before(cluster, before)


def written_in_two_databases(cluster: Cluster) -> bytes:
    """Write; returns the digest of the data that all members have."""
    for database in (0, 7):
        write_each_type(client(cluster.head, db=database))
        assert client(cluster.head, db=database).get("brief") is None
    assert_same(cluster)
    digest: bytes = ask(cluster.head, "DEBUG", "DIGEST")
    return digest


def assert_is_as_before(cluster: Cluster, digest: bytes) -> None:
    assert_same(cluster)
    assert ask(cluster.head, "DEBUG", "DIGEST") == digest
    assert client(cluster.head, db=7).incr("by-script") == 101
    assert_same(cluster)


def restart_all(cluster: Cluster) -> None:
    """All members are killed at once and come back, in whatever order the master finds them."""
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    await_all(cluster)


def test_no_acknowledged_push_is_lost_or_done_twice(chain: StartChain) -> None:
    """All are killed under load, with `appendfsync always`, again and again."""
    cluster = start(chain, 3, **ALWAYS)
    acknowledged: list[int] = []
    tried: list[int] = []
    for round_ in range(4):

        def push(stop: threading.Event) -> None:
            # A client that repeats a command whose outcome it does not know would push twice.
            head = client(cluster.head, db=len(tried) % 3, retry=Retry(NoBackoff(), 0))
            with contextlib.suppress(redis.RedisError):
                while not stop.is_set():
                    tried.append(len(tried))
                    head.rpush("list", tried[-1])
                    acknowledged.append(tried[-1])

        with running(push):
            begin = len(acknowledged)
            wait_until(lambda begin=begin: len(acknowledged) > begin + 50, 30)  # type: ignore[misc]
            restart_all(cluster)
        assert_same(cluster)
        found = [int(each) for db in range(3) for each in client(cluster.head, db=db).lrange("list", 0, -1)]
        assert len(found) == len(set(found)), round_
        assert set(acknowledged) <= set(found), round_


INCREMENT: tuple[bytes, ...] = (b"INCR", b"counter")
WHOLE = b"*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n"


def with_killed_member(chain: StartChain) -> tuple[Cluster, Server]:
    """A chain whose counter is 100, and a member of it that was killed then, before ten more increments."""
    cluster = start(chain, 3, **EVERY_SECOND)
    head, victim = client(cluster.head), cluster.members[1]
    for _ in range(100):
        head.incr("counter")
    assert_same(cluster)
    await_written(victim)
    victim.kill()
    await_repair(cluster, victim)
    for _ in range(10):
        head.incr("counter")
    return cluster, victim


@pytest.mark.parametrize("tail", [WHOLE, WHOLE[:-5], WHOLE * 1000, b"*1\r\n$5\r\nMULTI\r\n" + WHOLE], ids=[
    "without a position", "torn", "long", "transaction"])  # fmt: skip
def test_what_has_no_position_is_cut_off(chain: StartChain, tail: bytes) -> None:
    cluster, victim = with_killed_member(chain)
    with file_of(victim).open("ab") as file:
        file.write(tail)
    come_back(cluster, victim)
    assert f"{len(tail)} bytes behind the last position are cut off" in victim.log()
    assert member_number(victim, "joins_by_log") == 1
    assert client(victim).get("counter") == "110"
    assert_same(cluster)


def test_a_record_that_was_torn_is_cut_off_with_what_it_covers(chain: StartChain) -> None:
    cluster, victim = with_killed_member(chain)
    file_of(victim).write_bytes(file_of(victim).read_bytes()[:-7])
    come_back(cluster, victim)
    assert client(victim).get("counter") == "110"
    assert_same(cluster)


def test_a_file_without_any_record_has_the_position_of_its_base(chain: StartChain) -> None:
    cluster, victim = with_killed_member(chain)
    whole = file_of(victim).read_bytes()
    file_of(victim).write_bytes(whole[: whole.index(b"CHAIN.RECORD") - 10])
    come_back(cluster, victim)
    assert client(victim).get("counter") == "110"
    assert_same(cluster)


def test_a_damaged_file_is_not_loaded(chain: StartChain) -> None:
    """As with a plain server. When somebody has repaired the file, its beginning counts."""
    cluster, victim = with_killed_member(chain)
    whole = file_of(victim).read_bytes()
    middle = len(whole) // 2
    file_of(victim).write_bytes(whole[:middle] + b"\0" * 100 + whole[middle + 100 :])
    with pytest.raises(LauncherError):
        victim.start()
    assert "is damaged" in victim.log()
    file_of(victim).write_bytes(whole[:middle])
    come_back(cluster, victim)
    assert client(victim).get("counter") == "110"
    assert_same(cluster)


def test_a_position_that_cannot_be_is_not_believed(chain: StartChain) -> None:
    cluster, victim = with_killed_member(chain)
    append(victim, INCREMENT, ("CHAIN.RECORD.EXECUTED", 0, 0))
    come_back(cluster, victim)
    assert (member_number(victim, "joins_by_log"), member_number(victim, "joins_by_copy")) == (0, 1)
    assert client(victim).get("counter") == "110"
    assert_same(cluster)


def test_keys_that_expire_while_a_member_is_away_are_deleted_by_the_head_alone(chain: StartChain) -> None:
    """The head, whose clients are paused, deletes nothing in the meantime."""
    cluster = start(chain, 3, **EVERY_SECOND)
    victim = cluster.members[1]
    with unheld(cluster.head) as talk:
        brief = [("SET", f"brief-{number}", "x", "PX", 1000) for number in range(100)]
        talk.pipeline([("SET", "lasting", "x"), *brief, ("CLIENT", "PAUSE", 100_000, "WRITE")])
        wait_until(lambda: keys_of(victim) == 101, 20)
        await_written(victim)
        victim.kill()
        await_repair(cluster, victim)
        wait_until(lambda: talk("EXISTS", "brief-99") == 0, 20)
        victim.start()
        assert keys_of(victim) == 101
        assert talk("CLIENT", "UNPAUSE") == b"OK"
    cluster.add(victim)
    await_chain(cluster, *cluster.members)
    assert member_number(victim, "joins_by_log") == 1
    wait_until(lambda: keys_of(victim) == 1, 20)
    assert_same(cluster)


def keys_of(server: Server) -> int:
    """How many keys database 0 has, those that have expired and are not deleted included."""
    with unheld(server) as talk:
        keyspace = talk("INFO", "keyspace").decode()
    return int(keyspace.split("db0:keys=")[1].split(",")[0]) if "db0" in keyspace else 0


def test_a_former_head_comes_back_by_log(chain: StartChain) -> None:
    cluster = start(chain, 3, **ALWAYS)
    write_each_type(client(cluster.head, db=7))
    victim = cluster.head
    assert client(victim, db=7).get("brief") is None
    assert_same(cluster)
    time.sleep(0.5)         # an idle head notes which database is selected
    victim.kill()
    await_repair(cluster, victim)
    client(cluster.head, db=7).incr("by-script")
    come_back(cluster, victim)
    assert member_number(victim, "joins_by_log") == 1
    assert client(victim, db=7).get("by-script") == "101"
    assert_same(cluster)


def test_rewrites_and_snapshots_amid_load(chain: StartChain) -> None:
    """A file that is rewritten again and again under load, by a member that is then killed."""
    cluster = start(chain, 3, **EVERY_SECOND)
    victim = cluster.members[1]
    pushed: list[int] = []

    def push(stop: threading.Event) -> None:
        head = client(cluster.head)
        while not stop.is_set():
            pushed.append(len(pushed))
            head.rpush("list", pushed[-1])

    for round_ in range(4):
        with running(push):
            for _ in range(round_ + 1):
                wait_until(lambda: not isinstance(ask(victim, "BGREWRITEAOF"), Error), 30)
                begin = len(pushed)
                wait_until(lambda begin=begin: len(pushed) > begin + 100, 30)  # type: ignore[misc]
            if round_ % 2:
                wait_until(lambda: not isinstance(ask(victim, "BGSAVE", "SCHEDULE"), Error), 30)
            victim.kill()
            await_repair(cluster, victim)
            come_back(cluster, victim)
        assert_same(cluster)
        assert client(cluster.head).lrange("list", 0, -1) == [str(number) for number in pushed]


def test_a_file_that_is_switched_on_at_run_time(chain: StartChain) -> None:
    cluster = start(chain, 3)
    victim = cluster.members[1]
    write_each_type(client(cluster.head, db=3))
    assert ask(victim, "CONFIG", "SET", "appendonly", "yes") == b"OK"
    wait_until(lambda: info(victim, "persistence")["aof_rewrite_in_progress"] == "0", 30)
    victim.config["appendonly"] = "yes"
    time.sleep(0.5)
    victim.kill()
    await_repair(cluster, victim)
    client(cluster.head, db=3).incr("by-script")
    come_back(cluster, victim)
    assert member_number(victim, "joins_by_log") == 1
    assert client(victim, db=3).get("by-script") == "101"
    assert_same(cluster)


def test_a_single_member_loses_nothing_that_it_has_acknowledged(chain: StartChain) -> None:
    cluster = start(chain, 1, **ALWAYS)
    for _ in range(3):
        value = int(client(cluster.head).incr("counter"))
        restart_all(cluster)
        assert client(cluster.head).get("counter") == str(value)


def test_the_configuration_names_no_master_after_a_restart(chain: StartChain, server: StartServer) -> None:
    """CONFIG REWRITE writes the port of the module, which another server may have by then."""
    cluster = start(chain, 2, **EVERY_SECOND)
    client(cluster.head).incr("counter")
    assert_same(cluster)
    victim = cluster.tail
    victim.kill()
    await_repair(cluster, victim)
    stranger = server()
    assert ask(stranger, "SET", "stranger", 1) == b"OK"
    victim.config["replicaof"] = f"127.0.0.1 {stranger.port}"
    come_back(cluster, victim)
    assert client(victim).get("counter") == "1"
    assert info(stranger, "replication")["connected_slaves"] == "0"
