# SPDX-License-Identifier: Apache-2.0
"""A member with a checkpoint is restarted: keys have their newest values, or the member reports that it lacks them."""

from contextlib import suppress
from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Talk, ask, info, member_number, settled, state
from integration.test_checkpoint import FLUSH, checkpoint, flush, list_pages, put

ALWAYS = {"appendonly": "yes", "appendfsync": "always"}


def folder(server: Server) -> Path:
    return server.folder / f"checkpoint-{server.port}"


def read_all(cluster: Cluster, keys: list[str]) -> dict[str, bytes | None]:
    with Talk(cluster.tail) as talk:
        return dict(zip(keys, talk.pipeline([("READ", key) for key in keys]), strict=True))


def aged(cluster: Cluster) -> dict[str, bytes | None]:
    """Make keys of every kind: flushed, deleted before and after a checkpoint, written again, only in memory."""
    put(cluster, 40)
    for n in range(10):
        ask(cluster.head, "MEMBER.DEL", f"key:{n}")
    checkpoint(cluster)
    flush(cluster)
    for n in range(10, 20):
        ask(cluster.head, "MEMBER.DEL", f"key:{n}")
    for n in (5, 15, 25, 26, 27):
        ask(cluster.head, "MEMBER.PUT", f"key:{n}", f"again:{n}")
    put(cluster, 10, prefix="late")
    settled(cluster)
    return expected()


def expected() -> dict[str, bytes | None]:
    values: dict[str, bytes | None] = {f"key:{n}": None if n < 20 else f"value:{n}".encode() for n in range(40)}
    values |= {f"key:{n}": f"again:{n}".encode() for n in (5, 15, 25, 26, 27)}
    return values | {f"late:{n}": f"value:{n}".encode() for n in range(10)}


def form(cluster: Cluster, server: Server) -> None:
    """Wait until the restarted server is the chain, which needs the master to see the end of its former process."""

    def formed() -> bool:
        with suppress(LauncherError):
            cluster.command("MASTER.FORM", server.endpoint.host, server.endpoint.port)
        return state(server).serving

    wait_until(formed, 20)
    cluster.members[:] = [server]


def listed(server: Server) -> dict[bytes, bytes]:
    return dict(list_pages(server))


@pytest.mark.parametrize("again", [False, True], ids=["as it was", "and checkpointed since"])
def test_with_its_append_only_file(chain: StartChain, again: bool) -> None:
    cluster = chain(1, member_config=FLUSH | ALWAYS)
    member = cluster.head
    wanted = aged(cluster)
    if again:
        checkpoint(cluster)
    for _ in range(2):
        member.kill()
        member.start()
        assert state(member).applied >= 0
        form(cluster, member)
        assert read_all(cluster, list(wanted)) == wanted
        checkpoint(cluster)
        flush(cluster)
        assert info(member, "keyspace") == {}
        assert read_all(cluster, list(wanted)) == wanted


def test_what_the_checkpoint_has_is_not_written_again_after_a_restart(chain: StartChain) -> None:
    """The append-only file has all updates, those from before the checkpoint, too."""
    cluster = chain(1, member_config=FLUSH | ALWAYS)
    member = cluster.head
    put(cluster, 100)
    checkpoint(cluster)
    put(cluster, 5, "newer")
    ask(member, "MEMBER.DEL", "key:5")
    member.kill()
    member.start()
    form(cluster, member)
    assert member_number(member, "dirty_keys") == 6
    assert checkpoint(cluster) == 6
    flush(cluster)
    wanted = {f"key:{n}": f"{'newer' if n < 5 else 'value'}:{n}".encode() for n in range(100)} | {"key:5": None}
    assert read_all(cluster, list(wanted)) == wanted


