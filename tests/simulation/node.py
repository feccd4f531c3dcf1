# SPDX-License-Identifier: Apache-2.0
"""A simulated member: the compiled core, and around it what a server does for the core.

Events of one pass of the event loop go in one by one (`on_request`, `on_reply`, `clients.write`, …). `before_sleep`
ends the pass (event_loop.py).
"""

from __future__ import annotations

from bisect import bisect_right

from chainredis.protocol.member_record import BrokenLink
from core_extension import core
from core_extension.core import NO_LIMIT, Core, Entry, Role, Update, Verdict, View

from . import control
from .clients import Clients, Write, size_of
from .disk import VOID, Kind, Note, Record
from .effects import updates_of
from .event_loop import MAX_UNDER_WAY, EventLoop
from .gate import Gate, Horizon
from .handles import Handles
from .messages import Ack, Adopt, Behind, Forward, Greet, Refusal, Regreet, Reply, Request, Stale, Welcome
from .model import BrokenInvariantError, Prefix, boundaries, require
from .names import short
from .network import Link
from .server import Server
from .world import Place, World

REFUSED = {Verdict.STRANGER, Verdict.OTHER_HISTORY}


class Node(EventLoop):
    """One process, from its start to its end."""

    core_class: type[Core] = Core
    server_class: type[Server] = Server
    gate_class: type[Gate] = Gate

    def __init__(self, world: World, place: Place) -> None:
        super().__init__(world)
        self.run_id = place.next_run_id()
        self.place = place.number
        self.clock = place.clock
        self.disk = place.disk
        self.limits = world.limits
        self.model = world.model
        self.core = self.core_class(self.run_id, world.limits)
        self.clients = Clients(self)
        self.handles = Handles()
        self.history: list[Prefix] = []
        self.keys: dict[bytes, bytes] = {}
        self.server = self.server_class(self)
        self.gate = self.gate_class(self)
        self.record = VOID
        self.published: set[Prefix] = set()
        self.has_subscribers = world.subscribed
        self.join: control.Joining | None = None
        self.pin_link: Link | None = None
        self.is_stopped, self.is_alive = False, True
        self.patience_ms = 100  # member.write-timeout
        self.has_left_its_port = False  # and lives
        self.trusted = False  # what it takes for committed is: others have told it, or it is the tail
        self.was_tail = False
        self.largest_bytes = 0  # of the updates so far
        self._lost: dict[str, tuple[int, bool]] = {}  # peers without a connection: since when, and closed by them?
        self.before_sleep()  # the first pass, before any other event

    def __repr__(self) -> str:
        return short(self.run_id)

    # ---- life

    @property
    def running(self) -> bool:
        return self.is_alive and not self.is_stopped and not self.is_writing

    @property
    def reachable(self) -> bool:
        """Who connects to its port gets an answer of it."""
        return self.running and not self.has_left_its_port

    def start(self) -> None:
        """With what the last process at this place has left on its disk; nothing may look like a history of its own."""
        found = self.disk.load()
        if found.history:
            self._take_over(found.history, found.updates)
            self.record = found.record
        else:
            self.disk.rewrite(b"", [], VOID)  # nobody misses what it had when it was no chain's
        if not found.history and self.disk.marker:
            self._take_over(self.disk.marker, [])
        if self.disk.appends:
            self.core.record(True)
        self.flushed = self.core.applied
        self.is_whole = True

    def _take_over(self, history: bytes, updates: list[Prefix]) -> Verdict:
        """Loaded data is now this process's."""
        verdict = self.core.restore(history, updates[-1].sn if updates else -1, boundaries(updates))
        if verdict == Verdict.ACCEPTED:
            self.history = list(updates)
            self.keys = dict(updates[-1].state) if updates else {}
            self.server.load(len(updates))
            self.trusted = False
        return verdict

    def die(self, luck: int) -> None:
        """At once: what was sent may arrive, what was answered may not."""
        if self.was_tail and not self.core.is_tail():
            self._excuse()
        self.is_alive = False
        while entry := self.core.pop_any():
            write = self.handles.take(entry.waiter)
            if isinstance(write, Write):
                self.model.answered(write, "unknown")
        self.clients.die()
        self.gate.die()
        self.disk.crash(luck)
        self._world.network.end(self, luck % 4)

    def _excuse(self) -> None:
        """What it has as a former tail, and has not published, others may have settled as learners."""
        self.model.excused.update(self.history[self._published_to + 1:])

    # ---- updates and the keyspace

    def assign(self, write: Write, since_ms: int) -> None:
        entry = self._entry(write.update)._replace(since_ms=since_ms)
        if write.blocks:
            entry = entry._replace(waiter=self.handles.new(write))
        write.sn = self.core.assign(entry)
        self._applied(write.update, self.core.epoch)
        if not write.blocks:
            self.clients.answer(write, "assigned")

    def _entry(self, update: Update) -> Entry:
        size = size_of(update)
        self.largest_bytes = max(self.largest_bytes, size)
        key, value, client = (self.handles.new(payload) for payload in update)
        return Entry(key, value, client, bytes=size)

    def extend(self, update: Update, epoch: int, size: int = 1) -> None:
        self.history.append(self.model.extend(self.history, epoch, update, size))

    def index_of(self, sn: int) -> int:
        """The index of the update that ends with this sn, or of the last one before."""
        return bisect_right(self.history, sn, key=lambda prefix: prefix.sn) - 1 if self.core.streams else sn

    @property
    def data(self) -> list[Prefix]:
        """What its server has executed, of its history."""
        return self.history[:self.server.done] if self.core.streams else self.history

    def check_data(self) -> None:
        """Its keys are those of what was executed. Only a head's server has more, or one that is to be copied."""
        data = self.data
        keys = self.server.keys if self.core.streams else self.keys
        if not self.server.own and keys != (data[-1].state if data else {}):
            raise BrokenInvariantError(f"{self}'s keys are not those of its history")
        if self.server.has_diverged and (self.core.me > 0 or self.core.role() == Role.LEARNER):
            raise BrokenInvariantError(f"{self}'s server has {self.server.own}, which its chain has not")

    def _applied(self, update: Update, epoch: int) -> None:
        self.extend(update, epoch)
        if update.value is None:
            self.keys.pop(update.key, None)
        else:
            self.keys[update.key] = update.value

    def update_at(self, sn: int) -> Update:
        require(self.core.log_first <= sn <= self.core.applied, f"{self} needs sn {sn}, which is not in its log")
        entry = self.core.entry_at(sn)
        key, value, client = (self.handles.at(handle) for handle in (entry.key, entry.value, entry.client))
        assert isinstance(key, bytes) and isinstance(value, bytes | None) and isinstance(client, bytes | None)
        return Update(key, value, client)

    def discard(self) -> None:
        """Everything of its own: it is about to begin anew."""
        self.settle()
        while entry := self.core.pop_any():
            self._release(entry)
        self.clients.refuse_held()
        self.history, self.keys = [], {}
        self.server.begin()

    def load(self, history: bytes, updates: list[Prefix]) -> Verdict:
        """A snapshot of another member, into an empty server."""
        self.touch()
        self.is_whole = False
        self.core.saved(NO_LIMIT)
        return self._take_over(history, updates)

    def rewrite(self) -> None:
        """What is in memory is on disk now, whole."""
        self.disk.rewrite(self.core.history, self.data, self.record)
        if self.disk.appends and not self.core.streams:
            self.core.record(True)
        self.flushed = self.core.written if self.core.streams else self.core.applied
        self.recorded_updates = len(self.data)
        self.is_whole = True

    def branch(self, history: bytes) -> None:
        """The data, a backup, becomes the beginning of another history. The disk calls it so at once."""
        self.touch()
        require(self.core.branch(history) == Verdict.ACCEPTED, f"{self} is no backup")
        self.record = VOID
        self.disk.marker = history
        self.rewrite()
        self.model.adopted += 1

    # ---- views and rights

    def has_lease(self) -> bool:
        return self.clock.ms() < self.core.lease_until

    def snapshot(self) -> list[Prefix]:
        """The data of its server, as Redis saves them: at a head perhaps with effects that its tap has not read."""
        data = list(self.data)
        for update, effects in self.server.own if self.server.leads else ():
            # Once another is the head, they are of no epoch in which that one writes (`unlogged_epoch`).
            epoch = self.core.epoch if self.core.me == 0 or not data else data[-1].epoch
            data.append(self.model.extend(data, epoch, update, len(effects)))
        return data

    # ---- its server and its gate

    def observe_server(self) -> None:
        self.server.observe()
        self.core.note_clients(not self.gate.is_idle or self.server.is_busy)

    def feed_own_server(self) -> None:
        if self.server.is_connected:
            self.server.feed()

    def release_output(self) -> None:
        """What the gate may know of this pass."""
        member, tickets = self.core, self.server.tickets
        if not member.streams:
            return
        if member.me < 0:
            self.gate.publish(Horizon())    # the server refuses by itself
            return
        tickets.commit(member.committed, member.executed)
        executed = NO_LIMIT if self.server.leads else tickets.executed
        may_take = member.shows_data() and (self.server.leads or member.me > 0)
        self.gate.publish(Horizon(
            tickets.committed, executed if may_take else -1, member.lease_until, member.proven_ms(self._pass_ms)))

    def may_read(self) -> bool:
        """The clock is read now: this process may have been stopped since the pass began."""
        return self.core.may_read(self.clock.ms())

    def adopt(self, view: View) -> Verdict:
        before, was_tail = self.core.epoch, self.core.is_tail() or not self.core.has_history
        verdict = self.core.adopt(view)
        require(verdict != Verdict.CONFLICT, f"{self} has {self.core.view}, and now gets {view}")
        if verdict != Verdict.ACCEPTED or self.core.epoch == before:
            return verdict
        self.model.note_view(view)
        self.join = None
        if self.was_tail and self.core.me < 0:
            self._excuse()
        self.was_tail = self.core.me >= 0 and (self.was_tail or was_tail)
        if self.core.me < 0 and before < self.model.era:
            self.trusted = False  # what it knows was before much was lost
        if self.core.me >= 0:
            self.trusted = True
            self._world.places[self.place].used = True
            self.model.note_entered(self)
        self.record_updates()
        durable = self.saves and self.core.may_claim()
        if self.core.me >= 0 and not durable:
            self.void_former_claims()
        self.note_record(Record(view.epoch, self.run_id, durable) if self.core.me >= 0 else VOID)
        if self.core.me < 0:
            self.gate.begin_era()
        self.aim()
        self.settle()
        return verdict

    def note_record(self, record: Record) -> None:
        """Before any later update's. In a chain of all commands it is Redis that records."""
        self.record_updates()
        if self.core.streams:
            self.core.record(False)
        self.record = record
        self.disk.marker = self.core.history
        self.disk.append(Note(self.core.history, record))

    def void_former_claims(self) -> None:
        """Of processes that were here before: this one is about to serve, and will not be on the disk for certain."""
        self.disk.void()

    def keep_on(self, kind: Kind) -> None:
        """Its settings are changed: before it ceases to be durable, what claims that it is does not count any more."""
        self.touch()
        if self.record.durable and self.record.epoch == self.core.epoch and kind is not Kind.ALWAYS:
            self.disk.void()
            self.note_record(self.record._replace(durable=False))
        self.disk.kind = kind
        if kind is not Kind.ALWAYS:
            self.core.saved(NO_LIMIT)

    # ---- links

    def _peers(self) -> dict[str, None]:
        wanted = (self.core.successor(), self.core.predecessor(), self.core.head_shortcut())
        return dict.fromkeys(peer for peer in wanted if peer)

    def aim(self) -> None:
        """Connections that no view wants any more are closed, and every handshake is made anew."""
        peers, now = self._peers(), self.clock.ms()
        for peer in [peer for peer in self._links if peer not in peers]:
            self._world.network.cut(self._links.pop(peer), MAX_UNDER_WAY)
        self._lost = {peer: self._lost.get(peer, (now, False)) for peer in peers if peer not in self._links}
        self._must_greet = True

    def wanted(self) -> list[str]:
        """The peers that it needs a connection to and has none."""
        return list(self._lost)

    def connect(self, peer: Node) -> None:
        self.touch()
        self._links[peer.run_id] = self._world.network.connect(self, peer)
        del self._lost[peer.run_id]
        if peer.run_id == self.core.successor():
            self._must_greet = True

    def on_lost(self, link: Link, dropped: bool) -> None:
        self.touch()
        peer = link.peer.run_id
        if self._links.get(peer) is not link:
            return
        del self._links[peer]
        self._lost[peer] = (self.clock.ms(), dropped)
        if peer == self.core.successor():
            self.core.successor_lost()
        if peer == self.core.predecessor():
            self.core.predecessor_lost()
        if peer == self.core.head_shortcut():
            self.core.head_lost()

    def on_room(self) -> None:
        if self.is_writing:
            self.wake_again()
        elif self.is_alive:
            self.touch()

    def broken_links(self) -> tuple[BrokenLink, ...]:
        now = self.clock.ms()
        return tuple(BrokenLink(peer, now - since, dropped) for peer, (since, dropped) in self._lost.items())

    # ---- messages

    def reply(self, link: Link, reply: Reply) -> None:
        self._outbox.append((link, reply))

    def on_request(self, link: Link, request: Request) -> None:
        self.touch()
        if isinstance(request, Forward):
            self._on_forward(link, request)
        elif isinstance(request, Ack):
            self.refuse(link, self.core.on_ack(request.ack, link.owner.run_id))
            self.settle()
        elif isinstance(request, Greet):
            self._on_greet(link, request)
        else:
            control.on_command(self, link, request)

    def _on_greet(self, link: Link, request: Greet) -> None:
        if self.join and not self.join.is_copied:
            self.reply(link, Refusal(Verdict.STRANGER))
            return
        verdict, welcome = self.core.on_greet(request.greeting, link.owner.run_id, link.number)
        if welcome is not None:
            self.reply(link, Welcome(welcome))
        self.refuse(link, verdict)

    def _on_forward(self, link: Link, message: Forward) -> None:
        batch = message.batch
        if self.core.streams:
            self._on_effects(link, message)
            return
        updates = core.decode(message.payload, batch.count)
        verdict, skip = self.core.on_batch(batch, link.number)
        if verdict == Verdict.ACCEPTED:
            for update in updates[skip:]:
                self.core.append(self._entry(update), batch.assigned)
                self._applied(update, batch.assigned)
            self.core.batch_applied(batch)
            self.settle()
        self.refuse(link, verdict)

    def _on_effects(self, link: Link, message: Forward) -> None:
        batch = message.batch
        verdict, skip = self.core.on_batch(batch, link.number)
        if verdict == Verdict.ACCEPTED:
            effects = message.payload[skip:]
            if effects:
                self.core.append_bytes(effects, batch.assigned)
            for update, size in updates_of(effects):
                self.extend(update, batch.assigned, size)
                self.largest_bytes = max(self.largest_bytes, size)
            self.server.cover_log()
            self.core.batch_applied(batch)
            self.settle()
        self.refuse(link, verdict)

    def refuse(self, link: Link, verdict: Verdict) -> None:
        """What the sender is told of a message that was not accepted."""
        if verdict == Verdict.ACCEPTED:
            return
        if verdict == Verdict.STALE:
            self.reply(link, Stale(self.core.view))
        elif verdict == Verdict.BEHIND:
            self.reply(link, Behind(self.core.epoch))
        elif verdict in (Verdict.NOT_GREETED, Verdict.GAP):
            self.reply(link, Regreet())
        else:
            require(verdict in REFUSED or verdict == Verdict.TOO_FAR_BEHIND,
                    f"{self} finds a message of {link.owner} {verdict.name}")
            self.reply(link, Refusal(verdict))

    def on_reply(self, link: Link, reply: Reply) -> None:
        self.touch()
        if isinstance(reply, Stale):
            self.adopt(reply.view)
        elif isinstance(reply, Behind):
            self._on_behind(link)
        elif isinstance(reply, Welcome):
            self._on_welcome(link, reply)
        elif isinstance(reply, Refusal):
            self._fail(link)
        elif isinstance(reply, Regreet) and link.peer.run_id == self.core.successor():
            self.core.successor_lost()
            self._must_greet = True

    def _on_welcome(self, link: Link, reply: Welcome) -> None:
        verdict = self.core.on_welcome(reply.greeting, link.peer.run_id)
        if verdict in (Verdict.ACCEPTED, Verdict.BEHIND, Verdict.STALE):
            return
        is_ahead = self.core.feeding and self.server.leads and verdict == Verdict.DIVERGED  # with what no tap has read
        require(verdict in REFUSED or verdict == Verdict.TOO_FAR_BEHIND or is_ahead,
                f"{self} finds the welcome of {link.peer} {verdict.name}")
        self._fail(link)

    def _fail(self, link: Link) -> None:
        """A connection that is good for nothing is closed, and made again."""
        self._world.network.cut(link, MAX_UNDER_WAY)
        self.on_lost(link, dropped=False)

    def _on_behind(self, link: Link) -> None:
        """The peer lacks our view; after that it is told again what it has refused."""
        link.requests.append(Adopt(self.core.view))
        peer = link.peer.run_id
        if peer == self.core.successor():
            self._must_greet = True
        if peer == self.core.predecessor():
            self.core.predecessor_lost()
        if peer == self.core.head_shortcut():
            self.core.head_lost()

    # ---- what is due

    def settle(self) -> None:
        publishes = self.has_subscribers and (
            not self.core.has_history or self.core.is_tail() or (self.was_tail and self.core.me >= 0))
        self.model.note_committed(self)
        self.core.settle_stream()
        while due := self.core.pop_settled():
            sn, entry = due
            self.answer(entry.waiter, "committed")
            if publishes and entry.client:
                self.core.published = min(self.core.published, sn - 1)
                self._publications.append(self.history[sn])
        while waiter := self.core.pop_orphan():
            self.answer(waiter, "unknown")
        self._trim()

    def _trim(self) -> None:
        while entry := self.core.pop_trimmed():
            self._release(entry)

    def answer(self, waiter: int, kind: str) -> None:
        write = self.handles.take(waiter)
        if isinstance(write, Write):
            self.clients.answer(write, kind)

    def _release(self, entry: Entry) -> None:
        for handle in (entry.key, entry.value, entry.client):
            self.handles.take(handle)
        self.answer(entry.waiter, "unknown")
