# SPDX-License-Identifier: Apache-2.0
"""No update leaves a member before it is in the member's append-only file (design.md, "Restart")."""

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


def test_an_update_is_on_disk_before_the_successor_hears_of_it(chain: StartChain) -> None:
    cluster = without_master(chain(2, member_config={**ALWAYS, "enable-debug-command": "yes"}))
    head, tail = cluster.members
    assert ask(head, "MEMBER.PUT", "k", "kept") == 0
    ask(head, "DEBUG", "AOF-FLUSH-SLEEP", 30_000_000)  # microseconds before each write
    with Talk(head) as talk:
        talk.send("MEMBER.PUT", "k", "lost")
        wait_until(lambda: not answers(head), 20)
        head.kill()
    head.start()
    assert [state(member).applied for member in (head, tail)] == [0, 0]


def test_an_update_is_on_the_tails_disk_before_anybody_hears_of_it(chain: StartChain) -> None:
    cluster = without_master(chain(2, member_config={**ALWAYS, "enable-debug-command": "yes"}))
    head, tail = cluster.members
    assert ask(head, "MEMBER.PUT", "k", "kept") == 0
    ask(tail, "DEBUG", "AOF-FLUSH-SLEEP", 30_000_000)
    with Talk(head) as talk:
        talk.send("MEMBER.PUT", "k", "unknown")
        wait_until(lambda: not answers(tail), 20)
        tail.kill()
        assert talk.is_silent()
        tail.start()
        assert (state(tail).applied, state(head).committed) == (0, 0)


def test_an_update_in_a_pass_that_is_almost_over_is_on_disk_before_its_answer(chain: StartChain) -> None:
    """Redis runs the commands of a client that it has just unblocked after the member has recorded updates."""
    cluster = without_master(chain(1, member_config={**ALWAYS, "enable-debug-command": "yes"}))
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
        wait_until(lambda: state(tail).applied > 0, 20)
        head.kill()
    head.start()
    assert state(head).applied >= state(tail).applied
