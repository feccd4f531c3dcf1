# SPDX-License-Identifier: Apache-2.0
"""The master dies: the chain continues to serve, and the next master knows the chain."""

import pytest
import redis

from chainredis.local_cluster.ports import HOST
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    ask,
    assert_serves,
    await_lifelines,
    await_repair,
    member_number,
    running,
    state,
    stored_view,
)
from integration.traffic import await_progress, check, traffic


def test_the_chain_outlives_its_master(chain: StartChain) -> None:
    """The master is killed and stays away for long. When it returns, it knows the chain and the epoch."""
    cluster = chain(3)
    clients = traffic(cluster)
    with running(*clients) as futures:
        await_progress(clients, futures)
        before = stored_view(cluster)
        cluster.master.kill()
        await_progress(clients, futures)
        cluster.master.start()
        await_progress(clients, futures)
        names = [str(member.endpoint).encode() for member in cluster.members]
        assert ask(cluster.master, "MASTER.GET_CHAIN") == names
        assert stored_view(cluster) == before
        cluster.grow()
        assert stored_view(cluster).epoch == before.epoch + 1
    check(cluster, clients)


@pytest.mark.parametrize("round_number", range(4))
def test_a_master_killed_while_it_adds_leaves_a_chain(chain: StartChain, round_number: int) -> None:
    """The master is killed at any moment. The restarted master completes or cancels the addition and accepts others."""
    cluster = chain(2)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", number, "x" * 500, "me") for number in range(20_000)])
    newcomer = cluster.spare()
    with Talk(cluster.master, 60) as adding:
        adding.send("MASTER.ADD", HOST, newcomer.port)
        adding.is_silent(0.02 * (round_number + 1))
        cluster.master.kill()
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "while the master is dead"), int)
    cluster.master.start()

    def added() -> bool:
        reply = ask(cluster.master, "MASTER.ADD", HOST, newcomer.port)
        return reply == b"OK" or (isinstance(reply, Error) and "already in the chain" in reply)

    wait_until(added, 60, 0.5)
    cluster.members.append(newcomer)
    wait_until(lambda: state(newcomer).serving, 30)
    assert ask(newcomer, "READ", "k") == b"while the master is dead"
    assert_serves(cluster)


def test_a_dead_member_without_a_master_gives_clear_errors(chain: StartChain) -> None:
    """No client hangs: writes end as unknown at their timeout, and connections to a dead tail are refused."""
    cluster = chain(3, member_config={"member.write-timeout": "500"}, master_config=PATIENT)
    head, middle, tail = cluster.members
    wait_until(lambda: member_number(tail, "lease_ms") > 0, 20)  # its first lease comes with a heartbeat
    await_lifelines(cluster)  # without one, its death is noticed only when that lease has run out
    cluster.master.pause()
    middle.kill()
    assert ask(head, "MEMBER.PUT", "k", "v").startswith("UNKNOWN ")
    assert ask(head, "READ", "k") == Error(f"MOVED 0 {tail.endpoint}")
    assert ask(tail, "MEMBER.PUT", "k", "v") == Error(f"MOVED 0 {head.endpoint}")
    assert ask(tail, "READ", "k") is None  # its lease is still good
    tail.kill()
    with pytest.raises(redis.ConnectionError):
        ask(tail, "READ", "k")
    cluster.master.resume()
    await_repair(cluster, middle, tail)
    assert ask(head, "READ", "k") == b"v"
    assert_serves(cluster)
