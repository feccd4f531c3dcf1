# SPDX-License-Identifier: Apache-2.0
"""An etcd in memory, on a clock that the tests turn: keys, revisions, leases, watches; and failures on demand."""

from collections.abc import Callable, Iterator
from typing import Any

from chainredis.etcd.client import Connection, Entry, Picture, Update
from chainredis.etcd.url import Keys
from chainredis.protocol.errors import EtcdAway, LeaseLost

KEYS = Keys("chain")


class FakeEtcd:
    def __init__(self) -> None:
        self.now = 1000.0
        self.revision = 1
        self.entries: dict[str, Entry] = {}
        self.ends: dict[int, float] = {}  # of leases
        self.ttls: dict[int, int] = {}
        self.calls: list[str] = []
        self.is_away = False
        self.loses_answers = False

    def clock(self) -> float:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for lease, end in list(self.ends.items()):
            if end <= self.now:
                self.end(lease)

    def end(self, lease: int) -> None:
        """It runs out, or is revoked: its keys go with it."""
        self.ends.pop(lease, None)
        for key, entry in list(self.entries.items()):
            if entry.lease == lease:
                self.delete(key)

    def delete(self, key: str) -> None:
        self.revision += 1
        del self.entries[key]

    def backup(self) -> Callable[[], None]:
        """Returns what puts this etcd back to what it is now. All leases are renewed by that."""
        revision, entries, ends = self.revision, dict(self.entries), dict(self.ends)

        def restore() -> None:
            self.revision, self.entries = revision, dict(entries)
            self.ends = {lease: self.now + self.ttls[lease] for lease in ends}

        return restore

    def put_by_hand(self, key: str, value: bytes, lease: int = 0) -> None:
        self.revision += 1
        self.entries[key] = Entry(value, self.revision, lease)


class FakeConnection(Connection):
    """What Connection does, to that etcd. The conditions are those that Connection would send."""

    def __init__(self, etcd: FakeEtcd) -> None:
        self._etcd = etcd

    def close(self) -> None:
        pass

    def _answer(self, call: str) -> None:
        self._etcd.calls.append(call)
        if self._etcd.is_away:
            raise EtcdAway("etcd cannot be reached")

    def _after(self) -> None:
        if self._etcd.loses_answers:
            raise EtcdAway("no answer in time")

    def read(self, prefix: str) -> Picture:
        self._answer("read")
        return Picture(self._etcd.revision, {k: e for k, e in self._etcd.entries.items() if k.startswith(prefix)})

    def put_if(self, conditions: list[Any], key: str, value: str, lease: int = 0) -> int | None:
        self._answer("put")
        if lease and lease not in self._etcd.ends:
            raise LeaseLost("gone")
        for condition in conditions:
            entry = self._etcd.entries.get(condition.key)
            if (entry.modified if entry else 0) != condition.value:
                return None
        self._etcd.put_by_hand(key, value.encode(), lease)
        self._after()
        return self._etcd.revision

    def put_and_read(
        self, conditions: list[Any], key: str, value: str, lease: int, other: str
    ) -> tuple[int, Entry | None] | None:
        revision = self.put_if(conditions, key, value, lease)
        return (revision, self._etcd.entries.get(other)) if revision else None

    def grant(self, ttl_s: int) -> tuple[int, int]:
        self._answer("grant")
        lease = len(self._etcd.ttls) + 100
        self._etcd.ttls[lease] = max(ttl_s, 2)
        self._etcd.ends[lease] = self._etcd.now + self._etcd.ttls[lease]
        return lease, self._etcd.ttls[lease]

    def keep_alive(self, lease: int) -> int:
        self._answer("keep_alive")
        if lease not in self._etcd.ends:
            return 0
        self._etcd.ends[lease] = self._etcd.now + self._etcd.ttls[lease]
        return self._etcd.ttls[lease]

    def revoke(self, lease: int) -> None:
        self._answer("revoke")
        self._etcd.end(lease)


class ScriptedConnection(FakeConnection):
    """Its watches give what a test has written down, and then end, or fail."""

    def __init__(self, etcd: FakeEtcd, script: list[Callable[[], Update]]) -> None:
        super().__init__(etcd)
        self.script = script
        self.watched_from: list[int] = []

    def watch(self, prefix: str, revision: int, life_s: float) -> Iterator[Update]:
        self.watched_from.append(revision)
        while self.script:
            yield self.script.pop(0)()
