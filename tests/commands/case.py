# SPDX-License-Identifier: Apache-2.0
r"""What a case is: lines that are sent to a server, and how each reply is compared with that of another server.

A line is a command as in redis-cli: words, `'…'`, and `"…"` with escapes such as `\x00`. More can be said in a line:

    B: GET k            on a second connection, B (there are A, which is meant without a name, B and C)
    B> BLPOP k 0        only sent; the next line comes when the client is blocked
    B<                  the next reply of B
    A! CLIENT REPLY OFF only sent: no reply comes
    RESTORE k 0 {reply} the last reply; {A}, {B}, {C}: the ids of those clients
    TTL k  # near       compared by one of the masks below
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from commands.wire import Typed
from servers import OLDEST_AND_NEWEST

LINE = re.compile(r"(?:(?P<client>[ABC])(?P<how>[:><!]) ?)?(?P<command>.*?)(?:  # (?P<mask>\w+))?", re.DOTALL)
WORD = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'([^']*)'|(\S+)", re.DOTALL)
NEAR = 5_000    # of times to live and ages in milliseconds; in seconds the difference is smaller anyhow


class Chance(list[str]):
    """Lines whose effects depend on chance or time: copies are compared with each other only."""


@dataclass(frozen=True)
class Case:
    """name: the command, and in brackets what is special. by_chance: the lines are of the class Chance.

    servers: those that know the command, of the oldest and the newest. Others are asked.
    """

    name: str
    lines: tuple[str, ...] = field(repr=False)
    by_chance: bool
    servers: tuple[str, ...]

    @property
    def command(self) -> str:
        return self.name.partition(" (")[0]


def make(table: Mapping[str, Iterable[str]], servers: tuple[str, ...] = OLDEST_AND_NEWEST) -> list[Case]:
    return [Case(name, tuple(lines), isinstance(lines, Chance), servers) for name, lines in table.items()]


@dataclass(frozen=True)
class Step:
    """One line. how: `:` send and receive, `>` send and wait until blocked, `<` receive, `!` send."""

    client: str
    how: str
    words: tuple[bytes, ...]
    mask: str


def parse(line: str) -> Step:
    match = LINE.fullmatch(line)
    assert match, line
    words = tuple(_word(*found) for found in WORD.findall(match["command"]))
    assert match["mask"] is None or match["mask"] in MASKS, line
    return Step(match["client"] or "A", match["how"] or ":", words, match["mask"] or "same")


def _word(escaped: str, plain: str, bare: str) -> bytes:
    if escaped:
        return escaped.encode("latin-1").decode("unicode_escape").encode("latin-1")
    return (plain or bare).encode()


# ---------------------------------------------------------------------------------------------- comparisons

def _sorted(reply: Any) -> Any:
    """Without the order of items, at each level."""
    if isinstance(reply, Typed) and isinstance(reply.value, list):
        return Typed(reply.type, _sorted(reply.value))
    if isinstance(reply, tuple):    # of a map
        return tuple(map(_sorted, reply))
    return sorted(map(_sorted, reply), key=repr) if isinstance(reply, list) else reply


def _pairs(reply: Any) -> Any:
    """A flat array of fields and values, without the order of fields."""
    return sorted(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else _sorted(reply)


def _kind(reply: Any) -> Any:
    if isinstance(reply, Typed):
        return reply.type
    return type(reply).__name__


def _shape(reply: Any) -> Any:
    """The types at each level, and the lengths of arrays."""
    if isinstance(reply, Typed):
        return reply.type, _shape(reply.value)
    if isinstance(reply, list | tuple):
        return [_shape(item) for item in reply]
    return type(reply).__name__


def _names(reply: Any) -> Any:
    """The names in a text of `name:value`, `name=value`, or in a map or flat array; not the values."""
    if isinstance(reply, Typed):
        reply = reply.value
    if isinstance(reply, bytes):
        return re.findall(rb"(?:^|[\s,])([a-z-]+)[:=]", reply)
    return [item[0] if isinstance(item, tuple) else item for item in reply if isinstance(item, bytes | tuple)]


def _near(reply: Any) -> Any:
    return _Near(reply) if isinstance(reply, int) else reply


@dataclass(eq=False)
class _Near:
    number: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Near) and abs(self.number - other.number) <= NEAR

    __hash__ = None  # type: ignore[assignment]


def _first_word(reply: Any) -> Any:
    return reply.value.split()[0] if isinstance(reply, Typed) and isinstance(reply.value, bytes) else _kind(reply)


MASKS: dict[str, Callable[[Any], Any]] = {
    "same": lambda reply: reply,
    "sorted": _sorted,
    "pairs": _pairs,
    "near": _near,
    "kind": _kind,
    "shape": _shape,
    "names": _names,
    "word": _first_word,
    "any": lambda _: None,
}
