# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint's database without changing it.

LevelDB writes into each database that it opens: it turns its log into a table, and begins new files. So it opens a
copy, in a folder of its own. The tables are linked there, since LevelDB never changes them, and so are files of values,
of which no byte that counts is changed; other files are copied. So a damaged checkpoint stays as it is, and a read-only
one can be read.

The database's own lock is held, shared, while its files are copied. It is not held for longer: a server that starts
meanwhile needs its checkpoint.
"""

import contextlib
import fcntl
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

import plyvel  # type: ignore[import-untyped]

from chainredis.checkpoint_tool.records import META_KEY, NOTHING, Item, Place, Record, file_name, parse_meta
from chainredis.protocol.errors import CheckpointError

TABLES = re.compile(r"\d+\.(ldb|sst)")
FILES = re.compile(r"CURRENT|MANIFEST-\d+|\d+\.log")
VALUES = "values"
VALUE_FILES = re.compile(r"[0-9a-f]{8}")
FILES_KEPT_OPEN = 64


class Checkpoint:
    """The contents of an open database. CheckpointError if its meta record is damaged."""

    def __init__(self, database: plyvel.DB, values: Path) -> None:
        self._database = database
        self._values = values
        self._opened: dict[int, BinaryIO] = {}
        text = self.get(META_KEY)
        self.meta = None if text is None else parse_meta(text)

    @property
    def watermark(self) -> int:
        return self.meta.watermark if self.meta else NOTHING

    def get(self, name: bytes) -> bytes | None:
        with _errors_translated():
            value: bytes | None = self._database.get(name, verify_checksums=True)
        return value

    def items(self, prefix: bytes = b"") -> Generator[Item, None, None]:
        """All items whose name begins with `prefix`, in order."""
        with _errors_translated():
            yield from self._database.iterator(prefix=prefix, verify_checksums=True, fill_cache=False)

    def whole(self, record: Record) -> Record:
        """The record with its value. CheckpointError if that is apart, and is not there as it was written."""
        place = record.place
        if place is None:
            return record
        try:
            file = self._file(place)
            file.seek(place.offset)
            value = file.read(place.length)
        except OSError as error:
            raise CheckpointError(f"{VALUES}/{place.file_name}: {error.strerror}") from error
        if not place.holds(value):
            where = f"{VALUES}/{place.file_name} from byte {place.offset} on"
            raise CheckpointError(f"the value of key {record.key!r} and sn {record.sn} is damaged: {where}")
        return record._replace(value=value, place=None)

    def size_of(self, number: int) -> int:
        """The bytes of a file of values. CheckpointError if there is none."""
        try:
            return (self._values / file_name(number)).stat().st_size
        except OSError as error:
            raise CheckpointError(f"{VALUES}/{file_name(number)}: {error.strerror}") from error

    def _file(self, place: Place) -> BinaryIO:
        if place.file not in self._opened:
            if len(self._opened) == FILES_KEPT_OPEN:
                self._opened.pop(next(iter(self._opened))).close()
            self._opened[place.file] = (self._values / place.file_name).open("rb")
        return self._opened[place.file]

    def close(self) -> None:
        for file in self._opened.values():
            file.close()


@contextlib.contextmanager
def _errors_translated() -> Iterator[None]:
    """The one place where errors of LevelDB become CheckpointErrors."""
    try:
        yield
    except plyvel.Error as error:
        raise CheckpointError(f"LevelDB says: {error.args[0].decode(errors='replace')}") from error


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Checkpoint]:
    """CheckpointError if the folder is in use, or has no checkpoint. Damage is a CheckpointError of the methods."""
    with contextlib.ExitStack() as stack:
        try:
            folder = folder.resolve()
            own = stack.enter_context(_own_folder(folder))
            with _locked(folder):
                _copy_files(folder, own)
        except OSError as error:
            raise CheckpointError(f"{folder}: {error.strerror}") from error
        with _errors_translated():
            database = stack.enter_context(plyvel.DB(str(own), create_if_missing=False, paranoid_checks=True))
        yield stack.enter_context(contextlib.closing(Checkpoint(database, own / VALUES)))


@contextlib.contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder; beside the database if possible, where files can be linked."""
    try:
        own = tempfile.mkdtemp(prefix=f"{folder.name}-read-", dir=folder.parent)
    except OSError:
        own = tempfile.mkdtemp(prefix="chainredis-checkpoint-")
    try:
        yield Path(own)
    finally:
        shutil.rmtree(own)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock while the body runs. A copy of a database may have no file LOCK: then nobody has opened it."""
    if not (folder / "CURRENT").is_file():
        raise CheckpointError(f"{folder} holds no LevelDB database")
    with contextlib.ExitStack() as stack:
        if (folder / "LOCK").exists():
            lock = stack.enter_context((folder / "LOCK").open("rb"))
            try:
                fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CheckpointError(f"{folder} is in use: shut down the server that has it open") from error
        yield


def _copy_files(folder: Path, target: Path) -> None:
    for file in folder.iterdir():
        if TABLES.fullmatch(file.name):
            _link_or_copy(file, target / file.name)
        elif FILES.fullmatch(file.name):
            shutil.copyfile(file, target / file.name)
    if (folder / VALUES).is_dir():
        (target / VALUES).mkdir()
        for file in (folder / VALUES).iterdir():
            if VALUE_FILES.fullmatch(file.name):
                _link_or_copy(file, target / VALUES / file.name)


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)
