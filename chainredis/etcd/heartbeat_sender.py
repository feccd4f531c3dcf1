"""A member's heartbeat: a key in etcd that lasts only as long as the member's event loop turns.

The lease is renewed only when the loop has turned since it was renewed before, so the key lasts for the timeout from
the last sign of the loop's life that was passed on, however lively the thread that passes it on. A pause that is
shorter than the timeout, for a fork or a script, is made good as soon as it is over.
"""

import logging
import threading
from collections.abc import Callable

from chainredis.coordinator.complaints import Complaint
from chainredis.coordinator.runtime import boot_seconds
from chainredis.etcd.advertise import AdvertisedAddress
from chainredis.etcd.client import Access, Connection
from chainredis.etcd.leader import leader_in
from chainredis.etcd.lease import Lease
from chainredis.etcd.url import Keys, parse_url
from chainredis.protocol.errors import LeaseLost, StoreError

log = logging.getLogger(__name__)

# How often the event loop is looked at.
LOOK_S = 0.05
# Between attempts to reach an etcd that does not answer.
RETRY_S = 0.25
CLOCK_DRIFT = 0.01


class HeartbeatSender(threading.Thread):
    """pulse: gives a number that is another one whenever the event loop has turned. show: is told, for people, how the
    heartbeat is, and who leads.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        run_id: str,
        *,
        announce: Callable[[], str],
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
        self._announce = announce
        self._interval_s = min(interval_s, timeout_s / 2)  # a lease must not run out between two
        self._timeout_s = timeout_s
        self._pulse = pulse
        self._show = show
        self._clock = clock
        self._lease = Lease(connection, clock)
        self._seen: int | None = None  # the pulse that was passed on last
        self._due = 0.0
        self._trouble: str | None = None
        self._complaint = Complaint()
        self._over = threading.Event()

    def close(self) -> None:
        """The key, if nobody puts it anew, lasts as long as it lasts."""
        self._over.set()

    def run(self) -> None:
        self._show("connecting", "")
        while not self._over.wait(LOOK_S):
            self.look()
        self._connection.close()

    def look(self) -> None:
        """Has the loop turned, and is that to be passed on?"""
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
                self._connection.put(self._key, self._announce(), self._lease.number)
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
    """Send heartbeats to the etcd at `url`, from now on. ValueError when it is none. credentials: fields of Access."""
    where = parse_url(url)
    access = Access(where.endpoints, **credentials)
    beat = HeartbeatSender(
        Connection(access, timeout_s),
        where.keys,
        run_id,
        announce=AdvertisedAddress(access.endpoints, announce_host, port),
        interval_s=interval_s,
        timeout_s=timeout_s,
        pulse=pulse,
        show=show,
    )
    beat.start()
    return beat
