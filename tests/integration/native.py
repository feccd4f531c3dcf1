# SPDX-License-Identifier: Apache-2.0
"""A plain server with native replicas, of the shape of a Cluster: tests that are meant for a chain run on it, too."""

from pathlib import Path

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until

AT_ONCE = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"}


class Replicated:
    """A primary and its replicas. What the replicas have may be behind; nothing is linearizable."""

    def __init__(self, size: int, folder: Path, config: dict[str, str]) -> None:
        self.servers = [Server(folder / f"server-{number}", config={**AT_ONCE, **config}) for number in range(size)]
        self.members = list(self.servers)

    @property
    def head(self) -> Server:
        return self.members[0]

    @property
    def tail(self) -> Server:
        return self.members[-1]

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for replica in self.servers[1:]:
            replica.call("REPLICAOF", "127.0.0.1", self.head.port)
        wait_until(lambda: self.head.call("INFO", "replication")["connected_slaves"] == len(self.servers) - 1, 20)
        self.head.call("WAIT", len(self.servers) - 1, 20_000)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
