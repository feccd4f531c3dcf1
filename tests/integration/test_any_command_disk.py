# SPDX-License-Identifier: Apache-2.0
"""In a chain of all commands: nothing leaves a member before its position is on its disk, and full disks."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path

import pytest

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS, EVERY_SECOND, without_master
from integration.helpers import Talk, ask, info, member_number, state
from integration.test_any_command import DEBUG, assert_same, client, start
from integration.test_aof_order import answers
from integration.test_full_disk import LimitedCluster, buffered, limit_files


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nothing_is_committed_before_it_is_on_each_disk(chain: StartChain, place: int) -> None:
    """A member is killed while it writes its file: the others have the effect, show it to nobody, and it has lost it.

    Redis gives its replicas, and so the head's tap, nothing before it has written its own file.
    """
    cluster = start(chain, 3, **ALWAYS)
    assert client(cluster.head).incr("counter") == 1
    assert_same(cluster)
    without_master(cluster)
    before, member = state(cluster.tail).applied, cluster.members[place]
    others = cluster.members[:place] + cluster.members[place + 1 :]
    ask(member, "DEBUG", "AOF-FLUSH-SLEEP", 30_000_000)  # microseconds before each write
    with Talk(cluster.head) as writer, Talk(others[-1]) as reader:
        writer.send("INCR", "counter")
        wait_until(lambda: not answers(member), 20)
        wait_until(lambda: all((state(each).applied > before) == (place > 0) for each in others), 20)
        reader.send("GET", "counter")
        assert place == 0 or reader.is_silent()
        assert all(state(each).committed <= before for each in others)
        member.kill()
    member.start()
    assert state(member).applied == before


def test_each_update_is_on_every_disk_when_it_is_acknowledged(chain: StartChain) -> None:
    """All members are killed right after the reply: each alone could form the chain again."""
    cluster = start(chain, 3, **ALWAYS)
    for member in cluster.members:
        assert member_number(member, "waits_for_disk") == 1 and state(member).record_durable
    for number in range(20):
        assert client(cluster.head, db=number % 2).rpush("list", number)
    acknowledged = state(cluster.head).committed
    without_master(cluster)
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
        after = state(member)
        assert after.applied >= acknowledged and after.record_durable
        assert ask_all(member) == 20


def test_reads_go_on_in_a_long_pause_of_writes(chain: StartChain) -> None:
    """Redis sends PINGs meanwhile, whose positions cannot be recorded before the pause ends."""
    cluster = start(chain, 2, **ALWAYS, **{"repl-ping-replica-period": "1"})
    with Talk(cluster.head) as client, Talk(cluster.head) as operator:
        assert client("SET", "key", "1") == b"OK"
        assert operator("MEMBER.UNHELD") == operator("CLIENT", "PAUSE", 60_000, "WRITE") == b"OK"
        wait_until(lambda: b"uncommitted_bytes:0" not in operator("INFO", "member"), 20)
        assert client("GET", "key") == b"1"
        client.send("INCR", "key")
        assert client.is_silent()
        assert operator("CLIENT", "UNPAUSE") == b"OK"
        assert client.receive() == 2


def ask_all(server: object) -> int:
    """How many elements the lists of both databases have at a member in no view."""
    total = 0
    for database in (0, 1):
        with client(server, db=database) as each:  # type: ignore[arg-type]
            each.config_set("member.serve-removed-data", "yes")
            total += int(each.llen("list"))
    return total


@pytest.mark.parametrize("place", [1, 2])
def test_a_follower_whose_disk_is_full_holds_everything_back(tmp_path: Path, place: int) -> None:
    """Its file is not acknowledged before it can be written again; then writes go on."""
    with LimitedCluster(3, commands="all", folder=tmp_path, member_config={**EVERY_SECOND, **DEBUG}) as cluster:
        member = cluster.members[place]
        limit_files(member, 100_000)
        write_until_it_is_held(cluster.head, member)
        address = (cluster.head.endpoint.host, cluster.head.endpoint.port)
        with socket.create_connection(address) as writer:
            writer.settimeout(0.3)
            writer.sendall(b"SET key new\r\n")
            with pytest.raises(TimeoutError):
                writer.recv(100)
            limit_files(member, -1)
            writer.settimeout(20)
            assert writer.recv(100) == b"+OK\r\n"
        wait_until(lambda: buffered(member) == 0, 10)
        assert_same(cluster)


def write_until_it_is_held(head: Server, full: Server) -> None:
    """The full disk is noticed in a tick, and what comes after that is not acknowledged."""
    with Talk(head) as writer, Talk(full) as operator:
        assert operator("MEMBER.UNHELD") == b"OK"
        for number in itertools.count():
            writer.send("SET", f"key-{number % 100}", "x" * 10_000)
            while writer.is_silent():
                if b"aof_last_write_status:err" in operator("INFO", "persistence"):
                    return
            assert writer.receive() == b"OK"


def test_updates_count_for_save_points(chain: StartChain) -> None:
    cluster = start(chain, 2, save="1 100")
    head = client(cluster.head)
    for number in range(150):
        head.set(f"key-{number}", number)
    for member in cluster.members:
        wait_until(lambda member=member: info(member, "persistence")["rdb_saves"] != "0", 20)  # type: ignore[misc]
