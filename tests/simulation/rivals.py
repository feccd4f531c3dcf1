# SPDX-License-Identifier: Apache-2.0
"""Several masters in the simulation: at any moment another one may be elected, and the one that led lives on.

That may be right, its lease in etcd having run out, or wrong, somebody having revoked it. The former leader knows
nothing of it as yet, and may sleep and wake: what it tells, grants and stores then must do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.settings import ProtocolSettings

from .clocks import Clock, Time
from .master import Master, Part, Store, controller_with
from .messages import Adopt
from .names import FORMER, place_of
from .node import Node
from .settling import settle
from .simulation import Setting, Simulation
from .world import World

SLACK_MS = 300
RENEWALS = 5
MOST_FORMERS = 3
# What a real master lets itself be told is the bound.
MOST_DRIFT = 0.5


@dataclass
class Etcd:
    """Who leads, and when the lease ends, by the fastest clock that is allowed."""

    time: Time
    drift: float
    term: int = 0
    ends_ms: float = 0

    def renew(self, ttl_ms: float) -> None:
        self.ends_ms = self.time.now_ms + ttl_ms / (1 + self.drift)

    @property
    def has_expired(self) -> bool:
        return self.time.now_ms >= self.ends_ms


class RivalMaster(Master):
    """A master of one term."""

    etcd: Etcd  # is given by `begin`
    term = 0

    def __init__(self, world: World, store: Store, settings: ProtocolSettings, clock: Clock) -> None:
        super().__init__(world, store, settings, clock)
        self.controller = self.controller_class(store.configuration, settings, clock.seconds(), slack_ms=SLACK_MS)
        self._renew_at = 0.0

    def begin(self, etcd: Etcd) -> None:
        etcd.term += 1
        self.etcd, self.term = etcd, etcd.term
        self.renew()

    @property
    def leads(self) -> bool:
        return self.etcd.term == self.term

    def renew(self) -> None:
        """Renews the lease when that is due. A master that does not lead any more learns this here, and only here."""
        now, settings = self.clock.seconds(), self.controller.detector.settings
        if now < self._renew_at:
            return
        if not self.leads:
            self.controller.leases.leads_until = 0
            return
        ttl_ms = settings.timeout_ms + SLACK_MS
        self.etcd.renew(ttl_ms)
        self.controller.leases.leads_until = now + ttl_ms / 1000 / (1 + settings.drift)
        self._renew_at = now + ttl_ms / 1000 / RENEWALS

    @property
    def may_tell(self) -> bool:
        """By its own clock."""
        return self.clock.seconds() < self.controller.leases.leads_until

    def decide(self, luck: int) -> None:
        """A master that does not lead any more decides as before, and cannot store it: no process hears of it."""
        if self.leads:
            super().decide(luck)
        elif self.saving is None:
            self.controller.detector.attend(self.clock.seconds())
            self.saving = self.controller.next_configuration()

    def _save(self, configuration: Configuration) -> None:
        if self.leads:
            super()._save(configuration)


class Rivals(Simulation):
    """The present master is the leader. `formers` have led before, and live."""

    def __init__(
        self,
        setting: Setting,
        node_class: type[Node] = Node,
        master_class: type[RivalMaster] = RivalMaster,
    ) -> None:
        self.formers: list[RivalMaster] = []
        self.depositions = 0
        self._is_cut_off = False  # from etcd
        self._etcd: Etcd | None = None
        super().__init__(setting._replace(drift=min(setting.drift, MOST_DRIFT)), node_class, master_class)
        self._handlers |= {
            "stop_master": self._stop_or_depose, "wake_master": self._wake_anyone, "kill_master": self._kill_anyone,
            "time": self._time_or_depose,
            "talk": self._talk_all, "decide": self._decide_all, "operate": self._operate_all,
        }  # fmt: skip

    def new_master(self) -> Master:
        master = super().new_master()
        assert isinstance(master, RivalMaster)
        self._etcd = self._etcd or Etcd(self.world.time, self.setting.drift)
        master.begin(self._etcd)
        return master

    @property
    def leader(self) -> RivalMaster:
        assert isinstance(self.master, RivalMaster)
        return self.master

    def depose(self) -> None:
        """A master on another machine leads now, and may reach other processes than this one."""
        if self.leader.is_alive:
            self.leader.place = FORMER
            self.formers.append(self.leader)
        if len(self.formers) > MOST_FORMERS:
            self.formers.pop(0).die(0)
        self.depositions += 1
        self.master = self.new_master()

    def pass_time(self, ms: float, ticks: bool) -> None:
        super().pass_time(ms, ticks)
        for master in (self.leader, *self.formers):
            if master.running and not self._is_cut_off:
                master.renew()
        if self.leader.etcd.has_expired:
            self.depose()

    def settle(self) -> None:
        """Former leaders end before everything comes to rest."""
        self._is_cut_off = False
        for former in self.formers:
            former.die(0)
        self.formers.clear()
        settle(self)

    def may_yet_tell(self, newest: int) -> bool:
        """A former leader knows views that it has stored, and tells them until its term is over by its own clock. The
        next master waits for a term of its own length.
        """
        leading = [former for former in self.formers if former.may_tell]
        stored = [former.controller.configuration for former in leading]
        under_way = (request for link in self.world.network.of_place(FORMER) for request in link.requests)
        told = [configuration.view.epoch for configuration in stored if configuration]
        told += [request.view.epoch for request in under_way if isinstance(request, Adopt)]
        shortest_ms = min(self.setting.leases_ms) * self.setting.patience
        is_long = any(former.controller.detector.settings.timeout_ms > shortest_ms for former in leading)
        return is_long or max(told, default=0) > newest

    # ---- steps

    def _time_or_depose(self, a: int, b: int) -> None:
        if b % 10 == 0:
            self._stop_or_depose(a, b // 10)
        self._time(a, b)

    def _stop_or_depose(self, a: int, b: int) -> None:
        if a % 4 == 0:
            self._is_cut_off = not self._is_cut_off
        elif a % 4 == 1:
            self.leader.is_stopped = True
        else:
            self.leader.is_stopped = bool(b % 2)
            self.depose()

    def _wake_anyone(self, a: int, b: int) -> None:
        for master in (self.leader, *self.formers):
            master.is_stopped = master.is_stopped and bool(a % 2)
        self._is_cut_off = self._is_cut_off and bool(b % 2)

    def _kill_anyone(self, a: int, b: int) -> None:
        if self.formers and a % 2:
            self.formers.pop(a % len(self.formers)).die(b)
        else:
            self.faults.handlers()["kill_master"](a, b)

    def _talk_all(self, a: int, b: int) -> None:
        self._talk(a, b)
        for former in self.formers:
            if former.running and (member := former.talk(b)):
                self._hurry_from(FORMER, place_of(member.run_id))

    def _decide_all(self, a: int, b: int) -> None:
        self._decide(a, b)
        for former in self.formers:
            if former.running:
                former.decide(b)

    def _operate_all(self, a: int, b: int) -> None:
        self._operate(a, b)
        for former in self.formers:
            if former.running and former.operation:
                former.operation.step()


def with_rival_controller(broken: type[Part]) -> type[RivalMaster]:
    return type(f"With{broken.__name__}", (RivalMaster,), {"controller_class": controller_with(broken)})
