"""A checkpoint's database, read without being changed.

LevelDB writes wherever it opens: it turns its log into a table, and begins new files. So it is given a folder of its
own, with links to the database's files. It changes none of them in place: it replaces or deletes, and that is the
link. So a torn checkpoint stays as it is, and one on a disk that cannot be written to is readable.

The database's own lock is held meanwhile, shared: no server changes the files under us, and no other reader is shut
out.
"""

import contextlib
import fcntl
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import plyvel  # type: ignore[import-untyped]

from chainredis.checkpoint.records import META_KEY, NOTHING, Item, parse_meta
from chainredis.errors import CheckpointError

FILES = re.compile(r"CURRENT|MANIFEST-\d+|\d+\.(ldb|sst|log)")


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
            stack.enter_context(_locked(folder))
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="chainredis-checkpoint-"))
            _link_files(folder, Path(own))
        except OSError as error:
            raise CheckpointError(f"{folder}: {error.strerror}") from error
        with _errors_translated():
            database = stack.enter_context(plyvel.DB(own, create_if_missing=False, paranoid_checks=True))
        yield Checkpoint(database)


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


def _link_files(folder: Path, target: Path) -> None:
    for file in folder.resolve().iterdir():
        if FILES.fullmatch(file.name):
            (target / file.name).symlink_to(file)
