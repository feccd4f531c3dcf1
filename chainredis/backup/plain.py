# SPDX-License-Identifier: Apache-2.0
"""Makes an RDB that any server of the same version loads: without the module's part, and with flushed keys.

A server that has loaded the RDB tells which keys are in it: so this module does not depend on how a version of Redis
writes each type.
"""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from chainredis.backup.position import TYPE_NAME, Position, parse_position
from chainredis.backup.rdb import (
    AUX,
    CHECKSUM_BYTES,
    COPY_BYTES,
    END,
    MAGIC_BYTES,
    MODULE_AUX,
    Reader,
    Writer,
    type_name,
)
from chainredis.checkpoint_tool.database import Checkpoint, opened
from chainredis.checkpoint_tool.records import RECORD_PREFIX, Record, newest, parse_record
from chainredis.local_cluster.server import Server
from chainredis.protocol.errors import BackupError

ASKED_AT_ONCE = 1000
NO_CHECKSUM = bytes(CHECKSUM_BYTES)


@dataclass
class Source:
    """An RDB file. fields: its AUX fields. others: modules that have data of their own beside the keys."""

    version: bytes
    position: Position | None = None
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    keys_at: int = 0
    body_bytes: int = 0  # of everything from the keys to the end


@dataclass
class Result:
    """What was written. history: empty for a server that was in no chain. applied: the newest update in the result.

    flushed: the number of keys that were not in the RDB. from_checkpoint: nothing of the RDB was needed. left_out:
    modules whose own data is missing.
    """

    history: str = ""
    applied: int = -1
    flushed: int = 0
    from_checkpoint: bool = False
    left_out: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------- reading


def read_source(file: BinaryIO) -> Source:
    """BackupError if the file is not an RDB, or its checksum is wrong."""
    reader = Reader(file)
    magic = reader.take(MAGIC_BYTES)
    if not magic.startswith(b"REDIS") or not magic[5:].isdigit():
        raise BackupError("that is no RDB file")
    source = Source(magic)
    while (opcode := _peek(file)) in (AUX, MODULE_AUX):
        reader.byte()
        if opcode == AUX:
            source.fields.append((reader.string(), reader.string()))
        else:
            _read_module(reader, source)
    source.keys_at = file.tell()
    source.body_bytes = file.seek(0, os.SEEK_END) - source.keys_at - 1 - CHECKSUM_BYTES
    if source.body_bytes < 0:
        raise BackupError("the RDB file is cut off")
    for part in body_of(source, file):
        reader.checksum.add(part)
    if reader.byte() != END:
        raise BackupError("the RDB file is cut off")
    if file.read(CHECKSUM_BYTES) not in (reader.checksum.digest, NO_CHECKSUM):
        raise BackupError("the RDB file is damaged: its checksum is another")
    return source


def _peek(file: BinaryIO) -> int:
    found = file.read(1)
    file.seek(-len(found), os.SEEK_CUR)
    return found[0] if found else END


def _read_module(reader: Reader, source: Source) -> None:
    identity = reader.length()
    reader.length()  # a number follows, ...
    reader.length()  # ... which says that this comes before the keys
    values = list(reader.module_values())
    if type_name(identity) == TYPE_NAME:
        source.position = parse_position(identity & 1023, values)
    else:
        source.others.append(type_name(identity))


def body_of(source: Source, file: BinaryIO) -> Iterator[bytes]:
    file.seek(source.keys_at)
    left = source.body_bytes
    while left:
        part = file.read(min(left, COPY_BYTES))
        if not part:
            raise BackupError("the RDB file is cut off")
        left -= len(part)
        yield part


# ------------------------------------------------------------------------------------------------------- writing


