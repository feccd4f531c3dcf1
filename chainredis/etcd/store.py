"""The view in etcd, written by compare-and-swap: by the leader alone, and only over what it has read or written."""

from chainredis.errors import Deposed, EtcdRefusal, StoreError
from chainredis.etcd.connection import Connection, is_modified_at
from chainredis.etcd.url import Keys
from chainredis.stores import change_from_text, change_to_text
from chainredis.transitions import Change


class EtcdStore:
    """Of one term of a leader.

    term: the revision in which the leader's key was put. No other master has had the same one, and a master that has
    lost the key finds another there, or none: that is the fencing token.
    """

    def __init__(self, connection: Connection, keys: Keys, term: int) -> None:
        self._connection = connection
        self._keys = keys
        self._term = term
        self._revision = 0  # in which the view was put
        self._newest: Change | None = None

    def load(self) -> Change | None:
        entry = self._connection.read(self._keys.view).entries.get(self._keys.view)
        change = change_in(self._keys, entry.value) if entry else None
        self._check_epoch(change)
        self._revision, self._newest = entry.modified if entry else 0, change
        return change

    def _check_epoch(self, change: Change | None) -> None:
        """Somebody may have put an older view there by hand: members are in newer ones, and no epoch returns."""
        known = self._newest
        if change and known and change.view.history == known.view.history and change.view.epoch < known.view.epoch:
            raise StoreError(
                f"the key {self._keys.view} in etcd has gone back from epoch {known.view.epoch} to "
                f"{change.view.epoch}: put the newer view there again"
            )

    def save(self, change: Change) -> None:
        text = change_to_text(change, self._revision)  # a number that grows
        conditions = [is_modified_at(self._keys.leader, self._term), is_modified_at(self._keys.view, self._revision)]
        revision = self._connection.put_if(conditions, self._keys.view, text)
        self._revision = self._settle(text) if revision is None else revision
        self._newest = change

    def _settle(self, text: str) -> int:
        """The conditions did not hold: perhaps because the very same request had succeeded before."""
        found = self._connection.read(self._keys.prefix).entries
        view, leader = found.get(self._keys.view), found.get(self._keys.leader)
        if view and view.value == text.encode():
            return view.modified
        if leader is None or leader.modified != self._term:
            raise Deposed("this master leads no longer: nothing was changed. Ask the one that leads now")
        raise StoreError(f"the key {self._keys.view} in etcd was changed by somebody else: reading it again")


def change_in(keys: Keys, value: bytes) -> Change:
    """The view that the key's value is. Raises StoreError."""
    try:
        return change_from_text(value.decode())
    except ValueError as error:
        raise EtcdRefusal(
            f"the key {keys.view} in etcd is damaged ({error}). It says who is in the chain: put back what it had "
            f"(`etcdctl get {keys.view} --rev=…`), or delete it to begin a new chain"
        ) from error
