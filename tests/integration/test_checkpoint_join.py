# SPDX-License-Identifier: Apache-2.0
"""A new tail also gets flushed keys: while clients write, in bounded memory, and if the old tail dies."""

from threading import Event

import pytest
import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    Error,
    Talk,
    ask,
    await_chain,
    info,
    member_number,
    proven,
    running,
    savers,
    settled,
    state,
    stored_view,
)
from integration.test_checkpoint import FLUSH, checkpoint, flush, put
from integration.test_checkpoint_restart import aged, read_all

AUTOMATIC = FLUSH | {"member.checkpoint-interval": "20", "member.flush-above": "1mb"}


def test_a_new_tail_has_what_was_flushed(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    wanted = aged(cluster)
    newcomer = cluster.grow()
    assert read_all(cluster, list(wanted)) == wanted
    assert ask(newcomer, "GET", "key:30") is None
    cluster.remove(cluster.head)
    assert read_all(cluster, list(wanted)) == wanted
    settled(cluster)
    checkpoint(cluster)
    flush(cluster)
    assert info(newcomer, "keyspace") == {}
    assert read_all(cluster, list(wanted)) == wanted
    assert member_number(newcomer, "checkpoint_failures") == 0


def test_a_new_tail_in_mode_normal_has_what_was_flushed(chain: StartChain) -> None:
    """The new tail writes no checkpoints, but has a copy of the old tail's, so that it can answer for every key."""
    cluster = chain(1, member_config=FLUSH)
    wanted = aged(cluster)
    newcomer = cluster.spare(**{"member.gcs-mode": "normal"})
    cluster.add(newcomer)
    assert read_all(cluster, list(wanted)) == wanted
    assert "checkpoint or checkpoint-flush, and it is normal here" in ask(newcomer, "TAIL.CHECKPOINT")
    ask(cluster.head, "MEMBER.DEL", "key:30")
    ask(cluster.head, "MEMBER.PUT", "key:31", "newer")
    assert read_all(cluster, ["key:30", "key:31", "key:32"]) == {
        "key:30": None,
        "key:31": b"newer",
        "key:32": b"value:32",
    }


def test_members_come_and_go_while_everything_is_flushed(chain: StartChain) -> None:
    """A writer gets no error, and all its keys are at each new tail."""
    cluster = chain(2, member_config=AUTOMATIC)
    written = [0]

    def write(stop: Event) -> None:
        with Talk(cluster.head) as talk:
            while not stop.is_set():
                n = written[0]
                words: list[tuple[str, ...]] = [
                    ("MEMBER.PUT", f"key:{n + i}", f"value:{n + i}" + 500 * "x") for i in range(20)
                ]
                words += [("MEMBER.DEL", f"key:{n - 50}")]
                for reply in talk.pipeline(words):
                    assert isinstance(reply, int), reply
                written[0] += 20

    with running(write):
        wait_until(lambda: member_number(cluster.tail, "flushed_keys") > 1000, 60)
        for _ in range(2):
            newcomer = cluster.grow()
            seen = written[0]
            assert_all_there(cluster, seen)
            wait_until(lambda: written[0] > seen, 20)  # noqa: B023 - within this round
            cluster.remove(cluster.members[1])
            assert member_number(newcomer, "checkpoint_failures") == 0
    assert_all_there(cluster, written[0])


def assert_all_there(cluster: Cluster, count: int) -> None:
    with Talk(cluster.tail) as talk:
        for first in range(0, count, 500):
            numbers = range(first, min(first + 500, count))
            for n, reply in zip(numbers, talk.pipeline([("READ", f"key:{n}") for n in numbers]), strict=True):
                if n % 20 == 10 and n <= count - 60:
                    assert reply is None, n  # a multiple of 20 less 50
                elif n % 20 != 10:
                    assert reply == f"value:{n}".encode() + 500 * b"x", n


@pytest.mark.parametrize("victim", ["old tail", "new tail"])
def test_killed_while_the_checkpoint_is_copied(chain: StartChain, victim: str) -> None:
    cluster = chain(2, member_config=FLUSH)
    with Talk(cluster.head) as talk:
        talk.pipeline([("MEMBER.PUT", f"key:{n}", bytes([65 + n % 8]) * 500_000) for n in range(150)])
    checkpoint(cluster)
    flush(cluster)
    newcomer = cluster.spare()
    with Talk(cluster.master, timeout_s=60) as adding:
        adding.send("MASTER.ADD", newcomer.endpoint.host, newcomer.endpoint.port)
        wait_until(lambda: copied_bytes(newcomer) > 2_000_000, 30)
        (cluster.tail if victim == "old tail" else newcomer).kill()
        reply = adding.receive()
    if victim == "old tail":
        assert reply == b"OK"  # the addition has begun anew, with the chain that is left
        await_chain(cluster, cluster.head, newcomer)
    else:
        assert isinstance(reply, Error)
        newcomer.start()
        assert state(newcomer).applied == -1
        cluster.add(newcomer)
    assert ask(newcomer, "READ", "key:149") == bytes([65 + 149 % 8]) * 500_000
    cluster.remove(cluster.head)
    assert ask(newcomer, "READ", "key:0") == b"A" * 500_000


def copied_bytes(newcomer: object) -> int:
    try:
        return member_number(newcomer, "join_checkpoint_bytes")  # type: ignore[arg-type]
    except (redis.ConnectionError, KeyError):
        return 0


def test_pages_are_for_members_only(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    put(cluster, 3)
    checkpoint(cluster)
    epoch = state(cluster.head).epoch
    assert "has not proved the chain's secret" in ask(cluster.head, "CHAIN.PAGE", epoch, "")
    with Talk.over(cluster.head, proven(cluster.head, stored_view(cluster))) as talk:
        cursor, records = talk("CHAIN.PAGE", epoch, "")
        assert cursor == b"" and records.count(b"value:") == 3 and b"checkpointed 2\n" in records
        assert talk("CHAIN.PAGE", epoch - 1, "")[0] == b"STALE"
        assert talk("CHAIN.PAGE", epoch + 5, "")[0] == b"BEHIND"
        for nonsense in (b"nonsense", b"\x01", b"\xff" * 100):
            assert isinstance(talk("CHAIN.PAGE", epoch, nonsense), Error | list)
        for words in (("CHAIN.CHECKPOINT", epoch), ("CHAIN.FLUSH", epoch, 1)):
            assert "does not expect this from that member" in talk(*words)


def test_without_a_place_for_it_nothing_is_added(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    put(cluster, 5)
    checkpoint(cluster)
    flush(cluster)
    newcomer = cluster.spare(**{"member.checkpoint-dir": "no/such/folder"})
    with pytest.raises(LauncherError, match="checkpoint could not be copied"):
        cluster.add(newcomer)
    assert ask(cluster.tail, "READ", "key:3") == b"value:3"


def test_a_learner_whose_checkpoint_is_newer_than_its_memory(chain: StartChain) -> None:
    """A learner that saved and was killed before it caught up has the data of its checkpoint. Nobody feeds it here."""
    cluster = chain(1, member_config=FLUSH)
    old, newcomer = cluster.tail, cluster.spare()
    put(cluster, 40)
    checkpoint(cluster)
    flush(cluster, 20)
    ask(old, "CONFIG", "SET", "rdb-key-save-delay", "50000")
    view = stored_view(cluster)
    with Talk.over(old, proven(old, view)) as master:
        assert isinstance(master("CHAIN.PIN"), int)
        assert ask(newcomer, "CHAIN.JOIN", *view.wire()) == b"OK"
        wait_until(lambda: len(savers(old)) == 1, 20)
        (child,) = savers(old)
        child.suspend()
        put(cluster, 5, "after the fork")
        checkpoint(cluster)
        child.resume()
        wait_until(lambda: info(newcomer, "member")["member_join"] == "copied", 30)
    before = state(newcomer)
    assert (before.applied, before.checkpointed) == (39, 44)
    wait_until(lambda: ask(newcomer, "SAVE") == b"OK", 20)
    newcomer.kill()
    newcomer.start()
    assert (state(newcomer).applied, state(newcomer).checkpointed) == (44, 44)
    cluster.add(newcomer)
    assert member_number(newcomer, "joins_by_log") == 1
    assert [ask(newcomer, "READ", f"key:{n}") for n in (4, 5, 39)] == [b"after the fork:4", b"value:5", b"value:39"]
