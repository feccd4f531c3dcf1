# SPDX-License-Identifier: Apache-2.0
"""A master whose configuration is in etcd, perhaps one of several: it leads, with a Coordinator, or says who leads.

Each term has a new Coordinator: what an earlier one knew, or had granted, may not be true any more.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from chainredis.coordinator.commands import SHOW_EVERY_S, Coordinator, Reply, Status, names
from chainredis.coordinator.leadership import LeadershipTerm, boot_seconds
from chainredis.coordinator.sentinel import Event, OtherMaster, Sight, answer, events
from chainredis.etcd.advertise import AdvertisedAddress, machine
from chainredis.etcd.client import Access, Connection, Entry, Picture
from chainredis.etcd.leader import Leader, leader_in
from chainredis.etcd.leader_election import SLACK_MS, LeaderElection
from chainredis.etcd.leader_monitor import LeaderMonitor
from chainredis.etcd.standing_links import StandingLinks
from chainredis.etcd.url import EtcdUrl, parse_url
from chainredis.etcd.view_store import EtcdStore, configuration_in
from chainredis.etcd.watch_cache import WatchCache
from chainredis.protocol.errors import CommandError, Elsewhere, StoreError, Unusable
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Member, View
from chainredis.transport.member_client import RedisLink
from chainredis.transport.settings import Settings

log = logging.getLogger(__name__)

# How long a command waits until a master leads, or etcd answers.
PATIENCE_S, LOOK_S = 2.0, 0.01
# A leader knows already what it has stored. So long its look at etcd's picture of that leaves the interpreter to those
# that tell the members.
CALM_S = 0.005
# How long the masters that remain have to take the place of one that has ended.
SUCCESSION_S = 0.25


def embed(
    settings: Settings,
    *,
    url: str,
    announce_host: str,
    etcd_user: str,
    etcd_password: str,
    etcd_ca: str,
    etcd_cert: str,
    etcd_key: str,
) -> "EtcdMaster":
    """The coordinator of libetcd_master.so. Unusable if `url` is not a URL."""
    try:
        where = parse_url(url)
    except ValueError as error:
        raise Unusable(str(error)) from error
    access = Access(where.endpoints, etcd_user, etcd_password, etcd_ca, etcd_cert, etcd_key)
    return EtcdMaster(where, access, settings, announce_host)


class EtcdMaster:
    """Carries out the MASTER commands, or says which master does. Its methods may be called from any thread, and block.

    announce_host: where other servers reach this one; empty: the address from which it reaches etcd.
    """

    LANES = Coordinator.LANES

    def __init__(self, url: EtcdUrl, access: Access, settings: Settings, announce_host: str = "") -> None:
        self._keys = url.keys
        self._settings = settings = replace(settings, name=url.keys.chain)
        self._connection = Connection(access, settings.polling().timeout_ms / 1000)
        self._advertised = AdvertisedAddress(access.endpoints, announce_host, settings.own_port)
        self._machine = machine()
        self._election = LeaderElection(
            self._connection,
            url.keys,
            who=self._who,
            polling=settings.polling,
            clock=boot_seconds,
            changed=self._elected,
        )
        dial = partial(RedisLink, settings=settings)
        self._leader_monitor = LeaderMonitor(
            self._who,
            dial,
            trusts_refused=lambda: settings.polling().trust_refused,
            on_end=self._succeed,
        )
        self._standing = StandingLinks(self._members, dial, lambda: settings.polling().interval_ms / 1000)
        self._cache = WatchCache(self._connection, url.keys.prefix, self._saw)
        self._telling = threading.Lock()
        self._term = 0
        self._coordinator: Coordinator | None = None
        self._store: EtcdStore | None = None
        self._newest: View | None = None  # the newest view that this process has known: etcd may go back
        self._ended: Leader | None = None  # the leader that this master found ended last
        self._to_revoke: dict[int, float] = {}  # leases of leaders that have ended, and when
        self._strange: Entry | None = None  # what etcd had, a moment ago, instead of what this master stored last
        self._news = threading.Condition()  # notified when a command may find more out than before
        self._is_closed = threading.Event()
        self._is_elected = threading.Event()  # set when the term has changed
        self._unable = ""  # why this master could not begin its last term
        self._observer: Callable[[Status], None] = lambda _: None
        self._publish: Callable[[Event], None] = lambda _: None
        self._seen: Sight | None = None  # the newest chain with members whose events have been published
        if settings.tls() and not access.ca:
            log.warning(
                "tls-replication is yes, but the view, and in it the chain's secret, goes to etcd without TLS: set "
                "master.etcd-ca"
            )
        log.info("looking for the chain %s in etcd", url)
        threading.Thread(target=self._follow_terms, name="etcd-term", daemon=True).start()
        self._cache.start()
        self._election.start()
        self._leader_monitor.start()
        self._standing.start()
        threading.Thread(target=self._show, name="etcd-status", daemon=True).start()

    def _who(self) -> Leader:
        return Leader(self._advertised(), self._settings.own_run_id, self._machine)

    def close(self) -> None:
        self._is_closed.set()
        self._is_elected.set()
        self._leader_monitor.close()
        self._election.close()
        self._standing.close()
        self._cache.close()
        if self._coordinator:
            self._coordinator.close()
        self._connection.close()

    # -------------------------------------------------------------------------------------------- commands

    def execute(self, name: str, arguments: Sequence[bytes], asker: str = "") -> Reply:
        """As Coordinator.execute. Elsewhere if another master leads."""
        if name == "SENTINEL":
            self._learn_enough(is_question=True)
            return answer(self.sight(), arguments)
        is_question = name == "MASTER.GET_CHAIN"
        self._learn_enough(is_question)
        if leading := self._leading():
            return leading.execute(name, arguments, asker)
        if is_question:
            return self._known_chain()
        raise self._not_here()

    def _learn_enough(self, is_question: bool) -> None:
        """Wait until a command can be carried out, or refused for a reason; at most for PATIENCE_S."""
        until = boot_seconds() + PATIENCE_S
        with self._news:
            while not self._knows_enough(is_question) and boot_seconds() < until:
                self._news.wait(LOOK_S)  # trouble with etcd is no news

    def _tell_news(self) -> None:
        with self._news:
            self._news.notify_all()

    def _knows_enough(self, is_question: bool) -> bool:
        """Returns False for a moment after this master was started."""
        known = self._cache.picture if is_question else self._leader_elsewhere()
        return bool(known or self._leading() or self._trouble())

    def _leading(self) -> Coordinator | None:
        """The coordinator, until the very end of its term."""
        coordinator, until = self._coordinator, self._election.leads_until(self._term)
        return coordinator if coordinator and boot_seconds() < until else None

    def _not_here(self) -> CommandError:
        if trouble := self._trouble():
            return CommandError(f"{trouble}: nothing was done; the chain serves on")
        if elsewhere := self._leader_elsewhere():
            return Elsewhere(f"0 {elsewhere.address}")
        return CommandError(self._unable or "no master leads at the moment, one will soon: try again")

    def _leader_elsewhere(self) -> Leader | None:
        """None for one that has ended: its place is being taken, and nobody is to be sent there."""
        leader = self._leader()
        if leader is None or not leader.address or leader == self._ended:
            return None
        return leader if leader.run_id != self._settings.own_run_id else None

    def _trouble(self) -> str:
        return self._cache.trouble or self._election.trouble

    def _known_chain(self) -> list[str]:
        """The chain as of the newest picture from etcd. A server that is not in it any more says so itself."""
        picture = self._cache.picture
        if picture is None:
            raise CommandError(self._trouble() or "etcd has not answered yet: try again")
        try:
            entry = picture.entries.get(self._keys.view)
            return [str(member) for member in configuration_in(self._keys, entry.value).view.members] if entry else []
        except StoreError as error:
            raise CommandError(str(error)) from error

    def _leader(self) -> Leader | None:
        return self._leader_of(self._cache.picture) if self._cache.picture else None

    def _leader_of(self, picture: Picture) -> Leader | None:
        entry = picture.entries.get(self._keys.leader)
        return leader_in(entry) if entry else None

    # ------------------------------------------------------------------------------------------ from etcd

    def _saw(self, picture: Picture) -> None:
        if self._leading():
            self._is_closed.wait(CALM_S)
        self._remember(self._stored_in(picture))
        leader = self._leader_of(picture)
        self._election.saw(leader, picture.revision)
        self._leader_monitor.saw(leader)
        self._standing.look()
        self._tell_news()
        self._tell_events()
        if coordinator := self._coordinator:
            self._tell_heartbeats(coordinator)
        self._observer(self.status())

    def _stored_in(self, picture: Picture) -> View | None:
        configuration = self._configuration_in(picture)
        return (configuration.newer or configuration.view) if configuration else None

    def _configuration_in(self, picture: Picture | None) -> Configuration | None:
        """The configuration in etcd; None if there is none, or none that can be read."""
        entry = picture.entries.get(self._keys.view) if picture else None
        with suppress(StoreError):
            return configuration_in(self._keys, entry.value) if entry else None
        return None

    def _remember(self, view: View | None) -> None:
        if view and (self._newest is None or view.epoch > self._newest.epoch):
            self._newest = view

    def _members(self) -> tuple[Member, ...]:
        """Those of the chain in etcd."""
        configuration = self._configuration_in(self._cache.picture)
        return configuration.view.members if configuration else ()

    def _check_store(self) -> None:
        """Have the store read again if etcd does not have what this master has stored.

        For a moment after each change the picture of etcd is older: only the same value twice counts.
        """
        picture, coordinator, store = self._cache.picture, self._leading(), self._store
        found = picture.entries.get(self._keys.view) if picture else None
        if coordinator is None or store is None or store.is_newest(found):
            self._strange = None
        elif self._strange == found:
            self._strange = None
            coordinator.doubt_store()
        else:
            self._strange = found

    def _tell_heartbeats(self, coordinator: Coordinator) -> None:
        """Tell the newest heartbeats, whichever thread calls: an older picture must not come last."""
        with self._telling:
            coordinator.saw_heartbeats(self._heartbeats())

    def _heartbeats(self) -> frozenset[str]:
        prefix, picture = self._keys.heartbeats, self._cache.picture
        found = picture.entries if picture else {}
        return frozenset(key.removeprefix(prefix) for key in found if key.startswith(prefix))

    def _succeed(self, leader: Leader) -> None:
        """Stand for the place of a leader that has ended. Its lease, by which it has other keys, is revoked in a while:
        the next term begins in these milliseconds. If nobody has taken the place, revoking frees it.
        """
        self._ended = leader
        self._election.succeed(leader)
        self._to_revoke[leader.lease] = boot_seconds() + SUCCESSION_S

    def _revoke_ended(self) -> None:
        for lease, due in list(self._to_revoke.items()):
            if boot_seconds() >= due:
                del self._to_revoke[lease]
                with suppress(StoreError):  # it ends by itself, too
                    self._connection.revoke(lease)

    def _elected(self) -> None:
        """Called on the election's thread, which has to renew leases: the work is for another thread."""
        self._is_elected.set()

    def _follow_terms(self) -> None:
        while not self._is_closed.is_set():
            self._is_elected.wait()
            self._is_elected.clear()
            term = self._election.term
            try:
                self._change_over(term)
            except Exception as error:
                log.exception("a change of leadership failed in a way that nobody has thought of")
                self._give_up(term, error)

    def _change_over(self, term: int) -> None:
        """Begin this term, and end the former one. 0: this master does not lead."""
        if term != self._term and not self._is_closed.is_set():
            former, self._coordinator, self._term = self._coordinator, None, term
            if former:
                self._remember(former.known_view)
                former.close()
            if term:
                self._coordinator = self._begin(term)
                self._unable = ""
            else:
                self._standing.resume()
            self._tell_news()
        self._observer(self.status())

    def _give_up(self, term: int, error: Exception) -> None:
        """End this term: a leader that cannot do its work is worse than none."""
        former, self._coordinator = self._coordinator, None
        self._unable = f"this master could not begin to lead: {type(error).__name__}: {error}"
        self._election.resign(term, self._unable)
        if former:
            with suppress(Exception):
                former.close()

    def _begin(self, term: int) -> Coordinator:
        election = self._election
        self._store = EtcdStore(self._connection, self._keys, term, election.said, election.view)
        coordinator = Coordinator(
            self._settings,
            store=self._store,
            leadership=LeadershipTerm(lambda: self._election.leads_until(term), SLACK_MS),
            remembered=self._newest,
            standing=self._standing.take(),
        )
        self._tell_heartbeats(coordinator)
        coordinator.on_status(lambda _: self._observer(self.status()))
        return coordinator

    # --------------------------------------------------------------------------------------- as a Sentinel

    def sight(self) -> Sight:
        """What this master knows, for clients of a Sentinel. One that does not lead knows what is in etcd."""
        leading = self._leading()
        seen = leading.sight() if leading else self._sight_in_etcd()
        return replace(seen, others=self._other_masters(), trouble=self._trouble() or seen.trouble)

    def _sight_in_etcd(self) -> Sight:
        settings, configuration = self._settings, self._configuration_in(self._cache.picture)
        seen = Sight(settings.name, settings.own_run_id, down_after_ms=settings.polling().timeout_ms)
        if configuration is None:
            return seen
        view = configuration.view
        return replace(seen, epoch=view.epoch, members=view.members, fallen=configuration.fallen)

    def _other_masters(self) -> tuple[OtherMaster, ...]:
        entries, prefix = self._cache.picture.entries if self._cache.picture else {}, self._keys.masters
        masters = (leader_in(entry) for key, entry in sorted(entries.items()) if key.startswith(prefix))
        return tuple(
            OtherMaster(endpoint, master.run_id)
            for master in masters
            if master.run_id != self._settings.own_run_id and (endpoint := master.endpoint)
        )

    def on_event(self, publish: Callable[[Event], None]) -> None:
        """Call `publish` from now on with what a Sentinel publishes. Every master does, whether it leads or not."""
        self._publish = publish

    def _tell_events(self) -> None:
        after = self._sight_in_etcd()
        if not after.members or (self._seen and after.epoch <= self._seen.epoch):
            return
        before, self._seen = self._seen, after
        for event in events(before, after) if before else ():
            self._publish(event)

    # ------------------------------------------------------------------------------------------- for INFO

    def on_status(self, observer: Callable[[Status], None]) -> None:
        self._observer = observer
        observer(self.status())

    def status(self) -> Status:
        """For INFO: the names and values of docs/commands.md, "INFO"."""
        leading = self._leading()
        leader = self._leader()
        shown = leading.status() if leading else self._status_of_others()
        return {
            **shown,
            "leads": int(leading is not None),
            "leader": leader.address if leader else "",
            "term": self._term,
            "etcd": self._trouble() or ("connected" if self._cache.picture else "connecting"),
            "heartbeats": len(self._heartbeats()),
        }

    def _status_of_others(self) -> Status:
        picture = self._cache.picture
        entry = picture.entries.get(self._keys.view) if picture else None
        try:
            configuration = configuration_in(self._keys, entry.value) if entry else None
        except StoreError as error:
            return {"epoch": 0, "members": 0, "chain": "", "state": str(error)}
        members = configuration.view.members if configuration else ()
        epoch = configuration.view.epoch if configuration else 0
        state = "another master leads" if self._leader_elsewhere() else self._unable or "no master leads"
        return {"epoch": epoch, "members": len(members), "chain": names(members), "state": state}

    def _show(self) -> None:
        while not self._is_closed.wait(SHOW_EVERY_S):
            try:
                self._revoke_ended()
                self._check_store()
                self._observer(self.status())
            except Exception:
                log.exception("an observer of the status failed")
