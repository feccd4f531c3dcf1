# SPDX-License-Identifier: Apache-2.0
"""The measured systems: chains of three and of one; Redis alone, in a chain of replicas, and with two replicas.

All run at the same time, without persistence, and with the same data. Only the two that are compared have work.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil

from chainredis.benchmarks.load import KEYS, VALUE, key
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import WaitTimeout, wait_until

MIB = 1024 * 1024
CATCH_UP_TIMEOUT_S = 300
CATCH_UP_POLL_S = 0.001
AT_ONCE = 5_000  # commands in a pipeline while filling
# Every key is written twice, so that the backlog of a chain is full.
FILLS = 2
# Redis gives freed memory back to the system over some seconds.
CALM_INTERVAL_S = 2.0
CALM_CHANGE_MIB = 0.25
CALM_TIMEOUT_S = 60


@dataclass(frozen=True)
class Systems:
    """chain: of three members. any_command: of three members, for all commands. replica_chain: A←B←C. replicated: a
    primary, then its two replicas.
    """

    plain: Server
    singleton: Cluster
    chain: Cluster
    any_command: Cluster
    replica_chain: Sequence[Server]
    replicated: Sequence[Server]


@contextlib.contextmanager
def running_systems(progress: Callable[[str], None]) -> Iterator[Systems]:
    """All systems, filled with data. LauncherError if that fails."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chainredis-bench-")))

        def redis_servers(*names: str) -> list[Server]:
            servers = [Server(folder / name, config={"repl-diskless-sync-delay": "0"}) for name in names]
            for server in servers:
                stack.callback(server.stop)
                server.start()
            return servers

        progress("starting plain Redis, and two groups of replicas")
        (plain,) = redis_servers("plain")
        first, second, third = redis_servers("A", "B", "C")
        primary, *replicas = redis_servers("primary", "replica-1", "replica-2")
        follow(second, first)
        follow(third, second)
        for replica in replicas:
            follow(replica, primary)
        singleton, chain, any_command = (
            stack.enter_context(Cluster(size, folder=folder / name, commands=commands, progress=progress))
            for name, size, commands in (("one", 1, "put"), ("three", 3, "put"), ("any-command", 3, "all"))
        )
        systems = Systems(plain, singleton, chain, any_command, [first, second, third], [primary, *replicas])
        progress(f"filling all of them with {KEYS:,} keys")
        _fill_all(systems)
        yield systems


def follow(replica: Server, primary: Server) -> None:
    """Make a server a replica. Returns when it has a full copy."""
    replica.call("REPLICAOF", HOST, primary.port)
    wait_until(lambda: _replication(replica).get("master_link_status") == "up", CATCH_UP_TIMEOUT_S)


def _replication(server: Server) -> dict[str, Any]:
    with server.client() as client:
        return cast("dict[str, Any]", client.info("replication"))


# ------------------------------------------------------------------------------------------------ filling

def _fill_all(systems: Systems) -> None:
    for server in (systems.plain, systems.replica_chain[0], systems.replicated[0]):
        fill(server, "SET", VALUE)
    fill(systems.any_command.head, "SET", VALUE)
    for cluster in (systems.singleton, systems.chain):
        fill(cluster.head, "MEMBER.PUT", VALUE, "bench")
    await_replica(systems.replica_chain[0], systems.replica_chain[-1])
    for replica in systems.replicated[1:]:
        await_replica(systems.replicated[0], replica)
    await_tail(systems.chain)
    for server in (
        systems.plain, *systems.replica_chain, *systems.replicated, *systems.singleton.members, *systems.chain.members,
        *systems.any_command.members,
    ):  # fmt: skip
        if (keys := server.call("DBSIZE")) != KEYS:
            raise LauncherError(f"{server} has {keys} keys after filling, not {KEYS}")


def fill(server: Server, *command: str, keys: int = KEYS, times: int = FILLS) -> None:
    """command: the command's name, then the value, then further arguments."""
    name, *rest = command
    with server.client() as client:
        for start in range(0, times * keys, AT_ONCE):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(start + AT_ONCE, times * keys)):
                pipeline.execute_command(name, key(number % keys), *rest)
            pipeline.execute()


# ------------------------------------------------------------------------------------------- until all have it

def await_tail(cluster: Cluster) -> None:
    """Wait until the tail has applied all that the head has now."""
    target = cluster.head.call("MEMBER.SN")
    with cluster.tail.client() as client:
        wait_until(lambda: client.execute_command("MEMBER.SN") >= target, CATCH_UP_TIMEOUT_S, CATCH_UP_POLL_S)


def await_replica(primary: Server, replica: Server) -> None:
    """Wait until the replica has applied all that the primary has now."""
    target = _replication(primary)["master_repl_offset"]
    with replica.client() as client:
        wait_until(
            lambda: client.info("replication")["slave_repl_offset"] >= target, CATCH_UP_TIMEOUT_S, CATCH_UP_POLL_S
        )


# ------------------------------------------------------------------------------------------------- memory

def backlog_limit_mib(member: Server) -> float:
    return int(member.call("CONFIG", "GET", "member.backlog-limit")[1]) / MIB


def idle_memory_mib(servers: Sequence[Server]) -> float:
    """The largest resident set of the servers, once it does not change any more."""
    last = [0.0]

    def calm() -> bool:
        last.append(max(psutil.Process(server.pid).memory_info().rss / MIB for server in servers))
        return abs(last[-1] - last[-2]) < CALM_CHANGE_MIB

    try:
        wait_until(calm, CALM_TIMEOUT_S, CALM_INTERVAL_S)
    except WaitTimeout as error:
        raise LauncherError(f"the memory of {servers} does not come to rest") from error
    return last[-1]
