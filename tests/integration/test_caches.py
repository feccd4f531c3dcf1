# SPDX-License-Identifier: Apache-2.0
"""Clients that cache what they read (CLIENT TRACKING) keep nothing that the chain has overwritten unheard."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Error, Talk, ask, await_repair, member_number, paused
from integration.test_gate_relay import connected, words

WRITES = 30
LONG_NAME = "n" * 10_000


class Cache:
    """A client that has read `key` once, and hears when it changes."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._connection = connection
        self._seen = b""
        connection.sendall(words("HELLO", 3, "SETNAME", name) + words("CLIENT", "TRACKING", "ON"))
        self._read_until(b"+OK\r\n")

    def fill(self) -> None:
        self._connection.sendall(words("GET", "key") + words("ECHO", "filled"))
        self._read_until(b"filled\r\n")

    def hears_of_a_change(self) -> None:
        self._read_until(b"invalidate\r\n*1\r\n$3\r\nkey\r\n")

    def is_closed(self) -> bool:
        """Waits for that."""
        while piece := self._connection.recv(1000):
            self._seen += piece
        return True

    def _read_until(self, end: bytes) -> None:
        while not self._seen.endswith(end):
            piece = self._connection.recv(1000)
            assert piece, "closed"
            self._seen += piece


@contextmanager
def caching(member: Server, name: str = "cache") -> Iterator[Cache]:
    with connected(member) as connection:
        cache = Cache(connection, name)
        cache.fill()
        yield cache


def start(chain: StartChain, kind: str = "all") -> Cluster:
    cluster = chain(3, commands=kind)
    update = "SET" if kind == "all" else "MEMBER.PUT"
    assert not isinstance(ask(cluster.head, update, "key", "old"), Error)
    return cluster


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("kind", ["all", "put"])
def test_a_removed_member_closes_its_caching_clients(chain: StartChain, place: int, kind: str) -> None:
    cluster = start(chain, kind)
    member = cluster.members[place]
    with caching(member) as cache:
        cluster.remove(member)
        assert cache.is_closed()


def test_a_caching_client_may_have_any_name(chain: StartChain) -> None:
    cluster = start(chain)
    with caching(cluster.tail, LONG_NAME) as cache:
        cluster.remove(cluster.tail)
        assert cache.is_closed()


def test_a_member_that_is_cut_off_closes_its_caching_clients_alone(chain: StartChain) -> None:
    """Others may go on without it when its lease has run out. Clients that cache nothing wait."""
    cluster = start(chain)
    head, middle, tail = cluster.members
    with ExitStack() as stack:
        plain, told, redirecting = (stack.enter_context(Talk(tail)) for _ in range(3))
        assert plain("PING") == b"PONG"
        assert told("SUBSCRIBE", "__redis__:invalidate")[0] == b"subscribe"
        number = next(line for line in ask(tail, "CLIENT", "LIST", "TYPE", "PUBSUB").split() if line.startswith(b"id="))
        assert redirecting("CLIENT", "TRACKING", "ON", "REDIRECT", number.removeprefix(b"id=")) == b"OK"
        cache = stack.enter_context(caching(tail))
        cluster.master.kill()
        with paused(head), paused(middle):
            assert cache.is_closed()
            for closed in (told, redirecting):
                with pytest.raises(redis.ConnectionError):
                    closed.receive()
        assert plain("PING") == b"PONG"


def test_a_member_that_hung_closes_its_caching_clients_when_it_goes_on(chain: StartChain) -> None:
    cluster = start(chain)
    middle = cluster.members[1]
    with caching(middle) as cache:
        with paused(middle):
            await_repair(cluster, middle)
        assert cache.is_closed()


def test_without_a_master_caches_stay_and_hear_of_changes(chain: StartChain) -> None:
    """The members prove to each other that they are all in the newest view."""
    cluster = start(chain)
    with ExitStack() as stack:
        caches = [stack.enter_context(caching(member)) for member in cluster.members]
        cluster.master.kill()
        wait_until(lambda: all(member_number(member, "lease_ms") == 0 for member in cluster.members), 20)
        for number in range(WRITES):
            assert ask(cluster.head, "SET", "key", number) == b"OK"
            for cache in caches:
                cache.hears_of_a_change()
                cache.fill()
            time.sleep(0.1)     # so that the writes take longer than a member lives on its last proof


@pytest.mark.parametrize("place", range(3))
def test_a_swap_of_databases_closes_caching_clients(chain: StartChain, place: int) -> None:
    """Redis tells no client that caches of SWAPDB, whichever command it is a part of."""
    cluster = start(chain)
    with Talk(cluster.head) as writer:
        with caching(cluster.members[place]) as cache:
            assert writer("SWAPDB", 0, 1) == b"OK"
            assert cache.is_closed()
        with caching(cluster.members[place]) as cache:
            assert writer("EVAL", "return redis.call('SWAPDB', 0, 1)", 0) == b"OK"
            assert cache.is_closed()
