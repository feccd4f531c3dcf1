"""A simulated member: the compiled core in a shell that does what the server's shell does, without a server.

Events of one pass of the event loop go in one by one (`on_request`, `on_reply`, `write`, …); `before_sleep` ends the
pass: it settles what has been committed, answers who waits, and sends what is due, one batch for all that was applied.
"""

from __future__ import annotations

from typing import NamedTuple

from chainredis import core
from chainredis.core import Core, Entry, Limits, Update, Verdict, View

from .model import Model, Prefix, Write, require
from .network import Ack, Adopt, Behind, Forward, Greet, Link, Network, Regreet, Reply, Request, Stale, Welcome

MAX_BATCH_BYTES = 600
MAX_UNDER_WAY = 4  # messages; a link that is full is not written to before it has been read from
EXPECTED = {Verdict.STALE, Verdict.BEHIND, Verdict.STRANGER, Verdict.NOT_GREETED, Verdict.GAP}


class Handles:
    """The payloads that the core holds for us, as the server's retained strings."""

    def __init__(self) -> None:
        self._held: dict[int, object] = {}
        self._next = 1

    def new(self, payload: object) -> int:
        if payload is None:
            return 0
        self._next += 1
        self._held[self._next] = payload
        return self._next

    def at(self, handle: int) -> object:
        return self._held[handle] if handle else None

    def take(self, handle: int) -> object:
        return self._held.pop(handle) if handle else None

    def live(self) -> set[int]:
        return set(self._held)


class Held(NamedTuple):
    """A writer that is held back, its update without an sn."""

    write: Write
    deadline_ms: int


class Wait(NamedTuple):
    """A MEMBER.WAIT for the sn that `update` was given after the client had seen `epoch`."""

    sn: int
    epoch: int
    update: Update
    deadline_ms: int


class Snapshot(NamedTuple):
    position: core.Greeting
    boundaries: list[tuple[int, int]]
    history: list[Prefix]


