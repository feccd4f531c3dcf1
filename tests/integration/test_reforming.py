# SPDX-License-Identifier: Apache-2.0
"""Cold start: after all processes have died, the chain forms again from disks, or names the members it waits for."""

import shutil
from collections.abc import Callable

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS, EVERY_SECOND
from integration.helpers import Talk, ask, assert_serves, await_all, await_chain, chain_of, info, paused, settled, state

KEYS = 300


@pytest.fixture
def written(chain: StartChain) -> Callable[..., Cluster]:
    """`written(**config)` starts a chain of three with this configuration and committed keys."""

    def start(**config: str) -> Cluster:
        members = {name.replace("_", "-"): value for name, value in config.items()}
        cluster = chain(3, member_config=members, master_config={"master.heartbeat-timeout": "5000"})
        with Talk(cluster.head) as talk:
            sns = talk.pipeline([("MEMBER.PUT", f"k{number}", number) for number in range(KEYS)])
        assert sns == list(range(KEYS))
        return cluster

    return start


def kill_all(cluster: Cluster, *more: Server) -> None:
    """Kill all members at once. They are stopped before, so that none reports the death of another."""
    with paused(cluster.master):
        for server in (*cluster.members, *more):
            server.pause()
        for server in (*cluster.members, *more):
            server.kill()


def stop_all(cluster: Cluster) -> None:
    """Stop all members with their data saved. The master is down meanwhile, so it sees no member end before others."""
    cluster.master.kill()
    for server in cluster.members:
        server.stop()
    cluster.master.start()


def assert_all_is_there(cluster: Cluster) -> None:
    with Talk(cluster.tail) as talk:
        values = talk.pipeline([("READ", f"k{number}") for number in range(KEYS)])
    assert values == [b"%d" % number for number in range(KEYS)]
    assert_serves(cluster)


def await_waiting(cluster: Cluster, says: str) -> None:
    wait_until(lambda: says in info(cluster.master, "master")["master_waits_for"], 20)


@pytest.mark.parametrize("with_master", [False, True])
def test_all_are_killed_and_all_come_back(written: Callable[..., Cluster], with_master: bool) -> None:
    cluster = written(**ALWAYS)
    kill_all(cluster, *([cluster.master] if with_master else []))
    for server in cluster.servers:
        if not server.running:
            server.start()
    await_all(cluster, 3)
    assert_all_is_there(cluster)


def test_all_are_killed_one_after_the_other(written: Callable[..., Cluster]) -> None:
    """The last member is the chain. The master waits for the others, because no operator has removed them."""
    cluster = written(**ALWAYS)
    *others, last = cluster.members
    for server in others:
        server.kill()
        await_chain(cluster, *(member for member in cluster.members if member is not server))
    assert isinstance(ask(last, "MEMBER.PUT", "k0", "0"), int)
    last.kill()
    for server in (*others, last):
        server.start()
    await_all(cluster, 3)
    assert chain_of(cluster)[0] is last
    assert_all_is_there(cluster)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_lost_nothing_is_enough(written: Callable[..., Cluster], place: int) -> None:
    cluster = written(**ALWAYS)
    first = cluster.members[place]
    kill_all(cluster)
    first.start()
    await_chain(cluster, first, timeout_s=30)
    assert_all_is_there(cluster)
    for server in cluster.servers:
        if not server.running:
            server.start()
    await_all(cluster, 3)
    assert chain_of(cluster)[0] is first
    assert_all_is_there(cluster)


def test_without_that_the_chain_waits_for_all_of_them(written: Callable[..., Cluster]) -> None:
    cluster = written(**EVERY_SECOND)
    settled(cluster)
    head, middle, tail = cluster.members
    stop_all(cluster)
    await_waiting(cluster, f"waiting for {head.endpoint}, {middle.endpoint}, {tail.endpoint}")
    tail.start()
    head.start()
    await_waiting(cluster, f"waiting for {middle.endpoint}; or MASTER.FORM")
    assert state(tail).role == state(head).role == "removed"
    middle.start()
    await_all(cluster, 3)
    assert_all_is_there(cluster)


def test_the_operator_need_not_wait(written: Callable[..., Cluster]) -> None:
    cluster = written(**EVERY_SECOND)
    settled(cluster)
    stop_all(cluster)
    cluster.tail.start()
    await_waiting(cluster, "or MASTER.FORM")
    assert cluster.command("MASTER.FORM", HOST, cluster.tail.port) == b"OK"
    await_chain(cluster, cluster.tail)
    assert_all_is_there(cluster)


