"""The chain changes while clients write and read: every acknowledged write survives, at every member."""

import random
import re
import subprocess
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Event
from time import monotonic
from typing import Any

import pytest
import redis

from chainredis.local_cluster.launcher import HOST, ROOT, Cluster, LauncherError, Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    Error,
    Talk,
    ask,
    ask_removed,
    assert_serves,
    await_repair,
    info,
    paused,
    proven,
    running,
    settled,
    state,
    stored_view,
)

KEYS_EACH = 20
REDIS_BENCHMARK = ROOT / "vendor/redis/src/redis-benchmark"


# --------------------------------------------------------------------------- clients that find their way


def find(cluster: Cluster, place: int) -> Server:
    """The head or the tail, as the master says."""
    text = ask(cluster.master, "MASTER.GET_CHAIN")[place].decode()
    return next(server for server in cluster.servers if str(server.endpoint) == text)


@dataclass
class Writer:
    """Writes rising numbers to keys of its own, each after the answer to the one before.

    acknowledged: the newest number known to be committed. unknown: later ones that may survive.
    """

    cluster: Cluster
    name: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, list[int]] = field(default_factory=dict)
    longest_s: float = 0

    def __call__(self, stop: Event) -> None:
        number = 0
        talk = Talk(find(self.cluster, 0))
        while not stop.is_set():
            number += 1
            key = f"{self.name}-{number % KEYS_EACH}"
            began = monotonic()
            reply = talk("MEMBER.PUT", key, number)
            self.longest_s = max(self.longest_s, monotonic() - began)
            if isinstance(reply, int):
                self.acknowledged[key] = number
                self.unknown.pop(key, None)
                continue
            if reply.startswith("UNKNOWN "):
                self.unknown.setdefault(key, []).append(number)
            else:
                assert reply.startswith(("MOVED ", "ERR ")), reply
            talk.close()
            talk = Talk(find(self.cluster, 0))
        talk.close()
        assert len(self.acknowledged) == KEYS_EACH

    def check(self, server: Server) -> None:
        for key, number in self.acknowledged.items():
            found = int(ask(server, "GET", key))
            assert found == number or found in self.unknown.get(key, []), (server, key, found, number)


@dataclass
class Reader:
    """Reads a writer's keys at the tail: never older than what was acknowledged before the READ was sent (rule 4)."""

    cluster: Cluster
    writer: Writer
    reads: int = 0

    def __call__(self, stop: Event) -> None:
        dice = random.Random(self.writer.name)
        talk = Talk(find(self.cluster, -1))
        while not stop.is_set():
            key = f"{self.writer.name}-{dice.randrange(KEYS_EACH)}"
            acknowledged = self.writer.acknowledged.get(key, 0)
            reply = talk("READ", key)
            if isinstance(reply, Error):
                assert reply.startswith(("MOVED ", "ERR ")), reply
                talk.close()
                talk = Talk(find(self.cluster, -1))
                continue
            assert int(reply or 0) >= acknowledged, (key, reply, acknowledged)
            self.reads += 1
        talk.close()
        assert self.reads


def traffic(cluster: Cluster) -> list[Any]:
    writers = [Writer(cluster, f"writer-{number}") for number in range(3)]
    return [*writers, *(Reader(cluster, writer) for writer in writers)]


def await_progress(clients: list[Any], futures: list[Future[Any]]) -> None:
    """Every client has made some more of it, or has failed."""
    before = [sum(each.acknowledged.values()) if isinstance(each, Writer) else each.reads for each in clients]

    def moved() -> bool:
        now = [sum(each.acknowledged.values()) if isinstance(each, Writer) else each.reads for each in clients]
        return any(future.done() for future in futures) or all(
            new > old + KEYS_EACH for new, old in zip(now, before, strict=True)
        )

    wait_until(moved, 30)


def check(cluster: Cluster, clients: list[Any]) -> None:
    settled(cluster)
    for client in clients:
        if isinstance(client, Writer):
            for member in cluster.members:
                client.check(member)
    assert_serves(cluster)


# -------------------------------------------------------------------------------------------- adding, removing


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
    """Every place in turn, drawn by lot; a member that was out comes back as the tail."""
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


