# SPDX-License-Identifier: Apache-2.0
"""What happens at members of a chain of all commands: clients' commands, own servers, taps and gates, as steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from core_extension.core import Update

from .clients import Read, Write

if TYPE_CHECKING:
    from .node import Node
    from .simulation import Simulation

ALL_OF_IT = 1 << 20


class NativeCommands:
    """These steps change nothing where the chain is of another kind."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._world = simulation.world
        self._model = simulation.model

    def handlers(self) -> dict[str, Callable[[int, int], None]]:
        return {
            "serve": self._serve, "tap": self._tap, "work": self._work, "reach": self._reach,
            "lose_tap": self._lose_tap, "lose_server": self._lose_server,
            "pause": self._pause, "unpause": self._unpause, "timer": self._timer,
        }  # fmt: skip

    # ---- clients

    def write(self, node: Node, update: Update) -> Write:
        write = Write(update, True, self._model.moment())
        self._model.writes.append(write)
        node.gate.ask(write)
        return write

    def read(self, node: Node, key: bytes) -> Read:
        read = Read(key, len(self._model.committed), self._model.moment())
        node.gate.ask(read)
        return read

    # ---- servers and gates

    def _node(self, a: int) -> Node | None:
        nodes = [node for node in self._world.nodes.values() if node.running]
        return nodes[a % len(nodes)] if nodes else None

    def _leader(self, a: int) -> Node | None:
        leaders = [node for node in self._world.nodes.values() if node.running and node.server.leads]
        return leaders[a % len(leaders)] if leaders else None

    def _serve(self, a: int, b: int) -> None:
        """Some of the steps of a gate's thread, in any order."""
        if node := self._node(a):
            steps = [node.gate.give, node.gate.read, node.gate.release]
            for i in range(1 + b % 3):
                steps[(b // 3 + i) % 3]()

    def _tap(self, a: int, b: int) -> None:
        if node := self._leader(a):
            node.touch()
            node.server.read_tap(1 + b % 150 if b % 4 else ALL_OF_IT)

    def _work(self, a: int, b: int) -> None:
        if node := self._node(a):
            node.touch()
            node.server.work(1 + b % 4)

    def _reach(self, a: int, b: int) -> None:
        if (node := self._node(a)) and node.server.wants_connection:
            node.touch()
            node.server.is_cut = False
            node.server.connect()

    def do_all(self, node: Node) -> None:
        """Everything that this member's server and gate can do at this moment."""
        node.touch()
        node.server.unpause()
        if not node.server.is_cut:
            node.server.connect()
        node.server.work(ALL_OF_IT)
        node.gate.give()
        node.server.read_tap(ALL_OF_IT)
        node.before_sleep()
        node.gate.read()
        node.gate.release()

    # ---- trouble

    def _lose_tap(self, a: int, b: int) -> None:
        if node := self._leader(a):
            node.touch()
            node.server.close_tap()

    def _lose_server(self, a: int, b: int) -> None:
        if node := self._node(a):
            node.touch()
            node.server.drop()

    def _pause(self, a: int, b: int) -> None:
        if node := self._leader(a):
            node.touch()
            node.server.pause()

    def _unpause(self, a: int, b: int) -> None:
        for node in self._world.nodes.values():
            if node.running and node.server.is_paused:
                node.touch()
                node.server.unpause()

    def _timer(self, a: int, b: int) -> None:
        """A key of the head's server expires. For the checker somebody deletes it, and hears nothing of it."""
        node = self._leader(a)
        keys = sorted(node.server.keys) if node else []
        if node and keys:
            update = Update(keys[b % len(keys)])
            write = Write(update, True, self._model.moment(), kind="unknown")
            self._model.writes.append(write)
            node.touch()
            node.server.act(update)
