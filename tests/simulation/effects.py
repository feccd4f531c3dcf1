# SPDX-License-Identifier: Apache-2.0
"""Effects of commands as the bytes that Redis sends to a replica, and back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from core_extension.core import Update

from .model import require


@lru_cache(maxsize=4096)
def effects_of(update: Update) -> bytes:
    """One command, or for some values a transaction."""
    key, value, _ = update
    command = encoded(b"DEL", key) if value is None else encoded(b"SET", key, value)
    is_transaction = value is not None and len(value) % 3 == 0
    return encoded(b"MULTI") + command + encoded(b"EXEC") if is_transaction else command


def encoded(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def updates_of(effects: bytes) -> list[tuple[Update, int]]:
    """The updates of whole commands and transactions, and the number of bytes of each."""
    found = []
    begin, update, is_open = 0, None, False
    for words, end in commands_of(effects):
        if words[0] in (b"MULTI", b"EXEC"):
            is_open = words[0] == b"MULTI"
        else:
            update = Update(words[1], words[2] if len(words) > 2 else None)
        if not is_open and update:
            found.append((update, end - begin))
            begin = end
    require(begin == len(effects), f"effects end in the midst of a transaction: {effects[begin:]!r}")
    return found


def commands_of(effects: bytes) -> Iterator[tuple[list[bytes], int]]:
    """Each command's words, and where it ends."""
    at = 0
    while at < len(effects):
        count, at = number_at(effects, at, b"*")
        words = []
        for _ in range(count):
            length, at = number_at(effects, at, b"$")
            words.append(effects[at:at + length])
            at += length + 2
        require(at <= len(effects), f"effects end in the midst of a command: {effects!r}")
        yield words, at


def number_at(effects: bytes, at: int, sign: bytes) -> tuple[int, int]:
    end = effects.find(b"\r\n", at)
    require(end > at and effects[at:at + 1] == sign, f"no command begins at {at} of {effects!r}")
    return int(effects[at + 1:end]), end + 2
