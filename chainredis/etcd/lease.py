# SPDX-License-Identifier: Apache-2.0
"""A lease in etcd, and until when it certainly lasts, by this server's clock."""

from collections.abc import Callable

from chainredis.etcd.client import Connection

# The shortest lease that etcd grants.
LEAST_TTL_S = 2


class Lease:
    """A lease that is granted by its first renewal. Not thread-safe, except for `until`.

    number: etcd's, 0 for none. until: counted from before the request was sent, so the lease lasts longer in etcd.
    """

    def __init__(self, connection: Connection, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock
        self.number = 0  # 0: there is none
        self.until = 0.0

    def renew(self, ttl_s: int, drift: float, confirm: Callable[[], None] = lambda: None) -> bool:
        """Returns False if the lease had ended: then the next call gets a new one.

        ttl_s: the length of a new lease, in seconds. drift: by how much etcd's clock may run faster, as a fraction.
        confirm: is called before the lease counts as renewed. After a StoreError the lease lasts until `until`.
        """
        sent = self._clock()
        if self.number:
            ttl_s = self._connection.keep_alive(self.number)
        else:
            self.number, ttl_s = self._connection.grant(max(ttl_s, LEAST_TTL_S))
        if ttl_s <= 0:
            self.give_up()
            return False
        confirm()
        self.until = sent + ttl_s / (1 + drift)
        return True

    def give_up(self) -> None:
        self.number, self.until = 0, 0.0
