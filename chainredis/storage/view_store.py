"""Where the master keeps its view (rule 5: persist, then tell)."""

import fcntl
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from chainredis.protocol.errors import StoreError
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import View, json_fields, members_from_json, members_to_json
from chainredis.storage.ab_file import Slots, sync_folder

FORMAT = 4  # 1 ended with `pending`, 2 with `fallen`, 3 with `formed_from`
FILE_NAME = "chain.view.json"
CATCH_UP_AFTER_S = 1.0
MAX_LEASE_MS = 24 * 3600 * 1000
_SHAPE: dict[str, type] = {
    "format": int, "number": int, "view": dict, "leaving": list, "pending": bool, "lease_ms": int, "awaited": list,
    "fallen": list, "durable": list, "formed_from": str, "newer": list,
}  # fmt: skip
_ADDED: dict[int, dict[str, Any]] = {
    1: {"number": 0, "lease_ms": 0, "awaited": [], "fallen": []},
    2: {"durable": [], "formed_from": ""},
    3: {"newer": []},
}

log = logging.getLogger(__name__)


class ViewStore(Protocol):
    """Holds the newest change. Both methods raise StoreError."""

    def load(self) -> Configuration | None:
        """What was saved last; None when nothing ever was. Never None because it cannot be read."""

    def save(self, configuration: Configuration) -> None:
        """Durable when this returns. After an error it is open which of the two changes will be loaded."""


class MemoryStore:
    """For tests: durable as long as the object lives."""

    def __init__(self) -> None:
        self._saved: str | None = None

    def load(self) -> Configuration | None:
        return None if self._saved is None else configuration_from_text(self._saved)

    def save(self, configuration: Configuration) -> None:
        self._saved = configuration_to_text(configuration)


class FileStore:
    """A file in `folder`, for people to read; and slots beside it, ahead of it for a moment after each change.

    Both hold the chain's secret: only their owner may read them. Without the file the slots mean nothing, so that to
    move it away is to begin anew.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._slots = Slots(_slots_path(folder))
        self._lock: int | None = None
        self._number = 0  # of the newest change
        self._history = ""  # of it, and of the file
        self._replacing = threading.Lock()
        self._in_file = 0  # the number of the change that the file has
        self._file: os.stat_result | None = None  # as it was left
        self._behind_guard = threading.Lock()
        self._behind: tuple[int, str] | None = None  # what the file is about to get

    def load(self) -> Configuration | None:
        self._take_lock()
        found = _newest(self.path.parent)
        if found is None:
            return None
        self._file = _stat(self.path)
        self._number, configuration = found
        self._history = configuration.view.history
        return configuration

    def save(self, configuration: Configuration) -> None:
        self._take_lock()
        number, text = self._number + 1, configuration_to_text(configuration, self._number + 1)
        try:
            if configuration.view.history == self._history and self._is_untouched():
                self._slots.write(number, text)
                self._catch_up_later(number, text)
            else:
                self._slots.close()
                self._replace(number, text)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error}") from error
        self._number, self._history = number, configuration.view.history

    def _is_untouched(self) -> bool:
        """Nobody has removed the files or put others there, in which what is written next would be lost."""
        found, known = _stat(self.path), self._file
        is_same = found and known and (found.st_ino, found.st_mtime_ns) == (known.st_ino, known.st_mtime_ns)
        return bool(is_same) and self._slots.is_in_place

    def _catch_up_later(self, number: int, text: str) -> None:
        with self._behind_guard:
            is_busy = self._behind is not None
            self._behind = number, text
        if not is_busy:
            threading.Thread(target=self._catch_up, name="chain-store", daemon=True).start()

    def _catch_up(self) -> None:
        """The file gets what the slots had before it; not at once, for more changes may be on their way to the disk."""
        time.sleep(CATCH_UP_AFTER_S)
        while behind := self._behind:
            try:
                self._replace(*behind)
            except OSError as error:
                log.warning("cannot write %s: %s. The change itself is durable", self.path, error)
            with self._behind_guard:
                if self._behind == behind:
                    self._behind = None

    def _replace(self, number: int, text: str) -> None:
        """The file as a whole, unless it is newer."""
        fresh = self.path.with_suffix(".new")
        with self._replacing:
            if number <= self._in_file:
                return
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self.path)
            sync_folder(self.path.parent)
            self._in_file, self._file = number, _stat(self.path)

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


def stored_in(folder: Path) -> Configuration | None:
    """What a master in that folder has stored, or what one had. Raises StoreError."""
    found = _newest(folder)
    return found[1] if found else None


def _newest(folder: Path) -> tuple[int, Configuration] | None:
    path = folder / FILE_NAME
    try:
        newest = _numbered(path.read_text())
        for number, text in Slots(_slots_path(folder)).entries().items():
            ahead = _numbered(text)[1]
            if number > newest[0] and ahead.view.history == newest[1].view.history:
                newest = number, ahead
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged ({error}). It says who is in the chain: "
            "restore it, or move it away to begin a new chain"
        ) from error
    return newest


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _slots_path(folder: Path) -> Path:
    return (folder / FILE_NAME).with_suffix(".slots")


def configuration_to_text(configuration: Configuration, number: int = 0) -> str:
    """number: how many changes were stored before it."""
    data = {
        "format": FORMAT,
        "number": number,
        "view": configuration.view.to_json(),
        "leaving": members_to_json(configuration.leaving),
        "pending": configuration.pending,
        "lease_ms": configuration.lease_ms,
        "awaited": members_to_json(configuration.awaited),
        "fallen": members_to_json(configuration.fallen),
        "durable": list(configuration.durable),
        "formed_from": configuration.formed_from,
        "newer": [configuration.newer.to_json()] if configuration.newer else [],
    }
    return json.dumps(data, indent=2) + "\n"


def configuration_from_text(text: str) -> Configuration:
    """ValueError when `text` is not what `change_to_text` writes."""
    return _numbered(text)[1]


def _numbered(text: str) -> tuple[int, Configuration]:
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    fields = json_fields(_upgraded(data), _SHAPE)
    if fields["format"] != FORMAT:
        raise ValueError(f"it has format {fields['format']}, this version reads formats up to {FORMAT}")
    if not 0 <= fields["lease_ms"] <= MAX_LEASE_MS:
        raise ValueError(f"lease_ms {fields['lease_ms']} is out of range")
    if not all(isinstance(run_id, str) for run_id in fields["durable"]):
        raise ValueError("durable is not a list of run_ids")
    leaving, awaited, fallen = (members_from_json(fields[name]) for name in ("leaving", "awaited", "fallen"))
    return fields["number"], Configuration(
        View.from_json(fields["view"]), leaving, fields["pending"], fields["lease_ms"], awaited, fallen,
        tuple(fields["durable"]), fields["formed_from"], *map(View.from_json, fields["newer"][:1]),
    )  # fmt: skip


def _upgraded(data: object) -> object:
    """What an earlier version wrote, as this one would have."""
    if not isinstance(data, dict):
        return data
    for version, added in _ADDED.items():
        if data.get("format") == version:
            data = {**data, **added, "format": version + 1}
    return data
