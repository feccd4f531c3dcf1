# SPDX-License-Identifier: Apache-2.0
"""The append-only file under load: acknowledged updates survive a restart (design.md, "Restart")."""

from collections.abc import Iterator
from itertools import count
from threading import Event

import pytest
import redis

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.append_only import data
from integration.conftest import StartChain
from integration.disks import ALWAYS, EVERY_SECOND, without_master
from integration.helpers import (
    Error,
    Talk,
    Word,
    ask,
    assert_serves,
    await_all,
    info,
    running,
    settled,
    state,
)

KEYS = 200


class Load:
    """Pipelines of updates at the head. Every key gets rising numbers and is sometimes deleted.

    acknowledged: the newest sn that is known to be committed.
    """

    def __init__(self, head: Server, client: str, depth: int = 20) -> None:
        self.head = head
        self.client = client
        self.depth = depth
        self.acknowledged = -1
        self.numbers = count()

    def updates(self) -> Iterator[tuple[Word, ...]]:
        for number in (next(self.numbers) for _ in range(self.depth)):
            key = f"{self.client}-{number % KEYS}"
            yield ("MEMBER.DEL", key) if number % 7 == 0 else ("MEMBER.PUT", key, number)

    def __call__(self, stop: Event) -> None:
        try:
            with Talk(self.head) as talk:
                while not stop.is_set():
                    for reply in talk.pipeline(list(self.updates())):
                        assert isinstance(reply, int) or reply.startswith("UNKNOWN "), reply
                        if isinstance(reply, int):
                            self.acknowledged = max(self.acknowledged, reply)
        except (redis.ConnectionError, redis.TimeoutError):
            return  # the head was killed


@pytest.mark.parametrize(("size", "rewriting"), [(1, False), (2, False), (3, False), (1, True), (2, True)])
def test_what_was_acknowledged_is_there_after_all_were_killed(chain: StartChain, size: int, rewriting: bool) -> None:
    cluster = without_master(chain(size, member_config=ALWAYS))
    loads = [Load(cluster.head, client) for client in "abc"]
    with running(*loads):
        wait_until(lambda: all(load.acknowledged > 500 for load in loads), 60)
        for member in cluster.members if rewriting else ():
            ask(member, "CONFIG", "SET", "rdb-key-save-delay", 10_000_000)
            assert not isinstance(ask(member, "BGREWRITEAOF"), Error)
        seen = loads[0].acknowledged
        wait_until(lambda: loads[0].acknowledged > seen + 200, 60)
        for member in cluster.members:
            member.kill()
    acknowledged = max(load.acknowledged for load in loads)
    for member in cluster.members:
        member.start()
    states = [state(member) for member in cluster.members]
    assert all(after.applied >= acknowledged and after.role == "removed" for after in states)
    assert all(after.record_durable and after.record_epoch == size for after in states)
    longest = max(after.applied for after in states)
    assert len({str(data(member)) for member in cluster.members if state(member).applied == longest}) == 1


def test_a_killed_chain_goes_on_with_everything(chain: StartChain) -> None:
    cluster = chain(3, member_config=ALWAYS)
    load = Load(cluster.head, "a")
    with running(load):
        wait_until(lambda: load.acknowledged > 500, 60)
        for server in cluster.servers:
            server.kill()
    for server in cluster.servers:
        server.start()
    await_all(cluster, timeout_s=60)
    assert settled(cluster) >= load.acknowledged
    assert len({str(data(member)) for member in cluster.members}) == 1
    assert_serves(cluster)


@pytest.mark.parametrize("fsync", [ALWAYS, EVERY_SECOND], ids=["always", "everysec"])
def test_the_file_is_rewritten_under_load(chain: StartChain, fsync: dict[str, str]) -> None:
    cluster = chain(2, member_config=fsync)
    loads = [Load(cluster.head, client) for client in "ab"]
    with running(*loads):
        for rewrites in range(1, 4):
            for member in cluster.members:
                before = int(info(member, "persistence")["aof_rewrites"])
                wait_until(lambda member=member: not isinstance(ask(member, "BGREWRITEAOF"), Error), 30)  # type: ignore[misc]
                wait_until(
                    lambda member=member, before=before: rewritten(member, before), 30  # type: ignore[misc]
                )
            wait_until(lambda so_far=rewrites * 200: loads[0].acknowledged > so_far, 60)  # type: ignore[misc]
    settled(cluster)
    without_master(cluster)
    expected = [(state(member).applied, data(member)) for member in cluster.members]
    for member in cluster.members:
        with pytest.raises(redis.ConnectionError):
            ask(member, "SHUTDOWN")
        wait_until(lambda member=member: not member.running, 20)  # type: ignore[misc]
        member.start()
    assert [(state(member).applied, data(member)) for member in cluster.members] == expected


def rewritten(member: Server, before: int) -> bool:
    persistence = info(member, "persistence")
    assert persistence["aof_last_bgrewrite_status"] == "ok"
    return int(persistence["aof_rewrites"]) > before and persistence["aof_rewrite_in_progress"] == "0"
