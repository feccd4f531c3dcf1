# SPDX-License-Identifier: Apache-2.0
"""The value of the leader's key: where the master that leads is reached, and which process it is."""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache

from chainredis.etcd.client import Entry
from chainredis.protocol.view import Endpoint, json_fields, parse_endpoint

MAX_KEPT = 16  # masters of which each picture of etcd tells, mostly as the one before did


@dataclass(frozen=True)
class Leader:
    """A master that leads.

    address: `host:port`. run_id: empty if the key's value is not a leader. machine: as from `advertise.machine`. term:
    the revision in which the key was put. lease: the key's lease, 0 for none.
    """

    address: str
    run_id: str
    machine: str = ""
    term: int = 0
    lease: int = 0

    @property
    def endpoint(self) -> Endpoint | None:
        """None if the address is not of that form."""
        host, _, port = self.address.rpartition(":")
        try:
            return parse_endpoint(host.removeprefix("[").removesuffix("]").encode(), port.encode())
        except ValueError:
            return None

    def to_text(self) -> str:
        said = asdict(self)
        return json.dumps({name: said[name] for name in _SHAPE})


_SHAPE: dict[str, type] = {"address": str, "run_id": str, "machine": str}


@lru_cache(maxsize=MAX_KEPT)
def leader_in(entry: Entry) -> Leader:
    """The leader in the leader's key, which may have any value."""
    try:
        return Leader(**json_fields(json.loads(entry.value), _SHAPE), term=entry.modified, lease=entry.lease)
    except (ValueError, RecursionError):
        return Leader("", "", "", entry.modified, entry.lease)
