# SPDX-License-Identifier: Apache-2.0
"""The chain changes while clients write and read. Every acknowledged write survives at every member."""

import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import ROOT, Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    ask,
    assert_serves,
    await_all,
    await_chain,
    await_lifelines,
    await_repair,
    info,
    paused,
    proven,
    running,
    savers,
    settled,
    state,
    stored_view,
)
from integration.traffic import Writer, await_progress, check, traffic

REDIS_BENCHMARK = ROOT / "vendor/redis/src/redis-benchmark"

# ----------------------------------------------------------------------------------------------------- adding, removing


@pytest.mark.parametrize("size", [1, 2])
def test_adding_under_load(chain: StartChain, size: int) -> None:
    cluster = chain(size)
    clients = traffic(cluster)
    with running(*clients) as futures:
        for _ in range(2):
            await_progress(clients, futures)
            cluster.grow()
        await_progress(clients, futures)
    assert not any(client.unknown for client in clients if isinstance(client, Writer))
    check(cluster, clients)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_removing_under_load(chain: StartChain, place: int) -> None:
    cluster = chain(3)
    clients = traffic(cluster)
    with running(*clients) as futures:
        await_progress(clients, futures)
        cluster.remove(cluster.members[place])
        await_progress(clients, futures)
    assert place == 0 or not any(client.unknown for client in clients if isinstance(client, Writer))
    check(cluster, clients)


def test_removing_and_adding_again_and_again_under_load(chain: StartChain) -> None:
    """Members at random places are removed and added again as the tail."""
    cluster = chain(3)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    clients = traffic(cluster)
    with running(*clients) as futures:
        for _ in range(6):
            await_progress(clients, futures)
            out = dice.choice(cluster.members)
            cluster.remove(out)
            await_progress(clients, futures)
            cluster.add(out)
    check(cluster, clients)
    assert state(cluster.head).epoch == 3 + 12


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_member_dies_while_another_is_added(chain: StartChain, victim: int) -> None:
    """The master begins anew, with the chain that is left. The first copy would take twenty seconds, and the newcomer
    answers nobody while it loads that: so what is left of the copy ends with the chain that it was for.
    """
    cluster = chain(3, member_config={"rdbcompression": "no"})
    newcomer, dead = cluster.spare(), cluster.members[victim]
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", number, "x" * 2000, "me") for number in range(1_000)])
    assert ask(cluster.tail, "CONFIG", "SET", "rdb-key-save-delay", 20_000) == b"OK"
    with Talk(cluster.master, 100) as adding:
        adding.send("MASTER.ADD", HOST, newcomer.port)
        wait_until(lambda: is_copied_from(cluster.tail), 30)
        assert ask(cluster.tail, "CONFIG", "SET", "rdb-key-save-delay", 0) == b"OK"
        before = stored_view(cluster)
        dead.kill()
        wait_until(lambda: stored_view(cluster).epoch > before.epoch, 20)
        for child in savers(cluster.tail) if cluster.tail.running else ():
            child.kill()
        assert adding.receive() == b"OK"
    cluster.members.remove(dead)
    cluster.members.append(newcomer)
    assert cluster.command("MASTER.GET_CHAIN") == [str(each.endpoint).encode() for each in cluster.members]
    assert_serves(cluster)


def test_writes_go_on_while_a_member_is_added(chain: StartChain) -> None:
    """Writes never wait for the copy; they wait only for the change of view (design.md, "Joining").

    The first copy would take a quarter of an hour. It is broken off at the tail, and the next one is as quick as ever.
    """
    cluster = chain(2)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", number, "x" * 200, "me") for number in range(1_000)])
    newcomer = cluster.spare()
    clients = traffic(cluster)
    assert ask(cluster.tail, "CONFIG", "SET", "rdb-key-save-delay", 1_000_000) == b"OK"
    with running(*clients) as futures:
        with Talk(cluster.master, 100) as adding:
            adding.send("MASTER.ADD", HOST, newcomer.port)
            wait_until(lambda: is_copied_from(cluster.tail), 30)
            await_progress(clients, futures)
            assert is_copied_from(cluster.tail)
            assert ask(cluster.tail, "CONFIG", "SET", "rdb-key-save-delay", 0) == b"OK"
            for child in savers(cluster.tail):
                child.kill()
            assert adding.receive() == b"OK"
        cluster.members.append(newcomer)
        await_progress(clients, futures)
    check(cluster, clients)


