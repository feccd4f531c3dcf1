"""Texts that are durable quickly: written in place, into a file that has its size and its blocks on the disk already.

A new file waits for the file system's journal, and with it for whatever else is being written, on a busy disk for
hundreds of milliseconds. Two slots take turns, so that a write that is cut off leaves the one before as it was.
"""

import hashlib
import os
import re
from pathlib import Path

SLOT_BYTES = 128 * 1024
_HEADER = re.compile(rb"([0-9]{1,19}) ([0-9]{1,7}) ([0-9a-f]{64})\n")


class Slots:
    """Of one file, made when it is first written to. All errors are OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def is_in_place(self) -> bool:
        """False: the file that is being written to has no name any more, or another one has it."""
        if self._descriptor is None:
            return True
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """What is written next goes to the file that has the name then."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def entries(self) -> dict[int, str]:
        """The whole ones of the two last texts, by their numbers."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        found = (_entry(data[start : start + SLOT_BYTES]) for start in (0, SLOT_BYTES))
        return dict(entry for entry in found if entry)

    def write(self, number: int, text: str) -> None:
        """Durable when this returns. number: one more than that of the last text, which stays."""
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
        # Written, not only reserved: a block's first use would be the journal's business again.
        os.pwrite(descriptor, bytes(missing), 2 * SLOT_BYTES - missing)
        os.fsync(descriptor)
        sync_folder(path.parent)
    return descriptor


def sync_folder(path: Path) -> None:
    """A new name in it, or another one, survives a loss of power."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
