# SPDX-License-Identifier: Apache-2.0
"""The connections that a master holds while another one leads, and its term that begins on them."""

import psutil

from chainredis.local_cluster.etcd_cluster import EtcdChain
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from etcd.conftest import QUICK, StartChain
from etcd.test_heartbeats import await_heartbeats
from etcd.test_masters import leads, others
from integration.helpers import ask, assert_serves, await_chain, await_repair, paused


def local_ports(master: Server, member: Server) -> set[int]:
    """Of the master's connections to the member's server; the lifeline leads to another port."""
    found = psutil.Process(master.pid).net_connections("tcp")
    return {each.laddr.port for each in found if each.status == "ESTABLISHED" and each.raddr.port == member.port}


def await_standing(master: Server, chain: EtcdChain) -> None:
    wait_until(lambda: [len(local_ports(master, member)) for member in chain.members] == [1] * len(chain.members), 10)


def takes_over(chain: EtcdChain, standby: Server) -> None:
    """The leader is killed, and the standby removes the tail."""
    chain.leader().kill()
    wait_until(lambda: ask(standby, "MASTER.REMOVE", "127.0.0.1", chain.tail.port) == b"OK", 20)
    chain.members.pop()
    assert_serves(chain)


def test_one_connection_to_each_member_until_the_term_begins(chain: StartChain, url: str) -> None:
    c = chain(3, url=url, masters=2, **QUICK)
    (standby,) = others(c, c.leader())
    await_standing(standby, c)
    before = [local_ports(standby, member) for member in c.members[:2]]
    takes_over(c, standby)
    wait_until(lambda: all(len(local_ports(standby, member)) == 2 for member in c.members), 10)
    for member, ports in zip(c.members, before, strict=True):
        assert ports < local_ports(standby, member), "it polls on the connection that it had"


def test_connections_that_members_have_closed_delay_no_term(chain: StartChain, url: str) -> None:
    """In the moment before: the standby does not know it yet."""
    c = chain(3, url=url, masters=2, **QUICK)
    (standby,) = others(c, c.leader())
    await_standing(standby, c)
    for member in c.members:
        for port in local_ports(standby, member):
            ask(member, "CLIENT", "KILL", "ADDR", f"127.0.0.1:{port}")
    takes_over(c, standby)


def test_a_member_that_was_started_again_is_followed_with_its_new_connection(chain: StartChain, url: str) -> None:
    c = chain(3, url=url, masters=2, **QUICK)
    await_heartbeats(c)
    (standby,) = others(c, c.leader())
    await_standing(standby, c)
    victim = c.members[1]
    victim.kill()
    await_repair(c, victim)
    victim.start()
    await_chain(c, *c.members, victim)
    await_standing(standby, c)
    takes_over(c, standby)


def test_a_leader_that_was_paused_stands_by_again(chain: StartChain, url: str) -> None:
    """Its own sessions end with its term. The new leader has no more connections than any leader."""
    c = chain(3, url=url, masters=2, **QUICK)
    former = c.leader()
    (standby,) = others(c, former)
    await_standing(standby, c)
    with paused(former):
        wait_until(lambda: leads(standby), 20)
    wait_until(lambda: not leads(former), 10)
    await_standing(former, c)
    wait_until(lambda: all(len(local_ports(standby, member)) == 2 for member in c.members), 10)
    assert_serves(c)
