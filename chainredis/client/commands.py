# SPDX-License-Identifier: Apache-2.0
"""Which commands only read, as the server itself says, and to whom each command goes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chainredis.client.routing import Role

# An iteration goes on at the server where it began: a cursor means nothing to another one.
CURSORS = {"scan", "sscan", "hscan", "zscan", "list.checkpoint"}
NOT_HELD_BACK = {"blocking", "may_replicate"}


# These may be executed under MEMBER.ONCE although no script may call them.
NO_SCRIPT_BUT_ONCE = {"eval", "evalsha", "fcall", "member.put", "member.del"}


@dataclass(frozen=True)
class CommandTable:
    """names: of the commands that only read, as `get` and `object|encoding`. reads: who gets them. once: names of the
    commands that are sent under MEMBER.ONCE.
    """

    names: frozenset[str] = frozenset()
    reads: Role = Role.HEAD
    once: frozenset[str] = frozenset()

    def role(self, args: tuple[Any, ...]) -> Role:
        """Whom a command is for."""
        name = _name(args)
        if name == "read":
            return Role.TAIL
        if self.is_read(args) and name not in CURSORS and not name.startswith("member."):
            return self.reads
        return Role.HEAD

    def is_read(self, args: tuple[Any, ...]) -> bool:
        """Whether the command changes nothing, so that it may be carried out twice."""
        name = _name(args)
        return name in self.names or name in {"read", "watch", "unwatch"} or _with_subcommand(args) in self.names

    def is_once(self, args: tuple[Any, ...]) -> bool:
        """Whether the command is sent under MEMBER.ONCE, so that it may be repeated."""
        return bool(self.once) and (_name(args) in self.once or _with_subcommand(args) in self.once)


def read_names(reply: Iterable[Any]) -> frozenset[str]:
    """The names of the commands that only read, in the raw reply to COMMAND."""
    return frozenset(_reading(reply))


def once_names(reply: Iterable[Any]) -> frozenset[str]:
    """The names of the commands that MEMBER.ONCE executes once, in the raw reply to COMMAND. None if it is not there.

    A blocking command would not wait.
    """
    entries = {_text(entry[0]).lower(): {_text(flag) for flag in entry[2]} for entry in reply}
    if "member.once" not in entries:
        return frozenset()
    return frozenset(
        name
        for name, flags in entries.items()
        if flags & {"write", "may_replicate"} and "blocking" not in flags
        and ("noscript" not in flags or name in NO_SCRIPT_BUT_ONCE)
        and name != "himport"  # redis-py prepares the connection for it
    )


def _reading(entries: Iterable[Any]) -> Iterable[str]:
    for entry in entries:
        name, flags = _text(entry[0]).lower(), {_text(flag) for flag in entry[2]}
        if "readonly" in flags and not flags & NOT_HELD_BACK:
            yield name
        if len(entry) > 9:
            yield from _reading(entry[9])


def _name(args: tuple[Any, ...]) -> str:
    return _text(args[0]).split(" ")[0].lower()


def _with_subcommand(args: tuple[Any, ...]) -> str:
    """redis-py gives `OBJECT ENCODING` as one word or as two."""
    words = [*_text(args[0]).split(), *(_text(word) for word in args[1:2] if isinstance(word, (str, bytes)))]
    return "|".join(words[:2]).lower()


def _text(word: Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)
