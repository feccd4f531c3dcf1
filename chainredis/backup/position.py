# SPDX-License-Identifier: Apache-2.0
"""The position in a member's RDB, as modules/server/position.pxd writes it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from chainredis.backup.rdb import Value
from chainredis.protocol.errors import BackupError

TYPE_NAME = "chain-pos"
VERSION = 5  # whose kept replies of MEMBER.ONCE come last, and are not needed here


class Newer(NamedTuple):
    """A key whose newest update was not in the member's checkpoint."""

    key: bytes
    sn: int
    deleted: bool


class Position(NamedTuple):
    """The position.

    history: 32 hexadecimal digits. applied: the newest update in the file. incomplete: some keys may be only in the
    checkpoint. watermark: of that checkpoint. others: some keys are not strings: no checkpoint has these. newer: the
    keys of the file that are newer than the checkpoint.
    """

    history: str
    applied: int
    incomplete: bool
    watermark: int
    others: bool
    newer: tuple[Newer, ...]


def parse_position(version: int, values: Sequence[Value]) -> Position | None:
    """None for a server that was in no chain. BackupError if the values are not a position."""
    if not 1 <= version <= VERSION:
        raise BackupError(f"the RDB file is of a newer version of libmember.so than this program, {version}")
    items: Iterator[Any] = iter([value.content for value in values])
    try:
        return _parse(version, items)
    except (StopIteration, TypeError, ValueError, AttributeError) as error:
        raise BackupError("the RDB file is damaged: its position is none") from error


def _parse(version: int, items: Iterator[Any]) -> Position | None:
    if not next(items):
        return None
    history, applied, boundaries = next(items), next(items), next(items)
    for _ in range(2 * boundaries):
        next(items)
    if version > 1:
        _epoch, _run_id, _durable, _keys = next(items), next(items), next(items), next(items)
    if version > 3:
        _numbered = next(items)
    if version < 3 or not next(items):
        return Position(history.hex(), applied, incomplete=False, watermark=-1, others=True, newer=())
    watermark, incomplete, others, count = next(items), next(items), next(items), next(items)
    newer = tuple(Newer(next(items), next(items), bool(next(items))) for _ in range(count))
    return Position(history.hex(), applied, bool(incomplete), watermark, bool(others), newer)
