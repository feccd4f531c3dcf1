# SPDX-License-Identifier: Apache-2.0
"""Servers that return to the chain, with or without data."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.process import LauncherError
from chainredis.transport.member_client import MemberLink
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import (
    ask,
    ask_removed,
    assert_serves,
    await_repair,
    info,
    member_number,
    proven,
    settled,
    state,
    stored_view,
)


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


def pair(chain: StartChain, commands: str) -> Cluster:
    """Two members that have `k`."""
    cluster = chain(2, commands=commands)
    assert ask(cluster.head, "MEMBER.PUT", "k", "v") == 0
    settled(cluster)
    return cluster


@contextmanager
def rejoining(cluster: Cluster) -> Iterator[MemberLink]:
    """Takes the tail out, and lets it return by log as a master would. Yields a link to it."""
    former = cluster.tail
    cluster.remove(former)
    view = stored_view(cluster)
    with closing(proven(cluster.tail, view)) as tail, closing(proven(former, view)) as link:
        tail.pin()
        link.rejoin(view)
        yield link


@pytest.mark.parametrize("commands", ["put", "all"])
def test_a_return_by_log_may_begin_anew_by_copy(chain: StartChain, commands: str) -> None:
    """So does a master when the chain has changed. The link to the old tail stands, and has asked for no rights."""
    cluster = pair(chain, commands)
    former = cluster.tail
    with rejoining(cluster) as link:
        wait_until(lambda: info(former, "member")["member_link_up"] == "ready", 20)
        link.join(stored_view(cluster))
        wait_until(lambda: link.state().join == "copied", 20)
    cluster.add(former)
    assert ask(former, "GET", "k") == b"v"


@pytest.mark.parametrize("commands", ["put", "all"])
def test_a_return_by_log_that_was_broken_off_goes_on_by_log(chain: StartChain, commands: str) -> None:
    cluster = pair(chain, commands)
    former = cluster.tail
    with rejoining(cluster) as link:
        wait_until(lambda: link.state().join == "copied", 20)
    assert ask(cluster.head, "MEMBER.PUT", "k", "newer") != 0
    before = member_number(former, "joins_by_copy")
    cluster.add(former)
    assert ask(former, "GET", "k") == b"newer"
    assert (member_number(former, "joins_by_log"), member_number(former, "joins_by_copy")) == (2, before)


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
    """The server must also be restarted: while it runs, it obeys only peers that prove its chain's secret (rule 2)."""
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
    """The new process has the same port and no data: it must not count as the former member."""
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
