# SPDX-License-Identifier: Apache-2.0
"""Links to the members that a master makes while another one leads. Its own term then begins with a question to each
member, and not with connections.

Nothing is said on them but the question for the state, which anybody may ask: that tells a member nothing, proves
nothing, and grants nothing. A link that has ended meanwhile is found so when it is used, and made anew then.
"""

import logging
import threading
from collections.abc import Callable

from chainredis.coordinator.probe import reach, state_of
from chainredis.protocol.errors import MemberError
from chainredis.protocol.view import Member
from chainredis.transport.member_client import Dial, MemberLink

log = logging.getLogger(__name__)


class StandingLinks(threading.Thread):
    """A link to each of `wanted`, until they are taken. Links that ended are made anew every `pause_s` seconds."""

    def __init__(self, wanted: Callable[[], tuple[Member, ...]], dial: Dial, pause_s: Callable[[], float]) -> None:
        super().__init__(name="etcd-standing-links", daemon=True)
        self._wanted = wanted
        self._dial = dial
        self._pause_s = pause_s
        self._lock = threading.Lock()  # guards `_links`; is never held while a member is waited for
        self._links: dict[Member, MemberLink] = {}
        self._is_taken = False
        self._seen: tuple[Member, ...] = ()  # who was wanted when the links were looked at last
        self._moved = threading.Event()
        self._is_over = False

    def close(self) -> None:
        self._is_over = True
        self._moved.set()
        for link in self.take().values():
            link.close()

    def look(self) -> None:
        """Others may be wanted now. If nobody else is, the links are left alone: they may be needed in a moment."""
        if not self._is_taken and self._wanted() != self._seen:
            self._moved.set()

    def take(self) -> dict[str, MemberLink]:
        """The links by run_id, which the caller uses or closes. One that is just being looked at is not among them.
        There are no more before `resume`.
        """
        with self._lock:
            taken, self._links = self._links, {}
            self._is_taken = True
        return {member.run_id: link for member, link in taken.items()}

    def resume(self) -> None:
        """Make links again."""
        with self._lock:
            self._is_taken = False
        self._moved.set()

    # -------------------------------------------------------------------------------------------- the thread

    def run(self) -> None:
        while not self._is_over:
            try:
                self.step()
            except Exception:
                log.exception("making links to the members failed in a way that nobody has thought of")
            self._moved.wait(self._pause_s())
            self._moved.clear()

    def step(self) -> None:
        """Have a link that answers to each of those that are wanted, and to nobody else."""
        wanted = self._seen = () if self._is_taken else self._wanted()
        with self._lock:
            unwanted = [self._links.pop(member) for member in self._links.keys() - set(wanted)]
        for link in unwanted:
            link.close()
        for member in wanted:
            self._refresh(member)

    def _refresh(self, member: Member) -> None:
        with self._lock:
            link = self._links.pop(member, None)
        try:
            if link:
                state_of(link, member)
            else:
                link, _ = reach(self._dial, member)
        except MemberError as error:
            log.debug("%s", error)
            if link:
                link.close()
        else:
            self._keep(member, link)

    def _keep(self, member: Member, link: MemberLink) -> None:
        """The others may have been taken meanwhile: then nobody comes for this one."""
        with self._lock:
            is_kept = not self._is_over and not self._is_taken
            if is_kept:
                self._links[member] = link
        if not is_kept:
            link.close()
