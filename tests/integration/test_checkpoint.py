# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and flushing on a healthy chain, and READ of flushed keys."""

from collections.abc import Iterator
from time import sleep

import pytest

from chainredis.local_cluster.cluster import MEMBER, Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import PATIENT, Error, Talk, ask, info, member_number, paused, settled, state

FLUSH = {"member.gcs-mode": "checkpoint-flush"}


def put(cluster: Cluster, keys: int, value: str = "value", prefix: str = "key") -> None:
    with Talk(cluster.head) as talk:
        for reply in talk.pipeline([("MEMBER.PUT", f"{prefix}:{n}", f"{value}:{n}") for n in range(keys)]):
            assert isinstance(reply, int), reply


def checkpoint(cluster: Cluster) -> int:
    """Wait for a checkpoint of every member; returns the reply of TAIL.CHECKPOINT."""
    wanted = settled(cluster)
    count = ask(cluster.tail, "TAIL.CHECKPOINT")
    assert isinstance(count, int), count
    for member in cluster.members:
        wait_until(lambda member=member: member_number(member, "checkpointed") == wanted, 20)  # type: ignore[misc]
    return count


def flush(cluster: Cluster, *most: int) -> int:
    count = ask(cluster.head, "HEAD.FLUSH", *most)
    assert isinstance(count, int), count
    for member in cluster.members:
        wait_until(lambda member=member: member_number(member, "flushing") == 0, 20)  # type: ignore[misc]
    return count


def list_pages(server: Server) -> Iterator[tuple[bytes, bytes]]:
    cursor: bytes = b"0"
    while True:
        cursor, page = ask(server, "LIST.CHECKPOINT", cursor)
        yield from zip(page[::2], page[1::2], strict=True)
        if cursor == b"0":
            return


@pytest.mark.parametrize("size", [1, 3])
def test_the_round(chain: StartChain, size: int) -> None:
    cluster = chain(size, member_config=FLUSH)
    assert ask(cluster.head, "MEMBER.PUT", "k", "1") == 0
    assert checkpoint(cluster) == 1
    assert ask(cluster.tail, "TAIL.CHECKPOINT") == 0
    assert flush(cluster) == 1
    for member in cluster.members:
        assert ask(member, "GET", "k") is None
    assert ask(cluster.tail, "READ", "k") == b"1"
    assert ask(cluster.tail, "READ", "none") is None
    ask(cluster.head, "MEMBER.PUT", "k", "2")
    assert ask(cluster.tail, "READ", "k") == b"2" == ask(cluster.tail, "GET", "k")
    assert flush(cluster) == 0
    assert ask(cluster.tail, "READ", "k") == b"2"


# -------------------------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize(
    ("mode", "number", "checkpoints", "flushes"),
    [
        ("normal", 0, False, False),
        ("checkpoint", 1, True, False),
        ("checkpoint-flush", 2, True, True),
        ("flush-unsafe", 3, False, True),
    ],
)
def test_modes(chain: StartChain, mode: str, number: int, checkpoints: bool, flushes: bool) -> None:
    """A mode is set by name in redis.conf, by number at run time. A refused command names the modes that allow it."""
    cluster = chain(1, member_config={"member.gcs-mode": mode})
    member = cluster.head
    for _ in range(2):
        assert ask(member, "CONFIG", "GET", "member.gcs-mode") == [b"member.gcs-mode", mode.encode()]
        put(cluster, 3)
        saved, listed = ask(member, "TAIL.CHECKPOINT"), ask(member, "LIST.CHECKPOINT")
        if checkpoints:
            assert saved == 3 and listed[0] == b"0" and len(listed[1]) == 6
        else:
            assert (
                saved
                == listed
                == f"ERR that needs member.gcs-mode checkpoint or checkpoint-flush, and it is {mode} here"
            )
        flushed = ask(member, "HEAD.FLUSH")
        if flushes:
            assert flushed == 3 and state(member).keys == 0
            assert ask(member, "READ", "key:1") == (b"value:1" if checkpoints else None)
        else:
            assert flushed == f"ERR that needs member.gcs-mode checkpoint-flush or flush-unsafe, and it is {mode} here"
        assert ask(member, "CONFIG", "SET", "member.gcs-mode", (number + 1) % 4) == b"OK"
        assert ask(member, "CONFIG", "SET", "member.gcs-mode", number) == b"OK"
    assert isinstance(ask(member, "CONFIG", "SET", "member.gcs-mode", 4), Error)


