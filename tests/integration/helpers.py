# SPDX-License-Identifier: Apache-2.0
"""Helpers for tests with real servers: a connection that returns raw replies, and waits with a time limit."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any, Self

import psutil
import redis
from redis._parsers import _RESP2Parser
from redis.connection import Connection, SSLConnection

from certificates import Identity
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Endpoint, Kind, Member, View
from chainredis.transport.member_client import RedisLink
from chainredis.transport.member_state import MemberState
from chainredis.transport.settings import Credentials, Settings
from chainredis.transport.waiting import wait_until

Word = str | bytes | int
# With these settings the master keeps a member that a test has stopped: it waits longer than any test lasts.
PATIENT = {"master.lease": "60000", "master.heartbeat-timeout": "60000"}

OWN_RUN_ID = "f" * 40
KEEPER = "memory-keeper"  # the name of the process that keeps a server's memory


class Error(str):
    """An error reply with its first word, which names the kind of error (rule 6)."""

    __slots__ = ()


class _WholeErrors(_RESP2Parser):
    """A parser that keeps the first word of errors; redis-py removes the first words that it knows."""

    EXCEPTION_CLASSES: dict[str, Any] = {}  # noqa: RUF012 - as the base class declares it


class Talk:
    """One connection. A reply is bytes, an integer, None, a list of these, or an Error. Nothing is retried.

    timeout_s: the time limit of an answer, after which redis.TimeoutError is raised. redis.ConnectionError is raised
    when the server closes the connection. tls: the connection is encrypted, and this is the client's.
    """

    def __init__(self, server: Server | Endpoint, timeout_s: float = 15, tls: Identity | None = None) -> None:
        self.server = server
        endpoint = server if isinstance(server, Endpoint) else server.endpoint
        kind: Any = SSLConnection if tls else Connection
        connection: Any = kind(
            host=endpoint.host,
            port=endpoint.port,
            password=None if isinstance(server, Endpoint) else server.config.get("requirepass"),
            protocol=2,
            parser_class=_WholeErrors,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            **(tls.client if tls else {}),
            driver_info=None,  # else redis-py sends commands of its own first, and would wait for a server that hangs
        )
        connection.connect()
        self._connection = connection

    @classmethod
    def over(cls, server: Server, link: RedisLink) -> Self:
        """A Talk on an existing connection. Its parser is that of redis-py, which removes the first words of errors."""
        talk = cls.__new__(cls)
        talk.server, talk._connection = server, link._connection
        return talk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.disconnect()

    def __call__(self, *words: Word) -> Any:
        self.send(*words)
        return self.receive()

    def send(self, *words: Word) -> None:
        self._connection.send_command(*words, check_health=False)

    def send_all(self, commands: Sequence[Sequence[Word]]) -> None:
        self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)

    def send_bytes(self, junk: bytes) -> None:
        self._connection.send_packed_command([junk], check_health=False)

    def receive(self) -> Any:
        try:
            return _plain(self._connection.read_response(disable_decoding=True))
        except redis.ResponseError as error:
            return Error(error)

    def pipeline(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        self.send_all(commands)
        return [self.receive() for _ in commands]

    def is_silent(self, for_s: float = 0.2) -> bool:
        """Whether no answer comes for so many seconds: then the command is blocked."""
        return not self._connection.can_read(timeout=for_s)


def _plain(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_plain(item) for item in reply]
    return Error(reply) if isinstance(reply, redis.ResponseError) else reply


def ask(server: Server, *words: Word) -> Any:
    """Send one command on a new connection; returns the reply."""
    with Talk(server) as talk:
        return talk(*words)


def ask_removed(server: Server, *words: Word) -> Any:
    """Send one command that reads to a member in no view; returns its data, however old."""
    with Talk(server) as talk:
        assert talk("CONFIG", "SET", "member.serve-removed-data", "yes") == b"OK"
        reply = talk(*words)
        assert talk("CONFIG", "SET", "member.serve-removed-data", "no") == b"OK"
        return reply


# ------------------------------------------------------------------------------------------ reading states


def state(server: Server) -> MemberState:
    link = RedisLink(server.endpoint, _settings(server))
    try:
        return link.state()
    finally:
        link.close()


def info(server: Server, section: str) -> dict[str, str]:
    lines = ask(server, "INFO", section).decode().splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def member_number(server: Server, name: str) -> int:
    """An integer field of INFO member; `name` without the prefix `member_`."""
    return int(info(server, "member")[f"member_{name}"])


def stored_view(cluster: Cluster) -> View:
    """The newest view that the master has stored, with the secret."""
    configuration = cluster.stored()
    assert configuration
    return configuration.view


def proven(server: Server, view: View, own_run_id: str = OWN_RUN_ID) -> RedisLink:
    """A connection that has proved the chain's secret, as a master or as the member `own_run_id`."""
    link = RedisLink(server.endpoint, _settings(server, own_run_id))
    link.prove(view.secret, state(server).run_id)
    return link


def _settings(server: Server, own_run_id: str = OWN_RUN_ID) -> Settings:
    credentials = Credentials(password=server.config.get("requirepass", ""))
    return Settings(server.folder, own_run_id, server.port, credentials=lambda: credentials)


def become_chain(only: Server, kind: Kind = Kind.PUT) -> View:
    """Make the server a chain of one, without a master; returns its view."""
    itself = Member(only.endpoint.host, only.endpoint.host, only.port, state(only).run_id)
    view = View("ab" * 16, 1, (itself,), "cd" * 16, kind)
    assert ask(only, "CHAIN.ADOPT", *view.wire())[0] == b"ADOPTED"
    return view


