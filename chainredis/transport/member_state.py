# SPDX-License-Identifier: Apache-2.0
"""What a member tells of itself."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from chainredis.protocol.member_record import SecondPort
from chainredis.protocol.traits import Traits, parse_modules
from chainredis.protocol.view import MAX_PORT, Kind


@dataclass(frozen=True)
class MemberState:
    """The answer to `CHAIN.STATE` (docs/protocol.md, "Views")."""

    run_id: str
    role: str
    history: str
    epoch: int
    applied: int
    committed: int
    serving: bool
    streaming: bool
    keys: int
    join: str
    join_error: str
    pinned: int
    unfit: str = ""
    assigned: int = -1
    unreached: str = ""
    stamp: int = 0
    record_epoch: int = 0
    record_run_id: str = ""
    record_durable: bool = False
    checkpointed: int = -1
    lifeline: int = 0
    timeout: int = 0
    longest_lease: int = 0
    unreached_why: str = ""
    kind: str = "put"
    version: str = ""
    databases: int = 0
    modules: str = ""
    writes: str = ""
    tls: bool = False
    plain_port: int = -1
    tls_port: int = -1
    lacks_checkpoint: bool = False

    @property
    def second_port(self) -> SecondPort | None:
        """None if the server does not tell, or tells no ports."""
        told = SecondPort(self.plain_port, self.tls_port)
        return told if all(0 <= port <= MAX_PORT for port in told) else None

    @property
    def traits(self) -> Traits:
        """What the server is. ValueError if it tells a kind that this version does not know."""
        return Traits(Kind(self.kind), self.version, self.databases, parse_modules(self.modules), self.writes, self.tls)


class Progress(NamedTuple):
    """Fields of INFO that change while a snapshot or a checkpoint is copied; -1 for a field that is missing."""

    master_sync_read_bytes: int
    loading_loaded_bytes: int
    current_save_keys_processed: int
    master_sync_in_progress: int
    member_join_checkpoint_bytes: int


def state_in(reply: object) -> MemberState:
    """The state in a reply, which is a flat list of names and values. TypeError or ValueError if it is none."""
    if not isinstance(reply, list) or not all(isinstance(item, bytes) for item in reply):
        raise ValueError("the state of a member is a list of strings")
    texts = [item.decode("utf-8", "replace") for item in reply]
    found = dict(zip(texts[::2], texts[1::2], strict=False))
    known = [field for field in fields(MemberState) if field.name in found]
    values: dict[str, Any] = {field.name: _convert(field.type, found[field.name]) for field in known}
    return MemberState(**values)


def _convert(kind: object, text: str) -> str | int | bool:
    if kind is bool:
        return text == "1"
    return int(text) if kind is int else text
