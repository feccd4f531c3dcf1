# SPDX-License-Identifier: Apache-2.0
"""The sns that are published on a client's channel, and by which member (design.md, "Publications")."""

from threading import Event

import pytest
import redis

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.server import Server
from integration.conftest import StartChain, StartServer
from integration.helpers import PATIENT, Talk, ask, await_lifelines, await_repair, paused, running, settled


class Listener:
    """A subscription to one channel at one member."""

    def __init__(self, server: Server, channel: str) -> None:
        self._talk = Talk(server)
        self._channel = channel.encode()
        assert self._talk("SUBSCRIBE", channel) == [b"subscribe", self._channel, 1]

    def take(self, count: int) -> list[int]:
        return [self._one() for _ in range(count)]

    def take_until(self, sn: int) -> list[int]:
        taken = [self._one()]
        while taken[-1] != sn:
            taken.append(self._one())
        return taken

    def is_silent(self) -> bool:
        return self._talk.is_silent()

    def _one(self) -> int:
        kind, channel, text = self._talk.receive()
        assert (kind, channel) == (b"message", self._channel)
        return int(text)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_tail_publishes_exactly_the_sns_of_each_client(chain: StartChain, size: int) -> None:
    cluster = chain(size)
    mine, theirs = Listener(cluster.tail, "me"), Listener(cluster.tail, "them")
    own: list[int] = []
    others: list[int] = []
    with Talk(cluster.head) as talk:
        for number in range(300):
            sns = talk.pipeline([
                ("MEMBER.PUT", "key", number, "me"), ("MEMBER.PUT", "key", number, "them"),
                ("MEMBER.DEL", "gone", "me"), ("MEMBER.PUT", "key", number), ("MEMBER.PUT", number, "", "nobody"),
            ])  # fmt: skip
            own += [sns[0], sns[2]]
            others.append(sns[1])
    assert mine.take(600) == own
    assert theirs.take(300) == others
    assert mine.is_silent()
    assert theirs.is_silent()


def test_a_server_without_a_history_publishes(server: StartServer) -> None:
    alone = server(MEMBER)
    listener = Listener(alone, "me")
    assert [ask(alone, "MEMBER.PUT", "key", "value", "me") for _ in range(3)] == [0, 1, 2]
    assert listener.take(3) == [0, 1, 2]


def test_nothing_is_published_before_it_is_committed(chain: StartChain) -> None:
    cluster = chain(3, master_config=PATIENT)
    listeners = [Listener(each, "me") for each in cluster.members]
    with paused(cluster.members[1]):
        assert ask(cluster.head, "MEMBER.PUT", "key", "value", "me") == 0
        assert all(each.is_silent() for each in listeners)
    assert listeners[-1].take(1) == [0]


def test_a_member_that_was_tail_still_publishes(chain: StartChain) -> None:
    cluster = chain(2)
    old = Listener(cluster.tail, "me")
    assert ask(cluster.head, "MEMBER.PUT", "key", "before", "me") == 0
    cluster.grow()
    new = Listener(cluster.tail, "me")
    assert ask(cluster.head, "MEMBER.PUT", "key", "after", "me") == 1
    assert old.take(2) == [0, 1]
    assert new.take(1) == [1]


def test_no_publication_is_missed_while_the_tail_changes(chain: StartChain) -> None:
    """While a new tail is added under load, a subscriber of the old tail gets every sn, some perhaps twice."""
    cluster = chain(2)
    listener = Listener(cluster.tail, "me")
    sns: list[int] = []

    def write(stop: Event) -> None:
        with Talk(cluster.head) as talk:
            while not stop.is_set() and len(sns) < 50_000:
                replies = talk.pipeline([("MEMBER.PUT", "key", len(sns), "me")] * 50)
                sns.extend(reply for reply in replies if isinstance(reply, int))
                assert all(isinstance(reply, int) or reply.startswith("ERR ") for reply in replies), replies

    with running(write):
        cluster.grow()
    assert ask(cluster.head, "MEMBER.PUT", "key", "last", "me") == len(sns)
    heard = listener.take_until(len(sns))
    assert sorted(set(heard)) == [*sns, len(sns)]


def test_a_new_tail_publishes_what_the_old_one_may_not_have(chain: StartChain) -> None:
    """The removal of a silent tail commits updates. The next tail publishes each of them at least once."""
    cluster = chain(3, master_config=PATIENT)
    await_lifelines(cluster)
    middle, tail = cluster.members[1:]
    listener = Listener(middle, "me")
    ask(middle, "PING")
    tail.pause()
    assert [ask(cluster.head, "MEMBER.PUT", "key", number, "me") for number in range(5)] == list(range(5))
    assert listener.is_silent()
    tail.kill()
    await_repair(cluster, tail)
    assert sorted(set(listener.take_until(4))) == list(range(5))
    assert settled(cluster) == 4


def test_a_removed_tail_disconnects_its_subscribers(chain: StartChain) -> None:
    """Otherwise the subscribers would wait for ever (design.md, "Publications")."""
    cluster = chain(2)
    tail = cluster.tail
    subscribers = [Talk(tail), Talk(tail)]
    subscribers[0]("SUBSCRIBE", "me")
    subscribers[1]("PSUBSCRIBE", "m*")
    cluster.remove(tail)
    for subscriber in subscribers:
        with pytest.raises(redis.ConnectionError):
            subscriber.receive()
