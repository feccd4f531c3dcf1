"""A member with a checkpoint that is started again: keys have their newest values, or the member says it lacks them."""

from pathlib import Path

import pytest

from chainredis.launcher import Cluster, Server
from chainredis.waiting import wait_until
from servers.conftest import StartChain
from servers.helpers import Talk, ask, info, settled, state
from servers.test_checkpoint import FLUSH, checkpoint, flush, put

ALWAYS = {"appendonly": "yes", "appendfsync": "always"}


def folder(server: Server) -> Path:
    return server.folder / f"checkpoint-{server.port}"


def read_all(cluster: Cluster, keys: list[str]) -> dict[str, bytes | None]:
    with Talk(cluster.tail) as talk:
        return dict(zip(keys, talk.pipeline([("READ", key) for key in keys]), strict=True))


def aged(cluster: Cluster) -> dict[str, bytes | None]:
    """Keys of every kind: flushed, deleted before and after a checkpoint, flushed and written again, only in memory."""
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
    """Until that server, started again, is the chain."""
    endpoint = server.endpoint
    cluster.command("MASTER.FORM", endpoint.host, endpoint.port)
    wait_until(lambda: state(server).serving, 20)
    cluster.members[:] = [server]


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
