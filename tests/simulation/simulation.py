# SPDX-License-Identifier: Apache-2.0
"""Members, a network and a master, moved by steps of a name and two numbers.

Every choice in a step is one of its numbers, taken modulo what there is to choose from. So a list of steps is a
complete script: a seeded random walk writes one, hypothesis shrinks one, and a failure is kept as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.settings import ProtocolSettings
from core_extension.core import Update, take_broken_invariants

from . import operations
from .clients import Read, Wait, Write
from .clocks import Clock
from .control import copy_step
from .disk import Disk, Kind
from .evidence import judge
from .faults import Faults
from .master import Master, Store
from .model import require
from .names import MASTER, place_of
from .native import NativeCommands
from .node import Node
from .settling import grow, settle, turn
from .versions import EarlierNode
from .world import Place, World

KEYS = [b"a", b"b", b"c", b"d"]
CHANNELS = [b"x", b"y"]


class Step(NamedTuple):
    name: str
    a: int = 0
    b: int = 0


class Promise(NamedTuple):
    """A write that did not block, for which its client may wait."""

    write: Write
    epoch: int  # as the client saw it before


class Setting(NamedTuple):
    """What the machines are like.

    size: how many there are for members. length: of the chain at the beginning. kinds: what their disks keep, one after
    the other. drift: the bound, which some of the clocks use up. leases_ms: the master's, another one in each life.
    patience: how many leases long its timeout is. quick_master: its clock is one of the quick ones. all_commands: of
    which kind the chain is. mixed: every second machine has the earlier version.
    """

    size: int = 4
    length: int = 3
    kinds: tuple[Kind, ...] = (Kind.NONE,)
    drift: float = 0.01
    leases_ms: tuple[int, ...] = (400,)
    quick_master: bool = True
    subscribed: bool = True
    trust_refused: bool = True
    patience: int = 1
    all_commands: bool = False
    mixed: bool = False


class Simulation:
    def __init__(
        self, setting: Setting, node_class: type[Node] = Node, master_class: type[Master] = Master,
    ) -> None:
        self.setting = setting
        take_broken_invariants()    # of an earlier run that a deliberate mistake has ended
        self.world = World(subscribed=setting.subscribed, all_commands=setting.all_commands)
        self.model = self.world.model
        self.node_class = node_class
        self.master_class = master_class
        self.store = Store()
        self._values = self._committed = 0
        self._masters = 0
        self._promises: list[Promise] = []
        for number in range(setting.size):
            clock = Clock(self.world.time, 1000 + 77 * number, 1 + setting.drift * (number % 3 == 2))
            self.world.places.append(Place(number, clock, Disk(setting.kinds[number % len(setting.kinds)])))
        self._master_clock = Clock(self.world.time, 5000, 1 + setting.drift * setting.quick_master)
        for place in self.world.places:
            self.start_member(place)
        self.master = self.new_master()
        self.faults = Faults(self)
        self.native = NativeCommands(self)
        self._handlers: dict[str, Callable[[int, int], None]] = {
            "deliver": self._deliver, "sleep": self._sleep, "come_late": self._come_late, "flow": self._flow,
            "turns": self._turns,
            "connect": self._connect, "time": self._time, "copy": self._copy, "settle": self._settle,
            "put": self._put, "delete": self._delete, "read": self._read, "wait": self._wait,
            "talk": self._talk, "decide": self._decide, "operate": self._operate, "give_up": self._give_up,
            "add": self._add, "come_back": self._come_back, "remove": self._remove, "form": self._form,
            "reform": self._reform, "begin": self._begin,
            **self.faults.handlers(), **self.native.handlers(),
        }  # fmt: skip
        self._begin_chain()

    def _begin_chain(self) -> None:
        """A member without a history takes writes. Its data becomes the chain's."""
        first = self.world.nodes[next(iter(self.world.nodes))]
        first.trusted = True
        for key in () if self.setting.all_commands else KEYS[:2]:
            self._start_write(first, key, blocks=False, wide=0)
        first.before_sleep()
        operations.begin(self.master, 0)
        grow(self, self.setting.length)

    def may_yet_tell(self, newest: int) -> bool:
        """May a master other than the present one tell a view after this epoch, or lead for longer than is known?"""
        return False

    def start_member(self, place: Place) -> None:
        is_earlier = self.setting.mixed and place.number % 2 == 1
        place.process = (EarlierNode if is_earlier else self.node_class)(self.world, place)
        self.world.nodes[place.process.run_id] = place.process

    def new_master(self) -> Master:
        """A new master process, perhaps with another configuration."""
        self._masters += 1
        lease_ms = self.setting.leases_ms[self._masters % len(self.setting.leases_ms)]
        timeout_ms = lease_ms * self.setting.patience
        settings = ProtocolSettings(timeout_ms, lease_ms, self.setting.drift, self.setting.trust_refused)
        return self.master_class(self.world, self.store, settings, self._master_clock)

    # ---- steps and checks

    def run(self, step: Step) -> None:
        """Raises BrokenInvariantError when the members break a rule, at this step or before."""
        self._handlers[step.name](step.a, step.b)
        self.check()

    def check(self) -> None:
        """Checks every process that had an event. If there was one, also checks who may read, and the view."""
        world, model = self.world, self.model
        if not world.touched:
            return
        for node in world.touched:
            if node.is_alive:
                model.check_node(node)
        world.touched.clear()
        for place in world.places:
            if place.used and place.process and self.setting.all_commands:
                model.check_server(place.process)
            elif place.used and place.process:
                model.check_reader(place.process)
        self._check_view()

    def _check_view(self) -> None:
        configuration, nodes = self.store.newest, self.world.nodes
        if configuration and self.model.is_in_era(configuration.view.epoch):
            members = [nodes[member.run_id] for member in configuration.view.members if member.run_id in nodes]
            complete = {member.run_id for member in configuration.complete}
            self.model.check_view(members, [node for node in members if node.run_id in complete])
            if len(self.model.committed) != self._committed:
                self._committed = len(self.model.committed)
                self._check_claims(configuration)

    def _check_claims(self, configuration: Configuration) -> None:
        """Rule 3: the disk of a member of the view, alive or dead, has what is committed, if its record claims so."""
        complete = {member.run_id for member in configuration.complete}
        for place in self.world.places:
            kept = place.disk.certain()
            if kept.record.durable and kept.record.epoch == configuration.view.epoch and kept.record.run_id in complete:
                self.model.check_kept(place, kept.updates)

    def _settle(self, a: int, b: int) -> None:
        self.settle()
        if a % 4:
            grow(self, self.setting.length)

    def settle(self) -> None:
        settle(self)

    def finish(self) -> None:
        """Everything comes to rest, and the operations of clients are judged."""
        self.settle()
        self._probe()
        judge(self.model)

    def _probe(self) -> None:
        """The chain at rest takes a write and reads it."""
        configuration = self.store.configuration
        assert configuration
        head, tail = (self.world.nodes[member.run_id] for member in (configuration.view.head, configuration.view.tail))
        self._start_write(head, KEYS[0], blocks=True, wide=1, patience_ms=1000)
        self.settle()
        require(self.model.writes[-1].kind == "committed", f"{head} does not commit what it is given at rest")
        if self.setting.all_commands:
            self._probe_servers([self.world.nodes[member.run_id] for member in configuration.view.members])
            return
        tail.touch()
        read = Read(KEYS[0], len(self.model.committed), self.model.moment())
        tail.clients.read(read)
        tail.before_sleep()
        require(self.model.reads[-1:] == [read] and read.found is tail.history[-1], f"{tail} answers no READ at rest")

    def _probe_servers(self, members: list[Node]) -> None:
        """Each member answers a read."""
        reads = [self.native.read(node, KEYS[0]) for node in members]
        self.settle()
        for node, read in zip(members, reads, strict=True):
            require(read.end > 0 and read.found is node.history[-1], f"{node} answers no read at rest")

    # ---- the network and the members' event loops

    def _deliver(self, a: int, b: int) -> None:
        """Delivers events of one connection. Connections that were lost deliver seldom, so newer ones overtake."""
        link = self.world.network.busy(a)
        if link and (link.alive or b % 8 == 0):
            self.world.network.deliver(link, 1 + b % 4)

    def _sleep(self, a: int, b: int) -> None:
        awake = [node for node in self.world.nodes.values() if node.dirty and not node.is_stopped]
        if awake:
            awake[a % len(awake)].before_sleep()

    def _come_late(self, a: int, b: int) -> None:
        """A member takes requests after the steps of its pass."""
        awake = [node for node in self.world.nodes.values() if node.dirty and not node.is_stopped]
        if awake:
            node = awake[a % len(awake)]
            node.before_sleep(late=lambda: self._request(node, b), is_written=bool(a % 3))

    def _request(self, node: Node, b: int) -> None:
        self.world.network.request(node, 1 + b % 4)
        if not self.setting.all_commands and node.core.takes_writes() and self.world.places[node.place].used:
            self._start_write(node, KEYS[b % len(KEYS)], blocks=bool(b % 3), wide=b % 7)

    def _flow(self, a: int, b: int) -> None:
        """One member does all that it can do at once. Single steps seldom do that in a row."""
        nodes = [node for node in self.world.nodes.values() if node.running]
        if not nodes:
            return
        node = nodes[a % len(nodes)]
        for peer in node.wanted():
            self.connect(node, peer)
        for _ in range(1 + b % 3):
            self._pass(node)
            if self.setting.all_commands and node.running:
                self.native.do_all(node)
            for link in self.world.network.of(node):
                self.world.network.deliver(link, 1 + b % 5)
                self._pass(self.world.nodes.get(link.peer.run_id))

    @staticmethod
    def _pass(node: Node | None) -> None:
        if node and node.running and node.dirty:
            node.before_sleep()

    def _turns(self, a: int, b: int) -> None:
        """Some time passes under the present faults, in which members and clients go on."""
        for i in range(2 + a % 16):
            turn(self)
            self._put(b + i, a + i)
            self._read(a + i, b + i)

    def _connect(self, a: int, b: int) -> None:
        wanted = [(node, peer) for node in self.world.nodes.values() for peer in node.wanted()]
        if wanted:
            self.connect(*wanted[a % len(wanted)])

    def connect(self, node: Node, run_id: str) -> None:
        peer = self.world.nodes.get(run_id)
        if peer and node.running and peer.reachable and self.world.network.reaches(node.place, place_of(run_id)):
            node.connect(peer)

    def _time(self, a: int, b: int) -> None:
        self.pass_time(a % 100, ticks=bool(b % 2))

    def pass_time(self, ms: float, ticks: bool) -> None:
        self.world.time.now_ms += ms
        for node in self.world.nodes.values():
            self.world.touched.add(node)
            if ticks and node.running:
                node.tick()

    def _copy(self, a: int, b: int) -> None:
        nodes = list(self.world.nodes.values())
        for i in range(len(nodes)):
            node = nodes[(a + i) % len(nodes)]
            if node.join:
                copy_step(self.world, node)
                return

    # ---- clients

    def _put(self, a: int, b: int) -> None:
        self._write(a, KEYS[b % len(KEYS)], blocks=bool(a % 3), wide=b % 7)

    def _delete(self, a: int, b: int) -> None:
        self._write(a, KEYS[b % len(KEYS)], blocks=bool(a % 2), wide=-1)

    def _write(self, a: int, key: bytes, blocks: bool, wide: int) -> None:
        if node := self._reached(a, wanted=self._takes_writes):
            self._start_write(node, key, blocks, wide)

    def _takes_writes(self, node: Node) -> bool:
        return node.server.leads if self.setting.all_commands else node.core.takes_writes()

    def _reached(self, a: int, wanted: Callable[[Node], bool]) -> Node | None:
        """A member that a client reaches. Clients know the places that have been in the chain."""
        known = [place.process for place in self.world.places if place.used and place.process and place.process.running]
        right = [node for node in known if wanted(node)]
        chosen = right if right and a % 5 else known
        return chosen[a % len(chosen)] if chosen else None

    def _start_write(self, node: Node, key: bytes, blocks: bool, wide: int, patience_ms: int = 0) -> None:
        """A unique value of up to 120 bytes, or for `wide` -1 none: a delete."""
        self._values += 1
        value = b"%d" % self._values + b"." * 20 * wide if wide >= 0 else None
        if self.setting.all_commands:
            self.native.write(node, Update(key, value))
            return
        update = Update(key, value, None if blocks else CHANNELS[self._values % 2])
        write = Write(update, blocks, self.model.moment())
        self.model.writes.append(write)
        node.touch()
        if not blocks:
            self._promises.append(Promise(write, node.core.epoch))
        node.patience_ms = patience_ms or 100 * (1 + self._values % 5)  # an operator sets it
        node.clients.write(write, node.clock.ms())

    def _read(self, a: int, b: int) -> None:
        if self.setting.all_commands:
            if node := self._reached(a, wanted=lambda node: node.core.me >= 0):
                self.native.read(node, KEYS[b % len(KEYS)])
        elif node := self._reached(a, wanted=lambda node: node.core.is_tail()):
            node.touch()
            deadline_ms = node.clock.ms() + 100 * (1 + b % 5)
            node.clients.read(Read(KEYS[b % len(KEYS)], len(self.model.committed), self.model.moment(), deadline_ms))

    def _wait(self, a: int, b: int) -> None:
        if self._promises:
            promise = self._promises.pop(a % len(self._promises))
            node = self._reached(b, wanted=lambda node: node.core.takes_writes())
            if node and promise.write.sn >= 0:
                node.touch()
                node.clients.wait(Wait(promise.write, promise.epoch, node.clock.ms() + 300))

    # ---- the master

    def _talk(self, a: int, b: int) -> None:
        if self.master.running and (member := self.master.talk(a)) and b % 3:
            self._hurry(place_of(member.run_id))

    def _hurry(self, number: int) -> None:
        self._hurry_from(MASTER, number)

    def _hurry_from(self, master: int, number: int) -> None:
        """Messages between the master and this member are delivered and answered."""
        node, network = self.world.places[number].process, self.world.network
        for link in network.between(master, number):
            network.deliver(link, 3)
        self._pass(node)
        for link in network.between(master, number):
            network.deliver(link, 3)

    def _decide(self, a: int, b: int) -> None:
        for _ in range(1 + a % 2):
            if self.master.running:
                self.master.decide(b)

    def _operate(self, a: int, b: int) -> None:
        for _ in range(1 + a % 5):
            if self.master.running and (operation := self.master.operation):
                operation.step()
                for number in operation.places if b % 3 else ():
                    copy_step(self.world, self.world.places[number].process)
                    self._hurry(number)

    def _add(self, a: int, b: int) -> None:
        configuration = self.master.controller.configuration
        if not self.master.running or self.master.operation or not configuration:
            return
        inside = {place_of(member.run_id) for member in configuration.view.members}
        outside = [place for place in self.world.places if place.process and place.number not in inside]
        if outside:
            self.master.operation = operations.Operation(self.master, outside[a % len(outside)])

    def _come_back(self, a: int, b: int) -> None:
        """The master notices by itself that a missing member is there again."""
        if not self.master.running or self.master.operation:
            return
        places = [self.world.places[place_of(member.run_id)] for member in self.master.controller.missing(fallen=True)]
        back = [place for place in places if place.process]
        if back:
            self.master.operation = operations.Operation(self.master, back[a % len(back)])

    def _give_up(self, a: int, b: int) -> None:
        if self.master.running and self.master.operation:
            self.master.operation.give_up()

    def _remove(self, a: int, b: int) -> None:
        if self.master.running:
            operations.remove(self.master, a)

    def _form(self, a: int, b: int) -> None:
        if self.master.running:
            operations.form(self.master, a)

    def _reform(self, a: int, b: int) -> None:
        if self.master.running:
            operations.reform(self.master)

    def _begin(self, a: int, b: int) -> None:
        if self.master.running:
            operations.begin(self.master, a)
