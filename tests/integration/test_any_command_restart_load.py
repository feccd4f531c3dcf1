# SPDX-License-Identifier: Apache-2.0
"""Members with append-only files are killed and come back while several clients write in several databases."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from random import Random

import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS, EVERY_SECOND
from integration.helpers import Talk, ask, await_repair, chain_of, running, state
from integration.test_any_command import assert_same, client, start
from integration.test_any_command_restart import come_back

DATABASES = 3


class Pushes:
    """Clients that push unique elements, each client in all databases in turn, at whoever is the head."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.acknowledged: set[str] = set()

    def push(self, name: str, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            with contextlib.suppress(redis.RedisError, IndexError):
                head = chain_of(self._cluster)[0]
                connections = [client(head, db=each, socket_timeout=5, retry=None) for each in range(DATABASES)]
                while not stop.is_set():
                    number += 1
                    element = f"{name}-{number}"
                    connections[number % DATABASES].rpush("list", element)
                    self.acknowledged.add(element)

    def jobs(self, round_: int) -> list[Callable[[threading.Event], None]]:
        return [partial(self.push, f"{name}-{round_}") for name in "abc"]

    def check(self) -> None:
        """No acknowledged element is lost, and none is there twice."""
        head = self._cluster.head
        found = [each for database in range(DATABASES) for each in client(head, db=database).lrange("list", 0, -1)]
        assert len(found) == len(set(found))
        assert self.acknowledged <= set(found)


@pytest.mark.parametrize("files", [ALWAYS, EVERY_SECOND], ids=["always", "everysec"])
def test_one_after_another_is_killed_under_load(chain: StartChain, files: dict[str, str]) -> None:
    cluster = start(chain, 3, **files)
    pushes, random = Pushes(cluster), Random(1)
    for round_ in range(5):
        with running(*pushes.jobs(round_)):
            begin = len(pushes.acknowledged)
            wait_until(lambda begin=begin: len(pushes.acknowledged) > begin + 100, 30)  # type: ignore[misc]
            victim = random.choice(cluster.members)
            if random.random() < 0.5:
                ask(victim, "BGREWRITEAOF")
            victim.kill()
            await_repair(cluster, victim)
            come_back(cluster, victim)
        assert_same(cluster)
        pushes.check()


def test_clients_of_a_head_with_a_file_are_paused(chain: StartChain) -> None:
    """What was executed in the pass of the pause gets its position when the pause is over."""
    cluster = start(chain, 3, **ALWAYS)
    with Talk(cluster.head) as talk:
        replies = talk.pipeline([("INCR", "counter"), ("CLIENT", "PAUSE", 300, "WRITE"), ("INCR", "counter")])
    assert replies == [1, b"OK", 2]
    assert_same(cluster)
    before = state(cluster.head).applied
    for member in cluster.members:
        member.kill()
        member.start()
        assert state(member).applied >= before