class Node:
    core_class: type[Core] = Core

    def __init__(self, run_id: str, limits: Limits, model: Model, network: Network) -> None:
        self.run_id = run_id
        self.limits = limits
        self.core = self.core_class(run_id, limits)
        self.handles = Handles()
        self.history: list[Prefix] = []
        self.keys: dict[bytes, bytes] = {}
        self.dirty = False  # something has happened in this pass
        self.in_chain = False  # its data are the chain's
        self.was_tail = False
        self.lost_successor = False  # it lacks updates that are in our log no more
        self.largest_bytes = 0  # of the updates so far
        self._model = model
        self._network = network
        self._must_greet = False
        self._held: list[Held] = []
        self._waits: list[Wait] = []

    # ---- clients

    def write(self, write: Write, deadline_ms: int) -> None:
        self.dirty = True
        self._held.append(Held(write, deadline_ms))
        self._admit(0)

    def wait(self, wait: Wait) -> None:
        self.dirty = True
        self._waits.append(wait)

    def _admit(self, now_ms: int) -> bool:
        """Assign the held writers' updates, as far as there is room for them (rule 9). False: there were none to."""
        before = len(self._held)
        while self._held:
            write, deadline_ms = self._held[0]
            size = len(write.update.key) + len(write.update.value or b"") + len(write.update.client or b"")
            refused = not self.core.takes_writes() or not self.core.fits(size) or deadline_ms <= now_ms
            if not refused and not self.core.has_room(size):
                break
            self._held.pop(0)
            if refused:
                self._model.answered(write, "failed")
            else:
                self._assign(write, deadline_ms)
        return len(self._held) < before

    def _assign(self, write: Write, deadline_ms: int) -> None:
        entry = self._entry(write.update)._replace(deadline_ms=deadline_ms)
        if write.blocks:
            entry = entry._replace(waiter=self.handles.new(write))
        write.sn = self.core.assign(entry)
        self._applied(write.update, self.core.epoch)
        if not write.blocks:
            self._model.answered(write, "assigned", write.sn)

    # ---- the keyspace

    def _entry(self, update: Update) -> Entry:
        size = len(update.key) + len(update.value or b"") + len(update.client or b"")
        self.largest_bytes = max(self.largest_bytes, size)
        key, value, client = (self.handles.new(payload) for payload in update)
        return Entry(key, value, client, bytes=size)

    def _applied(self, update: Update, epoch: int) -> None:
        self.history.append(self._model.extend(self.history, epoch, update))
        if update.value is None:
            self.keys.pop(update.key, None)
        else:
            self.keys[update.key] = update.value

    def _update_at(self, sn: int) -> Update:
        require(self.core.log_first <= sn <= self.core.applied, f"{self.run_id} needs sn {sn}, which is not in its log")
        entry = self.core.entry_at(sn)
        key, value, client = (self.handles.at(handle) for handle in (entry.key, entry.value, entry.client))
        assert isinstance(key, bytes) and isinstance(value, bytes | None) and isinstance(client, bytes | None)
        return Update(key, value, client)

    # ---- the master's commands

    def adopt(self, view: View) -> Verdict:
        self.dirty = True
        before = self.core.epoch
        verdict = self.core.adopt(view)
        self.lost_successor = verdict == Verdict.TOO_FAR_BEHIND
        require(verdict in (Verdict.ACCEPTED, Verdict.STALE, Verdict.TOO_FAR_BEHIND),
                f"{self.run_id} finds {view} {verdict.name}")
        if self.core.epoch > before:
            self.in_chain = True
            self.was_tail = (self.was_tail and self.core.me >= 0) or self.core.is_tail()
            self._must_greet = True
            self.lost_successor = False
        return verdict

    def join(self, view: View) -> None:
        """Discard everything and become a learner."""
        self.dirty = True
        while entry := self.core.pop_any():
            self._release(entry)
        self._admit_none()
        self.core.learn(view)
        self.history, self.keys = [], {}
        self.in_chain, self.was_tail = True, False

    def fork(self) -> Snapshot:
        return Snapshot(self.core.position(), self.core.boundaries, list(self.history))

    def load(self, snapshot: Snapshot) -> None:
        self.dirty = True
        position = snapshot.position
        verdict = self.core.restore(position.history, position.applied, snapshot.boundaries)
        require(verdict == Verdict.ACCEPTED, f"{self.run_id} finds its snapshot {verdict.name}")
        self.history = list(snapshot.history)
        self.keys = dict(self.history[-1].state) if self.history else {}

    def feed(self, learner: str) -> bool:
        self.dirty = self._must_greet = True
        return self.core.feed(learner)

    def unpin(self) -> None:
        self.dirty = True
        self.core.unpin()

    # ---- links

    def wanted(self) -> list[str]:
        """The peers that it needs a connection to and has none."""
        peers = {self.core.successor(), self.core.predecessor(), self.core.told_head()} - {None}
        return sorted(peer for peer in peers if peer and not self._network.link(self.run_id, peer))

    def on_connected(self, peer: str) -> None:
        self.dirty = True
        if peer == self.core.successor():
            self._must_greet = True

    def on_lost(self, peer: str) -> None:
        self.dirty = True
        if peer == self.core.successor():
            self.core.successor_lost()
        if peer == self.core.predecessor():
            self.core.predecessor_lost()
        if peer == self.core.told_head():
            self.core.head_lost()

    def on_request(self, link: Link, request: Request) -> None:
        self.dirty = True
        if isinstance(request, Adopt):
            self._refuse(link, self.adopt(request.view))
        elif isinstance(request, Greet):
            verdict, welcome = self.core.on_greet(request.greeting, link.owner, link.number)
            if welcome is not None:
                link.answer(Welcome(welcome))
            self._refuse(link, verdict)
        elif isinstance(request, Ack):
            self._refuse(link, self.core.on_ack(request.ack, link.owner))
        else:
            self._on_forward(link, request)

    def _on_forward(self, link: Link, message: Forward) -> None:
        batch = message.batch
        updates = core.decode(message.payload, batch.count)
        verdict, skip = self.core.on_batch(batch, link.number)
        if verdict == Verdict.ACCEPTED:
            for update in updates[skip:]:
                self.core.append(self._entry(update), batch.assigned)
                self._applied(update, batch.assigned)
            self.core.batch_applied(batch)
        self._refuse(link, verdict)

    def _refuse(self, link: Link, verdict: Verdict) -> None:
        """What the sender is told of a message that was not accepted."""
        require(verdict in (Verdict.ACCEPTED, Verdict.TOO_FAR_BEHIND) or verdict in EXPECTED,
                f"{self.run_id} finds a message of {link.owner} {verdict.name}")
        if verdict == Verdict.STALE:
            link.answer(Stale(self.core.view))
        elif verdict == Verdict.BEHIND:
            link.answer(Behind(self.core.epoch))
        elif verdict in (Verdict.NOT_GREETED, Verdict.GAP):
            link.answer(Regreet())

    def on_reply(self, link: Link, reply: Reply) -> None:
        self.dirty = True
        if isinstance(reply, Stale):
            self.adopt(reply.view)
        elif isinstance(reply, Behind):
            self._on_behind(link)
        elif isinstance(reply, Welcome):
            verdict = self.core.on_welcome(reply.greeting, link.peer)
            self.lost_successor = verdict == Verdict.TOO_FAR_BEHIND
            require(verdict in EXPECTED or verdict in (Verdict.ACCEPTED, Verdict.TOO_FAR_BEHIND),
                    f"{self.run_id} finds the welcome of {link.peer} {verdict.name}")
        elif link.peer == self.core.successor():
            self.core.successor_lost()
            self._must_greet = True

    def _on_behind(self, link: Link) -> None:
        """The peer lacks our view, and is greeted again after it.

        An acknowledgement that it refused goes out again at the next tick.
        """
        link.requests.append(Adopt(self.core.view))
        if link.peer == self.core.successor():
            self._must_greet = True

    # ---- the end of a pass

    def before_sleep(self, now_ms: int) -> None:
        self._settle()
        while self._admit(now_ms):
            self._settle()  # alone, an update is committed at once, and that makes room for the next
        while waiter := self.core.pop_orphan() or self.core.pop_expired(now_ms):
            self._answer(waiter, "unknown")
        while entry := self.core.pop_trimmed():
            self._release(entry)
        self._end_waits(now_ms)
        self._greet()
        self._send_batches()
        self._send_acks()
        self.dirty = False

    def _settle(self) -> None:
        if self.in_chain:
            self._model.note_committed(self)
        while due := self.core.pop_settled():
            sn, entry = due
            self._answer(entry.waiter, "committed", sn)
            if entry.client and (self.was_tail or not self.core.has_history):
                self._model.publish(sn, self._update_at(sn))

    def _answer(self, waiter: int, kind: str, sn: int = -1) -> None:
        write = self.handles.take(waiter)
        if isinstance(write, Write):
            self._model.answered(write, kind, sn)

    def _release(self, entry: Entry) -> None:
        for handle in (entry.key, entry.value, entry.client):
            self.handles.take(handle)
        self._answer(entry.waiter, "unknown")

    def _end_waits(self, now_ms: int) -> None:
        """Those that a head that is head no more cannot answer end, too."""
        open_waits = self._waits
        self._waits = []
        for wait in open_waits:
            if wait.deadline_ms <= now_ms or not self.core.takes_writes():
                continue
            if self.core.committed < wait.sn:
                self._waits.append(wait)
            elif self.core.epoch_of(wait.sn) <= wait.epoch:
                self._model.waited(wait.sn, wait.update)

    def _admit_none(self) -> None:
        for held in self._held:
            self._model.answered(held.write, "failed")
        self._held, self._waits = [], []

    def _greet(self) -> None:
        link = self._network.link(self.run_id, self.core.successor())
        if link and self._must_greet:
            link.requests.append(Greet(self.core.position()))
            self._must_greet = False

    def _send_batches(self) -> None:
        link = self._network.link(self.run_id, self.core.successor())
        while link and len(link.requests) < MAX_UNDER_WAY and (batch := self.core.next_batch(MAX_BATCH_BYTES)):
            updates = [self._update_at(sn) for sn in range(batch.first, batch.first + batch.count)]
            link.requests.append(Forward(batch, core.encode(updates)))

    def _send_acks(self) -> None:
        """To the head first: the acknowledgement to the predecessor says that it has been told."""
        head = self._network.link(self.run_id, self.core.told_head())
        if head and self.core.head_ack_due():
            head.requests.append(Ack(self.core.take_head_ack()))
        predecessor = self._network.link(self.run_id, self.core.predecessor())
        if predecessor and self.core.ack_due():
            predecessor.requests.append(Ack(self.core.take_ack()))
