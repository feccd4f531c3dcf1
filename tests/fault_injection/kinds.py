# SPDX-License-Identifier: Apache-2.0
"""The kinds of faults: how each begins, how long it lasts, and how it is healed."""

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
ASKED_WITHIN_S = 5.0
DATA = ("dump.rdb", "appendonlydir")


class Linked(Protocol):
    """A cluster with a network that tests can cut and slow."""

    master: Server

    def cut(self, sender: Server, receiver: Server) -> None: ...
    def slow(self, server: Server) -> None: ...
    def heal_links(self) -> None: ...


class Fault:
    """One fault that strikes some members and is healed later.

    least, most: the number of members that it strikes. lasts: the shortest and the longest time, in heartbeat timeouts.
    spares_one: one sound member is never struck. suits_newcomers: it may strike members that are coming back. alone_in:
    of the faults with the same word here, only one is active at a time.
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
    """kill -9 of several members. They return with the data on their disks; without an AOF sometimes without data."""

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

    def ask(self, victim: Server, *words: str) -> None:
        """Have the victim do something before it dies.

        A held answer could wait until the chain commits again, and so for members that nobody heals meanwhile.
        """
        with suppress(redis.RedisError), Talk(victim, ASKED_WITHIN_S) as talk:
            talk.pipeline([["MEMBER.UNHELD"], words])

    def wipe(self, victim: Server) -> None:
        """Remove the data files, but not the identity file, which says that the server was a member."""
        for name in DATA:
            shutil.rmtree(victim.folder / name, ignore_errors=True)
            with suppress(FileNotFoundError):
                (victim.folder / name).unlink()


class KillAll(Kill):
    """kill -9 of all members; only for chains that are durable."""

    most = MAX_MEMBERS
    spares_one = False
    suits_newcomers = False


class KillWhileSaving(Kill):
    """kill -9 while a child saves. The child must end with its parent."""

    most = 2

    def strike(self) -> None:
        for victim in self.victims:
            self.ask(victim, "BGREWRITEAOF" if is_durable(victim) else "BGSAVE")
        super().strike()


class SaveAndKill(Kill):
    """Save, and kill -9 later. The server returns with the older data."""

    most = 1

    def strike(self) -> None:
        self.ask(self.victims[0], "SAVE")
        super().strike()


class ShutDown(Kill):
    """SHUTDOWN, or kill -9 if Redis refuses SHUTDOWN because it is writing its first AOF."""

    most = 1

    def strike(self) -> None:
        self.ask(self.victims[0], "SHUTDOWN", "NOSAVE")
        super().strike()


class Restart(Kill):
    """kill -9 and an immediate start, possibly before any other process has noticed."""

    lasts = (0.0, 0.0)


class Tear(Kill):
    """kill -9, after which the checkpoint is cut off, damaged, emptied or removed."""

    most = 1

    def strike(self) -> None:
        super().strike()
        folder = self.victims[0].folder / f"checkpoint-{self.victims[0].port}"
        harm = self.dice.choice((self._cut, self._cut, self._damage, self._empty, shutil.rmtree))
        with suppress(FileNotFoundError):
            harm(folder)

    def _cut(self, folder: Path) -> None:
        """Cut off the end of LevelDB's newest log, or of the newest file of values."""
        for last in sorted(folder.glob(self.dice.choice(("*.log", "values/*"))))[-1:]:
            with last.open("r+b") as file:
                file.truncate(self.dice.randint(0, last.stat().st_size))

    def _damage(self, folder: Path) -> None:
        files = [path for path in _files(folder) if path.stat().st_size]
        if files:
            with self.dice.choice(files).open("r+b") as file:
                file.seek(self.dice.randrange(Path(file.name).stat().st_size))
                file.write(b"damage")

    def _empty(self, folder: Path) -> None:
        for path in _files(folder):
            path.unlink()


def _files(folder: Path) -> list[Path]:
    """All files of a checkpoint, those of values too."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


class Hiccup(Fault):
    """SIGSTOP for less than the heartbeat timeout."""

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
    """SIGSTOP for longer than the heartbeat timeout."""

    lasts = (1.2, 3.0)


class Remove(Fault):
    alone_in = "master"

    def strike(self) -> None:
        endpoint = self.cluster.endpoint_of(self.victims[0])
        with suppress(redis.RedisError), Talk(self.cluster.master, REMOVED_WITHIN_S) as talk:
            talk("MASTER.REMOVE", endpoint.host, endpoint.port)

    def heal(self) -> None:
        """Nothing to do: the nemesis adds every member again in the end."""


class KillMaster(Fault):
    """kill -9 of a master; any of them if there are several."""

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
    """kill -9 of some or all of etcd's servers."""

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
    """Cut the network between two members, in both directions."""

    least = most = 2

    def strike(self) -> None:
        one, other = self.victims
        self.links.cut(one, other)
        self.links.cut(other, one)


class CutOneWay(Cut):
    def strike(self) -> None:
        self.links.cut(*self.victims)


class CutFromMaster(LinkFault):
    """Cut members off from the master. Clients and other members still reach them."""

    most = 2

    def strike(self) -> None:
        for victim in self.victims:
            ways = [(self.links.master, victim), (victim, self.links.master)]
            for sender, receiver in self.dice.sample(ways, self.dice.randint(1, 2)):
                self.links.cut(sender, receiver)


class CutFromAll(LinkFault):
    """Cut a member off from all other servers. Its clients still reach it."""

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
# A fault that is named more often comes more often.
KILLS = (Kill, Kill, Kill, KillWhileSaving, SaveAndKill, ShutDown, Restart)
PROCESSES = (*KILLS, Hang, Hang, Hang, Hiccup, Remove, KillMaster, HangMaster)
CHECKPOINTS = (*KILLS, *KILLS, Tear, Tear, Tear, Hang, Hiccup, Remove, KillMaster)
DISKS = (*KILLS, KillAll, KillAll, Hang, Hang, Remove, KillMaster)
ETCD = (*PROCESSES, KillMaster, HangMaster, KillEtcd, KillEtcd, HangEtcd)
LINKS = (*CUTS, *CUTS, Slow, *PROCESSES)
