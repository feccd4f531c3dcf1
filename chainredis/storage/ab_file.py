# SPDX-License-Identifier: Apache-2.0
"""A file with two slots for texts, A and B, that are written in turn: a text becomes durable quickly.

A new file waits for the file system's journal, and so for everything else that is being written: on a busy disk, for
hundreds of milliseconds. Here a text is written into blocks that are on the disk already. A write that is cut off
leaves the other slot, with the text before it, as it was.
"""

import hashlib
import os
import re
from pathlib import Path

SLOT_BYTES = 128 * 1024
_HEADER = re.compile(rb"([0-9]{1,19}) ([0-9]{1,7}) ([0-9a-f]{64})\n")


class ABFile:
    """One such file, made when it is first written to. All errors are OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def is_in_place(self) -> bool:
        """Returns False if the file that is being written to was removed, or another file has its name now."""
        if self._descriptor is None:
            return True
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """The next text is written to the file that has the name then."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def entries(self) -> dict[int, str]:
        """The last two texts by their numbers, as far as they were written completely."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        found = (_entry(data[start : start + SLOT_BYTES]) for start in (0, SLOT_BYTES))
        return dict(entry for entry in found if entry)

    def write(self, number: int, text: str) -> None:
        """The text is durable when this returns. number: one more than that of the last text, which stays."""
        body = text.encode()
        header = b"%d %d %s\n" % (number, len(body), _digest(body))
        if len(header) + len(body) > SLOT_BYTES:
            raise OSError(f"{self._path} has no room for {len(body)} bytes")
        if self._descriptor is None:
            self._descriptor = _open_in_full_size(self._path)
        os.pwrite(self._descriptor, header + body, number % 2 * SLOT_BYTES)
        os.fdatasync(self._descriptor)


def _entry(slot: bytes) -> tuple[int, str] | None:
    header = _HEADER.match(slot)
    if header is None:
        return None
    body = slot[header.end() : header.end() + int(header[2])]
    return (int(header[1]), body.decode()) if _digest(body) == header[3] else None


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def _open_in_full_size(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    missing = 2 * SLOT_BYTES - os.fstat(descriptor).st_size
    if missing > 0:
        # Blocks that were only reserved would go through the journal when they are first written.
        os.pwrite(descriptor, bytes(missing), 2 * SLOT_BYTES - missing)
        os.fsync(descriptor)
        sync_folder(path.parent)
    return descriptor


def sync_folder(path: Path) -> None:
    """New and changed names in this folder survive a loss of power."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
