"""Where hosts are now: their names are looked up again at each attempt, by threads that nobody has to wait for.

A resolver may take seconds, or hang: what depends on an answer in time goes on with the address that it knows.
"""

import logging
import threading
from collections.abc import Callable

from chainredis.protocol.view import Member

log = logging.getLogger(__name__)

Resolve = Callable[[str], str]


class Addresses:
    """resolve: turns a host into a number; OSError or ValueError when it cannot."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._found: dict[str, str] = {}
        self._changed = threading.Condition()
        self._under_way: set[str] = set()

    def of(self, member: Member, patience_s: float = 0) -> str:
        """What its host's name led to when last looked up, else the view's. Looks it up again, and waits so long."""
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
