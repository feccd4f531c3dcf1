# SPDX-License-Identifier: Apache-2.0
"""etcd servers, and clusters whose masters and heartbeats are in etcd: for `make run ETCD=1` and tests."""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from chainredis.etcd.client import Access, Connection
from chainredis.etcd.url import parse_url
from chainredis.etcd.view_store import configuration_in
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.ports import HOST, free_port, is_free
from chainredis.local_cluster.process import LauncherError, Process
from chainredis.local_cluster.server import ROOT, START_TIMEOUT_S, Server
from chainredis.protocol.errors import EtcdAway, StoreError
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Endpoint
from chainredis.transport.waiting import WaitTimeout, wait_until

MASTER_IN_ETCD = "etcd/libetcd_master.so"
MEMBER_OF_ETCD = "libmember.so 1"
LEADER_TIMEOUT_S = 60
# The longest that a request may take goes with a lease of this length.
PATIENCE_S = 60


def etcd_program(name: str) -> Path:
    """`etcd` or `etcdctl`, in $CHAINREDIS_ETCD or where vendor/fetch-etcd puts it. LauncherError if it is missing."""
    path = Path(os.environ.get("CHAINREDIS_ETCD", ROOT / "vendor/etcd/bin")) / name
    if not path.is_file():
        raise LauncherError(f"{path} does not exist: vendor/fetch-etcd fetches it")
    return path


class EtcdServer(Process):
    """One server of an etcd.

    port: for clients; None picks a free one. peers: the names of all servers of this etcd, with the ports on which they
    talk to each other; this server's name is that of its folder. tls: the files for both sides of TLS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        peers: Mapping[str, int] | None = None,
        tls: Access | None = None,
    ) -> None:
        super().__init__(folder)
        self.port = port or free_port()
        self._peers = dict(peers or {folder.name: free_port()})
        self.access = replace(tls or Access(()), endpoints=(self.endpoint,))

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(HOST, self.port)

    def start(self) -> None:
        self.spawn()
        self.await_answer()

    def spawn(self) -> None:
        """Start without waiting; `await_answer` must follow."""
        if not is_free(self.port):
            raise LauncherError(f"port {self.port} is in use: end what uses it, or choose another one")
        clients = f"{'https' if self.access.ca else 'http'}://{HOST}:{self.port}"
        peer = f"http://{HOST}:{self._peers[self.folder.name]}"
        options = {
            "name": self.folder.name,
            "data-dir": str(self.folder.resolve() / "data"),
            "listen-client-urls": clients,
            "advertise-client-urls": clients,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(f"{name}=http://{HOST}:{port}" for name, port in self._peers.items()),
        }
        if self.access.ca:
            options |= {"client-cert-auth": "true", "trusted-ca-file": self.access.ca}
            options |= {"cert-file": self.access.cert, "key-file": self.access.key}
        self.launch([str(etcd_program("etcd")), *(f"--{name}={value}" for name, value in options.items())])

    def await_answer(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until this server and a majority of its etcd answer."""
        with closing(Connection(self.access, 1)) as connection:
            self.await_ready(lambda: _answers(connection), timeout_s)


def _answers(connection: Connection) -> bool:
    """Returns True also for a refusal, such as of a missing password."""
    try:
        connection.read("is-anybody-there")
    except EtcdAway:
        return False
    except StoreError:
        return True
    return True


def start_etcd(folder: Path, size: int) -> list[EtcdServer]:
    """An etcd of several servers. The caller stops them."""
    peers = {f"etcd-{number}": free_port() for number in range(size)}
    servers = [EtcdServer(folder / name, peers=peers) for name in peers]
    for server in servers:
        server.spawn()
    for server in servers:
        server.await_answer()
    return servers


class EtcdChain(Cluster):
    """A Cluster with its configuration in etcd: several masters, of which one leads, and members that send heartbeats.

    url: of the chain in an etcd that runs already. etcd: its servers, for tests. masters: how many. heartbeat:
    `interval timeout` of the members, in seconds.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        url: str,
        etcd: Sequence[EtcdServer] = (),
        masters: int = 1,
        heartbeat: str = "",
        **options: Any,
    ) -> None:
        self._master_module = f"{MASTER_IN_ETCD} {url}"
        member_module = f"{MEMBER_OF_ETCD} {heartbeat}"
        super().__init__(size, master_module=self._master_module, member_module=member_module, **options)
        self.url = url
        self.etcd = list(etcd)
        self._standbys = masters - 1

    def start(self) -> None:
        super().start()
        for number in range(self._standbys):
            self.masters.append(self._new_server(f"standby-{number + 1}", self._master_module, self.master.config))
            self.masters[-1].start()

    def add(self, server: Server, *options: str) -> None:
        super().add(server, *options)
        server.call("MEMBER.CONNECT_TO_MASTER", self.url)

    def command(self, *words: str | int) -> Any:
        """The reply of the master that leads. LauncherError if it is an error."""
        try:
            return self.leader().call(*words)
        except redis.RedisError as error:
            raise LauncherError(f"{' '.join(map(str, words))}: {error}") from error

    def stored(self) -> Configuration | None:
        url = parse_url(self.url)
        with closing(Connection(Access(url.endpoints), PATIENCE_S)) as connection:
            entry = connection.read(url.keys.view).entries.get(url.keys.view)
        return configuration_in(url.keys, entry.value) if entry else None

    def leader(self) -> Server:
        """The master that leads. LauncherError if none does in time."""
        found: list[Server] = []

        def is_found() -> bool:
            found[:] = [server for server in self.masters if server.running and _leads(server)]
            return bool(found)

        try:
            wait_until(is_found, LEADER_TIMEOUT_S)
        except WaitTimeout:
            raise LauncherError(f"no master leads:\n{self.master.log_tail()}") from None
        return found[0]


def _leads(server: Server) -> bool:
    """Returns True if the master says that it leads."""
    try:
        with server.client(timeout_s=1) as client:
            return bool(client.info("master").get("master_leads") == 1)
    except redis.RedisError:
        return False


def url_of(chain: str, *servers: EtcdServer) -> str:
    return f"{','.join(str(server.endpoint) for server in servers)}/{chain}"
