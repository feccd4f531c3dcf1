# SPDX-License-Identifier: Apache-2.0
"""Nothing is told of an update before it is in the append-only file of every member (design.md, "Restart")."""

from contextlib import ExitStack
from time import sleep

import pytest
import redis

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS, EVERY_SECOND, without_master
from integration.helpers import (
    Talk,
    ask,
    ask_removed,
    assert_serves,
    member_number,
    state,
)
from servers import use

SLOW = {**ALWAYS, "enable-debug-command": "yes"}


def slow_down(member: Server) -> None:
    ask(member, "DEBUG", "AOF-FLUSH-SLEEP", 30_000_000)  # microseconds before each write


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_update_is_on_every_disk_before_anybody_hears_of_it(chain: StartChain, place: int) -> None:
    """One member is killed while it writes its file: the others have the update by then, and tell nobody."""
    cluster = without_master(chain(3, member_config=SLOW))
    slow, others = cluster.members[place], cluster.members[:place] + cluster.members[place + 1:]
    assert ask(cluster.head, "MEMBER.PUT", "k", "kept") == 0
    slow_down(slow)
    with Talk(cluster.head) as writer:
        writer.send("MEMBER.PUT", "k", "unknown")
        wait_until(lambda: not answers(slow), 20)
        wait_until(lambda: all(state(each).applied == 1 for each in others), 20)
        assert all(member_number(each, "on_disk") == 1 for each in others)
        slow.kill()
        assert place == 0 or writer.is_silent()
        slow.start()
        assert (state(slow).applied, [state(each).committed for each in others]) == (0, [0, 0])


@pytest.mark.parametrize("place", [0, 1])
def test_a_read_shows_nothing_that_a_disk_may_lose(chain: StartChain, place: int) -> None:
    cluster = without_master(chain(3, member_config=SLOW))
    tail, slow = cluster.tail, cluster.members[place]
    assert ask(cluster.head, "MEMBER.PUT", "k", "kept") == 0
    slow_down(slow)
    with Talk(cluster.head) as writer, Talk(tail) as reader:
        assert reader("READ", "k") == b"kept"
        writer.send("MEMBER.PUT", "k", "unknown")
        wait_until(lambda: state(tail).applied == 1, 20)
        reader.send("READ", "k")
        assert reader.is_silent()
        with Talk(tail) as other:
            assert other.pipeline([("MULTI",), ("READ", "k")]) == [b"OK", b"QUEUED"]
            assert "not on all disks yet" in str(other("EXEC"))


def test_a_read_that_waits_for_a_disk_is_answered(chain: StartChain) -> None:
    cluster = chain(3, member_config=SLOW)
    head, tail = cluster.head, cluster.tail
    assert ask(head, "MEMBER.PUT", "k", "old") == 0
    ask(head, "DEBUG", "AOF-FLUSH-SLEEP", 300_000)
    with Talk(head) as writer, Talk(tail) as reader:
        writer.send("MEMBER.PUT", "k", "new")
        wait_until(lambda: state(tail).applied == 1, 20)
        assert reader("READ", "k") == b"new"
        assert writer.receive() == 1
    assert state(tail).committed == 1


def test_an_update_in_a_pass_that_is_almost_over_is_on_disk_before_its_answer(chain: StartChain) -> None:
    """Redis runs the commands of a client that it has just unblocked after the member has recorded updates."""
    cluster = without_master(chain(1, member_config=SLOW))
    member = cluster.head
    ask(member, "DEBUG", "AOF-FLUSH-SLEEP", 300_000)
    with Talk(member) as talk:
        assert talk.pipeline([("MEMBER.PUT", "k", 1), ("MEMBER.PUT", "k", 2, "me")]) == [0, 1]
        member.kill()
    member.start()
    assert (state(member).applied, ask_removed(member, "GET", "k")) == (1, b"2")


def answers(server: Server) -> bool:
    try:
        with Talk(server, timeout_s=0.3) as talk:
            return bool(talk("PING") == b"PONG")
    except redis.TimeoutError:
        return False


def test_without_always_nothing_waits(chain: StartChain) -> None:
    cluster = chain(2, member_config=EVERY_SECOND)
    assert_serves(cluster)
    for member in cluster.members:
        assert member_number(member, "waits_for_disk") == 0
        assert not state(member).record_durable


def test_a_command_that_comes_after_the_file_was_written_waits_for_its_next_write(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With io-threads, Redis 8.2 executes what its threads have read meanwhile between the write of the file and sleep.

    Many clients write, because the threads read nothing of a client that waits for the main thread once a second.
    """
    use("redis-8.2", monkeypatch)
    cluster = without_master(chain(2, member_config={**ALWAYS, "enable-debug-command": "yes", "io-threads": "3"}))
    head, tail = cluster.members
    with ExitStack() as stack:
        first, *others = (stack.enter_context(Talk(head)) for _ in range(8))
        assert first("CLIENT", "TRACKING", "ON") == b"OK"   # the main thread reads from this client itself
        assert [each("PING") for each in others] == [b"PONG"] * len(others)
        ask(head, "DEBUG", "AOF-FLUSH-SLEEP", 2_000_000)    # microseconds before each write
        first.send("MEMBER.PUT", "k", "first")
        for each in others:
            sleep(0.02)
            each.send("MEMBER.PUT", "k", "other")
        wait_until(lambda: state(tail).committed > 0, 20)
        head.kill()
    head.start()
    assert state(head).applied >= state(tail).committed