def test_writes_go_on_while_a_member_is_added(chain: StartChain) -> None:
    """No write waits for the copy, only for the hand-over (design.md, "Joining")."""
    cluster = chain(2)
    with Talk(cluster.head) as talk:
        for start in range(0, 200_000, 2_000):
            talk.pipeline([("MEMBER.PUT", number, "x" * 200, "me") for number in range(start, start + 2_000)])
    newcomer = cluster.spare()
    clients = traffic(cluster)
    with running(*clients) as futures:
        await_progress(clients, futures)
        cluster.add(newcomer)
        await_progress(clients, futures)
    assert max(client.longest_s for client in clients if isinstance(client, Writer)) < 2
    check(cluster, clients)


def test_a_head_that_hears_of_a_new_view_before_it_has_it_holds_writers(chain: StartChain) -> None:
    """It serves nothing until then (rule 2), but the chain takes writes all along: they wait for that moment."""
    cluster = chain(2)
    view = stored_view(cluster)
    later = replace(view, epoch=view.epoch + 1)
    with Talk(cluster.head) as at_once, Talk(cluster.head) as blocking:
        proven(cluster.tail, view).adopt(later)
        assert Talk.over(cluster.head, proven(cluster.head, view))("CHAIN.ACK", later.epoch, -1, 0, 0)[0] == b"BEHIND"
        at_once.send("MEMBER.PUT", "k", "v", "me")
        blocking.send("MEMBER.PUT", "k", "w")
        assert at_once.is_silent()
        assert blocking.is_silent()
        proven(cluster.head, view).adopt(later)
        assert sorted([at_once.receive(), blocking.receive()]) == [0, 1]


# --------------------------------------------------------------------------------------------- much data


@pytest.mark.timeout(240)
def test_adding_after_600_000_puts_of_1_kb(chain: StartChain) -> None:
    """A copy of this that goes over a limit must not be answered as a success with an empty new tail."""
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
    """Questions have a worker of their own; the addition is held up by a newcomer that hangs."""
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
    """Also from many clients, some of which leave before they are answered."""
    cluster = chain(1)
    newcomers = [cluster.spare() for _ in range(3)]
    talks = [Talk(cluster.master, 60) for _ in newcomers]
    for talk, newcomer in zip(talks, newcomers, strict=True):
        talk.send("MASTER.ADD", HOST, newcomer.port)
    with Talk(cluster.master) as leaving:
        leaving.send("MASTER.REMOVE", HOST, 1)
    talks[1].close()
    assert [talks[0].receive(), talks[2].receive()] == [b"OK", b"OK"]
    wait_until(lambda: len(ask(cluster.master, "MASTER.GET_CHAIN")) == 4, 30)
    order = [name.decode() for name in ask(cluster.master, "MASTER.GET_CHAIN")]
    cluster.members += sorted(newcomers, key=lambda server: order.index(str(server.endpoint)))
    assert_serves(cluster)


# ------------------------------------------------------------------------------------- back from outside


def test_a_removed_member_comes_back(chain: StartChain) -> None:
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "k", "before") == 0
    for place in (0, 1, 2):
        out = cluster.members[place]
        cluster.remove(out)
        assert isinstance(ask(cluster.head, "MEMBER.PUT", "k", f"without {out.port}"), int)
        assert isinstance(ask(cluster.head, "MEMBER.DEL", "k2"), int)
        cluster.add(out)
        assert ask(out, "READ", "k") == f"without {out.port}".encode()
    assert_serves(cluster)


def test_a_server_with_data_needs_discard(chain: StartChain) -> None:
    cluster = chain(1)
    newcomer = cluster.spare()
    assert ask(newcomer, "SET", "theirs", "x") == b"OK"
    with pytest.raises(LauncherError, match="DISCARD"):
        cluster.add(newcomer)
    assert ask(newcomer, "GET", "theirs") == b"x"
    cluster.add(newcomer, "DISCARD")
    assert ask(newcomer, "EXISTS", "theirs") == 0
    assert_serves(cluster)


