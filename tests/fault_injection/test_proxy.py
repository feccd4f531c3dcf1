# SPDX-License-Identifier: Apache-2.0
"""The proxy, in front of a plain server: held bytes arrive later, and no others."""

import asyncio
import socket
from collections.abc import Iterator
from time import monotonic

import pytest
import redis

from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Endpoint
from chainredis.transport.waiting import wait_until
from fault_injection.proxy import Network, Proxy, Way
from integration.conftest import StartServer
from integration.helpers import Talk, ask


@pytest.fixture
def plain(server: StartServer) -> Server:
    return server()


@pytest.fixture
def proxy(plain: Server) -> Iterator[Proxy]:
    with Network() as network:
        yield network.front(plain.port)


def is_open(endpoint: Endpoint) -> bool:
    try:
        with Talk(endpoint) as talk:
            return bool(talk("PING") == b"PONG")
    except redis.ConnectionError:
        return False


def test_a_new_one_listens_at_once(plain: Server) -> None:
    with Network() as network:
        assert all(is_open(network.front(plain.port).endpoint) for _ in range(20))


def test_a_new_one_before_a_server_that_is_down_refuses(plain: Server) -> None:
    plain.kill()
    with Network() as network:
        assert refuses(network.front(plain.port).endpoint)


def test_its_end_closes_connections_that_have_not_reached_the_server() -> None:
    """Or Python complains about them in some later test. The server's backlog has room for the proxy's own one."""
    with socket.create_server((HOST, 0), backlog=0) as full:
        with Network() as network:
            proxy = network.front(full.getsockname()[1])
            client = socket.create_connection((HOST, proxy.port))
            wait_until(lambda: any("_serve" in repr(task) for task in asyncio.all_tasks(network._loop)), 10)
        with client:
            client.settimeout(10)
            assert client.recv(1) == b""


def test_a_connection_that_is_accepted_while_it_hangs_up(proxy: Proxy) -> None:
    client = socket.socket()

    async def hang_up() -> None:
        client.connect((HOST, proxy.port))
        for _ in range(2):      # in the first pass of the loop it is accepted, and in the next one it gets a transport
            await asyncio.sleep(0)
        await proxy._hang_up()

    with client:
        proxy._call(hang_up())
        client.settimeout(10)
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"


def test_everything_goes_through(plain: Server, proxy: Proxy) -> None:
    value = bytes(range(256)) * 100_000
    with Talk(proxy.endpoint) as talk:
        assert talk("SET", "k", value) == b"OK"
        assert talk("GET", "k") == value
    assert ask(plain, "STRLEN", "k") == len(value)


def test_what_is_held_on_the_way_in_arrives_when_it_heals(plain: Server, proxy: Proxy) -> None:
    with Talk(proxy.endpoint) as talk:
        proxy.cut(Way.IN)
        talk.send("INCR", "n")
        assert talk.is_silent()
        assert ask(plain, "GET", "n") is None
        proxy.heal()
        assert talk.receive() == 1


def test_what_is_held_on_the_way_out_was_done(plain: Server, proxy: Proxy) -> None:
    with Talk(proxy.endpoint) as talk:
        proxy.cut(Way.OUT)
        talk.send("INCR", "n")
        wait_until(lambda: ask(plain, "GET", "n") == b"1", 10)
        assert talk.is_silent()
        proxy.heal()
        assert talk.receive() == 1


def test_an_end_is_held_too(plain: Server, proxy: Proxy) -> None:
    """A process that dies behind a cut appears silent, not ended."""
    with Talk(proxy.endpoint) as talk:
        assert talk("PING") == b"PONG"
        proxy.cut()
        plain.kill()
        talk.send("PING")
        assert talk.is_silent()
        proxy.heal()
        with pytest.raises(redis.ConnectionError):
            talk.receive()


def test_it_dies_and_returns_with_its_server(plain: Server, proxy: Proxy) -> None:
    with Talk(proxy.endpoint) as talk:
        plain.kill()
        with pytest.raises(redis.ConnectionError):
            talk.receive()
    wait_until(lambda: refuses(proxy.endpoint), 10)
    plain.start()
    wait_until(lambda: is_open(proxy.endpoint), 10)


def refuses(endpoint: Endpoint) -> bool:
    try:
        Talk(endpoint).close()
    except redis.ConnectionError as error:
        return "refused" in str(error)
    return False


def test_broken_off_and_back(proxy: Proxy) -> None:
    with Talk(proxy.endpoint) as talk:
        assert talk("PING") == b"PONG"
        proxy.break_off()
        with pytest.raises(redis.ConnectionError):
            talk("PING")
    assert is_open(proxy.endpoint)


def test_slow(proxy: Proxy) -> None:
    with Talk(proxy.endpoint) as talk:
        proxy.slow(delay_s=0.1, bytes_per_s=100_000)
        began = monotonic()
        assert talk("SET", "k", b"x" * 50_000) == b"OK"
        assert monotonic() - began > 0.2 + 0.5
        proxy.heal()
        assert talk("PING") == b"PONG"


def test_only_the_peer_that_is_named_is_cut(proxy: Proxy) -> None:
    """The proxy knows the peer by the proof with which members and masters begin."""
    named, other = "a" * 40, "b" * 40
    with Talk(proxy.endpoint) as theirs, Talk(proxy.endpoint) as ours:
        theirs("CHAIN.PROVE", "0" * 64, named)
        ours("CHAIN.PROVE", "0" * 64, other)
        proxy.cut(peer=named)
        assert ours("PING") == b"PONG"
        theirs.send("PING")
        assert theirs.is_silent()
        proxy.break_off(other)
        with pytest.raises(redis.ConnectionError):
            ours("PING")
        proxy.heal()
        assert theirs.receive() == b"PONG"
