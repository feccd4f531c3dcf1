# SPDX-License-Identifier: Apache-2.0
"""A chain with a proxy before each member, for machines where network namespaces are not permitted."""

import re
from contextlib import suppress
from typing import Any

import redis

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Endpoint
from fault_injection.proxy import Network, Proxy, Way
from integration.helpers import Talk

ANSWER_S = 0.5


class FrontedCluster(Cluster):
    """A cluster behind proxies. The proxies tell members and master apart by the run_id in their proofs."""

    def __init__(self, network: Network, *arguments: Any, **options: Any) -> None:
        self._network = network
        self._doors: dict[Server, Proxy] = {}
        self._run_ids: dict[int, str] = {}  # by process id
        super().__init__(*arguments, **options)

    def door(self, server: Server) -> Proxy:
        if server not in self._doors:
            self._doors[server] = self._network.front(server.port)
        return self._doors[server]

    def endpoint_of(self, server: Server) -> Endpoint:
        self._run_id(server)
        return self.door(server).endpoint

    def cut(self, sender: Server, receiver: Server) -> None:
        """Hold what the sender sends to the receiver. The master has no proxy, because nobody connects to it."""
        if receiver is not self.master:
            self.door(receiver).cut(Way.IN, peer=self._run_id(sender))
        if sender is not self.master:
            self.door(sender).cut(Way.OUT, peer=self._run_id(receiver))

    def slow(self, server: Server) -> None:
        self.door(server).slow(delay_s=0.02, bytes_per_s=200_000)

    def heal_links(self) -> None:
        for door in self._doors.values():
            door.heal()

    def _run_id(self, server: Server) -> str:
        """The server's run_id, asked while it answers. A server that never answered has no connections to cut."""
        if server.pid not in self._run_ids:
            with suppress(redis.RedisError), Talk(server, ANSWER_S) as talk:
                found = re.search(rb"^run_id:(\w+)", talk("INFO", "server"), re.MULTILINE)
                assert found
                self._run_ids[server.pid] = found[1].decode()
        return self._run_ids.get(server.pid, "nobody")
