# SPDX-License-Identifier: Apache-2.0
"""Names become numbers once, at the master."""

import socket
from typing import Any

import pytest

from chainredis.coordinator.probe import resolve


def test_numbers_stay() -> None:
    assert resolve("127.0.0.1") == "127.0.0.1"
    assert resolve("::1") == "::1"


def test_ipv4_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert resolve("both.example") == "10.0.0.1"


def test_no_such_name() -> None:
    with pytest.raises(OSError, match=r"."):
        resolve("no.such.name.invalid")
    with pytest.raises(ValueError, match=r"."):
        resolve("a" * 64 + ".example")
