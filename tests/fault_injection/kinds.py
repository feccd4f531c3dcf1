"""The kinds of faults: how each begins, how long it lasts, and how it ends."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import ClassVar, Protocol

import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.etcd_cluster import EtcdChain
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import MAX_MEMBERS
from integration.helpers import Talk

REMOVED_WITHIN_S = 2.0
DATA = ("dump.rdb", "appendonlydir")


class Linked(Protocol):
    """A cluster with a network that can be broken."""

    master: Server

    def cut(self, sender: Server, receiver: Server) -> None: ...
    def slow(self, server: Server) -> None: ...
    def heal_links(self) -> None: ...


class Fault:
    """least, most: members that it befalls at once. lasts: at least and at most, in heartbeat timeouts.

    spares_one: of the sound members. suits_newcomers: it may befall members that are just coming back. alone_in: of the
    faults that name the same, one at a time.
    """

    least: ClassVar[int] = 1
    most: ClassVar[int] = 1
    lasts: ClassVar[tuple[float, float]] = (0.0, 2.5)
    spares_one: ClassVar[bool] = True
    suits_newcomers: ClassVar[bool] = False
    alone_in: ClassVar[str] = ""

    def __init__(self, cluster: Cluster, victims: Sequence[Server], dice: Random) -> None:
        self.cluster = cluster
        self.victims = victims
        self.dice = dice

    def __str__(self) -> str:
        return " ".join([type(self).__name__, *(victim.folder.name for victim in self.victims)])

    def strike(self) -> None:
        raise NotImplementedError

    def heal(self) -> None:
        raise NotImplementedError


class Kill(Fault):
    """kill -9 of several at once. They come back with what is on their disk, or, where there is no AOF, without."""

    most = 3
    suits_newcomers = True

    def strike(self) -> None:
        for victim in self.victims:
            victim.kill()

    def heal(self) -> None:
        for victim in self.victims:
            if not is_durable(victim) and self.dice.random() < 0.5:
                self.wipe(victim)
            victim.start()

    def wipe(self, victim: Server) -> None:
        """The data; not the folder, which says that this was a member."""
        for name in DATA:
            shutil.rmtree(victim.folder / name, ignore_errors=True)
            with suppress(FileNotFoundError):
                (victim.folder / name).unlink()


class KillAll(Kill):
    """Only where everything is on their disks."""

    most = MAX_MEMBERS
    spares_one = False
    suits_newcomers = False


class KillWhileSaving(Kill):
    """The child that saves outlives its parent, unless it is told to end with it."""

    most = 2

    def strike(self) -> None:
        for victim in self.victims:
            saving = "BGREWRITEAOF" if is_durable(victim) else "BGSAVE"
            with suppress(redis.RedisError):
                victim.call(saving)
        super().strike()


class SaveAndKill(Kill):
    """What it comes back with is as old as the time until it was killed is long."""

    most = 1

    def strike(self) -> None:
        with suppress(redis.RedisError):
            self.victims[0].call("SAVE")
        super().strike()


class ShutDown(Kill):
    """Redis refuses that while it writes its first AOF: then it is killed."""

    most = 1

    def strike(self) -> None:
        with suppress(redis.RedisError):
            self.victims[0].call("SHUTDOWN", "NOSAVE")
        super().strike()


class Restart(Kill):
    """So soon that nobody may have noticed."""

    lasts = (0.0, 0.0)


class Tear(Kill):
    """Killed, with a checkpoint whose last writes did not arrive, or that is damaged, emptied or gone."""

    most = 1

    def strike(self) -> None:
        super().strike()
        folder = self.victims[0].folder / f"checkpoint-{self.victims[0].port}"
        harm = self.dice.choice((self._cut, self._cut, self._damage, self._empty, shutil.rmtree))
        with suppress(FileNotFoundError):
            harm(folder)

    def _cut(self, folder: Path) -> None:
        """The end of the newest log of LevelDB's."""
        for log in sorted(folder.glob("*.log"))[-1:]:
            with log.open("r+b") as file:
                file.truncate(self.dice.randint(0, log.stat().st_size))

    def _damage(self, folder: Path) -> None:
        files = [path for path in sorted(folder.glob("*")) if path.stat().st_size]
        if files:
            with self.dice.choice(files).open("r+b") as file:
                file.seek(self.dice.randrange(Path(file.name).stat().st_size))
                file.write(b"damage")

    def _empty(self, folder: Path) -> None:
        for path in folder.glob("*"):
            path.unlink()


