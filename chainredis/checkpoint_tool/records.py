# SPDX-License-Identifier: Apache-2.0
"""Parses the records of a checkpoint's database (docs/file-formats.md, "The checkpoint").

FormatError is raised for bytes that cannot be a record.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chainredis.protocol.errors import CheckpointError

META_KEY = b"\x00meta"
CHUNK_PREFIX = b"\x00chunk"
FILE_PREFIX = b"\x00file"
RECORD_PREFIX = b"\x01"

NOTHING = -2  # a watermark below that of the data from before the first update
KEY_END = b"\x00\x01"
VERSION_BYTES = 8
CHUNK_KEY_BYTES = len(CHUNK_PREFIX) + 4
FILE_KEY_BYTES = len(FILE_PREFIX) + 4
PLACE = struct.Struct(">IIIQ")
CHECKSUM_PRIME = (1 << 64) - 59
HIGHEST_VERSION = 1 << 63
INVERTED = (1 << 64) - 1
META = re.compile(
    r"format (?P<format>[12])\nhistory (?P<history>[0-9a-f]{32})\n"
    r"after (?P<after>-?\d+)\ncheckpointed (?P<watermark>-?\d+)\nothers (?P<others>[01])\n"
    r"records (?P<records>\d+)\nswept (?P<swept>\d+)\n(?P<boundaries>(boundary \d+ \d+\n)*)",
    re.ASCII,
)


Item = tuple[bytes, bytes]  # the name and value of an entry in LevelDB


class FormatError(CheckpointError):
    """These bytes are not a valid record."""


class Meta(NamedTuple):
    """The meta record. format: 1 if all values are in their records. records: roughly, superseded ones included."""

    format: int
    history: str
    after: int
    watermark: int
    others: bool
    records: int
    swept: int
    boundaries: tuple[tuple[int, int], ...]


class Place(NamedTuple):
    """Where a value is that is not in its record: in a file of the folder `values`."""

    file: int
    offset: int
    length: int
    checksum: int

    @property
    def file_name(self) -> str:
        return file_name(self.file)

    def holds(self, value: bytes) -> bool:
        return len(value) == self.length and int.from_bytes(value) % CHECKSUM_PRIME == self.checksum


class Record(NamedTuple):
    """One version of a key. sn: -1 for data from before the first update. value: None if the update deleted the key.

    place: where the value is, if `value` is empty for want of it: `Checkpoint.whole` fetches it.
    """

    key: bytes
    sn: int
    value: bytes | None
    place: Place | None = None


class Chunk(NamedTuple):
    """The keys of the records that one batch of an unfinished checkpoint has written, of updates (after, watermark]."""

    after: int
    watermark: int
    record_keys: tuple[bytes, ...]


def parse_meta(value: bytes) -> Meta:
    text = value.decode("ascii", "replace")
    found = META.fullmatch(text)
    if not found:
        first_line = text.partition("\n")[0]
        raise FormatError(f"the meta record is none, or of another version than this program: {first_line!r}")
    boundaries = tuple(_boundary(line) for line in found["boundaries"].splitlines())
    numbers = ("format", "after", "watermark", "records", "swept")
    form, after, watermark, records, swept = (int(found[name]) for name in numbers)
    meta = Meta(form, found["history"], after, watermark, found["others"] == "1", records, swept, boundaries)
    if watermark < -1 or not NOTHING <= after <= watermark:
        raise FormatError(f"the meta record's sequence numbers cannot be: after {after}, checkpointed {watermark}")
    if not _boundaries_fit(meta):
        raise FormatError("the meta record's epoch boundaries cannot be")
    return meta


def _boundary(line: str) -> tuple[int, int]:
    _, first_sn, epoch = line.split(" ")
    return int(first_sn), int(epoch)


def _boundaries_fit(meta: Meta) -> bool:
    """Returns True if first sns and epochs grow, up to the watermark, and there is a boundary if there are updates."""
    first_sns, epochs = ([boundary[i] for boundary in meta.boundaries] for i in (0, 1))
    grow = all(sorted(set(numbers)) == numbers for numbers in (first_sns, epochs))
    return grow and max(first_sns, default=-1) <= meta.watermark and (meta.watermark < 0 or bool(epochs))


def parse_record_key(record_key: bytes) -> tuple[bytes, int]:
    """The key, and the sequence number of the update that wrote this version."""
    escaped = record_key[len(RECORD_PREFIX) : -VERSION_BYTES]
    if not record_key.startswith(RECORD_PREFIX) or not escaped.endswith(KEY_END):
        raise FormatError(f"{record_key!r} is no record's key")
    escaped = escaped.removesuffix(KEY_END)
    if escaped.count(b"\x00") != escaped.count(b"\x00\xff"):
        raise FormatError(f"{record_key!r} is no record's key: it is not escaped")
    version = INVERTED - int.from_bytes(record_key[-VERSION_BYTES:])
    if version >= HIGHEST_VERSION:
        raise FormatError(f"{record_key!r} is no record's key: there is no such version")
    return escaped.replace(b"\x00\xff", b"\x00"), version - 1


def parse_record(record_key: bytes, value: bytes) -> Record:
    key, sn = parse_record_key(record_key)
    if value == b"d":
        return Record(key, sn, None)
    if value.startswith(b"f") and len(value) == 1 + PLACE.size:
        return Record(key, sn, b"", Place(*PLACE.unpack(value[1:])))
    if not value.startswith(b"v"):
        raise FormatError(f"the record of key {key!r} and sn {sn} is neither a value nor a deletion")
    return Record(key, sn, value[1:])


def file_name(number: int) -> str:
    return f"{number:08x}"


def parse_file(name: bytes, value: bytes) -> tuple[int, int]:
    """The number of a file of values, and up to where it has values of finished checkpoints."""
    if len(name) != FILE_KEY_BYTES or len(value) != 4:
        raise FormatError(f"{name!r} is no record of a file")
    return int.from_bytes(name[len(FILE_PREFIX) :]), int.from_bytes(value)


def parse_chunk(name: bytes, value: bytes) -> Chunk:
    if len(name) != CHUNK_KEY_BYTES or len(value) < 16:
        raise FormatError(f"{name!r} is no chunk record")
    record_keys = []
    at = 16
    while at < len(value):
        begin = at + 4
        at = begin + int.from_bytes(value[at:begin])
        record_keys.append(value[begin:at])
    if at != len(value):
        raise FormatError(f"the chunk record {name!r} is cut off")
    after, watermark = (int.from_bytes(value[i : i + 8], signed=True) for i in (0, 8))
    return Chunk(after, watermark, tuple(record_keys))


def newest(records: Iterable[Record], watermark: int) -> Iterator[Record]:
    """The newest version of each key as of the watermark. records: all, in the database's order."""
    last = None
    for record in records:
        if record.sn <= watermark and record.key != last:
            last = record.key
            if record.value is not None:
                yield record
