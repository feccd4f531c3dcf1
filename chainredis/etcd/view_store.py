# SPDX-License-Identifier: Apache-2.0
"""The configuration in etcd, written by compare-and-swap: by the leader only, and only over what it has read."""

from functools import lru_cache

from chainredis.etcd.client import Connection, Entry, has_value, is_modified_at
from chainredis.etcd.url import Keys
from chainredis.protocol.errors import Deposed, EtcdRefusal, StoreError
from chainredis.protocol.reconfiguration import Configuration
from chainredis.storage.view_store import configuration_from_text, configuration_to_text


class EtcdStore:
    """The store of one term of a leader.

    term, leader: the revision in which the leader's key was put, and its value. Both together are the fencing token: no
    other master has the same, also when etcd was restored and counts its revisions anew. is_certain: as in ViewStore.
    etcd gives what a majority of its servers has, and takes nothing from former terms. A failed request of this one may
    be under way. began_with: what the view's key had in that revision, if that is known: it is the first to be loaded.
    """

    def __init__(
        self, connection: Connection, keys: Keys, term: int, leader: str, *began_with: Entry | None
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._term = term
        self._leader = leader
        self._began_with = list(began_with)
        self._revision = 0  # in which the configuration was put
        self.is_certain = True

    def is_newest(self, entry: Entry | None) -> bool:
        """Returns True if the entry is what this master has read or written last."""
        return (entry.modified if entry else 0) == self._revision

    def load(self) -> Configuration | None:
        entry = self._began_with.pop() if self._began_with else self._read()
        configuration = configuration_in(self._keys, entry.value) if entry else None
        self._revision = entry.modified if entry else 0
        return configuration

    def _read(self) -> Entry | None:
        return self._connection.read(self._keys.view).entries.get(self._keys.view)

    def save(self, configuration: Configuration) -> None:
        text = configuration_to_text(configuration, self._revision)  # a growing number makes each text unique
        conditions = [
            is_modified_at(self._keys.leader, self._term),
            has_value(self._keys.leader, self._leader),
            is_modified_at(self._keys.view, self._revision),
        ]
        self.is_certain = False
        revision = self._connection.put_if(conditions, self._keys.view, text)
        self._revision = self._settle(text) if revision is None else revision
        self.is_certain = True

    def _settle(self, text: str) -> int:
        """The conditions did not hold: perhaps because the very same request was carried out before."""
        found = self._connection.read(self._keys.prefix).entries
        view, leader = found.get(self._keys.view), found.get(self._keys.leader)
        if view and view.value == text.encode():
            return view.modified
        if leader is None or (leader.modified, leader.value) != (self._term, self._leader.encode()):
            raise Deposed("this master leads no longer: nothing was changed. Ask the one that leads now")
        raise StoreError(f"the key {self._keys.view} in etcd was changed by somebody else: reading it again")


@lru_cache(maxsize=1)  # each picture of etcd has it, mostly as the one before had
def configuration_in(keys: Keys, value: bytes) -> Configuration:
    """The configuration in the value of the view's key. Raises StoreError."""
    try:
        return configuration_from_text(value.decode())
    except ValueError as error:
        raise EtcdRefusal(
            f"the key {keys.view} in etcd is damaged ({error}). It says who is in the chain: put back what it had "
            f"(`etcdctl get {keys.view} --rev=…`), or delete it to begin a new chain"
        ) from error
