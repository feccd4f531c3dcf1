# SPDX-License-Identifier: Apache-2.0
"""One redis-server, with its configuration and modules."""

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chainredis.local_cluster.ports import HOST, free_port, is_free
from chainredis.local_cluster.process import LauncherError, Process
from chainredis.protocol.view import Endpoint
from chainredis.transport.tls import Tls

ROOT = Path(__file__).parents[2]
INSTALLED = Path(__file__).parents[1] / "modules"  # of a package that was installed, and of no clone
START_TIMEOUT_S = 60
CALL_TIMEOUT_S = 600  # MASTER.ADD copies all data


def server_path() -> Path:
    """$CHAINREDIS_SERVER, or the server that was built in vendor/; of an installed package, the one on the path.
    LauncherError if there is none.
    """
    usual = ROOT / "vendor/redis/src/redis-server"
    if INSTALLED.is_dir():
        usual = Path(shutil.which("redis-server") or "redis-server")
    return _existing(os.environ.get("CHAINREDIS_SERVER"), usual, "name a redis-server in CHAINREDIS_SERVER")


def module_path(name: str) -> Path:
    """A module in $CHAINREDIS_MODULES, in the installed package, or in build/src. LauncherError if there is none.

    name: as in build/src, such as "libmember.so".
    """
    folder = os.environ.get("CHAINREDIS_MODULES")
    usual = INSTALLED / Path(name).name if INSTALLED.is_dir() else ROOT / "build/src" / name
    return _existing(folder and str(Path(folder, name)), usual, "install the package again")


def _existing(chosen: str | None, usual: Path, remedy: str) -> Path:
    """remedy: for a package that was installed."""
    path = Path(chosen).resolve() if chosen else usual
    if not path.is_file():
        raise LauncherError(f"{path} does not exist: {remedy if INSTALLED.is_dir() else '`make` builds it'}")
    return path


class Server(Process):
    """One redis-server, with a folder of its own that holds its redis.conf, its data and its log.

    port: None picks a free one. modules: names and arguments, such as "libmember.so 0 3 15". config: more lines of
    redis.conf, by name. host: where it listens. prefix: as in Process. tls: the server has a port with TLS, too, on
    which servers of its chain talk to it. All errors are LauncherError.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        modules: Sequence[str] = (),
        config: Mapping[str, str] | None = None,
        host: str = HOST,
        prefix: Sequence[str] = (),
        tls: Tls | None = None,
    ) -> None:
        super().__init__(folder, prefix=prefix)
        self.tls = tls
        self._tls_port = 0
        self.modules = list(modules)
        self.config = dict(config or {})
        self._host = host
        self._fixed_port = port
        self._port = port or 0

    def __repr__(self) -> str:
        return f"{self.folder.name} ({self.endpoint})"

    @property
    def port(self) -> int:
        return self._port

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self._host, self._port)

    @property
    def link_endpoint(self) -> Endpoint:
        """Where servers of its chain reach it."""
        return Endpoint(self._host, self._tls_port if self.tls else self._port)

    # ------------------------------------------------------------------------------------------ life and death

    def start(self) -> None:
        """Start the server, on the same port as before if it ran before, and wait until it answers."""
        self.spawn()
        self.await_answer()

    def spawn(self) -> None:
        """Start the server without waiting; `await_answer` must follow."""
        if self.running:
            raise LauncherError(f"{self} is running")
        if self._fixed_port and not is_free(self._fixed_port):
            raise LauncherError(f"port {self._fixed_port} is in use: end what uses it, or choose another one")
        self._port = self._port or free_port()
        self._tls_port = self._tls_port or (free_port() if self.tls else 0)
        self.folder.mkdir(parents=True, exist_ok=True)
        conf = self.folder / "redis.conf"
        conf.write_text(self._conf())
        self.launch([str(server_path()), str(conf)])

    def await_answer(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the server has loaded its data and answers PING."""
        with self.client() as client:
            self.await_ready(lambda: self._answers(client), timeout_s)

    def client(self, *, timeout_s: float = 30, decode_responses: bool = False) -> redis.Redis:
        """A client that never repeats a command, and waits up to `timeout_s` seconds for an answer."""
        return redis.Redis(
            self._host,
            self._port,
            password=self.config.get("requirepass"),
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=decode_responses,
        )

    def call(self, *words: str | bytes | int) -> Any:
        """The reply to one command, on a connection of its own. Error replies are redis.RedisError."""
        with self.client(timeout_s=CALL_TIMEOUT_S) as client:
            return client.execute_command(*words)

    def _answers(self, client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def _conf(self) -> str:
        settings: dict[str, str] = {
            "port": str(self._port),
            "bind": self._host,
            "dir": str(self.folder.resolve()),
            "daemonize": "no",
            "save": "",
            **self._tls_conf(),
            **self.config,
        }
        lines = [f"{name} {_quoted(value)}" for name, value in settings.items()]
        for module in self.modules:
            name, *arguments = shlex.split(module)
            lines.append(" ".join(["loadmodule", _quoted(str(module_path(name))), *map(_quoted, arguments)]))
        return "\n".join(lines) + "\n"

    def _tls_conf(self) -> dict[str, str]:
        if not self.tls:
            return {}
        return {
            "tls-port": str(self._tls_port),
            "tls-replication": "yes",
            "tls-ca-cert-file": self.tls.ca,
            "tls-cert-file": self.tls.cert,
            "tls-key-file": self.tls.key,
        }


def _quoted(value: str) -> str:
    """The value with the quotes of redis.conf."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
