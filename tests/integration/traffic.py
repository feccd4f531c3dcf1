# SPDX-License-Identifier: Apache-2.0
"""Clients that write and read while the chain changes, and checks of what they saw."""

import random
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.helpers import (
    Error,
    Talk,
    ask,
    assert_serves,
    settled,
)

KEYS_EACH = 20


def find(cluster: Cluster, place: int) -> Server:
    """The head (place 0) or the tail (place -1), as the master says."""
    text = ask(cluster.master, "MASTER.GET_CHAIN")[place].decode()
    return next(server for server in cluster.servers if str(server.endpoint) == text)


@dataclass
class Writer:
    """Writes rising numbers to its own keys, each after the answer to the one before.

    acknowledged: the newest number that is known to be committed. unknown: later numbers that may survive. writes: how
    many were acknowledged.
    """

    cluster: Cluster
    name: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, list[int]] = field(default_factory=dict)
    writes: int = 0

    def __call__(self, stop: Event) -> None:
        number = 0
        talk = Talk(find(self.cluster, 0))
        while not stop.is_set():
            number += 1
            key = f"{self.name}-{number % KEYS_EACH}"
            reply = talk("MEMBER.PUT", key, number)
            if isinstance(reply, int):
                self.acknowledged[key] = number
                self.writes += 1
                self.unknown.pop(key, None)
                continue
            if reply.startswith("UNKNOWN "):
                self.unknown.setdefault(key, []).append(number)
            else:
                assert reply.startswith(("MOVED ", "ERR ")), reply
            talk.close()
            talk = Talk(find(self.cluster, 0))
        talk.close()
        assert len(self.acknowledged) == KEYS_EACH

    def check(self, server: Server) -> None:
        for key, number in self.acknowledged.items():
            found = int(ask(server, "GET", key))
            assert found == number or found in self.unknown.get(key, []), (server, key, found, number)


@dataclass
class Reader:
    """Reads a writer's keys at the tail. No value may be older than one acknowledged before the READ (rule 4)."""

    cluster: Cluster
    writer: Writer
    reads: int = 0

    def __call__(self, stop: Event) -> None:
        dice = random.Random(self.writer.name)
        talk = Talk(find(self.cluster, -1))
        while not stop.is_set():
            key = f"{self.writer.name}-{dice.randrange(KEYS_EACH)}"
            acknowledged = self.writer.acknowledged.get(key, 0)
            reply = talk("READ", key)
            if isinstance(reply, Error):
                assert reply.startswith(("MOVED ", "ERR ")), reply
                talk.close()
                talk = Talk(find(self.cluster, -1))
                continue
            assert int(reply or 0) >= acknowledged, (key, reply, acknowledged)
            self.reads += 1
        talk.close()
        assert self.reads


def traffic(cluster: Cluster) -> list[Any]:
    writers = [Writer(cluster, f"writer-{number}") for number in range(3)]
    return [*writers, *(Reader(cluster, writer) for writer in writers)]


def await_progress(clients: list[Any], futures: list[Future[Any]]) -> None:
    """Wait until every client has made progress, or has failed."""
    before = [each.writes if isinstance(each, Writer) else each.reads for each in clients]

    def moved() -> bool:
        now = [each.writes if isinstance(each, Writer) else each.reads for each in clients]
        return any(future.done() for future in futures) or all(
            new > old + KEYS_EACH for new, old in zip(now, before, strict=True)
        )

    wait_until(moved, 30)


def check(cluster: Cluster, clients: list[Any]) -> None:
    settled(cluster)
    for client in clients:
        if isinstance(client, Writer):
            for member in cluster.members:
                client.check(member)
    assert_serves(cluster)
