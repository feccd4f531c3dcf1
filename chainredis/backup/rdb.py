# SPDX-License-Identifier: Apache-2.0
"""Parses the first part of an RDB file, up to its keys; and writes the few parts that a backup needs.

The rest of the file, keys and values of all types and versions, is copied as it is.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import anycrc  # type: ignore[import-untyped]

from chainredis.protocol.errors import BackupError

MAGIC_BYTES = 9  # `REDIS` and four digits of a version
CHECKSUM_BYTES = 8
COPY_BYTES = 1 << 20

AUX = 0xFA
MODULE_AUX = 0xF7
SELECT_DATABASE = 0xFE
END = 0xFF
STRING = 0

# The kinds of parts in a module's value.
MODULE_END, MODULE_SIGNED, MODULE_UNSIGNED, MODULE_FLOAT, MODULE_DOUBLE, MODULE_STRING = range(6)

# Lengths, and strings in other forms, by their first byte.
LENGTH_32, LENGTH_64 = 0x80, 0x81
INTEGERS = {0xC0: "<b", 0xC1: "<h", 0xC2: "<i"}
COMPRESSED = 0xC3

_NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Value(NamedTuple):
    """One item that a module has saved: a number, or bytes."""

    kind: int
    content: int | float | bytes


class Checksum:
    """The CRC-64 of Redis."""

    _crc = anycrc.CRC(width=64, poly=0xAD93D23594C935A9, init=0, refin=True, refout=True, xorout=0)

    def __init__(self) -> None:
        self._value = 0

    def add(self, content: bytes) -> None:
        self._value = self._crc.calc(content, self._value)

    @property
    def digest(self) -> bytes:
        return self._value.to_bytes(CHECKSUM_BYTES, "little")


class Reader:
    """Reads parts one by one. BackupError at the end of the file, and for damaged parts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.checksum = Checksum()

    def take(self, count: int) -> bytes:
        read = self._file.read(count)
        if len(read) != count:
            raise BackupError("the RDB file is cut off")
        self.checksum.add(read)
        return read

    def byte(self) -> int:
        return self.take(1)[0]

    def length(self) -> int:
        first = self.byte()
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 0x3F) << 8 | self.byte()
        if first not in (LENGTH_32, LENGTH_64):
            raise BackupError("the RDB file is damaged: a length is none")
        return int.from_bytes(self.take(4 if first == LENGTH_32 else 8))

    def string(self) -> bytes:
        first = self.byte()
        if first in INTEGERS:
            form = INTEGERS[first]
            return b"%d" % struct.unpack(form, self.take(struct.calcsize(form)))[0]
        if first == COMPRESSED:
            compressed, length = self.length(), self.length()
            return decompress(self.take(compressed), length)
        if first < 0x40:
            return self.take(first)
        if first < 0x80:
            return self.take((first & 0x3F) << 8 | self.byte())
        if first in (LENGTH_32, LENGTH_64):
            return self.take(int.from_bytes(self.take(4 if first == LENGTH_32 else 8)))
        raise BackupError("the RDB file is damaged: a string is none")

    def module_values(self) -> Iterator[Value]:
        """The values of one module, up to their end."""
        while (kind := self.length()) != MODULE_END:
            if kind in (MODULE_SIGNED, MODULE_UNSIGNED):
                number = self.length()
                yield Value(kind, number - (1 << 64) if kind == MODULE_SIGNED and number >> 63 else number)
            elif kind in (MODULE_FLOAT, MODULE_DOUBLE):
                form = "<f" if kind == MODULE_FLOAT else "<d"
                yield Value(kind, struct.unpack(form, self.take(struct.calcsize(form)))[0])
            elif kind == MODULE_STRING:
                yield Value(kind, self.string())
            else:
                raise BackupError("the RDB file is damaged: a module's value is none")


class Writer:
    """Writes parts one by one, and at the end the checksum of all."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._checksum = Checksum()

    def put(self, content: bytes) -> None:
        self._file.write(content)
        self._checksum.add(content)

    def string(self, content: bytes) -> None:
        self.put(_length(len(content)) + content)

    def aux(self, name: bytes, content: bytes) -> None:
        """A field that Redis ignores if it does not know it, and that redis-check-rdb shows."""
        self.put(bytes([AUX]))
        self.string(name)
        self.string(content)

    def database(self, number: int) -> None:
        self.put(bytes([SELECT_DATABASE]) + _length(number))

    def key(self, name: bytes, content: bytes) -> None:
        """A key of type string."""
        self.put(bytes([STRING]))
        self.string(name)
        self.string(content)

    def end(self) -> None:
        self.put(bytes([END]))
        self._file.write(self._checksum.digest)


def _length(number: int) -> bytes:
    if number < 1 << 6:
        return bytes([number])
    if number < 1 << 14:
        return bytes([0x40 | number >> 8, number & 0xFF])
    if number < 1 << 32:
        return bytes([LENGTH_32]) + number.to_bytes(4)
    return bytes([LENGTH_64]) + number.to_bytes(8)


def decompress(content: bytes, length: int) -> bytes:
    """LZF: runs of plain bytes, and references to earlier bytes. BackupError if `content` is not of that form."""
    out = bytearray()
    at = 0
    try:
        while at < len(content):
            first = content[at]
            at += 1
            if first < 32:
                out += content[at : at + first + 1]
                at += first + 1
                continue
            count = first >> 5
            if count == 7:
                count += content[at]
                at += 1
            begin = len(out) - ((first & 31) << 8) - content[at] - 1
            at += 1
            for i in range(begin, begin + count + 2):
                out.append(out[i])
    except IndexError:
        length = -1
    if len(out) != length:
        raise BackupError("the RDB file is damaged: a string cannot be decompressed")
    return bytes(out)


def type_name(identity: int) -> str:
    """The name of a module's type: nine characters of six bits each in its id, above ten bits of version."""
    return "".join(_NAME_CHARACTERS[identity >> shift & 0x3F] for shift in range(58, 4, -6))
