# SPDX-License-Identifier: Apache-2.0
"""Clients with TLS that look for the head by themselves: what members and masters tell them are ports with TLS."""

import asyncio
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from certificates import Certificates, Identity
from chainredis.client import AsyncChain, Chain
from chainredis.local_cluster.cluster import Cluster
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Talk, await_repair
from integration.test_tls_links import by
from servers import needs_tls

pytestmark = needs_tls()


@pytest.fixture
def mine(certificates: Certificates) -> Identity:
    return certificates.identity("client")


@pytest.fixture
def trio(chain: StartChain, certificates: Certificates) -> Cluster:
    return chain(3, commands="all", tls=by(certificates), member_config={"member.cluster-announce": "yes"})


def options(mine: Identity) -> dict[str, Any]:
    return {"ssl": True, **mine.client}


def place(cluster: Cluster, at: int) -> tuple[str, int]:
    endpoint = cluster.endpoint_of(cluster.members[at])
    return endpoint.host, endpoint.port


def lose_the_head(cluster: Cluster) -> None:
    head = cluster.head
    head.kill()
    await_repair(cluster, head)


def test_the_clients_of_this_package(trio: Cluster, mine: Identity) -> None:
    host, port = place(trio, -1)

    async def write(key: str) -> None:
        async with AsyncChain([f"{host}:{port}"], **options(mine)) as client:
            assert await client.set(key, "v")
            assert await client.get(key) == b"v"

    with Chain([f"{host}:{port}"], **options(mine)) as client:
        assert client.incr("n") == 1
        asyncio.run(write("before"))
        lose_the_head(trio)
        assert client.incr("n") == 2
        assert client.get("before") == b"v"
        asyncio.run(write("after"))


def test_a_cluster_client(trio: Cluster, mine: Identity) -> None:
    host, port = place(trio, -1)
    client: Any = RedisCluster(host=host, port=port, **options(mine))
    assert client.set("k", "v")
    assert {node.port for node in client.get_nodes()} == {place(trio, at)[1] for at in range(3)}
    with Talk(trio.endpoint_of(trio.tail), tls=mine) as talk:
        assert talk("SET", "k", "w") == "MOVED 7629 {}:{}".format(*place(trio, 0))
        nodes = talk("CLUSTER", "SHARDS")[0][3]
        assert [dict(zip(node[::2], node[1::2], strict=True))[b"tls-port"] for node in nodes] == [
            place(trio, at)[1] for at in range(3)
        ]
    client.close()


def test_a_client_that_asks_a_sentinel(trio: Cluster, mine: Identity) -> None:
    at = trio.master.link_endpoint
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        [(at.host, at.port)], sentinel_kwargs=options(mine), retry=Retry(NoBackoff(), 0), **options(mine)
    )
    name = Talk(trio.master)("SENTINEL", "MASTERS")[0][1].decode()
    client = sentinel.master_for(name)
    assert client.set("k", "v")
    lose_the_head(trio)

    def writes() -> bool:
        try:
            return bool(client.set("k", "w"))
        except redis.RedisError:
            return False

    wait_until(writes, 20)
    assert sentinel.discover_master(name) == place(trio, 0)
    client.close()
