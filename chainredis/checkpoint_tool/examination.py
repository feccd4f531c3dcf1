# SPDX-License-Identifier: Apache-2.0
"""Examines a checkpoint (docs/file-formats.md, "The checkpoint"). Reading everything checks LevelDB's checksums."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from chainredis.checkpoint_tool.database import Checkpoint
from chainredis.checkpoint_tool.records import (
    CHUNK_PREFIX,
    FILE_PREFIX,
    META_KEY,
    RECORD_PREFIX,
    Chunk,
    Item,
    Record,
    file_name,
    parse_chunk,
    parse_file,
    parse_record,
    parse_record_key,
)
from chainredis.protocol.errors import CheckpointError

FAULTS_KEPT = 20


@dataclass
class Examination:
    """What was found. keys: those with a value as of the watermark. size: the bytes of these keys and values.

    superseded: records of older values. above: records above the watermark. named: those of them that unfinished
    checkpoints name. faults: texts for people, at the most FAULTS_KEPT.
    """

    checkpoint: Checkpoint
    keys: int = 0
    size: int = 0
    deletions: int = 0
    superseded: int = 0
    above: int = 0
    named: int = 0
    fault_count: int = 0
    faults: list[str] = field(default_factory=list)
    _last_name: bytes = b""
    _last_key: bytes | None = None

    def examine(self, items: Iterable[Item]) -> None:
        """Examine all items of the database, in their order."""
        for name, value in items:
            if name <= self._last_name:
                self._fault(f"{name!r} comes after {self._last_name!r}")
            self._last_name = name
            try:
                self._examine(name, value)
            except CheckpointError as error:
                self._fault(str(error))
        if self.above != self.named and self.checkpoint.meta:  # else it may be half a copy, which names nothing
            self._fault(f"{self.above} records are above the watermark; unfinished checkpoints name {self.named}")

    def _examine(self, name: bytes, value: bytes) -> None:
        if name.startswith(RECORD_PREFIX):
            self._examine_record(parse_record(name, value))
        elif name.startswith(CHUNK_PREFIX):
            self._examine_chunk(name, parse_chunk(name, value))
        elif name.startswith(FILE_PREFIX):
            self._examine_file(*parse_file(name, value))
        elif name != META_KEY:
            self._fault(f"{name!r} is nothing that a checkpoint has")

    def _examine_record(self, record: Record) -> None:
        if record.sn > self.checkpoint.watermark:
            self.above += 1
        elif record.key == self._last_key:
            self.superseded += 1
        else:
            self._last_key = record.key
            self._count_newest(self.checkpoint.whole(record))

    def _count_newest(self, record: Record) -> None:
        if record.value is None:
            self.deletions += 1
        else:
            self.keys += 1
            self.size += len(record.key) + len(record.value)

    def _examine_chunk(self, name: bytes, chunk: Chunk) -> None:
        """Each record that the chunk names must exist: so equal numbers, named and above, prove that all fit."""
        for record_key in chunk.record_keys:
            _, sn = parse_record_key(record_key)
            self.named += 1
            if not self.checkpoint.watermark < sn <= chunk.watermark:
                self._fault(f"the chunk record {name!r} names {record_key!r}, which is none of its own")
            elif self.checkpoint.get(record_key) is None:
                self._fault(f"the chunk record {name!r} names {record_key!r}, which is not there")

    def _examine_file(self, number: int, end: int) -> None:
        size = self.checkpoint.size_of(number)
        if size < end:
            self._fault(f"the file of values {file_name(number)} is cut off: it has {size} bytes of {end}")

    def _fault(self, text: str) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(text)
