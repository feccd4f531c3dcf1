"""What the leader's key says: where the master that leads is reached, and which process it is."""

import json
from dataclasses import asdict, dataclass

from chainredis.etcd.client import Entry
from chainredis.protocol.view import json_fields


@dataclass(frozen=True)
class Leader:
    """address: `host:port`. run_id: empty when the key makes no sense. machine: as `announce.machine` has it.

    term, lease: those of the key itself.
    """

    address: str
    run_id: str
    machine: str = ""
    term: int = 0
    lease: int = 0

    def to_text(self) -> str:
        said = asdict(self)
        return json.dumps({name: said[name] for name in _SHAPE})


_SHAPE: dict[str, type] = {"address": str, "run_id": str, "machine": str}


def leader_in(entry: Entry) -> Leader:
    """Whatever somebody has put there."""
    try:
        return Leader(**json_fields(json.loads(entry.value), _SHAPE), term=entry.modified, lease=entry.lease)
    except (ValueError, RecursionError):
        return Leader("", "", "", entry.modified, entry.lease)
