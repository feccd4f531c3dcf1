# SPDX-License-Identifier: Apache-2.0
"""Where the master keeps its configuration (rule 5: persist, then tell)."""

import _thread
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
from chainredis.storage.ab_file import ABFile, sync_folder

# The fields of format 1 ended with `pending`, of 2 with `fallen`, of 3 with `formed_from`. Views of 4 had no kind.
FORMAT = 5
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
    4: {},
}

_Identity = tuple[int, int]

log = logging.getLogger(__name__)


class ViewStore(Protocol):
    """Holds the newest configuration. Both methods raise StoreError.

    is_certain: what `load` gives is durable, and nothing that was saved before takes its place any more.
    """

    @property
    def is_certain(self) -> bool: ...

    def load(self) -> Configuration | None:
        """What was saved last; None if nothing ever was. StoreError if that cannot be read."""

    def save(self, configuration: Configuration) -> None:
        """Durable when this returns. After an error it is open whether this one or the one before is loaded."""


class MemoryStore:
    """For tests: durable as long as the object lives."""

    is_certain = False  # as with a disk

    def __init__(self) -> None:
        self._saved: str | None = None

    def load(self) -> Configuration | None:
        return None if self._saved is None else configuration_from_text(self._saved)

    def save(self, configuration: Configuration) -> None:
        self._saved = configuration_to_text(configuration)


class FileStore:
    """A file in `folder` that people can read, and an ABFile beside it, which is ahead of it for a moment.

    Both hold the chain's secret: only their owner may read them. Without the readable file the ABFile means nothing: an
    operator moves that file away to begin a new chain.
    """

    is_certain = False  # it may only be in the system's cache, if the last attempt to save it failed

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._ab_file = ABFile(_ab_path(folder))
        self._lock: int | None = None
        self._number = 0  # of the newest configuration
        self._history = ""  # of the newest configuration, and of the readable file
        self._replacing = threading.Lock()
        self._in_file = 0  # the number of the configuration in the readable file
        # The readable file, as this store left it; while it is being replaced, also the one that takes its place.
        self._own: tuple[_Identity | None, ...] = ()
        self._behind_guard = threading.Lock()
        self._behind: tuple[int, str] | None = None  # what the readable file is about to get

    def load(self) -> Configuration | None:
        self._take_lock()
        found = _newest(self.path.parent)
        if found is None:
            return None
        self._own = (_identity(self.path),)
        self._number, configuration = found
        self._history = configuration.view.history
        return configuration

    def save(self, configuration: Configuration) -> None:
        self._take_lock()
        number, text = self._number + 1, configuration_to_text(configuration, self._number + 1)
        try:
            if configuration.view.history == self._history and self._is_untouched():
                self._ab_file.write(number, text)
                self._catch_up_later(number, text)
            else:
                self._ab_file.close()
                self._replace(number, text)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error}") from error
        self._number, self._history = number, configuration.view.history

    def _is_untouched(self) -> bool:
        """Returns False if somebody has removed or replaced one of the files: what is written next would be lost."""
        found = _identity(self.path)
        return found is not None and found in self._own and self._ab_file.is_in_place

    def _catch_up_later(self, number: int, text: str) -> None:
        with self._behind_guard:
            is_busy = self._behind is not None
            self._behind = number, text
        if not is_busy:
            # `Thread.start` returns when the thread runs: so long members would wait for the view that was saved.
            _thread.start_new_thread(self._catch_up, ())

    def _catch_up(self) -> None:
        """The readable file gets what the ABFile has; not at once, since more changes may follow."""
        time.sleep(CATCH_UP_AFTER_S)
        while behind := self._behind:
            try:
                self._replace(*behind)
            except OSError as error:
                log.warning("cannot write %s: %s. The change itself is durable", self.path, error)
            except Exception:
                log.exception("writing %s failed in a way that nobody has thought of", self.path)
            with self._behind_guard:
                if self._behind == behind:
                    self._behind = None

    def _replace(self, number: int, text: str) -> None:
        """Replace the readable file, unless it is newer."""
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
            identity = _identity(fresh)
            self._own = (*self._own[:1], identity)
            fresh.rename(self.path)
            sync_folder(self.path.parent)
            self._in_file, self._own = number, (identity,)

    def _take_lock(self) -> None:
        """Two masters in one folder would overwrite each other's chain.

        This is a record lock: a forked child (BGSAVE) does not keep it after its parent's death.
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
    """What a master with this folder has stored, be it alive or not. Raises StoreError."""
    found = _newest(folder)
    return found[1] if found else None


def _newest(folder: Path) -> tuple[int, Configuration] | None:
    path = folder / FILE_NAME
    try:
        newest = _numbered(path.read_text())
        for number, text in ABFile(_ab_path(folder)).entries().items():
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


def _identity(path: Path) -> _Identity | None:
    """Another one if somebody has written to the file, or another file has this name; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _ab_path(folder: Path) -> Path:
    return (folder / FILE_NAME).with_suffix(".slots")


def configuration_to_text(configuration: Configuration, number: int = 0) -> str:
    """The stored form. number: how many configurations were stored before this one."""
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
    """The inverse of `configuration_to_text`. ValueError if `text` is not of that form."""
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
    """What an earlier version wrote, in the form of this version."""
    if not isinstance(data, dict):
        return data
    for version, added in _ADDED.items():
        if data.get("format") == version:
            data = {**data, **added, "format": version + 1}
    return data
