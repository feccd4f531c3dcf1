# SPDX-License-Identifier: Apache-2.0
"""A checkpoint whose last write has failed, and is on the disk nevertheless."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from integration.failing_syncs import failing_sync
from integration.helpers import Error, ask
from integration.test_checkpoint import FLUSH, flush
from integration.test_checkpoint_restart import ALWAYS, form
from integration.test_values_apart import put, read
from preloading import NEEDS_PRELOADING

pytestmark = NEEDS_PRELOADING

KEYS = 60_000  # of 100 bytes: more than one batch


def batched(keys: Mapping[str, bytes], size: int) -> Iterator[list[str]]:
    names = list(keys)
    return (names[at : at + size] for at in range(0, len(names), size))


class Failing(Cluster):
    """The log is synced with the first batch, then with the last one, which fails. The next attempt does not end."""

    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        folder.mkdir(parents=True, exist_ok=True)
        words = failing_sync(folder, fails_at=2, dies_at=3)
        return Server(folder, port=port, modules=[module], config=config, prefix=words)


def test_an_attempt_after_that_undoes_nothing_of_it(tmp_path: Path) -> None:
    with Failing(1, folder=tmp_path, member_config=FLUSH | ALWAYS) as cluster:
        member = cluster.head
        wanted = {f"key:{n}": (b"%d:" % n).ljust(100, b"v") for n in range(KEYS)}
        for part in batched(wanted, 10_000):
            put(cluster, {key: wanted[key] for key in part})
        assert isinstance(ask(member, "TAIL.CHECKPOINT"), Error)
        with suppress(redis.ConnectionError):
            ask(member, "TAIL.CHECKPOINT")
        member.kill()
        member.start()
        form(cluster, member)
        flush(cluster)
        found = read(cluster, list(wanted)[::100])
        lost = [key for key in found if found[key] != wanted[key]]
        assert not lost, f"{len(lost)} keys, such as {lost[0]}: {found[lost[0]]!r}"
