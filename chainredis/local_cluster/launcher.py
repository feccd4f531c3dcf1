"""Starts real servers and chains of them, for users (`make run`) and tests alike, and always stops what it started.

Servers are started from the main thread: they are killed when the thread that started them ends, so that they do not
outlive a launcher that was itself killed.
"""

import contextlib
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Endpoint
from chainredis.storage.view_store import stored_in
from chainredis.transport.waiting import WaitTimeout, wait_until

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
MASTER = "libmaster.so"
MEMBER = "libmember.so"

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
ADD_TIMEOUT_S = 600

BELOW_EPHEMERAL = range(10_000, 32_768)

# What a log has only when something went wrong in the server's own code.
COMPLAINTS = (
    "BUG REPORT START", "broken invariant", "Exception ignored", "Traceback (most recent call last)", "Sanitizer:",
    "runtime error:",
)  # fmt: skip


class LauncherError(Exception):
    """A server could not be started, or the chain not be built. The text says why."""


def server_path() -> Path:
    """$CHAINREDIS_SERVER, or the server that vendor/ built. LauncherError when there is none."""
    return _existing(os.environ.get("CHAINREDIS_SERVER"), ROOT / "vendor/redis/src/redis-server")


def module_path(name: str) -> Path:
    """A module in $CHAINREDIS_MODULES, or in build/src. LauncherError when there is none."""
    folder = os.environ.get("CHAINREDIS_MODULES")
    return _existing(folder and str(Path(folder, name)), ROOT / "build/src" / name)


def _existing(chosen: str | None, usual: Path) -> Path:
    path = Path(chosen).resolve() if chosen else usual
    if not path.is_file():
        raise LauncherError(f"{path} does not exist: `make` builds it")
    return path


class Process:
    """A program with a folder of its own, which holds its log. All of its errors are LauncherError."""

    def __init__(self, folder: Path, *, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self._prefix = list(prefix)
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_end = False

    def __repr__(self) -> str:
        return self.folder.name

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LauncherError(f"{self.folder.name} was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        return self.folder / "log"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    def complaints(self) -> list[str]:
        """What a healthy server never shows: a crash, a lost exception, a sanitizer's finding, an end by itself."""
        found = [line for line in self.log().splitlines() if any(complaint in line for complaint in COMPLAINTS)]
        status = self._process.poll() if self._process else None
        if status and not self._told_to_end:
            found.append(f"{self} ended by itself with status {status}")
        return found

    def launch(self, command: Sequence[str]) -> None:
        """Not in our process group: Ctrl-C is for us, and we stop everything in order."""
        if self.running:
            raise LauncherError(f"{self} is running")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._told_to_end = False
        with self.log_path.open("ab") as log:
            words = [*_die_with_parent(), *self._prefix, *command]
            self._process = subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=log, process_group=0)

    def await_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        def ready() -> bool:
            if not self.running:
                raise LauncherError(f"{self} ended while starting:\n{self.log_tail()}")
            return is_ready()

        try:
            wait_until(ready, timeout_s)
        except WaitTimeout:
            raise LauncherError(f"{self} does not answer:\n{self.log_tail()}") from None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM, as an operator would; SIGKILL when that does not end it in time. No error when it has ended."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._wait(timeout_s)
        self.kill()

    def terminate(self) -> None:
        """SIGTERM, to a paused one too; does not wait."""
        self._told_to_end = self._told_to_end or self.running
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for its end. No error when it has ended."""
        self._told_to_end = self._told_to_end or self.running
        self.signal(signal.SIGKILL)
        self._wait(STOP_TIMEOUT_S)

    def pause(self) -> None:
        """SIGSTOP: connected but silent, like a server that hangs."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """No error when it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self, timeout_s: float) -> None:
        if self._process is not None:
            self._process.wait(timeout_s)


