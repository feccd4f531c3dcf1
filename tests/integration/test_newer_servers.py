# SPDX-License-Identifier: Apache-2.0
"""Differences of newer servers to the one that the modules are built against."""

from pathlib import Path

import pytest

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import ask, assert_serves, await_chain
from integration.test_checkpoint import FLUSH, checkpoint, flush, put
from integration.test_checkpoint_failures import error_of
from servers import SHARED_ALLOCATOR, share_allocator, use


def test_memory_goes_back_to_the_allocator_that_gave_it(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Memory of links that are made and dropped, of checkpoints, and of LevelDB's errors."""
    use("valkey-9.1", monkeypatch)
    share_allocator(monkeypatch)
    cluster = chain(2, member_config=FLUSH | {"member.checkpoint-dir": str(tmp_path / "shared")})
    assert SHARED_ALLOCATOR in Path(f"/proc/{cluster.head.pid}/maps").read_text()

    def refused() -> Server | None:
        return next((each for each in cluster.members if "another server uses this folder" in error_of(each)), None)

    wait_until(lambda: refused() is not None, 20)  # the server that opens the folder second
    assert ask(cluster.tail, "CLIENT", "KILL", "TYPE", "normal") > 0
    assert_serves(cluster)
    late = refused()
    assert late
    cluster.remove(late)
    put(cluster, 5)
    assert checkpoint(cluster) == 6
    assert flush(cluster) == 6
    assert ask(cluster.tail, "READ", "key:3") == b"value:3"


def test_a_whole_round_on_a_newer_server(chain: StartChain, monkeypatch: pytest.MonkeyPatch) -> None:
    use("valkey-9.1", monkeypatch)
    cluster = chain(3, member_config=FLUSH)
    put(cluster, 5)
    assert checkpoint(cluster) == 5
    assert flush(cluster) == 5
    assert ask(cluster.tail, "READ", "key:3") == b"value:3"
    dead = cluster.head
    dead.kill()
    await_chain(cluster, *cluster.members[1:])
    assert_serves(cluster)
    dead.start()
    cluster.add(dead)
    assert_serves(cluster)
    assert ask(cluster.tail, "READ", "key:3") == b"value:3"
