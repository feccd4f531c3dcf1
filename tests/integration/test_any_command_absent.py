# SPDX-License-Identifier: Apache-2.0
"""Members of chains of all commands that leave, are removed, or come back. Random series of faults have found each."""

import shutil
from dataclasses import replace
from threading import Event

import pytest
import redis

from chainredis.transport.waiting import wait_until
from commands.run import same_data
from integration.conftest import StartChain
from integration.helpers import Talk, ask, await_chain, await_repair, member_number, proven, running, state, stored_view

DEBUG = {"enable-debug-command": "yes"}
REFUSED = ("CLUSTERDOWN", "MASTERDOWN")
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


def test_a_member_that_came_back_without_data_answers_no_reads(chain: StartChain) -> None:
    """It is empty. GET would say nil of a key that has a value."""
    cluster = chain(3, commands="all", member_config=DEBUG)
    assert ask(cluster.head, "SET", "k", "v") == b"OK"
    dead = cluster.tail
    dead.kill()
    await_repair(cluster, dead)
    dead.start()
    assert not state(dead).serving
    for command in (["GET", "k"], ["MGET", "k"], ["EVAL", "return redis.call('GET', 'k')", 0], ["EXISTS", "k"]):
        assert str(ask(dead, *command)).startswith(REFUSED), command
    cluster.add(dead)
    assert ask(dead, "GET", "k") == b"v"


def test_a_member_that_was_removed_answers_no_reads(chain: StartChain) -> None:
    cluster = chain(3, commands="all", member_config=DEBUG)
    assert ask(cluster.head, "SET", "k", "v") == b"OK"
    for removed in (cluster.tail, cluster.head):
        cluster.remove(removed)
        assert ask(cluster.head, "SET", "k", "newer") == b"OK"
        assert str(ask(removed, "GET", "k")).startswith(REFUSED)


def test_the_head_is_removed_under_load(chain: StartChain) -> None:
    cluster = chain(3, commands="all", member_config=DEBUG)
    head = cluster.head

    def write(stop: Event) -> None:
        try:
            with Talk(head) as talk:
                while not stop.is_set():
                    talk.pipeline([["INCR", "n"]] * 50)
        except redis.ConnectionError:
            pass

    with running(write, write):
        wait_until(lambda: int(ask(cluster.tail, "GET", "n") or 0) > 1000, 20)
        cluster.remove(head)
        assert ask(cluster.head, "INCR", "n") > 1000
    same_data(cluster.members)


@pytest.mark.parametrize("flush", ["FLUSHALL", "FLUSHDB"])
def test_a_flush_in_the_append_only_file(chain: StartChain, flush: str) -> None:
    """It is the chain's own. The member that loads it does not end."""
    cluster = chain(3, commands="all", member_config=DEBUG | DURABLE)
    with Talk(cluster.head) as talk:
        for command in (["SET", "k", "v"], [flush], ["SET", "other", "v"]):
            assert talk(*command) == b"OK"
    back = cluster.tail
    back.kill()
    await_repair(cluster, back)
    back.start()
    cluster.add(back)
    assert ask(back, "GET", "other") == b"v"
    same_data(cluster.members)


@pytest.mark.parametrize("files", [{}, DURABLE], ids=["memory", "durable"])
def test_a_former_head_with_effects_of_its_own_becomes_the_chain(chain: StartChain, files: dict[str, str]) -> None:
    """Nobody was answered because of these effects. Who has others in their place is copied."""
    cluster = chain(3, commands="all", member_config=DEBUG | files)
    head, *others = cluster.members
    assert ask(head, "SET", "before", "v") == b"OK"
    view = stored_view(cluster)
    without = replace(view, epoch=view.epoch + 1, members=view.members[1:])
    cluster.master.kill()
    with Talk.over(head, proven(head, view)) as talk:   # in one pass: before the tap can have read the effects
        talk.pipeline([["SET", "own", "v"], ["CHAIN.ADOPT", *without.wire()]])
    for member in others:
        proven(member, view).adopt(without)
    assert ask(others[0], "SET", "of-the-others", "v" * 100) == b"OK"
    ask(others[0], "SAVE")
    for member in others:
        member.kill()
        shutil.rmtree(member.folder / "appendonlydir", ignore_errors=True)
        member.start()
    cluster.master.start()
    cluster.members[:] = [head]
    form = ("MASTER.FORM", head.endpoint.host, head.endpoint.port)
    wait_until(lambda: ask(cluster.master, *form) == b"OK", 20)     # when it has found the others dead
    assert [ask(head, "GET", key) for key in ("before", "own", "of-the-others")] == [b"v", b"v", None]
    assert ask(head, "SET", "after", "v") == b"OK"
    for member in others:
        cluster.add(member)
        assert not member_number(member, "joins_by_log")
    assert ask(head, "SET", "later", "v") == b"OK"
    await_chain(cluster, *cluster.members)
    same_data(cluster.members)
