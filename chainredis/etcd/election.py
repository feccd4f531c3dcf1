"""Which of several masters leads: the one that has put the leader's key, for as long as its lease lasts."""

import logging
import math
import threading
from collections.abc import Callable

from chainredis.errors import LeaseLost, StoreError
from chainredis.etcd.connection import Connection, Picture, is_absent
from chainredis.etcd.lease import LEAST_TTL_S, Lease
from chainredis.etcd.url import Keys
from chainredis.settings import Heartbeat

log = logging.getLogger(__name__)

# Of the lease: how often it is renewed.
RENEWALS = 5
RETRY_S = 0.25


class Election(threading.Thread):
    """Stands for election, whenever nobody leads, and keeps what it has won.

    announce: `host:port`, where other servers reach this one. changed: told when `term` has another value. term: the
    revision in which this master has put the leader's key; 0: it does not lead.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        *,
        announce: Callable[[], str],
        heartbeat: Callable[[], Heartbeat],
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        super().__init__(name="etcd-election", daemon=True)
        self._connection = connection
        self._keys = keys
        self._announce = announce
        self._heartbeat = heartbeat
        self._clock = clock
        self._changed = changed
        self._lease = Lease(connection, clock)
        self._renew_at = 0.0
        self._picture: Picture | None = None
        self._moved = threading.Event()
        self._is_over = False
        self.term = 0
        self.trouble = ""

    def close(self) -> None:
        self._is_over = True
        self._moved.set()

    def saw(self, picture: Picture) -> None:
        """Of the chain's keys."""
        self._picture = picture
        self._moved.set()

    def leads_until(self, term: int) -> float:
        """By this master's clock: nobody else can lead before. 0: that term is over."""
        return self._lease.until if self.term == term else 0.0

    # -------------------------------------------------------------------------------------------- the thread

    def run(self) -> None:
        while not self._is_over:
            pause_s = RETRY_S
            try:
                pause_s = self._step()
                self._tell_trouble("")
            except StoreError as error:
                self._tell_trouble(str(error))
            except Exception:
                log.exception("the election failed in a way that nobody has thought of")
            if self.term and self._clock() >= self._lease.until:
                self._step_down("its lease in etcd could not be renewed in time")
            self._moved.wait(pause_s)
            self._moved.clear()

    def _step(self) -> float:
        """How long to wait until the next one, if nothing happens."""
        if self._clock() >= self._renew_at and not self._renew():
            self._step_down("its lease in etcd had run out")
            return 0.0
        if self.term:
            self._check()
        elif self._is_vacant():
            self._stand()
        return max(0.0, self._renew_at - self._clock())

    def _renew(self) -> bool:
        heartbeat = self._heartbeat()
        ttl_s = max(LEAST_TTL_S, math.ceil(heartbeat.timeout_ms / 1000))
        if not self._lease.renew(ttl_s, heartbeat.terms.drift):
            return False
        self._renew_at = self._clock() + ttl_s / RENEWALS
        return True

    def _leader(self) -> tuple[int, int]:
        """Term and lease of whoever leads; zeros when that is nobody."""
        entry = self._picture.entries.get(self._keys.leader) if self._picture else None
        return (entry.created, entry.lease) if entry else (0, 0)

    def _is_vacant(self) -> bool:
        return self._picture is not None and self._leader()[1] in (0, self._lease.number)

    def _check(self) -> None:
        """Somebody may have deleted the key."""
        if self._picture and self._picture.revision >= self.term and self._leader()[0] != self.term:
            self._step_down("the leader's key in etcd is another's, or was deleted")

    def _stand(self) -> None:
        term, lease = self._leader()
        if not lease:
            try:
                term = self._put()
            except LeaseLost:
                self._lease.give_up()
                self._renew_at = 0.0
        if term:
            self.term = term
            log.warning("this master leads, in the term that began with revision %d", term)
            self._changed()

    def _put(self) -> int:
        """0: somebody was quicker, perhaps this master itself, if an answer was lost: a picture tells."""
        return self._connection.put_if(
            [is_absent(self._keys.leader)], self._keys.leader, self._announce(), self._lease.number
        ) or 0

    def _step_down(self, why: str) -> None:
        if self.term:
            log.warning("this master leads no longer: %s", why)
            self.term = 0
            self._changed()

    def _tell_trouble(self, trouble: str) -> None:
        self.trouble = trouble