def test_what_was_flushed_stays_readable_in_any_mode(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    put(cluster, 5)
    checkpoint(cluster)
    flush(cluster)
    ask(cluster.head, "CONFIG", "SET", "member.gcs-mode", "normal")
    ask(cluster.head, "MEMBER.DEL", "key:1")
    ask(cluster.head, "MEMBER.PUT", "key:2", "newer")
    ask(cluster.head, "CONFIG", "SET", "member.gcs-mode", "flush-unsafe")
    assert flush(cluster) == 0  # the newest value of a key in a checkpoint is in memory only, so it may not leave
    replies = [ask(cluster.head, "READ", f"key:{n}") for n in range(4)]
    assert replies == [b"value:0", None, b"newer", b"value:3"]


def test_a_mode_that_comes_late_has_everything_in_the_checkpoint(chain: StartChain) -> None:
    """The checkpoint has earlier writes and the first member's own data. Keys deleted before stay deleted."""
    cluster = chain(0)
    member = cluster.spare()
    ask(member, "SET", "own", "1")
    cluster.add(member)
    put(cluster, 10)
    ask(member, "MEMBER.DEL", "key:3")
    ask(member, "CONFIG", "SET", "member.gcs-mode", "checkpoint-flush")
    assert ask(member, "TAIL.CHECKPOINT") == 11
    assert flush(cluster) == 10
    assert [ask(member, "READ", key) for key in ("own", "key:3", "key:9")] == [b"1", None, b"value:9"]


def test_a_server_in_no_chain_has_no_checkpoint(server: StartServer) -> None:
    alone = server(MEMBER, **{"member.gcs-mode": "checkpoint-flush"})
    assert ask(alone, "MEMBER.PUT", "k", "v") == 0
    assert ask(alone, "TAIL.CHECKPOINT") == "ERR a checkpoint is a chain's: MASTER.ADD makes this server one"
    assert ask(alone, "HEAD.FLUSH") == 0 and ask(alone, "GET", "k") == b"v"
    assert ask(alone, "LIST.CHECKPOINT") == [b"0", []]


def test_each_command_at_its_place(chain: StartChain) -> None:
    cluster = chain(3, member_config=FLUSH)
    head, middle, tail = cluster.members
    for member in (head, middle):
        assert ask(member, "TAIL.CHECKPOINT") == f"MOVED 0 {tail.endpoint}"
    for member in (middle, tail):
        assert ask(member, "HEAD.FLUSH") == f"MOVED 0 {head.endpoint}"
    with Talk(tail) as talk:
        for words in (("TAIL.CHECKPOINT",), ("LIST.CHECKPOINT",)):
            assert talk("MULTI") == b"OK" and talk(*words) == b"QUEUED"
            assert "would block" in talk("EXEC")[0]
    for nonsense in ("0", "-1", "many"):
        assert "max is not a number of keys" in ask(head, "HEAD.FLUSH", nonsense)
    for nonsense in ("1", "", "key"):
        assert "that is no cursor" in ask(tail, "LIST.CHECKPOINT", nonsense)


# -------------------------------------------------------------------------------------------- keys and values

VALUES = {
    b"": b"empty key",
    b"\0": b"\0\xff\0",
    b"\0\xff": b"",
    b"a\0b": b"x" * 100_000,
    b"a": b"2",
    b"\xff" * 300: b"3",
}


def test_any_key_and_any_value(chain: StartChain) -> None:
    cluster = chain(2, member_config=FLUSH)
    for key, value in VALUES.items():
        ask(cluster.head, "MEMBER.PUT", key, value)
    checkpoint(cluster)
    assert flush(cluster) == len(VALUES)
    assert {key: ask(cluster.tail, "READ", key) for key in VALUES} == VALUES
    for member in cluster.members:
        assert list(list_pages(member)) == sorted(VALUES.items())


def test_pages_of_many_keys(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    put(cluster, 1000)
    put(cluster, 300, "again")
    ask(cluster.head, "MEMBER.DEL", "key:999")
    checkpoint(cluster)
    put(cluster, 500, "newer than the checkpoint")
    wanted = {f"key:{n}".encode(): f"{'again' if n < 300 else 'value'}:{n}".encode() for n in range(999)}
    assert dict(list_pages(cluster.head)) == wanted
    cursor, page = ask(cluster.head, "LIST.CHECKPOINT", ">key:5")
    assert cursor.startswith(b">key:") and page[0] == b"key:5" and len(page) == 200


def test_at_most_so_many_keys_leave(chain: StartChain) -> None:
    cluster = chain(2, member_config=FLUSH)
    put(cluster, 100)
    checkpoint(cluster)
    assert flush(cluster, 30) == 30
    assert [state(member).keys for member in cluster.members] == [70, 70]
    put(cluster, 100, "newer")
    assert flush(cluster) == 0
    assert {ask(cluster.tail, "READ", f"key:{n}") for n in (0, 50, 99)} == {b"newer:0", b"newer:50", b"newer:99"}


def test_a_deletion_is_final(chain: StartChain) -> None:
    """Keys deleted before, between and after checkpoints stay deleted, also after compaction."""
    cluster = chain(2, member_config=FLUSH)
    put(cluster, 4)
    checkpoint(cluster)
    flush(cluster)
    ask(cluster.head, "MEMBER.DEL", "key:0")
    assert ask(cluster.tail, "READ", "key:0") is None
    checkpoint(cluster)
    assert ask(cluster.tail, "READ", "key:0") is None
    ask(cluster.head, "MEMBER.PUT", "key:0", "again")
    checkpoint(cluster)
    flush(cluster)
    assert ask(cluster.tail, "READ", "key:0") == b"again"
    ask(cluster.head, "MEMBER.DEL", "key:0")
    checkpoint(cluster)
    assert ask(cluster.tail, "READ", "key:0") is None


def test_superseded_records_are_swept(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    ask(cluster.head, "MEMBER.PUT", "doomed", "1")
    checkpoint(cluster)
    ask(cluster.head, "MEMBER.DEL", "doomed")
    for round_ in range(5):
        put(cluster, 20_000, f"round {round_}")
        checkpoint(cluster)
    wait_until(lambda: member_number(cluster.head, "checkpoint_sweeps") == 1, 30)
    assert member_number(cluster.head, "checkpoint_records") == 20_000
    flush(cluster)
    assert ask(cluster.head, "READ", "doomed") is None
    assert {ask(cluster.head, "READ", f"key:{n}") for n in (0, 19_999)} == {b"round 4:0", b"round 4:19999"}


def test_new_keys_need_no_sweep(chain: StartChain) -> None:
    """A sweep reads the whole checkpoint: it waits until about half of that is superseded, or deleted."""
    cluster = chain(1, member_config=FLUSH)
    for name in "abc":
        put(cluster, 40_000, prefix=name)
        checkpoint(cluster)
    for number in range(5):
        ask(cluster.head, "MEMBER.PUT", "some", number)
        checkpoint(cluster)
    assert member_number(cluster.head, "checkpoint_records") == 120_005
    assert member_number(cluster.head, "checkpoint_sweeps") == 0
    with Talk(cluster.head) as talk:
        for name in "ab":
            talk.pipeline([("MEMBER.DEL", f"{name}:{n}") for n in range(40_000)])
    checkpoint(cluster)
    wait_until(lambda: member_number(cluster.head, "checkpoint_sweeps") == 1, 30)
    assert member_number(cluster.head, "checkpoint_records") == 40_001


# --------------------------------------------------------------------------------- automatic checkpoints and flushes


def test_memory_stays_bounded_by_itself(chain: StartChain) -> None:
    """New keys come without end and no client flushes: writers wait sometimes, and no writer gets an error."""
    limit = 8_000_000
    automatic = {"member.checkpoint-interval": "200", "member.flush-above": str(limit), "member.backlog-limit": "100kb"}
    cluster = chain(2, member_config=FLUSH | automatic)
    most = 0
    with Talk(cluster.head) as talk:
        for first in range(0, 60_000, 1000):
            replies = talk.pipeline([("MEMBER.PUT", f"key:{n}", "x" * 512) for n in range(first, first + 1000)])
            assert all(isinstance(reply, int) for reply in replies)
            most = max(most, *(int(info(member, "memory")["used_memory"]) for member in cluster.members))
    assert most < 2 * limit  # and 60,000 keys take 40 MB
    with Talk(cluster.tail) as talk:
        assert set(talk.pipeline([("READ", f"key:{n}") for n in range(0, 60_000, 7)])) == {b"x" * 512}


def test_writers_wait_for_memory(chain: StartChain) -> None:
    """Writers wait above 9/8 of the limit, while a checkpoint cannot end because its updates are not committed."""
    config = {"member.checkpoint-interval": "20", "member.write-timeout": "30000", "member.backlog-limit": "0"}
    cluster = chain(2, member_config=FLUSH | config, master_config=PATIENT)
    used = int(info(cluster.head, "memory")["used_memory"])
    with Talk(cluster.head) as talk:
        with paused(cluster.tail):
            talk.send_all([("MEMBER.PUT", f"key:{n}", "x" * 10_000, "channel") for n in range(200)])
            wait_until(lambda: state(cluster.head).applied == 199, 20)
            ask(cluster.head, "CONFIG", "SET", "member.flush-above", used + 1_000_000)
            wait_until(lambda: member_number(cluster.head, "writers_held_for_memory") == 1, 20)
            talk.send("MEMBER.PUT", "held", "1", "channel")
            ask(cluster.head, "PING")
            assert state(cluster.head).applied == 199
        assert [talk.receive() for _ in range(201)] == list(range(201))
    wait_until(lambda: ask(cluster.tail, "READ", "held") == b"1", 20)


def test_nothing_is_in_a_checkpoint_before_it_is_committed(chain: StartChain) -> None:
    cluster = chain(2, member_config={**FLUSH, "member.checkpoint-interval": "1"}, master_config=PATIENT)
    assert ask(cluster.head, "MEMBER.PUT", "k", "1") == 0
    wait_until(lambda: member_number(cluster.head, "checkpointed") == 0, 20)
    with paused(cluster.tail):
        assert ask(cluster.head, "MEMBER.PUT", "k", "2", "me") == 1
        sleep(0.5)  # ten times as long as the head takes to begin a checkpoint
        assert member_number(cluster.head, "checkpointed") == 0
    wait_until(lambda: member_number(cluster.head, "checkpointed") == 1, 20)


def test_clients_that_leave_while_a_worker_looks(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    put(cluster, 50)
    checkpoint(cluster)
    flush(cluster)
    for words in (("READ", "key:7"), ("TAIL.CHECKPOINT",), ("LIST.CHECKPOINT",), ("HEAD.FLUSH",)):
        for _ in range(30):
            talk = Talk(cluster.head)
            talk.send_all([("MEMBER.PUT", "k", "v", "channel"), words])
            talk.close()
    wait_until(lambda: info(cluster.head, "clients")["blocked_clients"] == "1", 10)  # the master's CHAIN.WATCH
    assert ask(cluster.head, "READ", "key:7") == b"value:7"
