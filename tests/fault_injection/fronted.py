"""A chain whose members are known to everybody by proxies: the network where namespaces are not permitted."""

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
    """Members and master are told apart, on the proxies, by what they prove."""

    def __init__(self, network: Network, *arguments: Any, **options: Any) -> None:
        self._network = network
        self._doors: dict[Server, Proxy] = {}
        self._run_ids: dict[int, str] = {}  # by process
        super().__init__(*arguments, **options)

    def door(self, server: Server) -> Proxy:
        if server not in self._doors:
            self._doors[server] = self._network.front(server.port)
        return self._doors[server]

    def endpoint_of(self, server: Server) -> Endpoint:
        self._run_id(server)
        return self.door(server).endpoint

    def cut(self, sender: Server, receiver: Server) -> None:
        """What the one says to the other is held. Nobody connects to the master: it has no door."""
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
        """Asked as long as it answers; one that never did has no connections that could be cut."""
        if server.pid not in self._run_ids:
            with suppress(redis.RedisError), Talk(server, ANSWER_S) as talk:
                found = re.search(rb"^run_id:(\w+)", talk("INFO", "server"), re.MULTILINE)
                assert found
                self._run_ids[server.pid] = found[1].decode()
        return self._run_ids.get(server.pid, "nobody")
