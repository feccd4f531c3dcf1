# SPDX-License-Identifier: Apache-2.0
"""A blocked client gets the answer that was true when it was decided.

Redis 7.0 sends the answer in the same pass of the event loop; later versions and Valkey send it in the next pass. The
tests put commands into successive passes by a pipeline that is longer than one read.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import View
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import PATIENT, Talk, Word, ask, info, paused, proven, state, stored_view
from servers import use

NEXT_PASS = ("ECHO", "x" * 200_000)  # more than a server reads in one pass


@pytest.fixture(params=["built", "newer"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "newer":
        use("valkey-9.1", monkeypatch)


def by_hand(chain: StartChain) -> tuple[Cluster, View]:
    """A chain of two members, without leases, and its view. The master is dead: the test acts as the master."""
    cluster = chain(2, master_config=PATIENT)
    assert ask(cluster.head, "MEMBER.PUT", "k", "old") == 0
    cluster.master.kill()
    before = stored_view(cluster)
    view = replace(before, epoch=before.epoch + 1)
    for member in cluster.members:
        with closing(proven(member, before)) as link:
            link.adopt(view)
    wait_until(lambda: all(state(member).serving for member in cluster.members), 20)
    return cluster, view


def turned(view: View, epochs: int = 1) -> View:
    """A later view with the same members in reverse order."""
    return replace(view, epoch=view.epoch + epochs, members=view.members[::-1])


def in_two_passes(talk: Talk, first: Sequence[Word], *then: Sequence[Word]) -> list[object]:
    """Send `first` and `then` so that the server handles them in two passes; returns all replies.

    All bytes have arrived before the server reads.
    """
    assert isinstance(talk.server, Server)
    with paused(talk.server):
        talk.send_all([first, NEXT_PASS, *then])
    return [talk.receive() for _ in range(2 + len(then))]


@pytest.mark.usefixtures("either")
def test_a_read_that_waited_for_its_right(chain: StartChain) -> None:
    """The lease comes in one pass. In the next the member is no longer the tail, and applies an uncommitted write."""
    cluster, view = by_hand(chain)
    tail = cluster.tail
    assert info(tail, "member")["member_lease_ms"] == "0"
    with paused(cluster.head), Talk(tail) as reader, Talk.over(tail, proven(tail, view)) as master:
        grant = ("CHAIN.POLL", view.epoch, state(tail).stamp, 60_000)
        reader.send("READ", "k")
        assert reader.is_silent()
        replies = in_two_passes(
            master, grant, ("CHAIN.ADOPT", *turned(view).wire()), ("MEMBER.PUT", "k", "uncommitted", "somebody"))
        assert replies[-1] == 1, replies
        assert reader.receive() == b"old"
        assert ask(tail, "GET", "k") == b"uncommitted"


@pytest.mark.usefixtures("either")
def test_a_wait_that_ended_with_the_role(chain: StartChain) -> None:
    """In one pass the member stops being the head, and in the next it is the head again."""
    cluster, view = by_hand(chain)
    head = cluster.head
    with paused(cluster.tail), Talk(head) as client, Talk.over(head, proven(head, view)) as master:
        client.send("MEMBER.WAIT", 7)
        assert client.is_silent()
        in_two_passes(
            master,
            ("CHAIN.ADOPT", *turned(view).wire()),
            ("CHAIN.ADOPT", *replace(view, epoch=view.epoch + 2).wire()),
        )
        assert client.receive() == f"MOVED 0 {cluster.endpoint_of(cluster.tail)}"
        assert state(head).epoch == view.epoch + 2


@pytest.mark.usefixtures("either")
def test_many_clients_that_wait_and_leave(chain: StartChain) -> None:
    """A client that leaves is forgotten, whatever it waited for, and the others are answered."""
    cluster = chain(2, master_config=PATIENT, member_config={"member.gcs-mode": "checkpoint-flush"})
    head, tail = cluster.members
    with paused(tail):
        talks = [Talk(head) for _ in range(300)]
        for number, talk in enumerate(talks):
            talk.send("MEMBER.WAIT", 0) if number % 3 else talk.send("HEAD.FLUSH")
        for talk in talks[::2]:
            talk.close()
        assert isinstance(ask(head, "MEMBER.PUT", "k", "v", "channel"), int)
    assert [talk.receive() for talk in talks[1::2]] == [0] * 150
    for talk in talks:
        talk.close()
    wait_until(lambda: _blocked(head) == 1, 20)  # the one is the master's CHAIN.WATCH


def _blocked(server: Server) -> int:
    return int(info(server, "clients")["blocked_clients"])