def test_killed_amid_a_checkpoint(chain: StartChain) -> None:
    """The incomplete checkpoint does not count and is removed; the checkpoint before it counts."""
    cluster = chain(1, member_config=FLUSH | {"appendonly": "yes", "appendfsync": "always"})
    member = cluster.head
    put(cluster, 20)
    checkpoint(cluster)
    flush(cluster)
    with Talk(member) as talk, Talk(member) as saver:
        talk.pipeline([("MEMBER.PUT", f"key:{n}", bytes([65 + n % 8]) * 500_000) for n in range(10, 130)])
        saver.send("TAIL.CHECKPOINT")
        wait_until(lambda: info(member, "member")["member_checkpoint"] == "writing", 20)
        member.kill()
    member.start()
    form(cluster, member)
    assert member_number(member, "checkpointed") == 19
    assert listed(member) == {f"key:{n}".encode(): f"value:{n}".encode() for n in range(20)}
    assert ask(member, "READ", "key:5") == b"value:5"
    assert ask(member, "READ", "key:15") == b"H" * 500_000
    assert ask(member, "TAIL.CHECKPOINT") == 120
    flush(cluster)
    assert ask(member, "READ", "key:129") == b"B" * 500_000


@pytest.mark.parametrize("kept", ["an older snapshot", "no snapshot"])
def test_the_checkpoint_is_ahead_of_the_snapshot(chain: StartChain, kept: str) -> None:
    """The checkpoint is then the member's data, up to its watermark. Deletions after the RDB stay final."""
    cluster = chain(1, member_config=FLUSH)
    member = cluster.head
    put(cluster, 10)
    ask(member, "MEMBER.PUT", "doomed", "1")
    if kept == "an older snapshot":
        wait_until(lambda: ask(member, "SAVE") == b"OK", 20)
    ask(member, "MEMBER.DEL", "doomed")
    ask(member, "MEMBER.PUT", "key:3", "newer")
    assert checkpoint(cluster) == 13
    ask(member, "MEMBER.PUT", "key:4", "lost with the process")
    member.kill()
    member.start()
    after = state(member)
    assert (after.applied, after.checkpointed, after.keys) == (12, 12, 0)
    form(cluster, member)
    wanted = {f"key:{n}": f"value:{n}".encode() for n in range(10)} | {"key:3": b"newer", "doomed": None}
    assert read_all(cluster, list(wanted)) == wanted
    assert ask(member, "MEMBER.PUT", "key:5", "goes on") == 13
    assert checkpoint(cluster) == 1
    assert ask(member, "READ", "key:5") == b"goes on"


def test_a_member_catches_up_from_its_checkpoint(chain: StartChain) -> None:
    """A member killed without an RDB lacks only the updates after its last checkpoint."""
    cluster = chain(2, member_config=FLUSH)
    put(cluster, 10)
    checkpoint(cluster)
    flush(cluster)
    member = cluster.tail
    member.kill()
    cluster.members.remove(member)
    wait_until(lambda: state(cluster.head).role == "singleton" and state(cluster.head).serving, 20)
    put(cluster, 3, "since")
    ask(cluster.head, "MEMBER.DEL", "key:9")
    member.start()
    cluster.add(member)
    assert member_number(member, "joins_by_log") == 1
    cluster.remove(cluster.head)
    wanted = {f"key:{n}": f"{'since' if n < 3 else 'value'}:{n}".encode() for n in range(9)}
    assert read_all(cluster, list(wanted)) == wanted
    assert ask(member, "READ", "key:9") is None


def test_a_snapshot_with_keys_that_are_no_strings_is_not_replaced(chain: StartChain) -> None:
    """A checkpoint has no such keys, so the RDB stays the member's data, and the chain supplies later updates."""
    cluster = chain(0, member_config=FLUSH)
    member = cluster.spare()
    ask(member, "RPUSH", "list", "a", "b")
    ask(member, "SET", "string", "own")
    cluster.add(member)
    put(cluster, 5)
    assert checkpoint(cluster) == 5
    assert flush(cluster) == 6
    assert ask(member, "LRANGE", "list", 0, -1) == [b"a", b"b"]
    assert ask(member, "READ", "string") == b"own"
    wait_until(lambda: ask(member, "SAVE") == b"OK", 20)
    put(cluster, 5, "newer")
    checkpoint(cluster)
    member.kill()
    member.start()
    assert state(member).applied == -1
    assert "until MASTER.ADD has given it a copy" in member.log()