def is_copied_from(tail: Server) -> bool:
    return info(tail, "persistence")["rdb_bgsave_in_progress"] == "1"


def test_a_head_that_hears_of_a_new_view_before_it_has_it_holds_writers(chain: StartChain) -> None:
    """The head serves nothing until it has the view (rule 2). Writers wait for it, because the chain takes writes."""
    cluster = chain(2)
    view = stored_view(cluster)
    later = replace(view, epoch=view.epoch + 1)
    with Talk(cluster.head) as at_once, Talk(cluster.head) as blocking:
        assert Talk.over(cluster.head, proven(cluster.head, view))("CHAIN.ACK", later.epoch, -1, 0, 0)[0] == b"BEHIND"
        at_once.send("MEMBER.PUT", "k", "v", "me")
        blocking.send("MEMBER.PUT", "k", "w")
        assert at_once.is_silent()
        assert blocking.is_silent()
        for member in cluster.members[::-1]:    # the tail would tell the head of it
            proven(member, view).adopt(later)
        assert sorted([at_once.receive(), blocking.receive()]) == [0, 1]

# --------------------------------------------------------------------------------------------------------- large copies


@pytest.mark.timeout(240)
def test_adding_after_600_000_puts_of_1_kb(chain: StartChain) -> None:
    """If so large a copy exceeds a limit, the reply must not be a success with an empty new tail."""
    cluster = chain(1, member_config={"enable-debug-command": "yes"})
    put = ["MEMBER.PUT", "key:__rand_int__", "v" * 1024, "me"]
    load = ["-n", "600000", "-r", "1000", "-P", "64", "-c", "8", "-q", *put]
    subprocess.run([REDIS_BENCHMARK, "-p", str(cluster.head.port), *load], check=True, timeout=120, capture_output=True)
    with Talk(cluster.head) as talk:
        for number in range(1000):
            talk.send("MEMBER.PUT", f"key:{number:012}", f"{number}".ljust(1024), "me")
        replies = [talk.receive() for _ in range(1000)]
    assert replies == list(range(600_000, 601_000))
    cluster.grow()
    cluster.grow()
    assert settled(cluster) == 600_999
    for member in cluster.members:
        assert ask(member, "DBSIZE") == 1000
    assert len({ask(member, "DEBUG", "DIGEST") for member in cluster.members}) == 1
    assert ask(cluster.tail, "READ", "key:000000000999") == b"999".ljust(1024)
    assert_serves(cluster)


def test_the_master_answers_while_it_adds(chain: StartChain) -> None:
    """Commands that only read have a thread of their own. A new member that hangs delays the addition."""
    cluster = chain(2)
    newcomer = cluster.spare()
    newcomer.pause()
    with Talk(cluster.master, 60) as adding:
        adding.send("MASTER.ADD", HOST, newcomer.port)
        assert adding.is_silent()
        names = [str(member.endpoint).encode() for member in cluster.members]
        for _ in range(3):
            assert ask(cluster.master, "MASTER.GET_CHAIN") == names
            assert ask(cluster.master, "MASTER.REFRESH_HEAD") == names[0]
            assert ask(cluster.master, "MASTER.REFRESH_TAIL") == names[-1]
            assert info(cluster.master, "master")["master_last_change_state"] == "under way"
        assert adding.is_silent()
        newcomer.resume()
        assert adding.receive() == b"OK"
    cluster.members.append(newcomer)
    assert_serves(cluster)


