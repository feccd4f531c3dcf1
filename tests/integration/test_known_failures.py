# SPDX-License-Identifier: Apache-2.0
"""Failures of the project that this one began with, and failures that Jepsen found in comparable systems.

Each test has the name of one failure. It injects the cause and asserts that no effect is seen.
"""

import contextlib
from collections.abc import Callable
from threading import Event

import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    ask,
    await_chain,
    chain_of,
    member_number,
    paused,
    running,
    state,
)

KEYS = 200


@pytest.fixture
def written(chain: StartChain) -> Callable[[int], Cluster]:
    """`written(3)` starts a chain with committed keys."""

    def start(size: int) -> Cluster:
        cluster = chain(size)
        with Talk(cluster.head) as talk:
            talk.pipeline([("MEMBER.PUT", f"k{n}", n, "nobody") for n in range(KEYS)])
            assert talk("MEMBER.WAIT", KEYS - 1) == KEYS - 1
        return cluster

    return start


def assert_nothing_is_lost(members: list[Server]) -> None:
    """Assert that every key of the beginning is at the members, and that new writes are committed."""
    with Talk(members[-1]) as talk:
        assert talk.pipeline([("READ", f"k{n}") for n in range(KEYS)]) == [b"%d" % n for n in range(KEYS)]
    sn = ask(members[0], "MEMBER.PUT", "later", "x")
    assert isinstance(sn, int), sn
    assert ask(members[-1], "READ", "later") == b"x"
    for member in members:
        assert ask(member, "GET", "k7") == b"7"


# ------------------------------------------------------------------------------------- failures of the first project


def test_head_and_tail_killed_together(written: Callable[[int], Cluster]) -> None:
    cluster = written(4)
    first, second, third, fourth = cluster.members
    first.kill()
    fourth.kill()
    await_chain(cluster, second, third)
    assert_nothing_is_lost([second, third])


def test_the_middle_killed_then_another(written: Callable[[int], Cluster]) -> None:
    cluster = written(4)
    first, second, third, fourth = cluster.members
    second.kill()
    await_chain(cluster, first, third, fourth)
    assert_nothing_is_lost([first, third, fourth])
    third.kill()
    await_chain(cluster, first, fourth)
    assert_nothing_is_lost([first, fourth])


def test_the_tail_restarted_empty_on_its_port_before_anyone_noticed(written: Callable[[int], Cluster]) -> None:
    cluster = written(3)
    head, middle, tail = cluster.members
    with paused(cluster.master):
        tail.kill()
        tail.start()
        for command in (["READ", "k1"], ["MEMBER.PUT", "k1", "wrong"], ["MEMBER.DEL", "k1"]):
            assert isinstance(ask(tail, *command), Error)
        with Talk(head) as talk:
            talk.send("MEMBER.PUT", "during", "x")
            assert talk.is_silent()
            assert ask(tail, "GET", "during").startswith("MASTERDOWN ")
            cluster.master.resume()
            assert isinstance(talk.receive(), int)
    await_chain(cluster, head, middle)
    assert_nothing_is_lost([head, middle])
    assert isinstance(ask(tail, "READ", "k1"), Error)
    cluster.command("MASTER.ADD", HOST, tail.port)
    assert_nothing_is_lost([head, middle, tail])


def test_the_tail_stopped_during_an_addition(written: Callable[[int], Cluster]) -> None:
    cluster = written(3)
    head, middle, tail = cluster.members
    newcomer = cluster.spare()
    tail.client().config_set("rdb-key-save-delay", 10_000)  # makes the copy take two seconds
    with Talk(cluster.master, 60) as master, paused(tail):
        tail.resume()
        master.send("MASTER.ADD", HOST, newcomer.port)
        wait_until(lambda: state(newcomer).join == "copying", 10)
        tail.pause()
        assert master.receive() == b"OK", "it goes on with the middle as the tail"
        await_chain(cluster, head, middle, newcomer)
        assert_nothing_is_lost([head, middle, newcomer])
    # When it wakes, it accepts the view that the chain has now.
    wait_until(lambda: state(tail).role == "removed", 20)
    assert isinstance(ask(tail, "READ", "later"), Error)
    assert isinstance(ask(tail, "MEMBER.PUT", "k1", "wrong"), Error)
    tail.client().config_set("rdb-key-save-delay", 0)
    cluster.command("MASTER.ADD", HOST, tail.port)
    assert_nothing_is_lost([head, middle, newcomer, tail])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_master_restarted_after_a_death_it_did_not_see(written: Callable[[int], Cluster], place: int) -> None:
    cluster = written(3)
    survivors = [member for member in cluster.members if member is not cluster.members[place]]
    cluster.master.kill()
    cluster.members[place].kill()
    cluster.master.start()
    await_chain(cluster, *survivors)
    assert_nothing_is_lost(survivors)


# ------------------------------------------------------------------- failures that Jepsen found in comparable systems


@pytest.mark.parametrize("config", [{}, {"appendonly": "yes"}], ids=["empty", "aof"])
def test_empty_or_stale_reads_after_a_restart(chain: StartChain, config: dict[str, str]) -> None:
    """The data of a restarted process may be old, so it answers no READ before it is in a view again."""
    cluster = chain(3, member_config=config)
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "old"), int)
    tail = cluster.tail
    tail.kill()
    await_chain(cluster, *cluster.members[:2])
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "newest"), int)
    tail.start()
    assert isinstance(ask(tail, "READ", "k"), Error)
    cluster.command("MASTER.ADD", HOST, tail.port)
    assert ask(tail, "READ", "k") == b"newest"


