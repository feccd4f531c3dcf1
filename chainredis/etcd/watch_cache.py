# SPDX-License-Identifier: Apache-2.0
"""A cache of all keys with a prefix in etcd: read at a revision, then watched from the next revision on.

When the watch ends, for whatever reason, all keys are read anew. So a deletion is noticed even if etcd was away, or has
compacted its history.
"""

import logging
import threading
from collections.abc import Callable

from chainredis.coordinator.complaints import Complaint
from chainredis.etcd.client import Connection, Picture, Update
from chainredis.protocol.errors import StoreError

log = logging.getLogger(__name__)

# A watch may become silent without an error. So each ends after this time, and all keys are read anew.
WATCH_LIFE_S = 5.0
RETRY_S = 0.25


class WatchCache(threading.Thread):
    """observer: is called with each new picture, on this thread.

    picture: None before etcd has answered. trouble: why etcd cannot be reached, for people; empty while the picture is
    up to date, and before the first attempt.
    """

    def __init__(self, connection: Connection, prefix: str, observer: Callable[[Picture], None]) -> None:
        super().__init__(name="etcd-watch-cache", daemon=True)
        self._connection = connection
        self._prefix = prefix
        self._observer = observer
        self._over = threading.Event()
        self._has_answered = False
        self._complaint = Complaint()
        self.picture: Picture | None = None
        self.trouble = ""

    def close(self) -> None:
        self._over.set()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self.follow()
            except StoreError as error:
                self._tell_trouble(str(error))
                self._over.wait(RETRY_S)
            except Exception:
                log.exception("following etcd failed in a way that nobody has thought of")
                self._over.wait(RETRY_S)

    def follow(self) -> None:
        """Read all keys, and follow them for the life of one watch. Raises StoreError."""
        self._show(self._connection.read(self._prefix))
        self._tell_trouble("")
        assert self.picture is not None
        for update in self._connection.watch(self._prefix, self.picture.revision + 1, WATCH_LIFE_S):
            if self._over.is_set():
                return
            self._show(_applied(self.picture, update))

    def _show(self, picture: Picture) -> None:
        is_news = self.picture is None or picture.entries != self.picture.entries
        self.picture = picture
        if is_news:
            self._observer(picture)

    def _tell_trouble(self, trouble: str) -> None:
        if trouble and (line := self._complaint.line(trouble)):
            log.warning("%s: going on trying", line)
        if not trouble:
            self._complaint.over()
        if not trouble and (self.trouble or not self._has_answered):
            self._has_answered = True
            log.info("etcd answers: what it has under %s is known", self._prefix)
        self.trouble = trouble


def _applied(picture: Picture, update: Update) -> Picture:
    entries = dict(picture.entries)
    for key, entry in update.entries.items():
        if entry is None:
            entries.pop(key, None)
        else:
            entries[key] = entry
    return Picture(update.revision, entries)