def test_who_was_out_before_is_not_taken_for_the_chain(written: Callable[..., Cluster]) -> None:
    """The member's record is durable, but of an older view: the chain has continued without it."""
    cluster = written(**ALWAYS)
    out = cluster.tail
    out.kill()
    await_chain(cluster, *cluster.members[:2])
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "k0", "0"), int)
    assert isinstance(ask(cluster.head, "MEMBER.PUT", "later", "x"), int)
    kill_all(cluster)
    out.start()
    await_waiting(cluster, "waiting for")
    assert state(out).role == "removed"
    for server in cluster.members:
        server.start()
    await_all(cluster, 3)
    assert chain_of(cluster)[0] is not out
    assert ask(cluster.tail, "READ", "later") == b"x"
    assert_all_is_there(cluster)


def test_nobody_kept_anything(written: Callable[..., Cluster]) -> None:
    """No data is left, as when the walk-through is run twice in one folder."""
    cluster = written()
    servers = list(cluster.members)
    kill_all(cluster)
    for server in servers:
        server.start()
    await_waiting(cluster, "none kept its data")
    cluster.members.clear()
    for server in servers:
        cluster.add(server)
    assert ask(cluster.tail, "READ", "k1") is None
    assert_serves(cluster)


def test_the_chosen_one_dies_before_it_hears_of_it(written: Callable[..., Cluster]) -> None:
    """The chosen member refuses the view until it is killed."""
    cluster = written(**ALWAYS)
    head, middle, tail = cluster.members
    kill_all(cluster)
    epoch = int(info(cluster.master, "master")["master_epoch"])
    (middle.folder / "users.acl").write_text("user default on nopass ~* &* +@all -chain.adopt\n")
    middle.config["aclfile"] = "users.acl"
    middle.start()
    wait_until(lambda: int(info(cluster.master, "master")["master_epoch"]) > epoch, 20)
    assert chain_of(cluster) == [middle] and not state(middle).serving
    middle.kill()
    del middle.config["aclfile"]
    tail.start()
    await_waiting(cluster, f"waiting for {middle.endpoint}")
    middle.start()
    await_all(cluster, 2)
    assert chain_of(cluster) == [middle, tail]
    assert_all_is_there(cluster)
    head.start()
    await_all(cluster, 3)


def test_no_new_history_begins_while_a_disk_has_not_been_seen(written: Callable[..., Cluster]) -> None:
    cluster = written(**ALWAYS)
    wait_until(lambda: all(state(member).record_durable for member in cluster.members), 20)
    spare, (*wiped, kept) = cluster.spare(), cluster.members
    kill_all(cluster)
    for gone in wiped:
        shutil.rmtree(gone.folder / "appendonlydir")
        gone.start()
    with pytest.raises(LauncherError, match=f"{kept.endpoint} has all of the chain's data on its disk"):
        cluster.command("MASTER.ADD", HOST, spare.port)
    kept.start()
    await_chain(cluster, kept, *wiped, timeout_s=30)
    assert_all_is_there(cluster)


def test_the_disk_of_one_that_fell_just_before_is_not_forgotten(written: Callable[..., Cluster]) -> None:
    """The head and the middle die, and the tail right after it was the chain, which leaves its disk behind."""
    cluster = written(**ALWAYS)
    wait_until(lambda: all(state(member).record_durable for member in cluster.members), 20)
    spare, (head, middle, tail) = cluster.spare(), cluster.members
    for fallen in (head, middle):
        fallen.kill()
    await_chain(cluster, tail)
    tail.kill()
    shutil.rmtree(tail.folder / "appendonlydir")
    tail.start()
    await_waiting(cluster, "may have kept what there was then: MASTER.FORM")
    for empty in (tail, spare):
        with pytest.raises(LauncherError, match="had all of the chain's data on its disk"):
            cluster.command("MASTER.ADD", HOST, empty.port)
    head.start()
    with pytest.raises(LauncherError, match=f"MASTER.FORM {HOST} {head.port} makes it the chain"):
        cluster.command("MASTER.ADD", HOST, spare.port)
    assert cluster.command("MASTER.FORM", HOST, head.port) == b"OK"
    cluster.members[:] = [head]
    assert_all_is_there(cluster)
