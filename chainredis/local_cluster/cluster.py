# SPDX-License-Identifier: Apache-2.0
"""A master and a chain of members, for users (`make run`), tests and benchmarks. All of them are stopped at the end."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import redis

from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Endpoint
from chainredis.storage.view_store import stored_in
from chainredis.transport.tls import Tls

MASTER = "libmaster.so"
MEMBER = "libmember.so"


class Cluster:
    """A master and members, all on this machine. As a context manager it builds the chain, and stops it at the end.

    size: the number of members at the beginning. folder: None makes a temporary one, which is removed at the end.
    first_port: of the master, the members' ports follow; None picks free ones. commands: the members' member.commands.
    tls: all servers talk to each other with TLS. progress: is told each step, for people.
    servers: all of them, in the order in which they were started. members: in chain order, as far as `add` and `remove`
    made the chain. Errors are LauncherError.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        folder: Path | None = None,
        first_port: int | None = None,
        commands: str = "put",
        master_config: Mapping[str, str] | None = None,
        member_config: Mapping[str, str] | None = None,
        master_module: str = MASTER,
        member_module: str = MEMBER,
        tls: Tls | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="chainredis-") if folder is None else None
        self.folder = folder if folder is not None else Path(self._temporary.name if self._temporary else "")
        self._size = size
        self._first_port = first_port
        self._member_config = {"member.commands": commands, **(member_config or {})}
        self._member_module = member_module
        self.tls = tls
        self._progress = progress or (lambda _: None)
        self.servers: list[Server] = []
        self.master = self._new_server("master", master_module, master_config or {})
        self.masters = [self.master]
        self.members: list[Server] = []

    @property
    def head(self) -> Server:
        return self.members[0]

    @property
    def tail(self) -> Server:
        return self.members[-1]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the master and the members all at once, and make a chain of the members."""
        newcomers = [self._new_member({}) for _ in range(self._size)]
        self._progress(f"starting a master and {len(newcomers)} members")
        for server in self.servers:
            server.spawn()
        for server in self.servers:
            server.await_answer()
        for server in newcomers:
            self.add(server)

    def spare(self, **config: str) -> Server:
        """Start one more server with the members' module, and do not add it. `_` in a setting's name stands for `-`."""
        server = self._new_member({name.replace("_", "-"): value for name, value in config.items()})
        server.start()
        return server

    def grow(self) -> Server:
        """Start one more member and add it."""
        server = self.spare()
        self.add(server)
        return server

    def add(self, server: Server, *options: str) -> None:
        """MASTER.ADD; options: such as DISCARD."""
        endpoint = self.endpoint_of(server)
        self._progress(f"adding {endpoint} to the chain")
        self.command("MASTER.ADD", endpoint.host, endpoint.port, *options)
        self.members.append(server)

    def remove(self, server: Server) -> None:
        endpoint = self.endpoint_of(server)
        self.command("MASTER.REMOVE", endpoint.host, endpoint.port)
        self.members.remove(server)

    def endpoint_of(self, server: Server) -> Endpoint:
        """Where the other servers reach this one."""
        return server.link_endpoint

    def command(self, *words: str | int) -> Any:
        """The master's reply to a command. LauncherError if it is an error."""
        try:
            return self.master.call(*words)
        except redis.RedisError as error:
            raise LauncherError(f"{' '.join(map(str, words))}: {error}") from error

    def stored(self) -> Configuration | None:
        """The stored configuration, whether the master lives or not. StoreError if it cannot be read."""
        return stored_in(self.master.folder)

    def stop(self) -> None:
        """Stop all servers, whatever else fails."""
        with contextlib.ExitStack() as stack:
            if self._temporary:
                stack.callback(self._temporary.cleanup)
            for server in self.servers:
                stack.callback(server.kill)
            for server in self.servers:
                server.terminate()
            for server in self.servers:
                server.stop()

    def _new_member(self, config: Mapping[str, str]) -> Server:
        return self._new_server(f"member-{len(self.servers)}", self._member_module, {**self._member_config, **config})

    def _new_server(self, name: str, module: str, config: Mapping[str, str]) -> Server:
        port = self._first_port + len(self.servers) if self._first_port else None
        self.servers.append(self._make_server(self.folder / name, port, module, config))
        return self.servers[-1]

    def _make_server(self, folder: Path, port: int | None, module: str, config: Mapping[str, str]) -> Server:
        return Server(folder, port=port, modules=[module], config=config, tls=self.tls)
