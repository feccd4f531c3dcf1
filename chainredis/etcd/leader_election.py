# SPDX-License-Identifier: Apache-2.0
"""Leader election among several masters: the one that has put the leader's key leads, as long as its lease lasts."""

import logging
import math
import threading
from collections.abc import Callable
from contextlib import suppress

from chainredis.etcd.client import Connection, Entry, is_modified_at
from chainredis.etcd.leader import Leader
from chainredis.etcd.lease import LEAST_TTL_S, Lease
from chainredis.etcd.url import Keys
from chainredis.protocol.errors import LeaseLost, StoreError
from chainredis.transport.settings import PollSettings

log = logging.getLogger(__name__)

# A lease is renewed so many times while it lasts.
RENEWALS = 5
# A lease has whole seconds, and at least etcd's shortest length: it may outlast the timeout by so much.
SLACK_MS = LEAST_TTL_S * 1000
RETRY_S = 0.25
# The pause after a term that this master could not begin: other masters come first.
RESIGNED_S = 2.0


class LeaderElection(threading.Thread):
    """A candidate whenever nobody leads; then it keeps its leadership as long as it can.

    who: this master as it advertises itself. changed: is called when `term` has another value. term: the revision in
    which this master has put the leader's key; 0 if it does not lead. said: the value of that key. view: what the
    view's key had in that revision. trouble: why etcd cannot be reached, for people.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        *,
        who: Callable[[], Leader],
        polling: Callable[[], PollSettings],
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        super().__init__(name="etcd-election", daemon=True)
        self._connection = connection
        self._keys = keys
        self._who = who
        self._polling = polling
        self._clock = clock
        self._changed = changed
        self._lease = Lease(connection, clock)
        self._renew_at = 0.0
        self._announced: tuple[int, str] | None = None  # the lease and the value of this master's own key
        self._leader: Leader | None = None
        self._revision = 0  # of etcd, of which the leader is known; 0: nothing is known
        self._moved = threading.Event()
        self._is_over = False
        self._ended: Leader | None = None  # a leader whose place is free, though its lease lasts
        self._resigned = (0, "")  # from which term, and why
        self._stand_at = 0.0
        self.term = 0
        self.said = ""
        self.view: Entry | None = None
        self.trouble = ""

    def close(self) -> None:
        self._is_over = True
        self._moved.set()

    def saw(self, leader: Leader | None, revision: int) -> None:
        """The leader as of a revision of etcd, None for nobody. The thread has nothing to do when that is no news."""
        is_news = leader != self._leader or not self._revision
        self._leader, self._revision = leader, revision
        if is_news:
            self._moved.set()

    def leads_until(self, term: int) -> float:
        """No other master can lead before, by this master's clock. 0 if that term is over."""
        return self._lease.until if self.term == term else 0.0

    def succeed(self, leader: Leader) -> None:
        """Stand for the place of this leader now: it has ended. Of several masters that do, one gets it."""
        self._ended = leader
        self._moved.set()

    def resign(self, term: int, why: str) -> None:
        """End this term: it is another master's turn, or this one's again after a while."""
        self._resigned = (term, why)
        self._moved.set()

    # -------------------------------------------------------------------------------------------- the thread

    def run(self) -> None:
        while not self._is_over:
            self._moved.wait(self.step())
            self._moved.clear()

    def step(self) -> float:
        """Returns for how many seconds to wait before the next step, if nothing happens."""
        pause_s = RETRY_S
        if self.term and self._clock() >= self._lease.until:
            self._step_down("its lease in etcd was not renewed in time")
        try:
            self._make_way()
            pause_s = self._take_part()
            self.trouble = ""
        except StoreError as error:
            self.trouble = str(error)
        except Exception:
            log.exception("the election failed in a way that nobody has thought of")
        if self.term and self._clock() >= self._lease.until:
            self._step_down("its lease in etcd could not be renewed in time")
        return pause_s

    def _make_way(self) -> None:
        """Revoke the lease, and so the leader's key: the next leader need not wait."""
        term, why = self._resigned
        if not term or term != self.term:
            return
        number = self._lease.number
        self._stand_at = self._clock() + RESIGNED_S
        self._lease.give_up()
        self._renew_at = 0.0
        self._step_down(why)
        self._connection.revoke(number)

    def _take_part(self) -> float:
        if self._clock() >= self._renew_at and not self._renew():
            self._step_down("its lease in etcd had run out")
            return 0.0
        self._announce()
        if self.term:
            self._check()
        elif self._is_vacant():
            self._stand()
        return max(0.0, min(self._renew_at, self._stand_at or self._renew_at) - self._clock())

    def _renew(self) -> bool:
        polling = self._polling()
        ttl_s = math.ceil(polling.timeout_ms / 1000)
        if not self._lease.renew(ttl_s, polling.protocol.drift, self._look_again):
            return False
        self._renew_at = self._clock() + max(ttl_s, LEAST_TTL_S) / RENEWALS
        return True

    def _look_again(self) -> None:
        """Step down if another master has taken this one's place, or etcd has been put back to a time before this term:
        its revisions may be smaller for long. A leadership gets no longer before that is known.
        """
        if self.term:
            found = self._connection.read(self._keys.leader).entries.get(self._keys.leader)
            if found is None or (found.modified, found.value) != (self.term, self.said.encode()):
                self._step_down("the leader's key in etcd is not the one that this master has put")

    def _announce(self) -> None:
        """Put this master's own key, by which other masters, and clients through them, know of it."""
        who = self._who()
        announced = (self._lease.number, who.to_text())
        if announced != self._announced:
            with suppress(StoreError):  # the next step tries again: to lead does not depend on it
                self._connection.put(self._keys.masters + who.run_id, announced[1], announced[0])
                self._announced = announced

    def _is_vacant(self) -> bool:
        """Returns True if there is no leader; or one without a lease, which no master has put there; or one that has
        ended; or this master.

        This master may be the leader without knowing it, if an answer of etcd was lost.
        """
        if self._clock() < self._stand_at:
            return False
        self._stand_at = 0.0
        leader, own = self._leader, self._lease.number
        return self._revision > 0 and (leader is None or leader.lease in (0, own) or leader == self._ended)

    def _check(self) -> None:
        """Step down if somebody has deleted the key, or put another value there."""
        if self._revision >= self.term and (self._leader is None or self._leader.term != self.term):
            self._step_down("the leader's key in etcd is another's, or was deleted")

    def _stand(self) -> None:
        """Put the leader's key, which begins a new term: others may have led since an older one. The answer brings the
        view, which is what a leader needs to know next.
        """
        leader, said = self._leader, self._who().to_text()
        conditions = [is_modified_at(self._keys.leader, leader.term if leader else 0)]
        try:
            begun = self._connection.put_and_read(
                conditions, self._keys.leader, said, self._lease.number, self._keys.view
            )
        except LeaseLost:
            self._lease.give_up()
            self._renew_at = 0.0
        else:
            if begun:  # else another master was faster
                self._step_up(*begun, said)

    def _step_up(self, term: int, view: Entry | None, said: str) -> None:
        self.term, self.view, self.said = term, view, said
        log.warning("this master leads, in the term that began with revision %d", term)
        self._changed()

    def _step_down(self, why: str) -> None:
        if self.term:
            log.warning("this master leads no longer: %s", why)
            self.term = 0
            self._changed()
