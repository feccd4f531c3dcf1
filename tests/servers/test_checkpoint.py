"""Checkpoints and flushing on a sound chain, and READ of what has left memory."""

from collections.abc import Iterator

import pytest

from chainredis.launcher import Cluster, Server
from chainredis.waiting import wait_until
from servers.conftest import StartChain
from servers.helpers import Talk, ask, member_number, settled

FLUSH = {"member.gcs-mode": "checkpoint-flush"}


def put(cluster: Cluster, keys: int, value: str = "value", prefix: str = "key") -> None:
    with Talk(cluster.head) as talk:
        for reply in talk.pipeline([("MEMBER.PUT", f"{prefix}:{n}", f"{value}:{n}") for n in range(keys)]):
            assert isinstance(reply, int), reply


def checkpoint(cluster: Cluster) -> int:
    """Everybody's; the number that the tail says."""
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
