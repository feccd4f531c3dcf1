"""A master whose view is in etcd, one of several perhaps: it leads, and then it is a Coordinator; or it only tells.

A new Coordinator with every term: what one of an earlier term knew, or had granted, is nothing to go by.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from chainredis.coordinator import SHOW_EVERY_S, Coordinator, Reply, Status, names
from chainredis.errors import CommandError, Elsewhere, StoreError
from chainredis.etcd.announce import Announced
from chainredis.etcd.connection import Access, Connection, Picture
from chainredis.etcd.election import Election
from chainredis.etcd.mirror import Mirror
from chainredis.etcd.store import EtcdStore, change_in
from chainredis.etcd.url import EtcdUrl
from chainredis.keeper import boot_seconds
from chainredis.settings import Settings

log = logging.getLogger(__name__)


class EtcdMaster:
    """Carries out the MASTER commands, or says who does. Its methods may be called from any thread, and block.

    announce_host: where other servers reach this one; empty: the address from which it reaches etcd.
    """

    LANES = Coordinator.LANES

    def __init__(self, url: EtcdUrl, access: Access, settings: Settings, announce_host: str = "") -> None:
        self._keys = url.keys
        self._settings = settings
        self._connection = Connection(access)
        self._announced = Announced(access.endpoints, announce_host, settings.own_port)
        self._election = Election(
            self._connection,
            url.keys,
            announce=self._announced,
            heartbeat=settings.heartbeat,
            clock=boot_seconds,
            changed=self._elected,
        )
        self._mirror = Mirror(self._connection, url.keys.prefix, self._saw)
        self._changing = threading.Lock()
        self._telling = threading.Lock()
        self._term = 0
        self._coordinator: Coordinator | None = None
        self._is_closed = threading.Event()
        self._observer: Callable[[Status], None] = lambda _: None
        log.info("looking for the chain %s in etcd", url)
        self._mirror.start()
        self._election.start()
        threading.Thread(target=self._show, name="etcd-status", daemon=True).start()

    def close(self) -> None:
        self._is_closed.set()
        self._election.close()
        self._mirror.close()
        if self._coordinator:
            self._coordinator.close()
        self._connection.close()

    # -------------------------------------------------------------------------------------------- commands

    def execute(self, name: str, arguments: Sequence[bytes]) -> Reply:
        """As Coordinator's. Elsewhere, when another master leads."""
        if leading := self._leading():
            return leading.execute(name, arguments)
        if name == "MASTER.GET_CHAIN":
            return self._known_chain()
        raise self._not_here()

    def _leading(self) -> Coordinator | None:
        """Until the very end of its term, and not a moment longer."""
        coordinator, until = self._coordinator, self._election.leads_until(self._term)
        return coordinator if coordinator and boot_seconds() < until else None

    def _not_here(self) -> CommandError:
        leader = self._leader()
        if self._mirror.trouble:
            return CommandError(f"{self._mirror.trouble}: nothing was done, and the chain serves on")
        if leader and leader != self._announced():
            return Elsewhere(f"0 {leader}")
        return CommandError("no master leads at the moment, another will soon: try again")

    def _known_chain(self) -> list[str]:
        """As of the newest news from etcd: who is not in the chain any more says so itself."""
        picture = self._mirror.picture
        if picture is None:
            raise CommandError(self._election.trouble or self._mirror.trouble)
        try:
            entry = picture.entries.get(self._keys.view)
            return [str(member) for member in change_in(self._keys, entry.value).view.members] if entry else []
        except StoreError as error:
            raise CommandError(str(error)) from error

    def _leader(self) -> str:
        picture = self._mirror.picture
        entry = picture.entries.get(self._keys.leader) if picture else None
        return entry.value.decode(errors="replace") if entry else ""

    # ------------------------------------------------------------------------------------------ from etcd

    def _saw(self, picture: Picture) -> None:
        self._election.saw(picture)
        if coordinator := self._coordinator:
            self._tell_heartbeats(coordinator)

    def _tell_heartbeats(self, coordinator: Coordinator) -> None:
        """The newest ones, whoever calls: an older picture must not come last."""
        with self._telling:
            coordinator.beating(self._heartbeats())

    def _heartbeats(self) -> frozenset[str]:
        prefix, picture = self._keys.heartbeats, self._mirror.picture
        found = picture.entries if picture else {}
        return frozenset(key.removeprefix(prefix) for key in found if key.startswith(prefix))

    def _elected(self) -> None:
        """On the election's thread, which has leases to renew: the work is another thread's."""
        threading.Thread(target=self._change_over, name="etcd-term", daemon=True).start()

    def _change_over(self) -> None:
        """To the term of the moment."""
        with self._changing:
            term = self._election.term
            if term == self._term or self._is_closed.is_set():
                return
            if self._coordinator:
                self._coordinator.close()
            self._term, self._coordinator = term, self._begin(term) if term else None

    def _begin(self, term: int) -> Coordinator:
        coordinator = Coordinator(
            self._settings,
            store=EtcdStore(self._connection, self._keys, term),
            leads_until=lambda: self._election.leads_until(term),
        )
        self._tell_heartbeats(coordinator)
        coordinator.on_status(lambda _: self._observer(self.status()))
        return coordinator

    # ------------------------------------------------------------------------------------------- for INFO

    def on_status(self, observer: Callable[[Status], None]) -> None:
        self._observer = observer
        observer(self.status())

    def status(self) -> Status:
        """For INFO: the names and values that the README's table has."""
        leading = self._leading()
        shown = leading.status() if leading else self._status_of_others()
        return {
            **shown,
            "leads": int(leading is not None),
            "leader": self._leader(),
            "term": self._term,
            "etcd": self._mirror.trouble or self._election.trouble or "connected",
            "heartbeats": len(self._heartbeats()),
        }

    def _status_of_others(self) -> Status:
        picture = self._mirror.picture
        entry = picture.entries.get(self._keys.view) if picture else None
        try:
            change = change_in(self._keys, entry.value) if entry else None
        except StoreError as error:
            return {"epoch": 0, "members": 0, "chain": "", "state": str(error)}
        members = change.view.members if change else ()
        epoch = change.view.epoch if change else 0
        return {"epoch": epoch, "members": len(members), "chain": names(members), "state": "another master leads"}

    def _show(self) -> None:
        while not self._is_closed.wait(SHOW_EVERY_S):
            try:
                self._observer(self.status())
            except Exception:
                log.exception("an observer of the status failed")
