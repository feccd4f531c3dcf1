# SPDX-License-Identifier: Apache-2.0
"""Repairs of the master, on real servers: a member that dies or hangs is taken out, and is harmless when it wakes."""

import itertools
from typing import Any

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    Error,
    Talk,
    ask,
    assert_serves,
    await_answer,
    await_chain,
    await_repair,
    info,
    member_number,
    paused,
    state,
    stored_view,
)

MORE_THAN_SOCKETS_TAKE = 1 << 26
TWO_SECONDS = {"master.heartbeat-timeout": "2000", "master.heartbeat-interval": "100"}


def master_info(cluster: Cluster, name: str) -> str:
    return info(cluster.master, "master")[f"master_{name}"]


# ------------------------------------------------------------------------------------- members that are killed


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_is_killed(chain: StartChain, place: int) -> None:
    """The repair ends long before the heartbeat timeout of 15 s. A write that was under way then has its outcome."""
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    cluster.members[place].kill()
    await_chain(cluster, *(member for member in cluster.members if member.running), timeout_s=10)
    assert ask(cluster.tail, "READ", "k") == b"v"
    assert_serves(cluster)
    wait_until(lambda: master_info(cluster, "repairs") == "1", 5)
    wait_until(lambda: master_info(cluster, "state") == "serving", 5)


@pytest.mark.parametrize("places", [*itertools.combinations(range(4), 2)])
def test_two_are_killed_at_once(chain: StartChain, places: tuple[int, int]) -> None:
    cluster = chain(4)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    victims = [cluster.members[place] for place in places]
    for victim in victims:
        victim.kill()
    await_repair(cluster, *victims)
    assert ask(cluster.tail, "READ", "k") == b"v"
    assert_serves(cluster)


def test_all_but_one_are_killed_one_after_the_other(chain: StartChain) -> None:
    """Each is killed as soon as the death of the one before is known, while the repair is under way."""
    cluster = chain(4)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    survivor = cluster.members[2]
    for victim in (cluster.members[3], cluster.members[0], cluster.members[1]):
        before = stored_view(cluster).epoch
        victim.kill()
        wait_until(lambda before=before: stored_view(cluster).epoch > before, 10)  # type: ignore[misc]
    await_chain(cluster, survivor)
    assert ask(survivor, "READ", "k") == b"v"
    assert_serves(cluster)


# ---------------------------------------------------------------------------------------------------- the master


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_master_is_killed_right_after_a_member(chain: StartChain, place: int) -> None:
    """The restarted master continues the repair, at whatever step it was."""
    cluster = chain(3)
    victim = cluster.members[place]
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    victim.kill()
    cluster.master.kill()
    cluster.master.start()
    await_repair(cluster, victim)
    assert_serves(cluster)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_death_that_the_master_did_not_see(chain: StartChain, place: int) -> None:
    """The master has no proof of the death, so it waits for a lease, but not for the heartbeat timeout."""
    cluster = chain(3)
    victim = cluster.members[place]
    cluster.master.kill()
    victim.kill()
    cluster.master.start()
    await_chain(cluster, *(member for member in cluster.members if member is not victim), timeout_s=10)
    assert_serves(cluster)


def test_a_master_that_was_stopped_itself_takes_nobody_for_dead(chain: StartChain) -> None:
    cluster = chain(3)
    epoch = state(cluster.head).epoch
    with paused(cluster.master):
        await_no_lease(cluster.tail)
    assert_serves(cluster)
    assert master_info(cluster, "repairs") == "0"
    assert state(cluster.head).epoch == epoch


def await_no_lease(tail: Server) -> None:
    wait_until(lambda: member_number(tail, "lease_ms") == 0, 10)


def test_without_a_master_the_tail_asks_the_others(chain: StartChain) -> None:
    """The leases have run out, and READ is answered as long as all members answer (rule 4)."""
    cluster = chain(3, member_config={"member.write-timeout": "500"})
    cluster.master.kill()
    await_no_lease(cluster.tail)
    assert_serves(cluster)
    with paused(cluster.members[1]):
        reply = ask(cluster.tail, "READ", "does-it-serve")
        assert isinstance(reply, Error) and reply.startswith("ERR "), reply
    assert_serves(cluster)


# -------------------------------------------------------------------------------- members that hang or are slow


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_hangs_is_removed_and_does_no_harm_when_it_wakes(chain: StartChain, place: int) -> None:
    cluster = chain(3, master_config=TWO_SECONDS)
    assert ask(cluster.head, "MEMBER.PUT", "k", "old") == 0
    hung = cluster.members[place]
    with Talk(hung) as writer, Talk(hung) as reader, paused(hung):
        writer.send("MEMBER.PUT", "k", "theirs")
        reader.send("READ", "k")
        await_repair(cluster, hung)
        assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "new"), int)
        hung.resume()
        assert isinstance(writer.receive(), Error)
        assert isinstance(reader.receive(), Error)
    wait_until(lambda: state(hung).role == "removed", 10)
    assert ask(cluster.tail, "READ", "k") == b"new"
    cluster.add(hung)
    assert ask(hung, "READ", "k") == b"new"
    assert_serves(cluster)


BUSY = "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 2 do end return 1"