def test_changes_queue_up_behind_each_other(chain: StartChain) -> None:
    """The changes come from many clients, of which some leave before they are answered."""
    cluster = chain(1)
    newcomers = [cluster.spare() for _ in range(3)]
    talks = [Talk(cluster.master, 60) for _ in newcomers]
    for talk, newcomer in zip(talks, newcomers, strict=True):
        talk.send("MASTER.ADD", HOST, newcomer.port)
    with Talk(cluster.master) as leaving:
        leaving.send("MASTER.REMOVE", HOST, 1)
    talks[1].close()
    assert [talks[0].receive(), talks[2].receive()] == [b"OK", b"OK"]
    await_all(cluster, 4)
    assert_serves(cluster)

# ------------------------------------------------------------------------------------------------------ the master dies


def test_a_copy_shows_its_progress(chain: StartChain) -> None:
    """Redis answers only sometimes while it loads, and does not accept new connections."""
    slow = {"rdb-key-save-delay": "200", "loading-process-events-interval-bytes": "65536"}
    cluster = chain(1, member_config=slow)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", number, "x" * 1000, "me") for number in range(10_000)])
    newcomer = cluster.spare()
    seen: set[tuple[int, int]] = set()
    with Talk(cluster.master, 100) as adding, Talk(newcomer) as looking:
        adding.send("MASTER.ADD", HOST, newcomer.port)
        while adding.is_silent(0.05):
            text = looking("INFO", "member").decode()
            keys, total = re.findall(r"member_join_keys(?:_total)?:(\d+)", text)
            seen.add((int(keys), int(total)))
        assert adding.receive() == b"OK"
    assert {total for _, total in seen} == {0, 10_000}
    assert any(0 < keys < total for keys, total in seen), seen


@pytest.fixture
def copying(chain: StartChain) -> Iterator[tuple[Cluster, Server, Talk]]:
    """A chain of two whose tail is being copied slowly, the newcomer, and who waits for MASTER.ADD."""
    cluster = chain(2, member_config={"rdb-key-save-delay": "200"})
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", number, "x", "me") for number in range(20_000)])
    newcomer = cluster.spare()
    with Talk(cluster.master, 100) as adding:
        adding.send("MASTER.ADD", HOST, newcomer.port)
        wait_until(lambda: state(newcomer).join == "copying", 30)
        yield cluster, newcomer, adding


def test_a_join_whose_newcomer_dies_fails_and_leaves_the_chain(copying: tuple[Cluster, Server, Talk]) -> None:
    cluster, newcomer, adding = copying
    newcomer.kill()
    reply = adding.receive()
    assert isinstance(reply, Error) and reply.startswith("ERR "), reply
    assert_serves(cluster)


def test_a_join_whose_tail_dies_goes_on_with_the_next_one(copying: tuple[Cluster, Server, Talk]) -> None:
    cluster, newcomer, adding = copying
    head, tail = cluster.members
    assert ask(head, "CONFIG", "SET", "rdb-key-save-delay", 0) == b"OK"
    tail.kill()
    assert adding.receive() == b"OK"
    await_chain(cluster, head, newcomer)
    assert_serves(cluster)


def test_removing_members_until_one_is_left_keeps_all_data(chain: StartChain) -> None:
    cluster = chain(4)
    with Talk(cluster.head) as talk:
        sns = talk.pipeline([("MEMBER.PUT", number, number) for number in range(1000)])
    assert sns == list(range(1000))
    while len(cluster.members) > 1:
        cluster.remove(cluster.head)
    assert state(cluster.head).role == "singleton"
    with Talk(cluster.tail) as talk:
        assert talk.pipeline([("READ", number) for number in range(1000)]) == [b"%d" % number for number in range(1000)]
    assert_serves(cluster)


def test_a_dead_tail_s_repair_commits_what_it_had_not_confirmed(chain: StartChain) -> None:
    """The writers get a success: their updates have an sn and are committed now (rule 6)."""
    cluster = chain(2, master_config=PATIENT)
    await_lifelines(cluster)
    dead = cluster.tail
    with paused(dead), Talk(cluster.head) as writer:
        writer.send("MEMBER.PUT", "k", "v")
        assert writer.is_silent()
        dead.kill()
        assert writer.receive() == 0
    await_repair(cluster, dead)
    assert ask(cluster.tail, "READ", "k") == b"v"
