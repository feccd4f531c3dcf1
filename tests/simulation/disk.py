# SPDX-License-Identifier: Apache-2.0
"""The data on the disk of a process, which survives the process as far as its kind of persistence promises.

A crash leaves every record that was certainly there, and as many more as chance has it, from the first one on: files
are written in order. The marker says whose data this is or was, and up to which epoch no claim to be durable counts; it
is written at once, whatever the kind.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .model import Prefix


class Kind(enum.Enum):
    NONE = "nothing"
    SNAPSHOTS = "RDB files, now and then"
    EVERYSEC = "an append-only file, flushed now and then"
    ALWAYS = "an append-only file, flushed in every pass"


class Record(NamedTuple):
    """Whether the data is that of a view's member (design.md, "Restart")."""

    epoch: int
    run_id: str
    durable: bool


VOID = Record(0, "", durable=False)


class Note(NamedTuple):
    """A change of the record, in its place among the updates."""

    history: bytes
    record: Record


@dataclass
class Contents:
    history: bytes = b""
    updates: list[Prefix] = field(default_factory=list)
    record: Record = VOID


class Disk:
    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.marker = b""
        self.void_to = 0
        self._base = Contents()
        self._appended: list[Prefix | Note] = []
        self._certain = 0

    @property
    def appends(self) -> bool:
        return self.kind in (Kind.EVERYSEC, Kind.ALWAYS)

    @property
    def newest(self) -> int:
        """The sn of the newest update that is certainly on the disk; -1 if there is none."""
        updates = self._found(self._appended[:self._certain]).updates
        return updates[-1].sn if updates else -1

    def append(self, item: Prefix | Note) -> None:
        if self.appends:
            self._appended.append(item)

    def flush(self) -> None:
        self._certain = len(self._appended)

    def rewrite(self, history: bytes, updates: Sequence[Prefix], record: Record) -> None:
        """A new file replaces the old one, as a whole."""
        if self.kind is not Kind.NONE:
            self._base = Contents(history, list(updates), record)
            self._appended, self._certain = [], 0

    def crash(self, luck: int) -> None:
        """Of the records that are not certainly on the disk, the first `luck` are."""
        uncertain = len(self._appended) - self._certain
        self._appended = self._appended[:self._certain + luck % (uncertain + 1)]
        self.flush()

    def void(self) -> None:
        """From now on no record that is on the disk counts as durable."""
        records = [self._base.record, *(item.record for item in self._appended if isinstance(item, Note))]
        self.void_to = max(self.void_to, *(record.epoch for record in records if record.durable), 0)

    def certain(self) -> Contents:
        """The contents that a restart finds, whatever happens before it."""
        return self._claimed(self._appended[:self._certain])

    def load(self) -> Contents:
        """The contents that a restart finds: updates without a gap."""
        return self._claimed(self._appended)

    def _claimed(self, appended: Sequence[Prefix | Note]) -> Contents:
        found = self._found(appended)
        if found.record.epoch <= self.void_to:
            found.record = found.record._replace(durable=False)
        return found

    def _found(self, appended: Sequence[Prefix | Note]) -> Contents:
        found = Contents(self._base.history, list(self._base.updates), self._base.record)
        for item in appended:
            if isinstance(item, Note):
                found.history, found.record = item
            elif item.index == len(found.updates):
                found.updates.append(item)
            elif item.index > len(found.updates):
                break
        return found