@pytest.mark.parametrize("words", [("DEBUG", "SLEEP", "1.5"), ("EVAL", BUSY, 0)], ids=["sleep", "script"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_slow_one_stays(chain: StartChain, place: int, words: tuple[Any, ...]) -> None:
    cluster = chain(
        3,
        master_config={"master.heartbeat-timeout": "8000", "master.lease": "8000", "master.heartbeat-interval": "100"},
        member_config={"enable-debug-command": "yes", "member.write-timeout": "10000", "busy-reply-threshold": "100"},
    )
    epoch = state(cluster.head).epoch
    with Talk(cluster.members[place]) as slow:
        slow.send(*words)
        if place:
            assert isinstance(ask(cluster.head, "MEMBER.PUT", "key", "value"), int)
        assert not isinstance(slow.receive(), Error)
    assert_serves(cluster)
    assert state(cluster.head).epoch == epoch


@pytest.mark.parametrize("place", [0, 1, 2])
def test_removing_one_that_hangs(chain: StartChain, place: int) -> None:
    """The removal takes as long as the member's lease may last. READs continue unless the tail hangs."""
    cluster = chain(3, master_config=TWO_SECONDS)
    assert ask(cluster.head, "MEMBER.PUT", "k", "old") == 0
    hung, tail = cluster.members[place], cluster.tail
    with paused(hung), Talk(cluster.master, 30) as operator:
        operator.send("MASTER.REMOVE", "127.0.0.1", hung.port)
        wait_until(lambda: master_info(cluster, "leaving") != "", 5)
        if hung is not tail:
            assert ask(tail, "READ", "k") == b"old"
        assert operator.receive() == b"OK"
        cluster.members.remove(hung)
        assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", "new"), int)
    wait_until(lambda: state(hung).role == "removed", 10)
    assert isinstance(ask(hung, "READ", "k"), Error)
    assert_serves(cluster)


# ------------------------------------------------------------------------------------------- members that return


def test_a_member_that_was_away_briefly_gets_only_the_missing_log(chain: StartChain) -> None:
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "k", "before") == 0
    for out in list(cluster.members):
        cluster.remove(out)
        copied, resumed = member_number(out, "joins_by_copy"), member_number(out, "joins_by_log")
        assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", f"without {out.port}"), int)
        cluster.add(out)
        assert member_number(out, "joins_by_log") == resumed + 1
        assert member_number(out, "joins_by_copy") == copied
        assert ask(out, "READ", "k") == f"without {out.port}".encode()
    assert_serves(cluster)


def test_a_member_whose_history_departs_from_the_chains_discards_it(chain: StartChain) -> None:
    """A former head has assigned an sn to an update that no other member has."""
    cluster = chain(3, master_config=TWO_SECONDS)
    head, middle, _ = cluster.members
    with Talk(head) as writer:
        # The master is stopped as well, so that it does not take out a member for its silence, however long this takes.
        with paused(cluster.master), paused(middle):
            assert writer("MEMBER.PUT", "lost", b"x" * MORE_THAN_SOCKETS_TAKE, "nobody") == 0
            head.pause()
        await_repair(cluster, head)
        assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
        head.resume()
    await_answer(lambda: state(head).role == "removed")
    cluster.add(head)
    assert member_number(head, "joins_by_copy") == 1
    assert ask(head, "READ", "lost") is None
    assert ask(head, "READ", "k") == b"v"
    assert_serves(cluster)


def test_refresh_repairs_the_chain_first(chain: StartChain) -> None:
    cluster = chain(3)
    head, middle, tail = cluster.members
    assert ask(cluster.master, "MASTER.REFRESH_HEAD") == str(head.endpoint).encode()
    head.kill()
    tail.kill()
    for command in ("MASTER.REFRESH_HEAD", "MASTER.REFRESH_TAIL"):
        wait_until(lambda command=command: ask(cluster.master, command) == str(middle.endpoint).encode(), 10)  # type: ignore[misc]
    await_chain(cluster, middle)


# -------------------------------------------------------------------------------------------------------- settings


def test_settings_of_the_heartbeat_change_while_it_beats(chain: StartChain) -> None:
    cluster = chain(3)
    for name, values in {
        "heartbeat-timeout": ["199", "86400001", "x"],
        "heartbeat-interval": ["9", "3600001"],
        "lease": ["99", "86400001", "x"],
        "clock-drift-percent": ["-1", "51"],
        "trust-refused": ["perhaps"],
    }.items():
        for value in values:
            reply = ask(cluster.master, "CONFIG", "SET", f"master.{name}", value)
            assert isinstance(reply, Error) and "argument" in reply, reply
    assert ask(cluster.master, "CONFIG", "SET", "master.heartbeat-timeout", "400") == b"OK"
    wait_until(lambda: 0 < member_number(cluster.tail, "lease_ms") <= 400, 20)
    hung = cluster.members[1]
    with paused(hung):
        await_repair(cluster, hung)
    assert_serves(cluster)


def test_without_trust_in_refusals_only_the_lease_counts(chain: StartChain) -> None:
    cluster = chain(3, master_config={**TWO_SECONDS, "master.trust-refused": "no"})
    victim = cluster.members[1]
    victim.kill()
    wait_until(lambda: f"{victim.endpoint},state=silent" in master_info(cluster, "member_1"), 5)
    await_repair(cluster, victim)
    assert_serves(cluster)