def test_a_definite_error_for_a_write_that_then_commits(chain: StartChain) -> None:
    """The write timeout ends the wait, not the write, so the reply is UNKNOWN."""
    cluster = chain(3, master_config=PATIENT, member_config={"member.write-timeout": "300"})
    with paused(cluster.members[1]):
        answer = ask(cluster.head, "MEMBER.PUT", "k", "v")
        assert isinstance(answer, Error) and answer.startswith("UNKNOWN "), answer
    wait_until(lambda: ask(cluster.tail, "READ", "k") == b"v", 10)


def test_total_loss_on_a_fail_over(written: Callable[[int], Cluster]) -> None:
    """All members with the data die while an empty server is being added. That server must not become the chain."""
    cluster = written(2)
    newcomer = cluster.spare()
    cluster.tail.client().config_set("rdb-key-save-delay", 1_000_000)
    with Talk(cluster.master, 60) as master:
        master.send("MASTER.ADD", HOST, newcomer.port)
        wait_until(lambda: state(newcomer).join == "copying", 10)
        for member in cluster.members:
            member.kill()
        answer = master.receive()
        assert isinstance(answer, Error), answer
    assert newcomer not in chain_of(cluster)
    for command in (["READ", "k1"], ["MEMBER.PUT", "k1", "wrong"]):
        assert isinstance(ask(newcomer, *command), Error)


def test_split_brain_after_pause_and_resume(written: Callable[[int], Cluster]) -> None:
    """The head or the tail is stopped, taken out, and woken, while clients still talk to it."""
    cluster = written(4)
    head, second, third, tail = cluster.members
    with Talk(head) as at_head, Talk(tail) as at_tail, paused(head), paused(tail):
        at_head.send("MEMBER.PUT", "k1", "of-the-old-head")
        at_tail.send("READ", "k2")
        await_chain(cluster, second, third)
        assert isinstance(ask(second, "MEMBER.PUT", "k2", "newest"), int)
        head.resume()
        tail.resume()
        answers = [at_head.receive(), at_tail.receive(), at_head("MEMBER.PUT", "k1", "again"), at_tail("READ", "k2")]
        assert all(isinstance(answer, Error) for answer in answers), answers
    assert ask(third, "READ", "k1") == b"1"
    assert ask(third, "READ", "k2") == b"newest"


def test_reads_of_nil_during_a_membership_change(written: Callable[[int], Cluster]) -> None:
    """A client reads all the time, at any member that answers READ."""
    cluster = written(3)
    answers: set[str] = set()

    def read(stop: Event) -> None:
        talks = {server.port: Talk(server) for server in cluster.servers[1:]}
        while not stop.is_set():
            for port, talk in talks.items():
                with contextlib.suppress(redis.ConnectionError):
                    if talk("MEMBER.VIEW")[0] == 0:
                        continue  # the server is in no chain so far and serves its own data
                    answer = talk("READ", "k7")
                    answers.add("error" if isinstance(answer, Error) else repr(answer))
                    continue
                talks[port] = Talk(next(server for server in cluster.servers if server.port == port))
        for talk in talks.values():
            talk.close()

    newcomer = cluster.spare()
    with running(read):
        for _ in range(3):
            cluster.add(newcomer)
            cluster.remove(cluster.members[0])
            newcomer = removed(cluster)
    assert answers == {"error", "b'7'"}


def removed(cluster: Cluster) -> Server:
    """A running server that is in no view."""
    return next(server for server in cluster.servers[1:] if server.running and server not in cluster.members)


def test_a_retried_write_applied_twice(written: Callable[[int], Cluster]) -> None:
    """Links break under load, so that members send updates again that have arrived. Each update counts once."""
    cluster = written(3)
    last = KEYS - 1

    def write(stop: Event) -> None:
        nonlocal last
        with Talk(cluster.head, 60) as talk:
            while not stop.is_set():
                sns = talk.pipeline([("MEMBER.PUT", "counter", last + 1 + n, "nobody") for n in range(500)])
                assert sns == list(range(last + 1, last + 501))
                last += 500
            assert talk("MEMBER.WAIT", last, 30_000) >= last

    def links_broke_amid_batches() -> bool:
        for member in cluster.members:
            kill_peers(member)
        return sum(member_number(member, "resent") for member in cluster.members) > 0

    with running(write):
        wait_until(links_broke_amid_batches, 30)
    assert [state(member).applied for member in cluster.members] == [last] * 3
    assert {ask(member, "GET", "counter") for member in cluster.members} == {b"%d" % last}


def kill_peers(member: Server) -> None:
    """Close the connections that other members have made to this one."""
    clients = ask(member, "CLIENT", "LIST").decode().splitlines()
    for line in clients:
        fields = dict(part.split("=", 1) for part in line.split(" ") if "=" in part)
        if fields.get("cmd", "").startswith("chain.") and fields["cmd"] != "chain.watch":
            ask(member, "CLIENT", "KILL", "ID", fields["id"])
