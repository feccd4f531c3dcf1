# SPDX-License-Identifier: Apache-2.0
"""Payloads that the core holds for a simulated member."""

from __future__ import annotations

from .clients import Write


class Handles:
    """Small integers in the place of a server's retained strings: each goes in once and comes out once."""

    def __init__(self) -> None:
        self._held: dict[int, object] = {}
        self._next = 1

    def new(self, payload: object) -> int:
        if payload is None:
            return 0
        self._next += 1
        self._held[self._next] = payload
        return self._next

    def at(self, handle: int) -> object:
        return self._held[handle] if handle else None

    def take(self, handle: int) -> object:
        return self._held.pop(handle) if handle else None

    def live(self) -> set[int]:
        return set(self._held)

    @property
    def has_waiters(self) -> bool:
        return any(isinstance(payload, Write) for payload in self._held.values())
