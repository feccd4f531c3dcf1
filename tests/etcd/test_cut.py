# SPDX-License-Identifier: Apache-2.0
"""The network is cut between etcd and one master or member only."""

from collections.abc import Iterator

import pytest

from chainredis.etcd.url import parse_url
from chainredis.local_cluster.etcd_cluster import EtcdServer
from chainredis.transport.waiting import wait_until
from etcd.conftest import QUICK, StartChain
from etcd.test_heartbeats import await_heartbeats
from etcd.test_masters import await_seen, leads
from fault_injection.proxy import Network
from integration.conftest import StartServer
from integration.helpers import Error, ask, assert_serves, await_chain, await_repair, info


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


def test_a_leader_that_is_cut_off_from_etcd_has_stopped_when_another_leads(
    chain: StartChain, server: StartServer, network: Network, shared_etcd: EtcdServer, url: str
) -> None:
    """The former leader still reaches the members."""
    door = network.front(shared_etcd.port)
    c = chain(2, url=f"{door.endpoint}/{parse_url(url).keys.chain}", **QUICK)
    await_heartbeats(c)
    standby = server(
        f"etcd/libetcd_master.so {url}", **{"master.heartbeat-timeout": "2000", "master.heartbeat-interval": "100"}
    )
    door.cut()
    wait_until(lambda: leads(standby), 20)
    refusal = ask(c.master, "MASTER.REMOVE", "127.0.0.1", c.head.port)
    assert isinstance(refusal, Error)
    assert refusal.startswith("ERR etcd cannot be reached")
    assert_serves(c)
    assert ask(standby, "MASTER.REMOVE", "127.0.0.1", c.tail.port) == b"OK"
    c.members.pop()
    door.heal()
    await_seen(c.master, *c.members)
    moved = Error(f"MOVED 0 127.0.0.1:{standby.port}")
    wait_until(lambda: ask(c.master, "MASTER.REMOVE", "127.0.0.1", c.head.port) == moved, 20)
    assert_serves(c)


def test_a_member_that_is_cut_off_from_etcd_leaves_in_order(
    chain: StartChain, network: Network, shared_etcd: EtcdServer, url: str
) -> None:
    c = chain(3, url=url, **QUICK)
    door, stray = network.front(shared_etcd.port), c.members[1]
    assert ask(stray, "MEMBER.CONNECT_TO_MASTER", f"{door.endpoint}/{parse_url(url).keys.chain}") == b"OK"
    wait_until(lambda: info(stray, "member")["member_master"].startswith(str(door.endpoint)), 10)
    await_heartbeats(c)
    door.cut()
    await_repair(c, stray)
    wait_until(lambda: "comes back when etcd has its heartbeat" in info(c.master, "master")["master_waits_for"], 20)
    assert_serves(c)
    door.heal()
    await_chain(c, *c.members, stray)
    assert_serves(c)
