"""A checkpoint's database, read without being changed.

LevelDB writes wherever it opens: it turns its log into a table, and begins new files. So it is given a folder of its
own. The tables, which LevelDB never changes once they are written, are linked there, the rest is copied. So a torn
checkpoint stays as it is, and one that cannot be written to is readable.

While this is done the database's own lock is held, shared. Not for longer: a server may start again meanwhile, and must
not be without its checkpoint.
"""

import contextlib
import fcntl
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import plyvel  # type: ignore[import-untyped]

from chainredis.checkpoint_tool.records import META_KEY, NOTHING, Item, parse_meta
from chainredis.protocol.errors import CheckpointError

TABLES = re.compile(r"\d+\.(ldb|sst)")
FILES = re.compile(r"CURRENT|MANIFEST-\d+|\d+\.log")


class Checkpoint:
    """What is in an open database. CheckpointError when it has a meta record that is none."""

    def __init__(self, database: plyvel.DB) -> None:
        self._database = database
        text = self.get(META_KEY)
        self.meta = None if text is None else parse_meta(text)

    @property
    def watermark(self) -> int:
        return self.meta.watermark if self.meta else NOTHING

    def get(self, name: bytes) -> bytes | None:
        with _errors_translated():
            value: bytes | None = self._database.get(name, verify_checksums=True)
        return value

    def items(self, prefix: bytes = b"") -> Iterator[Item]:
        """All whose name begins so, in order."""
        with _errors_translated():
            yield from self._database.iterator(prefix=prefix, verify_checksums=True, fill_cache=False)


@contextlib.contextmanager
def _errors_translated() -> Iterator[None]:
    """The one place where LevelDB's errors become ours."""
    try:
        yield
    except plyvel.Error as error:
        raise CheckpointError(f"LevelDB says: {error.args[0].decode(errors='replace')}") from error


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Checkpoint]:
    """CheckpointError when it is in use, or is none, and from its methods as soon as it turns out to be damaged."""
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
        yield Checkpoint(database)


@contextlib.contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """Where files can be linked to: beside the database, if possible."""
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
    """For as long as the body runs. A copy of a database may be without its file LOCK, and then nobody has it open."""
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


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)