def test_a_former_member_of_another_chain_needs_discard(chain: StartChain) -> None:
    """And a restart before: as long as it runs, it obeys only who proves the secret of that chain (rule 2)."""
    theirs, ours, empty = chain(2), chain(1), chain(0)
    assert ask(theirs.head, "MEMBER.PUT", "theirs", "x") == 0
    former = theirs.tail
    wait_until(lambda: ask(former, "SAVE") == b"OK", 30)
    theirs.remove(former)
    for options in [(), ("DISCARD",)]:
        with pytest.raises(LauncherError):
            ours.add(former, *options)
    former.kill()
    former.start()
    with pytest.raises(LauncherError, match="another chain"):
        empty.add(former)
    with pytest.raises(LauncherError, match="DISCARD"):
        ours.add(former)
    assert ask_removed(former, "GET", "theirs") == b"x"
    ours.add(former, "DISCARD")
    assert ask(former, "EXISTS", "theirs") == 0
    assert_serves(ours)
    assert_serves(theirs)


def test_a_restarted_member_is_another_process(chain: StartChain) -> None:
    """On the same port, without its data: it must not be taken for the one that was there."""
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    restarted = cluster.tail
    restarted.kill()
    restarted.start()
    await_repair(cluster, restarted)
    cluster.add(restarted)
    assert ask(restarted, "READ", "k") == b"v"
    assert_serves(cluster)


def test_a_member_restarted_from_its_disk_serves_nothing_before_it_is_added(chain: StartChain) -> None:
    cluster = chain(2)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    back = cluster.tail
    wait_until(lambda: ask(back, "SAVE") == b"OK", 30)
    back.kill()
    back.start()
    assert state(back).role == "removed"
    assert state(back).applied == 0
    for words in [("MEMBER.PUT", "k", "x"), ("READ", "k"), ("SET", "k", "x")]:
        assert ask(back, *words).startswith("ERR "), words
    await_repair(cluster, back)
    cluster.add(back)
    assert_serves(cluster)


def test_form_makes_a_survivor_the_chain(chain: StartChain) -> None:
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    _, survivor, _ = list(cluster.members)
    for member in list(cluster.members):
        if member is not survivor:
            member.kill()
            cluster.members.remove(member)
    assert cluster.command("MASTER.FORM", HOST, survivor.port) == b"OK"
    assert ask(survivor, "READ", "k") == b"v"
    assert state(survivor).role == "singleton"
    cluster.grow()
    assert_serves(cluster)


# ------------------------------------------------------------------------------------------ the master dies


def test_the_chain_outlives_its_master(chain: StartChain) -> None:
    """Killed, and gone for good as far as the members can tell; then back, with chain and epoch as they were."""
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
    """At whichever moment; the restarted one finishes or withdraws the addition, and takes the next."""
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


def test_a_copy_shows_its_progress(chain: StartChain) -> None:
    """Redis answers while it loads, but only now and then, and not to who has just connected."""
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


@pytest.mark.parametrize("who", ["newcomer", "tail"])
def test_a_join_whose_partner_dies_fails_and_leaves_the_chain(chain: StartChain, who: str) -> None:
    """Held up in the copy, then killed: the command fails in time, and the chain is what it was."""
    cluster = chain(2, member_config={"rdb-key-save-delay": "200"})
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", number, "x", "me") for number in range(20_000)])
    newcomer = cluster.spare()
    with Talk(cluster.master, 100) as adding:
        adding.send("MASTER.ADD", HOST, newcomer.port)
        wait_until(lambda: state(newcomer).join == "copying", 30)
        (newcomer if who == "newcomer" else cluster.tail).kill()
        reply = adding.receive()
        assert isinstance(reply, Error) and reply.startswith("ERR "), reply
    if who == "tail":
        await_repair(cluster, cluster.tail)
        assert isinstance(ask(newcomer, "MEMBER.PUT", "k", "v"), Error)
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
    """Its writers are answered with success: the write has an sn and is committed now (rule 6)."""
    cluster = chain(2)
    dead = cluster.tail
    with paused(dead), Talk(cluster.head) as writer:
        writer.send("MEMBER.PUT", "k", "v")
        assert writer.is_silent()
        dead.kill()
        assert writer.receive() == 0
    await_repair(cluster, dead)
    assert ask(cluster.tail, "READ", "k") == b"v"


def test_a_dead_member_without_a_master_gives_clear_errors(chain: StartChain) -> None:
    """Nobody hangs: writes are unknown at their timeout, reads at a dead tail are refused connections."""
    cluster = chain(3, member_config={"member.write-timeout": "500"})
    head, middle, tail = cluster.members
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
