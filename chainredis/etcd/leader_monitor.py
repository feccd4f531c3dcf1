# SPDX-License-Identifier: Apache-2.0
"""Watches the master that leads, so that the others need not wait for its lease to end when it dies.

The leader has ended if its side has closed a connection and nobody listens there any more, or if another process
answers there. No safety depends on this. A leader whose place was taken can store nothing. It learns of that before it
reckons with more time than it had, grants nothing beyond that time, and the next leader waits for that.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from chainredis.etcd.advertise import is_local
from chainredis.etcd.leader import Leader
from chainredis.protocol.errors import Closed, MemberError, Refused, StoreError
from chainredis.protocol.view import Endpoint, parse_endpoint

log = logging.getLogger(__name__)

RETRY_S = 0.25
# A process that is just ending mostly closes its port before its connections, so the first attempt follows at once.
# If the process still accepts a connection, each further attempt follows after this.
ENDING_RETRY_S = 0.001


class Line(Protocol):
    """A connection to a server, such as a RedisLink."""

    def run_id(self) -> str: ...
    def await_end(self) -> None: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...


class LeaderMonitor(threading.Thread):
    """own: gives this master, which is not watched. trusts_refused: may a refused connection prove an end? on_end: is
    called with a leader that has ended.
    """

    def __init__(
        self,
        own: Callable[[], Leader],
        dial: Callable[[Endpoint], Line],
        *,
        trusts_refused: Callable[[], bool],
        on_end: Callable[[Leader], None],
    ) -> None:
        super().__init__(name="etcd-leader-monitor", daemon=True)
        self._own = own
        self._dial = dial
        self._trusts_refused = trusts_refused
        self._on_end = on_end
        self._leader: Leader | None = None
        self._link: Line | None = None
        self._closed = ""  # run_id of a process that has closed a connection
        self._moved = threading.Event()
        self._is_over = False

    def close(self) -> None:
        self._is_over = True
        self.saw(None)

    def saw(self, leader: Leader | None) -> None:
        """The leader now, None for nobody."""
        if leader == self._leader:
            return
        self._leader = leader
        if link := self._link:
            link.interrupt()
        self._moved.set()

    def run(self) -> None:
        while not self._is_over:
            leader = self._leader
            pause_s: float | None = None
            try:
                if leader and self._can_watch(leader):
                    pause_s = self._watch(leader)
            except Exception:
                log.exception("looking after the leader failed in a way that nobody has thought of")
                pause_s = RETRY_S
            self._moved.wait(pause_s)
            self._moved.clear()

    def _can_watch(self, leader: Leader) -> bool:
        """Returns False for this master, and for an address that leads to another machine's own network."""
        own = self._own()
        if not leader.run_id or leader.run_id == own.run_id:
            return False
        if leader.machine != own.machine and is_local(leader.address.rpartition(":")[0].strip("[]")):
            log.warning(
                "the master that leads announces itself as %s, which leads nobody from another machine to it: "
                "set master.announce-host there", leader.address,
            )  # fmt: skip
            return False
        return True

    def _watch(self, leader: Leader) -> float:
        """Until something happens. Returns for how many seconds to wait before the next attempt."""
        try:
            self._conclude(leader, has_ended=self._has_ended(leader))
        except Closed:
            is_first = self._closed != leader.run_id
            self._closed = leader.run_id
            return 0 if is_first else ENDING_RETRY_S
        except (MemberError, StoreError, ValueError) as error:
            log.debug("%s", error)
        return RETRY_S

    def _has_ended(self, leader: Leader) -> bool:
        """Waits until the connection to the leader ends. Returns True if the leader has ended."""
        host, _, port = leader.address.rpartition(":")
        try:
            link = self._link = self._dial(parse_endpoint(host.strip("[]").encode(), port.encode()))
        except Refused:
            return self._closed == leader.run_id
        try:
            found = link.run_id()
            if found == leader.run_id and self._leader == leader:
                link.await_end()
            return found not in ("", leader.run_id)
        finally:
            self._link = None
            link.close()

    def _conclude(self, leader: Leader, *, has_ended: bool) -> None:
        if has_ended and self._trusts_refused() and self._leader == leader:
            self._on_end(leader)
            log.warning("the master that led, %s, has ended: its place is free", leader.address)
