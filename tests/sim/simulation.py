"""Members, a network and a master, moved by steps of a name and two numbers.

Every choice in a step is one of its numbers, taken modulo what there is to choose from. So a list of steps is a
complete script: a seeded random walk writes one, hypothesis shrinks one, and a failure is kept as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chainredis.core import Limits, Update

from .master import Master
from .model import Model, Write
from .network import Link, Network
from .node import Node, Wait

KEYS = [b"a", b"b", b"c", b"d"]
CHANNELS = [b"x", b"y"]
LIMITS = Limits(log_bytes=1500, backlog_bytes=700, join_bytes=2500)
ROUNDS_TO_SETTLE = 400


class Step(NamedTuple):
    name: str
    a: int = 0
    b: int = 0


class Promise(NamedTuple):
    """A write that did not block: what its client may wait for."""

    write: Write
    epoch: int  # as the client saw it before


class Simulation:
    def __init__(self, size: int = 5, node_class: type[Node] = Node, master_class: type[Master] = Master) -> None:
        self.now_ms = 0
        self.model = Model()
        self.network = Network()
        run_ids = [f"node{i}" for i in range(size)]
        self.nodes = {run_id: node_class(run_id, LIMITS, self.model, self.network) for run_id in run_ids}
        self._values = 0
        self._promises: list[Promise] = []
        first = self.nodes[run_ids[0]]
        first.in_chain = True
        for key in KEYS[:2]:  # a member without a history takes writes; its data become the chain's
            self._start_write(first, key, blocks=False, wide=0)
        first.before_sleep(self.now_ms)
        self.master = master_class(self.nodes, first)
        self._handlers: dict[str, Callable[[int, int], None]] = {
            "deliver": self._deliver, "sleep": self._sleep, "cut": self._cut, "connect": self._connect,
            "double": self._double, "swap": self._swap, "time": self._time,
            "put": self._put, "delete": self._delete, "read": self._read, "wait": self._wait,
            "master": self._master, "add": self._add, "remove": self._remove, "give_up": self._give_up,
            "settle": self._settle,
        }

    def run(self, step: Step) -> None:
        """Raises BrokenInvariantError when the members break a rule, at this step or before."""
        self._handlers[step.name](step.a, step.b)
        self.check()

    def check(self) -> None:
        for node in self.nodes.values():
            self.model.check_node(node)
        self.model.check_view(self._named(self.master.view.members), self._named(self.master.confirmed))

    def _settle(self, a: int, b: int) -> None:
        self.settle()

    def settle(self) -> None:
        """Heal everything, deliver everything: then nothing may be left to do (liveness)."""
        for _ in range(ROUNDS_TO_SETTLE):
            for node in self.nodes.values():
                for peer in node.wanted():
                    self.network.connect(node.run_id, peer)
                    node.on_connected(peer)
                node.core.tick()
                node.before_sleep(self.now_ms)
            for link in self.network.busy():
                self._deliver_on(link, len(link.requests) + len(link.replies))
                self.check()
            self.master.step()
            if self.master.idle and not self.network.busy():
                if self._is_settled():
                    break
                self.master.finish()
        self.model.check_settled(self._named(self.master.view.members))

    def _is_settled(self) -> bool:
        members = self._named(self.master.view.members)
        return all(node.core.epoch == self.master.view.epoch and not node.dirty for node in members)

    def _named(self, run_ids: Sequence[str]) -> list[Node]:
        return [self.nodes[run_id] for run_id in run_ids]

    # ---- the network and the members' event loops

    def _deliver(self, a: int, b: int) -> None:
        """From a cut connection seldom, so that newer ones overtake it."""
        busy = self.network.busy()
        if busy and (busy[a % len(busy)].alive or b % 8 == 0):
            self._deliver_on(busy[a % len(busy)], 1 + b % 4)

    def _deliver_on(self, link: Link, count: int) -> None:
        for _ in range(count):
            if link.replies:
                self.nodes[link.owner].on_reply(link, link.replies.popleft())
            elif link.requests:
                self.nodes[link.peer].on_request(link, link.requests.popleft())
                self.nodes[link.owner].dirty = True  # there is room on its link again

    def _sleep(self, a: int, b: int) -> None:
        awake = [node for node in self.nodes.values() if node.dirty]
        if awake:
            awake[a % len(awake)].before_sleep(self.now_ms)

    def _cut(self, a: int, b: int) -> None:
        links = self.network.live()
        if links:
            link = links[a % len(links)]
            self.network.cut(link, b % 4)
            self.nodes[link.owner].on_lost(link.peer)

    def _double(self, a: int, b: int) -> None:
        """A request comes twice: TCP does not do that, but no member may rely on it."""
        busy = [link for link in self.network.busy() if link.requests]
        if busy:
            requests = busy[a % len(busy)].requests
            requests.append(requests[b % len(requests)])

    def _swap(self, a: int, b: int) -> None:
        """Two requests on one connection change places; nor does TCP do that."""
        busy = [link for link in self.network.busy() if len(link.requests) > 1]
        if busy:
            requests = busy[a % len(busy)].requests
            i = b % (len(requests) - 1)
            requests[i], requests[i + 1] = requests[i + 1], requests[i]

    def _connect(self, a: int, b: int) -> None:
        wanted = [(node, peer) for node in self.nodes.values() for peer in node.wanted()]
        if wanted:
            node, peer = wanted[a % len(wanted)]
            self.network.connect(node.run_id, peer)
            node.on_connected(peer)

    def _time(self, a: int, b: int) -> None:
        self.now_ms += a % 200
        for node in self.nodes.values():
            node.dirty = True
            if b % 2:
                node.core.tick()

    # ---- clients

    def _put(self, a: int, b: int) -> None:
        self._start_write(self._writable(a), KEYS[b % len(KEYS)], blocks=bool(a % 3), wide=b % 7)

    def _delete(self, a: int, b: int) -> None:
        self._start_write(self._writable(a), KEYS[b % len(KEYS)], blocks=bool(a % 2), wide=-1)

    def _writable(self, a: int) -> Node:
        """Now and then a client comes to the wrong member."""
        nodes = list(self.nodes.values())
        heads = [node for node in nodes if node.in_chain and node.core.takes_writes()]
        return heads[a % len(heads)] if heads and a % 10 else nodes[a % len(nodes)]

    def _start_write(self, node: Node, key: bytes, blocks: bool, wide: int) -> None:
        """A unique value of up to 120 bytes, or for `wide` -1 none: a delete."""
        if not node.in_chain and not node.core.has_history:
            return  # a server on its own, which has not been added yet
        self._values += 1
        value = b"%d" % self._values + b"." * 20 * wide if wide >= 0 else None
        write = Write(Update(key, value, None if blocks else CHANNELS[self._values % 2]), blocks)
        self.model.writes.append(write)
        epoch = node.core.epoch
        node.write(write, self.now_ms + 100 * (1 + self._values % 5))
        if not blocks:
            self._promises.append(Promise(write, epoch))

    def _read(self, a: int, b: int) -> None:
        for node in self.nodes.values():
            if node.in_chain and node.core.serves_reads():
                key = KEYS[b % len(KEYS)]
                self.model.read(node, key, node.keys.get(key))

    def _wait(self, a: int, b: int) -> None:
        if self._promises:
            promise = self._promises.pop(a % len(self._promises))
            if promise.write.sn >= 0:
                wait = Wait(promise.write.sn, promise.epoch, promise.write.update, self.now_ms + 300)
                self._writable(b).wait(wait)

    # ---- the master

    def _master(self, a: int, b: int) -> None:
        self.master.step()

    def _add(self, a: int, b: int) -> None:
        outside = [node for run_id, node in self.nodes.items() if run_id not in self.master.view.members]
        if outside and self.master.idle:
            self.master.add(outside[a % len(outside)])

    def _remove(self, a: int, b: int) -> None:
        members = self._named(self.master.view.members)
        if len(members) > 1 and self.master.idle:
            self.master.remove(members[a % len(members)], b)

    def _give_up(self, a: int, b: int) -> None:
        self.master.give_up()


STEP_WEIGHTS = {
    "deliver": 40, "sleep": 25, "put": 12, "delete": 2, "read": 3, "wait": 3, "cut": 1.5, "connect": 8, "time": 1,
    "double": 0.3, "swap": 0.3, "master": 15, "add": 3, "remove": 1, "give_up": 0.1, "settle": 0.2,
}
