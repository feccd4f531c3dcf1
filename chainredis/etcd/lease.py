"""A lease in etcd, and until when it certainly stands, by our own clock."""

from collections.abc import Callable

from chainredis.etcd.client import Connection

# etcd's shortest. A shorter one is granted as this.
LEAST_TTL_S = 2


class Lease:
    """Granted when first renewed. Not thread-safe, but for `until`.

    until: reckoned from before the request was sent, so etcd's own reckoning ends later. drift: how much quicker etcd's
    clock may run, as a fraction.
    """

    def __init__(self, connection: Connection, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock
        self.number = 0  # 0: there is none
        self.until = 0.0

    def renew(self, ttl_s: int, drift: float) -> bool:
        """False: it had run out. The next call gets a new one. Raises StoreError; then it stands until `until`."""
        sent = self._clock()
        if self.number:
            ttl_s = self._connection.keep_alive(self.number)
        else:
            self.number, ttl_s = self._connection.grant(max(ttl_s, LEAST_TTL_S))
        if ttl_s <= 0:
            self.give_up()
            return False
        self.until = sent + ttl_s / (1 + drift)
        return True

    def give_up(self) -> None:
        self.number, self.until = 0, 0.0