@dataclass
class Output:
    """The file to write: the keys of the RDB, unless the checkpoint has all; then those of `records`."""

    source: Source
    file: BinaryIO
    result: Result
    records: Iterable[Record] = ()

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            writer = Writer(file)
            writer.put(self.source.version)
            self._write_fields(writer)
            if not self.result.from_checkpoint:
                for part in body_of(self.source, self.file):
                    writer.put(part)
            self._write_records(writer)
            writer.end()
            file.flush()
            os.fsync(file.fileno())

    def _write_fields(self, writer: Writer) -> None:
        for name, content in self.source.fields:
            writer.aux(name, content)
        if self.result.history:
            writer.aux(b"chain-history", self.result.history.encode())
            writer.aux(b"chain-applied", b"%d" % self.result.applied)

    def _write_records(self, writer: Writer) -> None:
        self.result.flushed = 0
        for record in self.records:
            if not self.result.flushed:
                writer.database(0)
            assert record.value is not None
            writer.key(record.key, record.value)
            self.result.flushed += 1


def make_plain(rdb: Path, target: Path, *, checkpoint: Path | None = None, incomplete: bool = False) -> Result:
    """Write `target` completely, or not at all. BackupError, CheckpointError or LauncherError.

    checkpoint: the folder with the member's flushed keys; its server must not run. incomplete: leave flushed keys out.
    """
    try:
        with rdb.open("rb") as file, contextlib.ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backup-", dir=target.parent)))
            source = read_source(file)
            output = Output(source, file, _result_of(source))
            if source.position and source.position.incomplete and checkpoint:
                _add_flushed(output, stack.enter_context(opened(checkpoint)), source.position, work, stack)
            elif source.position and source.position.incomplete and not incomplete:
                raise BackupError(
                    f"{rdb} lacks the keys that its member had flushed: give its checkpoint's folder by --checkpoint, "
                    "or do without these keys by --incomplete"
                )
            output.write(work / "whole")
            (work / "whole").replace(target)
            return output.result
    except OSError as error:
        raise BackupError(f"{error.filename or target}: {error.strerror}") from error


def _result_of(source: Source) -> Result:
    if source.position is None:
        return Result(left_out=tuple(source.others))
    return Result(source.position.history, source.position.applied, left_out=tuple(source.others))


def _add_flushed(
    output: Output, checkpoint: Checkpoint, position: Position, work: Path, stack: contextlib.ExitStack
) -> None:
    if _is_ahead(checkpoint, position):
        output.result.applied, output.result.from_checkpoint = checkpoint.watermark, True
        output.records = _records(checkpoint)
        return
    output.write(work / "dump.rdb")
    server = Server(work)
    stack.callback(server.stop)
    server.start()
    output.records = _missing(server, checkpoint, position)


# ------------------------------------------------------------------------------------------------- flushed keys


def _is_ahead(checkpoint: Checkpoint, position: Position) -> bool:
    """Returns True if the checkpoint is newer than the RDB and has all its keys. BackupError if they do not fit."""
    meta = checkpoint.meta
    if meta is None or meta.history != position.history:
        raise BackupError(f"the checkpoint is none of this RDB's history, {position.history}")
    if meta.watermark < position.watermark:
        raise BackupError(
            f"the checkpoint is older than the RDB needs: it goes up to sn {meta.watermark}, not {position.watermark}"
        )
    if meta.watermark <= position.applied:
        return False
    if position.others or meta.others:
        raise BackupError(
            f"the checkpoint goes up to sn {meta.watermark}, the RDB to {position.applied}, and some keys are no "
            "strings: take both from a server that has been shut down"
        )
    return True


def _records(checkpoint: Checkpoint) -> Iterator[Record]:
    found = newest(itertools.starmap(parse_record, checkpoint.items(RECORD_PREFIX)), checkpoint.watermark)
    return map(checkpoint.whole, found)


def _missing(server: Server, checkpoint: Checkpoint, position: Position) -> Iterator[Record]:
    """The checkpoint's keys that the RDB does not have, and does not name as deleted."""
    deleted = {newer.key: newer.sn for newer in position.newer if newer.deleted}
    with server.client() as client:
        records = _records(checkpoint)
        while batch := list(itertools.islice(records, ASKED_AT_ONCE)):
            pipeline = client.pipeline(transaction=False)
            for record in batch:
                pipeline.exists(record.key)
            for record, exists in zip(batch, pipeline.execute(), strict=True):
                if not exists and deleted.get(record.key, -1) <= record.sn:
                    yield record
