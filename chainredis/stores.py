"""Where the master keeps its view (rule 5: persist, then tell)."""

import fcntl
import json
import os
from pathlib import Path
from typing import Protocol

from chainredis.errors import StoreError
from chainredis.transitions import Change
from chainredis.view import View, json_fields, members_from_json, members_to_json

FORMAT = 2  # 1 ended with `pending`
FILE_NAME = "chain.view.json"
MAX_LEASE_MS = 24 * 3600 * 1000


class ViewStore(Protocol):
    """Holds the newest change. Both methods raise StoreError."""

    def load(self) -> Change | None:
        """What was saved last; None when nothing ever was. Never None because it cannot be read."""

    def save(self, change: Change) -> None:
        """Durable when this returns. After an error it is open which of the two changes will be loaded."""


class MemoryStore:
    """For tests: durable as long as the object lives."""

    def __init__(self) -> None:
        self._saved: str | None = None

    def load(self) -> Change | None:
        return None if self._saved is None else change_from_text(self._saved)

    def save(self, change: Change) -> None:
        self._saved = change_to_text(change)


class FileStore:
    """A file in `folder`, replaced as a whole. It holds the chain's secret: only its owner may read it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._lock: int | None = None

    def load(self) -> Change | None:
        self._take_lock()
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"cannot read {self.path}: {error}") from error
        try:
            return change_from_text(text)
        except ValueError as error:
            raise StoreError(
                f"{self.path} is damaged ({error}). It says who is in the chain: restore it, "
                "or move it away to begin a new chain"
            ) from error

    def save(self, change: Change) -> None:
        fresh = self.path.with_suffix(".new")
        self._take_lock()
        try:
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as file:
                file.write(change_to_text(change))
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self.path)
            self._sync_folder()
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error}") from error

    def _sync_folder(self) -> None:
        """The rename itself must survive a loss of power."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _take_lock(self) -> None:
        """Two masters in one folder would overwrite each other's chain.

        A record lock, since a forked child (BGSAVE) does not hold it on after its parent's death.
        """
        if self._lock is not None:
            return
        path = self.path.with_suffix(".lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error}") from error
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise StoreError(f"another master uses the folder {self.path.parent}: give each one its own") from error
        self._lock = lock


def change_to_text(change: Change) -> str:
    data = {
        "format": FORMAT,
        "view": change.view.to_json(),
        "leaving": members_to_json(change.leaving),
        "pending": change.pending,
        "lease_ms": change.lease_ms,
        "awaited": members_to_json(change.awaited),
        "fallen": members_to_json(change.fallen),
    }
    return json.dumps(data, indent=2) + "\n"


def change_from_text(text: str) -> Change:
    """ValueError when `text` is not what `change_to_text` writes."""
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    shape: dict[str, type] = {"format": int, "view": dict, "leaving": list, "pending": bool}
    if isinstance(data, dict) and data.get("format") == 1:
        data |= {"lease_ms": 0, "awaited": [], "fallen": []}
    fields = json_fields(data, shape | {"lease_ms": int, "awaited": list, "fallen": list})
    if fields["format"] not in (1, FORMAT):
        raise ValueError(f"it has format {fields['format']}, this version reads formats 1 and {FORMAT}")
    if not 0 <= fields["lease_ms"] <= MAX_LEASE_MS:
        raise ValueError(f"lease_ms {fields['lease_ms']} is out of range")
    leaving, awaited, fallen = (members_from_json(fields[name]) for name in ("leaving", "awaited", "fallen"))
    return Change(View.from_json(fields["view"]), leaving, fields["pending"], fields["lease_ms"], awaited, fallen)
