# SPDX-License-Identifier: Apache-2.0
"""Failures that Jepsen found in RedisRaft and in comparable systems, with Redis's own commands.

Each test has the name of one failure, injects the cause, and asserts that no effect is seen. Others of these failures
have tests elsewhere: stale and empty reads after a restart and after a removal in test_any_command_absent.py, split
brain in test_gate_hold.py, writes that are lost with a snapshot or with the log in test_any_command_restart.py.
"""

import contextlib
from threading import Event

import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import PATIENT, Error, Talk, ask, member_number, paused, running, settled, state
from integration.test_known_failures import kill_peers, removed


@pytest.fixture
def cluster(chain: StartChain) -> Cluster:
    """Three members with a key."""
    cluster = chain(3, commands="all")
    assert ask(cluster.head, "SET", "k", "v") == b"OK"
    return cluster


def test_a_definite_error_for_a_write_that_then_commits(chain: StartChain) -> None:
    """The limit for held replies ends the wait and the connection: the client cannot know, and is told nothing."""
    cluster = chain(3, commands="all", master_config=PATIENT, member_config={"member.hold-timeout": "300"})
    with paused(cluster.members[1]), Talk(cluster.head) as writer:
        writer.send("SET", "k", "v")
        with pytest.raises(redis.ConnectionError):
            writer.receive()
    wait_until(lambda: ask(cluster.tail, "GET", "k") == b"v", 10)


def test_total_loss_on_a_fail_over(cluster: Cluster) -> None:
    """All members with the data die while an empty server is being added. That server must not become the chain."""
    newcomer = cluster.spare()
    cluster.tail.client().config_set("rdb-key-save-delay", 10_000_000)
    with Talk(cluster.master, 60) as master:
        master.send("MASTER.ADD", HOST, newcomer.port)
        wait_until(lambda: state(newcomer).join == "copying", 10)
        for member in cluster.members:
            member.kill()
        assert isinstance(master.receive(), Error)
    for command in (["GET", "k"], ["SET", "k", "wrong"], ["EVAL", "return redis.call('GET', 'k')", 0]):
        assert isinstance(ask(newcomer, *command), Error), command


def test_reads_of_nil_during_a_membership_change(cluster: Cluster) -> None:
    """A client asks every member all the time, while members are taken out, emptied by a copy, and added again."""
    answers: set[str] = set()

    def read(stop: Event) -> None:
        while not stop.is_set():
            for server in cluster.servers[1:]:
                with contextlib.suppress(redis.ConnectionError), Talk(server) as talk:
                    if talk("MEMBER.VIEW")[0] == 0:
                        continue  # the server is in no chain so far and serves its own data
                    answer = talk("GET", "k")
                    answers.add("error" if isinstance(answer, Error) else repr(answer))

    newcomer = cluster.spare()
    with running(read):
        for _ in range(3):
            cluster.add(newcomer)
            cluster.remove(cluster.members[0])
            newcomer = removed(cluster)
    assert "b'v'" in answers
    assert answers <= {"error", "b'v'"}


def test_a_retried_write_applied_twice(cluster: Cluster) -> None:
    """Links break under load, so that members send effects again that have arrived. Each effect counts once."""
    last = 0

    def write(stop: Event) -> None:
        nonlocal last
        with Talk(cluster.head, 60) as talk:
            while not stop.is_set():
                assert talk.pipeline([("INCR", "counter")] * 500) == list(range(last + 1, last + 501))
                last += 500

    def links_broke_amid_batches() -> bool:
        for member in cluster.members:
            kill_peers(member)
        return sum(member_number(member, "resent") for member in cluster.members) > 0

    with running(write):
        wait_until(links_broke_amid_batches, 30)
    settled(cluster)
    assert {ask(member, "GET", "counter") for member in cluster.members} == {b"%d" % last}