def be_removed(only: Server, view: View) -> None:
    """Let the server adopt the next view, which has another member in its place."""
    other = Member(only.endpoint.host, only.endpoint.host, 1, OWN_RUN_ID)
    link = proven(only, view)
    try:
        reply = Talk.over(only, link)("CHAIN.ADOPT", *replace(view, epoch=view.epoch + 1, members=(other,)).wire())
        assert reply[0] == b"ADOPTED", reply
    finally:
        link.close()


def settled(cluster: Cluster, timeout_s: float = 30) -> int:
    """Wait until all members have applied the same sn and know it to be committed; returns that sn."""

    def agree() -> bool:
        states = [state(member) for member in cluster.members]
        return len({each.applied for each in states} | {each.committed for each in states}) == 1

    wait_until(agree, timeout_s)
    return state(cluster.tail).committed


def savers(server: Server) -> list[psutil.Process]:
    """The children that save the server's data."""
    return [child for child in psutil.Process(server.pid).children() if child.name() != KEEPER]


def chain_of(cluster: Cluster) -> list[Server]:
    """The servers that are in the chain by the master's present view, head first."""
    ports = [int(text.rpartition(b":")[2]) for text in ask(cluster.master, "MASTER.GET_CHAIN")]
    return [server for port in ports for server in cluster.servers if cluster.endpoint_of(server).port == port]


def serve(cluster: Cluster, members: Sequence[Server]) -> bool:
    """The stored epoch counts: all members may still serve in the view before it when the master tells the next one."""
    epoch = int(cluster.command("INFO", "master")["master_epoch"])  # of the stored view
    states = [state(member) for member in members]
    return all(each.serving and each.epoch == epoch for each in states)


def await_chain(cluster: Cluster, *members: Server, timeout_s: float = 20) -> None:
    """Wait until exactly these members are the chain, in this order, and serve. They become `cluster.members`."""
    wait_until(lambda: chain_of(cluster) == list(members) and serve(cluster, members), timeout_s)
    cluster.members[:] = members


def await_all(cluster: Cluster, count: int | None = None, *, timeout_s: float = 30) -> None:
    """Wait until so many servers, as many as `cluster.members` by default, are the chain, in whatever order, and serve.
    They become `cluster.members`. Until the last one serves, the order may change.
    """

    def are_back() -> bool:
        members = chain_of(cluster)
        return len(members) == (count or len(cluster.members)) and serve(cluster, members)

    wait_until(are_back, timeout_s)
    cluster.members[:] = chain_of(cluster)


def await_answer(ask_once: Callable[[], bool], answers: int = 1000) -> None:
    """Wait until `ask_once` returns True, for at most so many calls.

    The limit is a number of answers and not a time, because a busy machine gives fewer answers in the same time.
    """
    asked = 0

    def is_answered() -> bool:
        nonlocal asked
        asked += 1
        assert asked <= answers, f"not within {answers} answers"
        return ask_once()

    wait_until(is_answered, None)


def await_lifelines(cluster: Cluster) -> None:
    """Wait until the master holds a lifeline to each member: then it sees the end of each one's process."""
    fields = [f"master_member_{place}" for place in range(len(cluster.members))]
    wait_until(lambda: all(info(cluster.master, "master")[each].endswith("lifeline=held") for each in fields), 20)


def await_repair(cluster: Cluster, *gone: Server) -> None:
    """Wait until the master has repaired the chain, which then consists of the other members."""
    await_chain(cluster, *(member for member in cluster.members if member not in gone))


def each_dies_and_returns(cluster: Cluster) -> Iterator[str]:
    """A middle, the head and the tail are killed and come back by themselves, one after the other.

    Yields a name for the moment when the chain is without that member, and when it has that one again.
    """
    for victim in (cluster.members[1], cluster.head, cluster.tail):
        others = [member for member in cluster.members if member is not victim]
        victim.kill()
        await_repair(cluster, victim)
        yield f"without-{victim.port}"
        victim.start()
        await_chain(cluster, *others, victim)
        yield f"with-{victim.port}"


def assert_serves(cluster: Cluster, key: str = "does-it-serve") -> None:
    """Assert that the head acknowledges a write, and that every member then has it."""
    sn = ask(cluster.head, "MEMBER.PUT", key, "yes")
    assert isinstance(sn, int), sn
    assert ask(cluster.tail, "READ", key) == b"yes"
    for member in cluster.members:
        assert ask(member, "GET", key) == b"yes"
    assert settled(cluster) == sn


# ----------------------------------------------------------------------------------------- pauses and threads


@contextmanager
def unheld(server: Server, timeout_s: float = 15) -> Iterator[Talk]:
    """A connection whose replies are not held, as operators and masters use it."""
    with Talk(server, timeout_s) as talk:
        assert talk("MEMBER.UNHELD") == b"OK"
        yield talk


def await_written(*servers: Server) -> None:
    """Wait until Redis has written all of the append-only file. With `everysec` it writes nothing, for up to 2 s, while
    it syncs what it has written before.
    """
    for server in servers:
        with unheld(server) as talk:
            wait_until(lambda talk=talk: b"aof_buffer_length:0\r" in talk("INFO", "persistence"), 20)  # type: ignore[misc]


@contextmanager
def paused(server: Server) -> Iterator[None]:
    """Stop the server by SIGSTOP for the time of the block; updates that need this member are not committed."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


@contextmanager
def running(*jobs: Callable[[Event], Any], timeout_s: float = 60) -> Iterator[list[Future[Any]]]:
    """Run each job on a thread. At the end of the block all jobs are told to stop, and must succeed."""
    stop = Event()
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(job, stop) for job in jobs]
        try:
            yield futures
        finally:
            stop.set()
        for future in futures:
            future.result(timeout_s)
