# SPDX-License-Identifier: Apache-2.0
"""What is under a prefix in etcd, kept up to date."""

import pytest

from chainredis.etcd.client import Picture, Update
from chainredis.etcd.watch_cache import WatchCache
from chainredis.protocol.errors import EtcdAway
from unit.fake_etcd import KEYS, FakeEtcd, ScriptedConnection


def test_a_mirror_misses_nothing_that_happens_between_two_watches(etcd: FakeEtcd) -> None:
    seen: list[Picture] = []
    etcd.put_by_hand("chain/a", b"1")
    etcd.put_by_hand("chain/b", b"1")

    def lose_one() -> Update:
        """The watch breaks, and before there is another one somebody deletes a key."""
        etcd.delete("chain/b")
        raise EtcdAway("the connection broke")

    def put_one() -> Update:
        etcd.put_by_hand("chain/c", b"1")
        return Update(etcd.revision, {"chain/c": etcd.entries["chain/c"]})

    def delete_one() -> Update:
        etcd.delete("chain/a")
        return Update(etcd.revision, {"chain/a": None})

    connection = ScriptedConnection(etcd, [put_one, lose_one, delete_one])
    cache = WatchCache(connection, KEYS.prefix, seen.append)
    with pytest.raises(EtcdAway):
        cache.follow()
    cache.follow()
    assert [sorted(key[-1] for key in picture.entries) for picture in seen] == [
        ["a", "b"], ["a", "b", "c"], ["a", "c"], ["c"],
    ]  # fmt: skip
    assert connection.watched_from == [4, 6]
    assert cache.picture == Picture(etcd.revision, etcd.entries)