class Hiccup(Fault):
    """SIGSTOP for less than the timeout."""

    most = 2
    suits_newcomers = True
    lasts = (0.05, 0.7)

    def strike(self) -> None:
        for victim in self.victims:
            victim.pause()

    def heal(self) -> None:
        for victim in self.victims:
            victim.resume()


class Hang(Hiccup):
    """SIGSTOP for longer than it."""

    lasts = (1.2, 3.0)


class Remove(Fault):
    alone_in = "master"

    def strike(self) -> None:
        endpoint = self.cluster.endpoint_of(self.victims[0])
        with suppress(redis.RedisError), Talk(self.cluster.master, REMOVED_WITHIN_S) as talk:
            talk("MASTER.REMOVE", endpoint.host, endpoint.port)

    def heal(self) -> None:
        """It is added again, as everybody is in the end."""


class KillMaster(Fault):
    """Any one, where there are several."""

    least = most = 0
    alone_in = "master"

    def __init__(self, cluster: Cluster, victims: Sequence[Server], dice: Random) -> None:
        super().__init__(cluster, victims, dice)
        self.master = dice.choice(cluster.masters)

    def strike(self) -> None:
        self.master.kill()

    def heal(self) -> None:
        self.master.start()


class HangMaster(KillMaster):
    def strike(self) -> None:
        self.master.pause()

    def heal(self) -> None:
        self.master.resume()


# ------------------------------------------------------------------------------------------------------- etcd


class KillEtcd(Fault):
    """Up to all of its servers."""

    least = most = 0
    alone_in = "etcd"

    def __init__(self, cluster: Cluster, victims: Sequence[Server], dice: Random) -> None:
        super().__init__(cluster, victims, dice)
        assert isinstance(cluster, EtcdChain)
        self.etcd = dice.sample(cluster.etcd, dice.randint(1, len(cluster.etcd)))

    def strike(self) -> None:
        for server in self.etcd:
            server.kill()

    def heal(self) -> None:
        for server in self.etcd:
            server.spawn()


class HangEtcd(KillEtcd):
    def strike(self) -> None:
        for server in self.etcd:
            server.pause()

    def heal(self) -> None:
        for server in self.etcd:
            server.resume()


# ------------------------------------------------------------------------------------------------------ links


class LinkFault(Fault):
    alone_in = "links"

    def __init__(self, cluster: Cluster, victims: Sequence[Server], dice: Random) -> None:
        super().__init__(cluster, victims, dice)
        self.links: Linked = cluster  # type: ignore[assignment]

    def heal(self) -> None:
        self.links.heal_links()


class Cut(LinkFault):
    """Between two members, both ways."""

    least = most = 2

    def strike(self) -> None:
        one, other = self.victims
        self.links.cut(one, other)
        self.links.cut(other, one)


class CutOneWay(Cut):
    def strike(self) -> None:
        self.links.cut(*self.victims)


class CutFromMaster(LinkFault):
    """Members that clients and the others still reach."""

    most = 2

    def strike(self) -> None:
        for victim in self.victims:
            ways = [(self.links.master, victim), (victim, self.links.master)]
            for sender, receiver in self.dice.sample(ways, self.dice.randint(1, 2)):
                self.links.cut(sender, receiver)


class CutFromAll(LinkFault):
    """A member alone with its clients."""

    def strike(self) -> None:
        victim = self.victims[0]
        for server in self.cluster.servers:
            if server is not victim and server.running:
                self.links.cut(server, victim)
                self.links.cut(victim, server)


class Slow(LinkFault):
    most = 2

    def strike(self) -> None:
        for victim in self.victims:
            self.links.slow(victim)


def is_durable(server: Server) -> bool:
    return server.config.get("appendonly") == "yes"


CUTS = (Cut, CutOneWay, CutFromMaster, CutFromAll)
# How often each is named is how often it comes.
KILLS = (Kill, Kill, Kill, KillWhileSaving, SaveAndKill, ShutDown, Restart)
PROCESSES = (*KILLS, Hang, Hang, Hang, Hiccup, Remove, KillMaster, HangMaster)
CHECKPOINTS = (*KILLS, *KILLS, Tear, Tear, Tear, Hang, Hiccup, Remove, KillMaster)
DISKS = (*KILLS, KillAll, KillAll, Hang, Hang, Remove, KillMaster)
ETCD = (*PROCESSES, KillMaster, HangMaster, KillEtcd, KillEtcd, HangEtcd)
LINKS = (*CUTS, *CUTS, Slow, *PROCESSES)
