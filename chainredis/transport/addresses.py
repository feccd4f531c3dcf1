# SPDX-License-Identifier: Apache-2.0
"""The addresses of hosts: names are looked up again at each attempt, on threads that nobody has to wait for.

A resolver may take seconds, or hang. Meanwhile the known address is used.
"""

import logging
import threading
from collections.abc import Callable

from chainredis.protocol.view import Member

log = logging.getLogger(__name__)

Resolve = Callable[[str], str]


class Addresses:
    """resolve: gives the numeric address of a host; OSError or ValueError if it has none."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._found: dict[str, str] = {}
        self._changed = threading.Condition()
        self._under_way: set[str] = set()

    def of(self, member: Member, patience_s: float = 0) -> str:
        """The address that the member's host had when it was last looked up; before that, the view's.

        Looks the host up again, and waits up to `patience_s` seconds for that.
        """
        if member.host == member.address:
            return member.address
        with self._changed:
            if member.host not in self._under_way:
                self._under_way.add(member.host)
                threading.Thread(target=self._look_up, args=(member.host,), name="chain-resolver", daemon=True).start()
            self._changed.wait_for(lambda: member.host not in self._under_way, patience_s)
            return self._found.get(member.host, member.address)

    def _look_up(self, host: str) -> None:
        try:
            address = self._resolve(host)
        except (OSError, ValueError) as error:
            log.debug("cannot resolve the host %r: %s", host, error)
            address = ""
        with self._changed:
            if address:
                self._found[host] = address
            self._under_way.discard(host)
            self._changed.notify_all()