class Server(Process):
    """One redis-server, with a folder of its own that holds its redis.conf, its data and its log.

    port: None picks a free one. modules: such as `MEMBER` or "libmember.so 0 3 15", from `module_path`. config: more
    lines of redis.conf, by name. host: where it listens. prefix: words before its command, to run it elsewhere. All of
    its errors are LauncherError.
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
    ) -> None:
        super().__init__(folder, prefix=prefix)
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

    # ------------------------------------------------------------------------------------------ life and death

    def start(self) -> None:
        """Start it, on the same port as before if it ran before, and wait until it answers."""
        self.spawn()
        self.await_answer()

    def spawn(self) -> None:
        """Start it without waiting; `await_answer` must follow."""
        if self.running:
            raise LauncherError(f"{self} is running")
        if self._fixed_port and not is_free(self._fixed_port):
            raise LauncherError(f"port {self._fixed_port} is in use: end what uses it, or choose another one")
        self._port = self._port or free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        conf = self.folder / "redis.conf"
        conf.write_text(self._conf())
        self.launch([str(server_path()), str(conf)])

    def await_answer(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until it answers PING, its data loaded."""
        with self.client() as client:
            self.await_ready(lambda: self._answers(client), timeout_s)

    def client(self, *, timeout_s: float = 30, decode_responses: bool = False) -> redis.Redis:
        """A client that never tries again, and waits up to `timeout_s` for an answer."""
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
        """One command on a connection of its own: its reply, or the redis.RedisError that it is."""
        with self.client(timeout_s=ADD_TIMEOUT_S) as client:
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
            **self.config,
        }
        lines = [f"{name} {_quoted(value)}" for name, value in settings.items()]
        for module in self.modules:
            name, *arguments = shlex.split(module)
            lines.append(" ".join(["loadmodule", _quoted(str(module_path(name))), *map(_quoted, arguments)]))
        return "\n".join(lines) + "\n"


class Cluster:
    """A master and members, all on this machine. As a context manager it builds the chain, and stops it at the end.

    size: members to begin with. folder: None makes a temporary one, removed at the end. first_port: of the master, the
    members' follow; None picks free ones. progress: told of each step, for people. Errors are LauncherError.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        folder: Path | None = None,
        first_port: int | None = None,
        master_config: Mapping[str, str] | None = None,
        member_config: Mapping[str, str] | None = None,
        master_module: str = MASTER,
        member_module: str = MEMBER,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="chainredis-") if folder is None else None
        self.folder = folder if folder is not None else Path(self._temporary.name if self._temporary else "")
        self._size = size
        self._first_port = first_port
        self._member_config = dict(member_config or {})
        self._member_module = member_module
        self._progress = progress or (lambda _: None)
        self.servers: list[Server] = []  # in the order in which they were started
        self.master = self._new_server("master", master_module, master_config or {})
        self.masters = [self.master]
        self.members: list[Server] = []  # in chain order, as far as `add` and `remove` made it

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
        """Start the master and the members, all at once, and make a chain of them."""
        newcomers = [self._new_member({}) for _ in range(self._size)]
        self._progress(f"starting a master and {len(newcomers)} members")
        for server in self.servers:
            server.spawn()
        for server in self.servers:
            server.await_answer()
        for server in newcomers:
            self.add(server)

    def spare(self, **config: str) -> Server:
        """One more server with the members' module, started, and not in the chain. `_` in names stands for `-`."""
        server = self._new_member({name.replace("_", "-"): value for name, value in config.items()})
        server.start()
        return server

    def grow(self) -> Server:
        """One more member, started and added."""
        server = self.spare()
        self.add(server)
        return server

    def add(self, server: Server, *options: str) -> None:
        endpoint = self.endpoint_of(server)
        self._progress(f"adding {endpoint} to the chain")
        self.command("MASTER.ADD", endpoint.host, endpoint.port, *options)
        self.members.append(server)

    def remove(self, server: Server) -> None:
        endpoint = self.endpoint_of(server)
        self.command("MASTER.REMOVE", endpoint.host, endpoint.port)
        self.members.remove(server)

    def endpoint_of(self, server: Server) -> Endpoint:
        """Where the others and clients reach it."""
        return server.endpoint

    def command(self, *words: str | int) -> Any:
        """Have the master carry out a command. Its reply; LauncherError when it is an error."""
        try:
            return self.master.call(*words)
        except redis.RedisError as error:
            raise LauncherError(f"{' '.join(map(str, words))}: {error}") from error

    def stored(self) -> Configuration | None:
        """What has been decided last, whether the master lives or not. StoreError when that cannot be read."""
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
        return Server(folder, port=port, modules=[module], config=config)


def _die_with_parent() -> list[str]:
    """The words before a command that make the kernel kill it with us; none where the tool is missing."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def free_port() -> int:
    """Not one that binding port 0 finds: those go to outgoing connections too, while a server is being restarted.

    Worse, a member that keeps trying such a port of a dead neighbour connects to itself at last.
    """
    for port in random.sample(BELOW_EPHEMERAL, 100):
        if is_free(port):
            return port
    raise LauncherError("no free port found")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _quoted(value: str) -> str:
    """As redis.conf wants it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
