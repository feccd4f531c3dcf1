# SPDX-License-Identifier: Apache-2.0
"""Other modules' commands in the stream of effects, and commands for the head that are no writes."""

from threading import Event

import pytest

from chainredis.local_cluster.cluster import Cluster
from integration.conftest import StartChain
from integration.disks import ALWAYS
from integration.helpers import PATIENT, Error, Talk, Word, ask, paused, running
from integration.test_any_command import DEBUG, assert_same, version
from integration.upheavals import restart_all

__all__ = ["version"]   # each test runs on each server

# A command of another module that is replicated as it is, and calls others at each member.
REPEAT = "FOREIGN.REPEAT"
CALLED: list[tuple[Word, ...]] = [
    ("SET", "k", "v"), ("INCR", "n"), ("GET", "k"), ("PFADD", "h", 1, 2), ("PFCOUNT", "h"), ("PUBLISH", "news", "one"),
    ("FOREIGN.SET", "own", "v"), (REPEAT, "INCR", "n"),
]  # fmt: skip


@pytest.fixture
def config(foreign_module: str) -> dict[str, str]:
    return {**DEBUG, "loadmodule": foreign_module}


def repeat_each(cluster: Cluster) -> None:
    with Talk(cluster.head) as talk:
        for words in CALLED:
            assert not isinstance(talk(REPEAT, *words), Error), words
        assert talk("EVAL", "return redis.call(unpack(ARGV))", 0, REPEAT, "INCR", "n") == 3
        assert talk.pipeline([["MULTI"], [REPEAT, "INCR", "n"], [REPEAT, "GET", "n"], ["EXEC"]])[-1] == [4, b"4"]


def test_commands_that_call_others_are_executed_by_every_member(chain: StartChain, config: dict[str, str]) -> None:
    cluster = chain(3, commands="all", member_config=config)
    repeat_each(cluster)
    assert_same(cluster)
    for member in cluster.members:
        assert ask(member, "MGET", "k", "n") == [b"v", b"4"]


def test_a_member_joins_while_commands_call_others(chain: StartChain, config: dict[str, str]) -> None:
    """In no view yet, it shows clients no data; but it executes what reads before it writes."""
    cluster = chain(1, commands="all", member_config={**config, "rdb-key-save-delay": "300000"})
    repeat_each(cluster)

    def load(stop: Event) -> None:
        with Talk(cluster.head) as talk:
            while not stop.is_set():
                for words in (("GET", "n"), ("INCR", "n")):
                    assert not isinstance(talk(REPEAT, *words), Error)

    with running(load):
        cluster.grow()
    assert_same(cluster)


def test_what_commands_have_called_is_there_after_a_restart(chain: StartChain, config: dict[str, str]) -> None:
    cluster = chain(2, commands="all", member_config={**config, **ALWAYS}, master_config={"master.auto-return": "yes"})
    repeat_each(cluster)
    restart_all(cluster)
    for member in cluster.members:
        assert ask(member, "MGET", "k", "n") == [b"v", b"4"]
    assert_same(cluster)


@pytest.mark.parametrize("busy", [False, True], ids=["at-rest", "with-effects-to-execute"])
@pytest.mark.parametrize("words", [("PFCOUNT", "h"), ("PUBLISH", "news", "one")], ids=" ".join)
def test_what_changes_a_member_without_being_a_write_is_the_heads(
    chain: StartChain, words: tuple[Word, ...], busy: bool
) -> None:
    """PFCOUNT stores its result in the key, and what is published is to reach the subscribers of all members."""
    cluster = chain(3, commands="all", member_config={**DEBUG, **ALWAYS})
    ways: list[tuple[Word, ...]] = [words, ("EVAL", "return redis.call(unpack(ARGV))", 0, *words)]
    with Talk(cluster.head) as head, Talk(cluster.tail) as reader:
        assert reader("SUBSCRIBE", "news")
        assert head("PFADD", "h", *range(100)) == 1
        for follower in cluster.members[1:]:
            with Talk(follower) as talk:
                for _ in range(20):
                    if busy:
                        head.send_all([["PFADD", "h", number] for number in range(200)])
                    for asked in ways:
                        reply = talk(*asked)
                        assert isinstance(reply, Error) and ("MOVED" in reply or "READONLY" in reply), (asked, reply)
                    if busy:
                        for _ in range(200):
                            head.receive()
                assert talk.pipeline([["MULTI"], words, ["EXEC"]])[-1] != [100]
        assert_same(cluster)
        assert reader.is_silent()
        assert head("PFCOUNT", "h") >= 100
        assert head("PUBLISH", "news", "two") == 0
        assert reader.receive()[2] == b"two"
    restart_all(cluster)
    assert_same(cluster)


def test_what_a_module_says_later_is_held(chain: StartChain, config: dict[str, str]) -> None:
    """It changes data when it replies to a client that it has blocked. Redis 7.0 does that right before it sleeps."""
    cluster = chain(3, commands="all", member_config=config, master_config=PATIENT)
    with Talk(cluster.head) as writer, Talk(cluster.head) as reader:
        for number in range(5):
            assert writer("FOREIGN.LATER", "k", number) == b"OK"
            with paused(cluster.tail):
                writer.send("FOREIGN.LATER", "k", "new")
                assert writer.is_silent()
                reader.send("GET", "k")
                assert reader.is_silent()
            assert writer.receive() == b"OK"
            assert reader.receive() == b"new"
    assert_same(cluster)
