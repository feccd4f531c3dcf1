# SPDX-License-Identifier: Apache-2.0
"""Members of chains of all commands that restart with an append-only file or an RDB."""

from __future__ import annotations

import contextlib
import threading

import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS, EVERY_SECOND
from integration.helpers import ask, await_chain, await_repair, chain_of, member_number, running, state
from integration.test_any_command import assert_same, client, start, write_each_type

FILES = pytest.mark.parametrize("files", [ALWAYS, EVERY_SECOND], ids=["always", "everysec"])


def come_back(cluster: Cluster, member: Server) -> None:
    """Start a member that has been killed, and add it again."""
    member.start()
    cluster.add(member)
    await_chain(cluster, *cluster.members)


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
    wait_until(lambda: len(chain_of(cluster)) == len(cluster.members), 30)
    await_chain(cluster, *chain_of(cluster))


def test_no_acknowledged_push_is_lost_or_done_twice(chain: StartChain) -> None:
    """All are killed under load, with `appendfsync always`, again and again."""
    cluster = start(chain, 3, **ALWAYS)
    acknowledged: list[int] = []
    tried: list[int] = []
    for round_ in range(4):

        def push(stop: threading.Event) -> None:
            head = client(cluster.head, db=len(tried) % 3)
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
