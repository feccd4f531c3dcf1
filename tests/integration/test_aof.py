# SPDX-License-Identifier: Apache-2.0
"""The append-only file of a member: its records, their time, and a restart with it (design.md, "Restart")."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.append_only import data
from integration.conftest import StartChain, StartServer
from integration.disks import ALWAYS, EVERY_SECOND, restart, without_master
from integration.helpers import (
    Error,
    Talk,
    ask,
    assert_serves,
    await_written,
    info,
    member_number,
    running,
    savers,
    settled,
    state,
)
from integration.test_aof_load import Load, rewritten

# --------------------------------------------------------------------------------------------------- records of updates


def test_any_update_is_read_again(chain: StartChain) -> None:
    """Updates with long and empty values, any bytes, deletions, with and without a client id."""
    cluster = without_master(chain(2, member_config=ALWAYS))
    long = b"x" * 300_000
    with Talk(cluster.head) as talk:
        replies = talk.pipeline([
            ("MEMBER.PUT", b"\0\r\n\xff", b"\0" * 100), ("MEMBER.PUT", "empty", ""), ("MEMBER.PUT", "", "no key"),
            ("MEMBER.PUT", "long", long), ("MEMBER.PUT", "short", "1", "me"), ("MEMBER.PUT", long, "a long key", "me"),
            ("MEMBER.PUT", long, long, "me"), ("MEMBER.PUT", "gone", "x"), ("MEMBER.DEL", "gone"),
            ("MEMBER.DEL", "never", "me"), ("MEMBER.PUT", "long-and-empty" + "y" * 300_000, ""), ("MEMBER.WAIT", 10),
        ])
    assert replies == [*range(11), 10]
    before = [data(member) for member in cluster.members]
    for member in cluster.members:
        restart(member)
    assert [data(member) for member in cluster.members] == before
    assert [state(member).applied for member in cluster.members] == [10, 10]


def test_a_lone_server_keeps_the_order_of_updates_and_native_writes(server: StartServer) -> None:
    one = server(MEMBER, **ALWAYS)
    with Talk(one) as talk:
        for round_ in range(50):
            talk.pipeline([
                ("MEMBER.PUT", "a", round_), ("APPEND", "a", "-"), ("SET", "b", round_), ("MEMBER.PUT", "b", "put"),
                ("SET", "c", round_), ("MEMBER.DEL", "c"), ("MEMBER.PUT", "d", round_), ("DEL", "d"),
                ("SETEX", "e", 1000, "x"), ("MEMBER.PUT", "e", "stays"), ("MULTI",), ("INCR", "n"), ("EXEC",),
                ("MEMBER.PUT", "f", round_, "me"),
            ])
    before = data(one)
    assert before == {b"a": b"49-", b"b": b"put", b"e": b"stays", b"f": b"49", b"n": b"50"}
    restart(one)
    assert (data(one), state(one).role, ask(one, "TTL", "e")) == (before, "alone", -1)


def test_what_a_lone_server_recorded_becomes_the_chains(chain: StartChain) -> None:
    cluster = chain(0)
    first = cluster.spare(**ALWAYS)
    with Talk(first) as talk:
        talk.pipeline([("SET", "native", "x"), ("MEMBER.PUT", "a", 1), ("MEMBER.PUT", "a", 2)])
    cluster.add(first)
    cluster.grow()
    assert ask(first, "MEMBER.PUT", "b", 1) == 2
    settled(cluster)
    without_master(cluster)
    before = state(first)
    restart(first)
    after = state(first)
    assert (after.history, after.applied, after.assigned) == (before.history, 2, before.assigned)
    assert data(first) == {b"native": b"x", b"a": b"2", b"b": b"1"}


def test_a_first_view_amid_updates(server: StartServer) -> None:
    """Native writes before the view become data of the chain; writes in the same pass become updates."""
    one = server(MEMBER, **ALWAYS)
    view = ("ab" * 16, "cd" * 16, 1, 1, HOST, HOST, one.port, state(one).run_id)
    with Talk(one) as talk:
        replies = talk.pipeline([
            ("SET", "n", 1), ("MEMBER.PUT", "k", "before"), ("CHAIN.ADOPT", *view), ("MEMBER.PUT", "k", "after", "me"),
            ("MEMBER.PUT", "l", "after", "me"), ("SET", "n", 2),
        ])
    assert replies[:5] == [b"OK", 0, [b"ADOPTED", 1, 0], 1, 2] and replies[5].startswith("ERR ")
    one.kill()
    one.start()
    assert (state(one).history, state(one).applied, state(one).assigned) == ("ab" * 16, 2, 1)
    assert data(one) == {b"n": b"1", b"k": b"after", b"l": b"after"}


def test_starting_again_and_again(chain: StartChain) -> None:
    """The record of the view stays the same, also after a rewrite, until the server is in another view."""
    cluster = without_master(chain(2, member_config=ALWAYS))
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    for member in cluster.members:
        former = state(member)
        for round_ in range(3):
            restart(member)
            after = state(member)
            assert (after.applied, after.record_epoch, after.record_run_id) == (0, 2, former.run_id)
            assert after.record_durable
            if round_ == 1:
                assert not isinstance(ask(member, "BGREWRITEAOF"), Error)
                wait_until(lambda member=member: rewritten(member, 0), 30)  # type: ignore[misc]


def test_the_log_is_there_again_for_those_that_lack_a_little(chain: StartChain) -> None:
    cluster = chain(2, member_config=ALWAYS)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", "k", n) for n in range(100)])
    cluster.remove(away := cluster.tail)
    assert ask(cluster.head, "MEMBER.PUT", "k", "later") == 100
    for server in [cluster.master, cluster.head, away]:
        restart(server)
    wait_until(lambda: state(cluster.head).serving, 30)
    cluster.add(away)
    assert (member_number(away, "joins_by_log"), member_number(away, "joined_from")) == (1, 99)
    assert ask(away, "READ", "k") == b"later"

# ------------------------------------------------------------------------------------------------- settings that change


def test_a_file_begun_at_run_time_counts_when_it_is_whole(chain: StartChain) -> None:
    cluster = without_master(chain(1))
    member = cluster.head
    with Talk(member) as talk:
        talk.pipeline([("MEMBER.PUT", n, n) for n in range(100)])
    assert ask(member, "CONFIG", "SET", "appendfsync", "always", "rdb-key-save-delay", 5_000) == b"OK"
    with Talk(member) as talk:
        replies = talk.pipeline([
            ("MEMBER.PUT", "in-the-same-pass", "before"), ("CONFIG", "SET", "appendonly", "yes"),
            ("MEMBER.PUT", "in-the-same-pass", "after"), ("MEMBER.PUT", "one-more", "x"), ("INFO", "member"),
        ])
    assert replies[:-1] == [100, b"OK", 101, 102]
    assert b"member_waits_for_disk:0\r\n" in replies[-1]
    wait_until(lambda: member_number(member, "waits_for_disk") == 1, 30)
    assert ask(member, "MEMBER.PUT", "later", "x") == 103
    before = data(member)
    member.kill()
    member.config["appendonly"] = "yes"
    member.start()
    assert (state(member).applied, data(member)) == (103, before)


def test_a_position_is_saved_in_any_file(chain: StartChain) -> None:
    """With aof-use-rdb-preamble no, Redis would rewrite the file without the position."""
    cluster = without_master(chain(1, member_config={**ALWAYS, "aof-use-rdb-preamble": "no"}))
    member = cluster.head
    assert ask(member, "CONFIG", "GET", "aof-use-rdb-preamble")[1] == b"yes"
    assert ask(member, "MEMBER.PUT", "k", "v") == 0
    assert ask(member, "CONFIG", "SET", "aof-use-rdb-preamble", "no") == b"OK"
    wait_until(lambda: ask(member, "CONFIG", "GET", "aof-use-rdb-preamble")[1] == b"yes", 10)
    for _ in range(2):
        restart(member)
        assert state(member).applied == 0
        assert not isinstance(ask(member, "BGREWRITEAOF"), Error)
        wait_until(lambda: rewritten(member, 0), 30)


def test_clients_paused_under_load(chain: StartChain) -> None:
    """While clients are paused Redis asserts that nothing is propagated, not even updates of the same pass."""
    cluster = chain(2, member_config=ALWAYS)
    with Talk(cluster.head) as talk:
        assert talk.pipeline([("MEMBER.PUT", "k", "v", "me"), ("CLIENT", "PAUSE", 200, "WRITE")]) == [0, b"OK"]
        assert talk("MEMBER.WAIT", 0) == 0
    load = Load(cluster.head, "a")
    with running(load):
        for round_, member in enumerate(cluster.members * 3, start=1):
            ask(member, "CLIENT", "PAUSE", 200, "ALL" if round_ > 4 else "WRITE")
            acknowledged = load.acknowledged
            wait_until(lambda so_far=acknowledged: load.acknowledged > so_far + 100, 30)  # type: ignore[misc]
    settled(cluster)
    without_master(cluster)
    before = [data(member) for member in cluster.members]
    for member in cluster.members:
        restart(member)
    assert [data(member) for member in cluster.members] == before


def test_a_member_whose_clients_are_paused_applies_nothing(chain: StartChain) -> None:
    """The member could not record the updates, and would have to keep all of them in memory."""
    cluster = chain(2, member_config=EVERY_SECOND)
    head, tail = cluster.members
    ask(tail, "CLIENT", "PAUSE", 60_000, "WRITE")
    before = member_number(head, "batches_sent")
    with Talk(head) as talk:
        talk.send("MEMBER.PUT", "k", "v")
        wait_until(lambda: member_number(head, "batches_sent") > before, 10)
        assert talk.is_silent() and state(tail).applied == -1
        ask(tail, "CLIENT", "UNPAUSE")
        assert talk.receive() == 0
    assert_serves(cluster)

# -------------------------------------------------------------------------------------------------------------- joining


def saving(newcomer: Server) -> bool:
    """Whether the copy is complete and the append-only file is being rewritten with it."""
    copied = state(newcomer)
    if copied.applied < 0 or info(newcomer, "persistence")["aof_rewrite_in_progress"] == "0":
        return False
    assert copied.join == "copying"
    return True


@pytest.mark.parametrize("fsync", [ALWAYS, EVERY_SECOND], ids=["always", "everysec"])
def test_a_newcomer_counts_when_its_file_holds_the_copy(chain: StartChain, fsync: dict[str, str]) -> None:
    cluster = chain(1)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", n, n) for n in range(20)])
    newcomer = cluster.spare(**fsync, rdb_key_save_delay="50000")
    with ThreadPoolExecutor(1) as pool:
        addition = pool.submit(cluster.add, newcomer)
        wait_until(lambda: saving(newcomer), 30)
        assert ask(cluster.head, "MEMBER.PUT", "meanwhile", "x") == 20
        addition.result(60)
    assert state(newcomer).record_durable == (fsync is ALWAYS)
    settled(cluster)
    without_master(cluster)
    await_written(newcomer)
    restart(newcomer)
    assert (state(newcomer).applied, len(data(newcomer))) == (20, 21)


def test_an_addition_fails_with_the_rewrite_of_its_file(chain: StartChain) -> None:
    cluster = chain(1)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    newcomer = cluster.spare(**ALWAYS, rdb_key_save_delay="100000000")
    with ThreadPoolExecutor(1) as pool:
        addition = pool.submit(cluster.add, newcomer)
        wait_until(lambda: saving(newcomer), 30)
        (child,) = savers(newcomer)
        child.kill()
        with pytest.raises(LauncherError, match="append-only file could not be rewritten"):
            addition.result(60)
    assert ask(newcomer, "CONFIG", "SET", "rdb-key-save-delay", 0) == b"OK"
    for child in savers(newcomer):
        child.kill()  # the child of the rewrite that Redis has begun by itself
    cluster.add(newcomer)
    assert state(newcomer).record_durable
    assert_serves(cluster)
