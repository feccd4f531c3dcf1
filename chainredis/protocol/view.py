# SPDX-License-Identifier: Apache-2.0
"""Members and views (design.md, "Words"), and their forms on the wire and on disk."""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_MEMBERS = 32
MAX_HOST_BYTES = 255
MAX_PORT = 65535
# Some JSON readers round greater integers. No chain has so many epochs.
MAX_EPOCH = 2**53

_DIGITS_32 = re.compile(r"[0-9a-f]{32}")
_DIGITS_40 = re.compile(r"[0-9a-f]{40}")


class Kind(enum.StrEnum):
    """What a chain takes: its own commands only, or any command of the server (docs/glossary.md, "kind")."""

    PUT = "put"
    ALL = "all"


@dataclass(frozen=True, order=True)
class Endpoint:
    """Where a server is reached: a host name or address as somebody typed it, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Member:
    """One process of a chain. The run_id alone is its identity: after a restart the same port is another member.

    host: as the operator typed it; clients are redirected there. address: the numeric address of the host. run_id: 40
    hexadecimal digits. ValueError if a field is not of this form.
    """

    host: str
    address: str
    port: int
    run_id: str

    def __post_init__(self) -> None:
        check_host(self.host)
        check_host(self.address)
        if not 1 <= self.port <= MAX_PORT:
            raise ValueError(f"port {self.port} is not between 1 and {MAX_PORT}")
        if not _DIGITS_40.fullmatch(self.run_id):
            raise ValueError(f"run_id {self.run_id!r} is not 40 hexadecimal digits")

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.host, self.port)

    def __str__(self) -> str:
        return str(self.endpoint)

    def wire(self) -> list[bytes]:
        """Four arguments: host address port run_id (docs/protocol.md, "Views")."""
        return [self.host.encode(), self.address.encode(), b"%d" % self.port, self.run_id.encode()]


@dataclass(frozen=True)
class View:
    """The members of the chain in one epoch, head first, and the chain's secret, which is shown nowhere.

    history, secret: 32 hexadecimal digits each. epoch: from 1 on. kind: all views of a history have the same.
    ValueError if this is not a possible view.
    """

    history: str
    epoch: int
    members: tuple[Member, ...]
    secret: str = field(repr=False)
    kind: Kind = Kind.PUT

    def __post_init__(self) -> None:
        if not _DIGITS_32.fullmatch(self.history):
            raise ValueError("history is not 32 hexadecimal digits")
        if not _DIGITS_32.fullmatch(self.secret):
            raise ValueError("secret is not 32 hexadecimal digits")
        if not 1 <= self.epoch <= MAX_EPOCH:
            raise ValueError(f"epoch {self.epoch} is out of range")
        if not 1 <= len(self.members) <= MAX_MEMBERS:
            raise ValueError(f"a chain has 1 to {MAX_MEMBERS} members, not {len(self.members)}")
        if len({member.run_id for member in self.members}) != len(self.members):
            raise ValueError("two members have the same run_id")

    @property
    def head(self) -> Member:
        return self.members[0]

    @property
    def tail(self) -> Member:
        return self.members[-1]

    @property
    def names(self) -> str:
        return ", ".join(map(str, self.members))

    def member(self, run_id: str) -> Member | None:
        return next((member for member in self.members if member.run_id == run_id), None)

    def wire(self) -> list[bytes]:
        """`history secret epoch [kind] count`, then four arguments a member (docs/protocol.md, "Views")."""
        kind = [] if self.kind is Kind.PUT else [self.kind]
        head = [self.history, self.secret, str(self.epoch), *kind, str(len(self.members))]
        return [text.encode() for text in head] + [argument for member in self.members for argument in member.wire()]

    @classmethod
    def from_wire(cls, arguments: Sequence[bytes]) -> "View":
        """The inverse of `wire`. ValueError if `arguments` are not of that form."""
        texts = [argument.decode() for argument in arguments]
        kind = Kind(texts.pop(3)) if len(texts) > 3 and texts[3] in set(Kind) else Kind.PUT
        if len(texts) < 4 or len(texts) != 4 + 4 * int(texts[3]):
            raise ValueError("not as many members as it says")
        groups = (texts[at : at + 4] for at in range(4, len(texts), 4))
        members = tuple(Member(host, address, int(port), run_id) for host, address, port, run_id in groups)
        return cls(texts[0], int(texts[2]), members, texts[1], kind)

    def to_json(self) -> dict[str, Any]:
        return {
            "history": self.history,
            "secret": self.secret,
            "epoch": self.epoch,
            "kind": self.kind.value,
            "members": members_to_json(self.members),
        }

    @classmethod
    def from_json(cls, data: object) -> "View":
        """The inverse of `to_json`. An earlier version wrote no kind. ValueError if `data` is not a view."""
        if isinstance(data, dict):
            data = {"kind": Kind.PUT.value, **data}
        fields = json_fields(data, {"history": str, "secret": str, "epoch": int, "kind": str, "members": list})
        members = members_from_json(fields["members"])
        return cls(fields["history"], fields["epoch"], members, fields["secret"], Kind(fields["kind"]))


def members_to_json(members: Sequence[Member]) -> list[dict[str, Any]]:
    return [{"host": m.host, "address": m.address, "port": m.port, "run_id": m.run_id} for m in members]


def members_from_json(data: list[object]) -> tuple[Member, ...]:
    """ValueError if an item is not a member."""
    shape: dict[str, type] = {"host": str, "address": str, "port": int, "run_id": str}
    return tuple(Member(**json_fields(item, shape)) for item in data)


def json_fields(data: object, shape: dict[str, type]) -> dict[str, Any]:
    """The fields of a JSON object. ValueError if it has other fields than `shape`, or other types."""
    if not isinstance(data, dict) or data.keys() != shape.keys():
        raise ValueError(f"not an object of {', '.join(shape)}")
    for name, kind in shape.items():
        if type(data[name]) is not kind:
            raise ValueError(f"{name} is not of type {kind.__name__}")
    return data


def check_host(host: str) -> None:
    """ValueError if this cannot be a host name or an address."""
    if not host:
        raise ValueError("the host is empty")
    if len(host) > MAX_HOST_BYTES:
        raise ValueError(f"the host is longer than {MAX_HOST_BYTES} characters")
    if not all("!" <= character <= "~" for character in host):
        raise ValueError("the host has characters other than visible ASCII")


def parse_endpoint(host: bytes, port: bytes) -> Endpoint:
    """The host and port that somebody typed. ValueError, with a text for people, if they are not of that form."""
    name = host.decode("ascii", "replace")
    check_host(name)
    if not re.fullmatch(rb"[0-9]{1,5}", port) or not 1 <= int(port) <= MAX_PORT:
        typed = port[:32].decode("ascii", "backslashreplace")
        raise ValueError(f"port {typed!r} is not a number between 1 and {MAX_PORT}")
    return Endpoint(name, int(port))
