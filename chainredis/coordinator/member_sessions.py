# SPDX-License-Identifier: Apache-2.0
"""What the runtime needs of the connections to the members."""

from collections.abc import Iterable
from typing import Protocol

from chainredis.protocol.view import Member, View


class MemberSessions(Protocol):
    """The connections to the members."""

    def follow(self, members: tuple[Member, ...]) -> None:
        """Talk with these members from now on, and nobody else. Called with the runtime's lock held."""

    def wake(self, run_ids: Iterable[str]) -> None:
        """Poll these members now, and tell them what they have to know."""

    def announce(self, view: View, run_ids: Iterable[str]) -> None:
        """Begin to tell these members the view, without waiting for anybody; `wake` must follow."""
