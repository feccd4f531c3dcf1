# SPDX-License-Identifier: Apache-2.0
"""Runs a case on a chain and on a plain server, line by line, and compares replies and data."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import WaitTimeout, wait_until
from commands.case import MASKS, Case, Step, parse
from commands.wire import Typed, Wire, Word

CLEAN = [("FLUSHALL",), ("FUNCTION", "FLUSH"), ("SCRIPT", "FLUSH"), ("CONFIG", "RESETSTAT"), ("SLOWLOG", "RESET")]
PROTOCOLS = (2, 3)
SAME_WITHIN_S = 10


class Session:
    """The connections of one case to one server, and the last reply."""

    def __init__(self, server: Server, protocol: int) -> None:
        self._server = server
        self._protocol = protocol
        self._wires: dict[str, Wire] = {}
        self._last: Any = b""

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()

    def do(self, step: Step) -> Any:
        """Carry out one line; returns the reply, None if there is none to wait for."""
        wire = self._wire(step.client)
        if step.how != "<":
            wire.send(*map(self._filled, step.words))
        if step.how in "<:":
            self._last = wire.receive()
            return self._last
        if step.how == ">":
            wait_until(lambda: self._is_blocked(wire.id), 10)
        return None

    def _wire(self, client: str) -> Wire:
        if client not in self._wires:
            self._wires[client] = Wire(self._server.endpoint, self._protocol)
        return self._wires[client]

    def _filled(self, word: bytes) -> Word:
        if word == b"{reply}":
            return self._last if isinstance(self._last, bytes | int) else bytes(self._last.value)
        if word in {b"{A}", b"{B}", b"{C}"}:
            return self._wire(word.decode()[1]).id
        return word

    def _is_blocked(self, client_id: int) -> bool:
        with closing(Wire(self._server.endpoint)) as wire:
            return b"b" in wire("CLIENT", "LIST", "ID", client_id).split(b" flags=")[1].split()[0]


def compare(case: Case, plain: Server, head: Server, members: Sequence[Server]) -> None:
    """Run the case in both protocols. AssertionError, with the line, if replies differ, or data at the end."""
    for protocol in PROTOCOLS:
        _clean(plain)
        _clean(head)
        with ExitStack() as stack:
            sessions = [stack.enter_context(closing(Session(server, protocol))) for server in (plain, head)]
            for line in case.lines:
                step = parse(line)
                expected, got = [MASKS[step.mask](session.do(step)) for session in sessions]
                assert got == expected, f"{line}, in RESP{protocol}: {got!r}, on a plain server {expected!r}"
    same_data(members if case.by_chance else [plain, *members])


def _clean(server: Server) -> None:
    """Empty the server, and wait until a save that a case has begun is over."""
    with closing(Wire(server.endpoint)) as wire:
        wire.send_all(CLEAN)
        for command in CLEAN:
            assert wire.receive().type == "+", command
        wait_until(lambda: b"_in_progress:1" not in text_of(wire("INFO", "persistence")), 20)


def same_data(servers: Sequence[Server], within_s: float = SAME_WITHIN_S) -> None:
    """Wait until all servers have the same data and functions: the last ones may still be on their way."""
    seen: list[Any] = []

    def agree() -> bool:
        seen[:] = [data_of(server) for server in servers]
        return all(each == seen[0] for each in seen)

    try:
        wait_until(agree, within_s)
    except WaitTimeout:
        lines = [f"{server}: {data}" for server, data in zip(servers, seen, strict=True)]
        raise AssertionError("\n".join(["the data differ", *lines])) from None


def data_of(server: Server) -> tuple[bytes, bytes]:
    """A digest of all keys in all databases, and the functions."""
    with closing(Wire(server.endpoint)) as wire:
        return text_of(wire("DEBUG", "DIGEST")), text_of(wire("FUNCTION", "DUMP"))


def text_of(reply: Any) -> bytes:
    text = reply.value if isinstance(reply, Typed) else reply
    assert isinstance(text, bytes)
    return text
