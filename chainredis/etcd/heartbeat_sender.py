# SPDX-License-Identifier: Apache-2.0
"""A member's heartbeat: a key in etcd that lasts only as long as the member's event loop turns.

The key's lease is renewed only if the event loop has turned since the last renewal. So the key lasts for the timeout
from the last turn that was passed on, even if this thread lives longer than the loop. After a pause that is shorter
than the timeout (a fork, a script) the lease is renewed at once.
"""

import logging
import threading
from collections.abc import Callable

from chainredis.coordinator.complaints import Complaint
from chainredis.coordinator.leadership import boot_seconds
from chainredis.etcd.advertise import AdvertisedAddress
from chainredis.etcd.client import Access, Connection
from chainredis.etcd.leader import leader_in
from chainredis.etcd.lease import Lease
from chainredis.etcd.url import Keys, parse_url
from chainredis.protocol.errors import LeaseLost, StoreError

log = logging.getLogger(__name__)

# How often the event loop's pulse is read.
LOOK_S = 0.05
# The pause between attempts to reach an etcd that does not answer.
RETRY_S = 0.25
CLOCK_DRIFT = 0.01


class HeartbeatSender(threading.Thread):
    """Sends the heartbeat, on a thread of its own.

    address: gives `host:port` of this server. interval_s, timeout_s: between two renewals, and of the lease. pulse:
    gives another number whenever the event loop has turned. show: is told the state of the heartbeat, for people, and
    the address of the master that leads.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        run_id: str,
        *,
        address: Callable[[], str],
        interval_s: float,
        timeout_s: int,
        pulse: Callable[[], int],
        show: Callable[[str, str], None],
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        super().__init__(name="etcd-heartbeat", daemon=True)
        self._connection = connection
        self._keys = keys
        self._key = keys.heartbeat(run_id)
        self._address = address
        self._interval_s = min(interval_s, timeout_s / 2)  # the lease must not end between two renewals
        self._timeout_s = timeout_s
        self._pulse = pulse
        self._show = show
        self._clock = clock
        self._lease = Lease(connection, clock)
        self._seen: int | None = None  # the last pulse that was passed on
        self._due = 0.0
        self._trouble: str | None = None
        self._complaint = Complaint()
        self._over = threading.Event()

    def close(self) -> None:
        """Send no more heartbeats. The key stays until its lease ends."""
        self._over.set()

    def run(self) -> None:
        self._show("connecting", "")
        while not self._over.wait(LOOK_S):
            self.look()
        self._connection.close()

    def look(self) -> None:
        """Renew the lease, if the loop has turned and a renewal is due."""
        pulse = self._pulse()
        if pulse == self._seen or self._clock() < self._due:
            return
        try:
            self._pass_on()
        except StoreError as error:
            self._tell(str(error))
            self._due = self._clock() + RETRY_S
        except Exception:
            log.exception("the heartbeat failed in a way that nobody has thought of")
            self._due = self._clock() + self._interval_s
        else:
            self._seen = pulse

    def _pass_on(self) -> None:
        sent = self._clock()
        if not self._lease.renew(self._timeout_s, CLOCK_DRIFT):
            raise LeaseLost("the heartbeat's lease in etcd had run out: getting a new one")
        found = self._connection.read(self._keys.prefix).entries
        mine, leader = found.get(self._key), found.get(self._keys.leader)
        if mine is None or mine.lease != self._lease.number:
            try:
                self._connection.put(self._key, self._address(), self._lease.number)
            except LeaseLost:
                self._lease.give_up()
                raise
        self._due = sent + self._interval_s
        self._tell("", leader_in(leader).address if leader else "")

    def _tell(self, trouble: str, leader: str = "") -> None:
        if trouble and (line := self._complaint.line(trouble)):
            log.warning("%s: the heartbeat goes on trying", line)
        if not trouble and trouble != self._trouble:
            log.info("the heartbeat is sent to etcd, as %s", self._key)
            self._complaint.over()
        self._trouble = trouble
        self._show(trouble or "beating", leader)


def begin(
    *,
    url: str,
    run_id: str,
    port: int,
    announce_host: str,
    interval_s: int,
    timeout_s: int,
    pulse: Callable[[], int],
    show: Callable[[str, str], None],
    **credentials: str,
) -> HeartbeatSender:
    """Send heartbeats to the etcd at `url` from now on. ValueError if it is no URL. credentials: fields of Access."""
    where = parse_url(url)
    access = Access(where.endpoints, **credentials)
    beat = HeartbeatSender(
        Connection(access, timeout_s),
        where.keys,
        run_id,
        address=AdvertisedAddress(access.endpoints, announce_host, port),
        interval_s=interval_s,
        timeout_s=timeout_s,
        pulse=pulse,
        show=show,
    )
    beat.start()
    return beat
