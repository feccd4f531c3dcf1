# SPDX-License-Identifier: Apache-2.0
"""A member that died or hung while others live returns by itself, unless an operator removed it."""

import pytest

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Error, ask, assert_serves, await_chain, await_repair, info, member_number, settled

PLACES = ["head", "middle", "tail"]
BY_ITSELF = {"master.auto-return": "yes"}


@pytest.mark.parametrize("place", PLACES)
def test_one_that_kept_its_data_gets_what_it_missed(chain: StartChain, place: str) -> None:
    cluster = chain(3, master_config=BY_ITSELF, member_config={"appendonly": "yes"})
    assert ask(cluster.head, "MEMBER.PUT", "k", "before") == 0
    settled(cluster)
    victim = cluster.members[PLACES.index(place)]
    victim.kill()
    await_repair(cluster, victim)
    assert ask(cluster.head, "MEMBER.PUT", "k", "after") == 1
    victim.start()
    await_chain(cluster, *cluster.members, victim)
    assert (member_number(victim, "joins_by_log"), member_number(victim, "joins_by_copy")) == (1, 0)
    assert ask(victim, "READ", "k") == b"after"
    assert ask(cluster.master, "MASTER.ADD", victim.endpoint.host, victim.port) == b"OK"  # as earlier scripts do
    assert_serves(cluster)


def test_one_without_its_data_is_copied_and_one_that_hung_too_takes_part_again(chain: StartChain) -> None:
    cluster = chain(3, master_config=BY_ITSELF)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    lost, hung = cluster.head, cluster.tail
    lost.kill()
    await_repair(cluster, lost)
    lost.start()
    await_chain(cluster, *cluster.members, lost)
    hung.pause()
    await_repair(cluster, hung)
    hung.resume()
    await_chain(cluster, *cluster.members, hung)
    assert ask(hung, "READ", "k") == b"v"
    assert_serves(cluster)


def missed_by(server: Server) -> str:
    return info(server, "master")["master_fallen"]


def test_neither_one_that_was_removed_nor_any_when_that_is_turned_off(chain: StartChain) -> None:
    cluster = chain(3, master_config=BY_ITSELF)
    removed, dead = cluster.members[:2]
    cluster.remove(removed)
    assert ask(cluster.master, "CONFIG", "SET", "master.auto-return", "no") == b"OK"
    dead.kill()
    await_repair(cluster, dead)
    wait_until(lambda: missed_by(cluster.master) == str(dead.endpoint), 5)
    dead.start()
    repairs = info(cluster.master, "master")["master_epoch"]
    assert isinstance(ask(dead, "READ", "k"), Error)
    assert ask(cluster.master, "CONFIG", "SET", "master.auto-return", "yes") == b"OK"
    cluster.master.call("MASTER.REFRESH_TAIL")
    wait_until(lambda: info(cluster.master, "master")["master_epoch"] != repairs, 10)
    await_chain(cluster, *cluster.members, dead)
    wait_until(lambda: missed_by(cluster.master) == "", 5)
    assert_serves(cluster)
