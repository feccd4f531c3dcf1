# SPDX-License-Identifier: Apache-2.0
"""More data than memory: what is read stays in memory or comes back, the rest goes, and nothing old comes back."""

import random

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Talk, ask, info, member_number, settled

FLUSH = {"member.gcs-mode": "checkpoint-flush"}
VALUE = b"v" * 1000
COLD, HOT = 6_000, 300  # keys of one kilobyte each, beside what a server uses without any
READS = 1_000
MIB = 1024 * 1024


def put(cluster: Cluster, prefix: str, keys: int) -> None:
    with Talk(cluster.head) as talk:
        for first in range(0, keys, 500):
            commands = [("MEMBER.PUT", f"{prefix}:{n}", VALUE) for n in range(first, min(first + 500, keys))]
            assert all(isinstance(reply, int) for reply in talk.pipeline(commands))


def checkpointed(cluster: Cluster) -> None:
    wanted = settled(cluster)
    assert isinstance(ask(cluster.tail, "TAIL.CHECKPOINT"), int)
    for member in cluster.members:
        wait_until(lambda member=member: member_number(member, "checkpointed") >= wanted, 20)  # type: ignore[misc]


def read(tail: Server, names: list[str]) -> int:
    """READ all of them; returns how many were answered from the checkpoint."""
    before = member_number(tail, "checkpoint_reads")
    with Talk(tail) as talk:
        assert talk.pipeline([("READ", name) for name in names]) == [VALUE] * len(names)
    return member_number(tail, "checkpoint_reads") - before


def in_memory(member: Server, prefix: str, keys: int) -> int:
    with Talk(member) as talk:
        return sum(reply is not None for reply in talk.pipeline([("GET", f"{prefix}:{n}") for n in range(keys)]))


def used(member: Server) -> int:
    return int(info(member, "memory")["used_memory"])


def flush(cluster: Cluster, most: int) -> None:
    for member in cluster.members:
        wait_until(lambda member=member: member_number(member, "flushing") == 0, 20)  # type: ignore[misc]
    assert ask(cluster.head, "HEAD.FLUSH", most) == most
    tail = cluster.tail
    wait_until(lambda: member_number(tail, "flushed_keys") % most == 0 and not member_number(tail, "flushing"), 20)


