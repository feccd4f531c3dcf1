# SPDX-License-Identifier: Apache-2.0
"""A member of the version before updates ran ahead of the disks: it takes all that it gets for saved."""

from __future__ import annotations

from core_extension.core import Batch, Core, Greeting, Verdict

from .node import Node


class EarlierCore(Core):
    """It forwards what its own disk has, and does not know that there is more."""

    def on_greet(self, greet: Greeting, sender: str, connection: int) -> tuple[Verdict, Greeting | None]:
        verdict, welcome = super().on_greet(greet, sender, connection)
        return verdict, welcome and welcome._replace(heeds_saved=False)

    def on_welcome(self, welcome: Greeting, sender: str) -> Verdict:
        return super().on_welcome(welcome._replace(heeds_saved=False), sender)

    def on_batch(self, batch: Batch, connection: int) -> tuple[Verdict, int]:
        return super().on_batch(batch._replace(saved=batch.upto), connection)

    def batch_applied(self, batch: Batch) -> None:
        super().batch_applied(batch._replace(saved=batch.upto))

    def has_uncommitted(self) -> bool:
        """All that it shows is on its own disk, too, when the answer leaves."""
        return False


class EarlierNode(Node):
    core_class = EarlierCore
