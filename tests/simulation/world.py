# SPDX-License-Identifier: Apache-2.0
"""The parts that a simulation shares: time, the network, the machines, and the model that judges them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core_extension.core import Limits

from .clocks import Clock, Time
from .disk import Disk
from .model import Model
from .names import run_id_of
from .network import Network

if TYPE_CHECKING:
    from .node import Node

LIMITS = Limits(log_bytes=1500, backlog_bytes=700, join_bytes=6000)


@dataclass(eq=False)
class Place:
    """A machine. One process after the other serves at its port, from the same disk. used: clients know of it."""

    number: int
    clock: Clock
    disk: Disk
    lives: int = 0
    process: Node | None = None
    used: bool = False

    def next_run_id(self) -> str:
        self.lives += 1
        return run_id_of(self.number, self.lives)


@dataclass(eq=False)
class World:
    """touched: the processes that something has happened to since they were last checked."""

    time: Time = field(default_factory=Time)
    network: Network = field(default_factory=Network)
    model: Model = field(default_factory=Model)
    limits: Limits = LIMITS
    subscribed: bool = True
    all_commands: bool = False
    places: list[Place] = field(default_factory=list)
    touched: set[Node] = field(default_factory=set)
    nodes: dict[str, Node] = field(default_factory=dict)  # those alive

    def process(self, run_id: str) -> Node | None:
        return self.nodes.get(run_id)
