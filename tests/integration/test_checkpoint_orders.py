# SPDX-License-Identifier: Apache-2.0
"""CHAIN.CHECKPOINT and CHAIN.FLUSH count only from the right neighbour and in the right epoch (rule 2)."""

from collections.abc import Callable

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.member_client import RedisLink
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Error, Talk, Word, member_number, proven, settled, state, stored_view
from integration.test_checkpoint import FLUSH, checkpoint, put

UP = ("CHAIN.CHECKPOINT",)
DOWN = ("CHAIN.FLUSH", 1)
Ends = Callable[[Cluster], tuple[Server, Server]]

# The sender of the order, and its receiver.
ORDERS = pytest.mark.parametrize(
    ("order", "ends"),
    [(UP, lambda c: (c.tail, c.head)), (DOWN, lambda c: (c.head, c.tail))],
    ids=["checkpoint", "flush"],
)


def words(order: tuple[Word, ...], epoch: int) -> tuple[Word, ...]:
    return (order[0], epoch, *order[1:])


def as_process(server: Server, cluster: Cluster, run_id: str) -> RedisLink:
    return proven(server, stored_view(cluster), run_id)


def what_it_has_done(server: Server) -> tuple[int, int]:
    return member_number(server, "checkpointed"), member_number(server, "flushed_keys")


@pytest.fixture
def written(chain: StartChain) -> Cluster:
    """A chain with all updates in checkpoints, except for the last."""
    cluster = chain(2, member_config=FLUSH)
    put(cluster, 3)
    checkpoint(cluster)
    put(cluster, 1, prefix="newer")
    settled(cluster)
    return cluster


@ORDERS
@pytest.mark.parametrize(("off_by", "answer"), [(-1, b"STALE"), (1, b"BEHIND")])
def test_of_another_epoch(written: Cluster, order: tuple[Word, ...], ends: Ends, off_by: int, answer: bytes) -> None:
    sender, receiver = ends(written)
    before = what_it_has_done(receiver)
    talk = Talk.over(receiver, as_process(receiver, written, state(sender).run_id))
    assert talk(*words(order, state(receiver).epoch + off_by))[0] == answer
    assert what_it_has_done(receiver) == before


@ORDERS
def test_of_somebody_else(written: Cluster, order: tuple[Word, ...], ends: Ends) -> None:
    """The sender knows the secret, but is not the neighbour on that side."""
    receiver = ends(written)[1]
    before = what_it_has_done(receiver)
    talk = Talk.over(receiver, as_process(receiver, written, "e" * 40))
    assert isinstance(talk(*words(order, state(receiver).epoch)), Error)
    assert what_it_has_done(receiver) == before


@ORDERS
def test_of_the_neighbour(written: Cluster, order: tuple[Word, ...], ends: Ends) -> None:
    sender, receiver = ends(written)
    before = what_it_has_done(receiver)
    talk = Talk.over(receiver, as_process(receiver, written, state(sender).run_id))
    talk.send(*words(order, state(receiver).epoch))
    wait_until(lambda: what_it_has_done(receiver) != before, 20)
    assert talk.is_silent()
