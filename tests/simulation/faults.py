# SPDX-License-Identifier: Apache-2.0
"""Faults of connections, processes, machines and the master."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chainredis.protocol.reconfiguration import Configuration

from .disk import Kind
from .names import MASTER
from .settling import turn

if TYPE_CHECKING:
    from .node import Node
    from .simulation import Simulation
    from .world import Place

MOST_LOST_CHANGES = 12
TURNS_TO_HEAR = 8  # of everybody who can be heard, and of the view that they are in


class Faults:
    """Faults, as steps of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._world = simulation.world
        self._network = simulation.world.network

    def handlers(self) -> dict[str, Callable[[int, int], None]]:
        return {
            "cut": self._cut, "double": self._double, "swap": self._swap, "late": self._late,
            "block": self._block, "heal": self._heal,
            "kill": self._kill, "kill_unwritten": self._kill_unwritten, "shut_down": self._shut_down,
            "lose_power": self._lose_power, "write_slowly": self._write_slowly,
            "start": self._start, "stop": self._stop, "wake": self._wake, "hide": self._hide, "show": self._show,
            "flush": self._flush, "save": self._save, "weaken": self._weaken,
            "kill_master": self._kill_master, "start_master": self._start_master,
            "stop_master": self._stop_master, "wake_master": self._wake_master, "restore": self._restore,
        }  # fmt: skip

    # ---- connections

    def _cut(self, a: int, b: int) -> None:
        """Its owner loses it; sometimes it is the other side that has closed it, which lives all the same. A lifeline
        is lost, too, but not by that.
        """
        links = [link for link in self._network.live() if link.owner.running]
        if links:
            link = links[a % len(links)]
            self._network.cut(link, b % 4)
            link.owner.on_lost(link, dropped=b % 5 == 0 and not link.is_lifeline)

    def _double(self, a: int, b: int) -> None:
        """A request of a member is delivered twice. TCP does not do that, but no member may rely on it."""
        busy = [link for link in self._network.live() if link.requests and link.owner.place >= 0]
        if busy:
            requests = busy[a % len(busy)].requests
            requests.append(requests[b % len(requests)])

    def _swap(self, a: int, b: int) -> None:
        """Two requests on one connection change places. TCP does not do that, but no member may rely on it."""
        busy = [link for link in self._network.live() if len(link.requests) > 1 and link.owner.place >= 0]
        if busy:
            requests = busy[a % len(busy)].requests
            i = b % (len(requests) - 1)
            requests[i], requests[i + 1] = requests[i + 1], requests[i]

    def _late(self, a: int, b: int) -> None:
        """Requests on a connection that its owner has lost are delivered."""
        late = [link for link in self._network.all_busy() if not link.alive]
        if late:
            self._network.deliver(late[a % len(late)], 1 + b % 3)

    def _block(self, a: int, b: int) -> None:
        """Blocks the network between a tail and all others, two places, or two halves, in one direction or both."""
        numbers = [MASTER, *range(len(self._world.places))]
        one, other = {numbers[a % len(numbers)]}, {numbers[a // 8 % len(numbers)]}
        tails = [node.place for node in self._world.nodes.values() if node.core.is_tail()]
        if b % 3 == 0 and tails:
            one = {tails[a % len(tails)]}
            other = set(numbers) - one
        elif b % 3 == 1:
            one = {number for i, number in enumerate(numbers) if a >> i & 1}
            other = set(numbers) - one
        pairs = {(x, y) for x in one for y in other if x != y}
        back = {(y, x) for x, y in pairs}
        self._network.blocked |= [pairs | back, pairs | back, pairs, back][b // 3 % 4]

    def _heal(self, a: int, b: int) -> None:
        blocked = sorted(self._network.blocked)
        if b % 3:
            self._network.blocked.clear()
        elif blocked:
            self._network.blocked.discard(blocked[a % len(blocked)])

    # ---- members

    def _running(self, a: int) -> Node | None:
        """A running node, often a tail, where most can go wrong."""
        nodes = [node for node in self._world.nodes.values() if node.running]
        tails = [node for node in nodes if node.core.is_tail()]
        chosen = tails if tails and a % 2 else nodes
        return chosen[a // 2 % len(chosen)] if chosen else None

    def end(self, node: Node, luck: int = 0) -> None:
        node.die(luck)
        self._bury(node)

    def _bury(self, node: Node) -> None:
        del self._world.nodes[node.run_id]
        self._world.places[node.place].process = None

    def _kill(self, a: int, b: int) -> None:
        nodes = list(self._world.nodes.values())
        if nodes:
            self.end(nodes[a % len(nodes)], b)

    def _kill_unwritten(self, a: int, b: int) -> None:
        """A process dies at the end of a pass, when its messages have gone and its disk is not written yet."""
        awake = [node for node in self._world.nodes.values() if node.running and node.dirty]
        if awake:
            node = awake[a % len(awake)]
            node.before_sleep(luck=b)
            self._bury(node)

    def _lose_power(self, a: int, b: int) -> None:
        """All machines at once. Each loses what its disk has not got, and some amid the end of a pass."""
        for number, node in enumerate(list(self._world.nodes.values())):
            luck = (b >> number) + a
            if node.running and node.dirty and luck % 3:
                node.before_sleep(luck=luck)
                self._bury(node)
            else:
                self.end(node, luck)

    def _write_slowly(self, a: int, b: int) -> None:
        """Others go on while a member's disk is at work."""
        awake = [node for node in self._world.nodes.values() if node.running and node.dirty and node.disk.appends]
        if awake:
            awake[a % len(awake)].before_sleep(slow=True)

    def _shut_down(self, a: int, b: int) -> None:
        """A process ends in an orderly way and saves its data."""
        node = self._running(a)
        if node and node.core.has_history and not (node.join and not node.join.is_copied):
            node.before_sleep()
            node.rewrite()
            self.end(node)

    def _weaken(self, a: int, b: int) -> None:
        """An operator changes `appendfsync`."""
        node = self._running(a)
        if node and node.disk.appends:
            node.keep_on(Kind.EVERYSEC if node.disk.kind is Kind.ALWAYS else Kind.ALWAYS)

    def _start(self, a: int, b: int) -> None:
        empty: list[Place] = [place for place in self._world.places if place.process is None]
        if empty:
            self._simulation.start_member(empty[a % len(empty)])

    def _stop(self, a: int, b: int) -> None:
        if node := self._running(a):
            node.is_stopped = True

    def _wake(self, a: int, b: int) -> None:
        stopped = [node for node in self._world.nodes.values() if node.is_stopped]
        if stopped:
            stopped[a % len(stopped)].is_stopped = False

    def _hide(self, a: int, b: int) -> None:
        """A node listens at another port from now on, and closes its clients' connections in most cases."""
        node = self._running(a)
        if node is None:
            return
        node.has_left_its_port = True
        for link in self._network.live() if b % 4 else ():
            if link.peer is node and not link.is_lifeline and link.owner.running:
                self._network.cut(link, b // 4 % 4)
                link.owner.on_lost(link, dropped=True)

    def _show(self, a: int, b: int) -> None:
        hidden = [node for node in self._world.nodes.values() if node.has_left_its_port]
        if hidden:
            hidden[a % len(hidden)].has_left_its_port = False

    def _flush(self, a: int, b: int) -> None:
        """The operating system writes the files of all processes to their disks."""
        for place in self._world.places:
            if place.disk.kind is Kind.EVERYSEC:
                place.disk.flush()

    def _save(self, a: int, b: int) -> None:
        """A snapshot, or a rewritten append-only file."""
        node = self._running(a)
        if node and node.core.has_history and not (node.join and not node.join.is_copied):
            node.rewrite()

    # ---- the master

    def _kill_master(self, a: int, b: int) -> None:
        if self._simulation.master.is_alive:
            self._simulation.master.die(b)

    def _start_master(self, a: int, b: int) -> None:
        if not self._simulation.master.is_alive:
            self._simulation.master = self._simulation.new_master()

    def _stop_master(self, a: int, b: int) -> None:
        self._simulation.master.is_stopped = True

    def _wake_master(self, a: int, b: int) -> None:
        self._simulation.master.is_stopped = False

    def _restore(self, a: int, b: int) -> None:
        """The master's folder is restored from a backup, unless nobody would tell the new master of newer views.

        Then operators have to look to it (design.md, "A store that goes back").
        """
        simulation = self._simulation
        saved = simulation.store.saved
        if simulation.master.is_alive:
            simulation.master.die(b)
        number = len(saved) - 1 - a % min(len(saved), MOST_LOST_CHANGES)
        self._network.forget(MASTER)
        is_same_chain = saved and saved[number].view.history == saved[-1].view.history
        newest = self._world.model.newest_epoch
        if is_same_chain and self._is_known(saved[number]) and not simulation.may_yet_tell(newest):
            simulation.store.go_back(number, newest)
            self._world.model.forget_eras(newest)
        simulation.master = simulation.new_master()
        for _ in range(TURNS_TO_HEAR):
            if simulation.store.has_gone_back:
                turn(simulation)

    def _is_known(self, configuration: Configuration) -> bool:
        """Do processes that the new master will ask know the newest view that any process was ever in, and how long the
        leases are that last?
        """
        members = configuration.view.members + configuration.leaving
        nodes = (self._world.nodes.get(member.run_id) for member in members)
        asked = [node for node in nodes if node and node.reachable and self._network.reaches(MASTER, node.place)]
        lasting_ms = [node.core.longest_lease_ms for node in self._world.nodes.values() if node.has_lease()]
        known_ms = [configuration.lease_ms, *(node.core.longest_lease_ms for node in asked)]
        newest = self._world.model.newest_epoch
        return any(node.core.epoch == newest for node in asked) and max(known_ms) >= max(lasting_ms, default=0)