@pytest.mark.parametrize("limit", ["0", "1gb"])
def test_keys_that_are_read_stay_and_others_go(chain: StartChain, limit: str) -> None:
    """Half of the keys leave: hardly any that was read meanwhile is among them at the tail.

    With a limit they are candidates of the checkpoint, and without one the scan finds them.
    """
    cluster = chain(2, member_config={**FLUSH, "member.flush-above": limit})
    put(cluster, "cold", COLD // 2)
    put(cluster, "hot", HOT)
    put(cluster, "late", COLD // 2)
    checkpointed(cluster)
    hot = [f"hot:{n}" for n in range(HOT)]
    idle = int(ask(cluster.tail, "OBJECT", "IDLETIME", "cold:0"))
    wait_until(lambda: int(ask(cluster.tail, "OBJECT", "IDLETIME", "cold:0")) >= idle + 3, 20)
    assert read(cluster.tail, hot) == 0
    flush(cluster, COLD // 2 + HOT)
    assert read(cluster.tail, hot) <= HOT // 20
    assert in_memory(cluster.head, "hot", HOT) < HOT * 0.8  # nobody has read them there


@pytest.mark.parametrize("limit", ["0", "1gb"])
def test_all_keys_leave_when_all_are_to(chain: StartChain, limit: str) -> None:
    """Keys that were used lately go last, but they go."""
    cluster = chain(1, member_config={**FLUSH, "member.flush-above": limit})
    put(cluster, "hot", HOT)
    checkpointed(cluster)
    assert ask(cluster.head, "HEAD.FLUSH", HOT - 10) == HOT - 10
    ask(cluster.head, "CONFIG", "SET", "member.flush-above", 0)  # nothing comes back
    assert read(cluster.tail, [f"hot:{n}" for n in range(HOT)]) == HOT - 10
    assert ask(cluster.head, "HEAD.FLUSH", 2 * HOT) == 10
    assert ask(cluster.head, "HEAD.FLUSH") == 0


def test_what_a_checkpoint_wrote_first_leaves_first(chain: StartChain) -> None:
    """The head spares nothing: exactly the oldest keys leave, where the clock may begin evictions."""
    cluster = chain(2, member_config={**FLUSH, "member.flush-above": "1gb"})
    for prefix in ("first", "second"):
        put(cluster, prefix, 1_000)
        checkpointed(cluster)
    flush(cluster, 700)
    assert in_memory(cluster.head, "first", 700) == 0
    assert in_memory(cluster.head, "first", 1_000) == 300
    assert in_memory(cluster.head, "second", 1_000) == 1_000
    flush(cluster, 700)
    assert in_memory(cluster.head, "first", 1_000) == 0
    assert in_memory(cluster.head, "second", 400) == 0
    assert in_memory(cluster.head, "second", 1_000) == 600


def test_what_was_updated_since_the_checkpoint_wrote_it_stays(chain: StartChain) -> None:
    """A candidate leaves only if the checkpoint still has its newest update."""
    cluster = chain(2, member_config={**FLUSH, "member.flush-above": "1gb"})
    put(cluster, "key", 30)
    checkpointed(cluster)
    for n in range(10):
        ask(cluster.head, "MEMBER.PUT", f"key:{n}", f"newer {n}")
        ask(cluster.head, "MEMBER.DEL", f"key:{10 + n}")
    assert ask(cluster.head, "HEAD.FLUSH") == 10
    assert in_memory(cluster.head, "key", 30) == 10
    values = [*(b"newer %d" % n for n in range(10)), *[None] * 10, *[VALUE] * 10]
    for _ in range(2):
        assert [ask(cluster.tail, "READ", f"key:{n}") for n in range(30)] == values
        checkpointed(cluster)
        ask(cluster.head, "HEAD.FLUSH")
        assert in_memory(cluster.head, "key", 30) == 0


def test_candidates_that_were_forgotten_are_found_by_the_scan(chain: StartChain) -> None:
    """Names of candidates take a sixteenth of the limit: 2 MB, of 4."""
    cluster = chain(1, member_config={**FLUSH, "member.flush-above": "32mb"})
    put(cluster, "x" * 2_000, 2_000)
    checkpointed(cluster)
    assert ask(cluster.head, "HEAD.FLUSH", 2_000) == 2_000
    assert in_memory(cluster.head, "x" * 2_000, 2_000) == 0


def test_a_hot_set_is_answered_from_memory_while_more_data_than_memory_is_read(chain: StartChain) -> None:
    """Nine of ten READs are of the hot keys, of which all have been flushed before."""
    cluster = chain(1, member_config=FLUSH)
    tail = cluster.tail
    put(cluster, "hot", HOT)
    put(cluster, "cold", COLD)
    checkpointed(cluster)
    assert ask(cluster.head, "HEAD.FLUSH") == HOT + COLD
    limit = used(tail) + 2 * MIB
    ask(tail, "CONFIG", "SET", "member.flush-above", limit)
    dice = random.Random(7)

    def some_name() -> str:
        return f"cold:{dice.randrange(COLD)}" if dice.random() < 0.1 else f"hot:{dice.randrange(HOT)}"

    looked_up = [read(tail, [some_name() for _ in range(READS)]) for _ in range(40)]
    assert sum(looked_up[20:]) < 20 * READS * 0.2
    assert member_number(tail, "recalled_keys") > HOT
    wait_until(lambda: used(tail) < limit + MIB, 20)


def test_a_key_that_is_deleted_while_it_is_looked_up_does_not_come_back(chain: StartChain) -> None:
    cluster = chain(1, member_config=FLUSH)
    member = cluster.head
    put(cluster, "key", 1_000)
    checkpointed(cluster)
    assert ask(member, "HEAD.FLUSH") == 1_000
    ask(member, "CONFIG", "SET", "member.flush-above", "1gb")
    with Talk(member) as reader, Talk(member) as writer:
        for n in range(1_000):
            reader.send("READ", f"key:{n}")
            writer.send("MEMBER.DEL", f"key:{n}")
            assert isinstance(writer.receive(), int)
            assert reader.receive() in (VALUE, None)
        assert reader.pipeline([("READ", f"key:{n}") for n in range(1_000)]) == [None] * 1_000
        assert reader.pipeline([("GET", f"key:{n}") for n in range(1_000)]) == [None] * 1_000


def test_nothing_comes_back_where_memory_has_no_limit(chain: StartChain) -> None:
    """What a client has flushed by hand is not brought back by those who read it."""
    cluster = chain(1, member_config=FLUSH)
    put(cluster, "key", 10)
    checkpointed(cluster)
    assert ask(cluster.head, "HEAD.FLUSH") == 10
    names = [f"key:{n}" for n in range(10)]
    assert read(cluster.tail, names) == 10 == read(cluster.tail, names)
    assert member_number(cluster.tail, "recalled_keys") == 0
    ask(cluster.tail, "CONFIG", "SET", "member.flush-above", "1gb")
    assert read(cluster.tail, names) == 10
    assert read(cluster.tail, names) == 0
    assert ask(cluster.tail, "GET", "key:3") == VALUE
