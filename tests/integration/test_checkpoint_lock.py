# SPDX-License-Identifier: Apache-2.0
"""Only one process at a time may have a checkpoint open, whatever happened before.

LevelDB locks by fcntl. Any second opening of the file by the same process, even one that fails, would end that lock.
"""

import resource
from collections.abc import Iterator
from pathlib import Path

import plyvel  # type: ignore[import-untyped]
import pytest

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import _examine
from integration.helpers import Error, ask, assert_serves
from integration.test_checkpoint import FLUSH, checkpoint, flush, put
from integration.test_checkpoint_failures import Undeterred, error_of, fill, limit_files


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Undeterred(1, folder=tmp_path, member_config=FLUSH) as one:
        yield one
    _examine(one.servers)


def assert_locked(member: Server) -> None:
    (folder,) = member.folder.glob("checkpoint-*")
    with pytest.raises(plyvel.IOError, match="LOCK"):
        plyvel.DB(str(folder))


def test_another_process_is_refused_after_an_error_too(cluster: Cluster) -> None:
    member = cluster.head
    fill(cluster, "flushed", 20)
    checkpoint(cluster)
    assert_locked(member)
    limit_files(member, 60_000)
    fill(cluster, "kept")
    for _ in range(2):  # first a write fails, then an opening
        assert isinstance(ask(member, "TAIL.CHECKPOINT"), Error)
        assert error_of(member)
    limit_files(member, resource.RLIM_INFINITY)
    assert isinstance(ask(member, "TAIL.CHECKPOINT"), int)  # opened again
    assert_locked(member)
    assert_serves(cluster)


def test_another_process_is_refused_after_a_copy_too(cluster: Cluster) -> None:
    """A new tail's checkpoint is emptied and filled with the old tail's. A server with the same folder is refused."""
    put(cluster, 5)
    checkpoint(cluster)
    flush(cluster)
    newcomer = cluster.grow()
    assert_locked(newcomer)
    (folder,) = newcomer.folder.glob("checkpoint-*")
    intruder = cluster.spare(**{"member.checkpoint-dir": str(folder)})
    wait_until(lambda: "another server uses this folder" in error_of(intruder), 20)
    assert_locked(newcomer)
    assert ask(cluster.tail, "READ", "key:3") == b"value:3"
