# SPDX-License-Identifier: Apache-2.0
"""Connections through the gate come and go as they do without it: limits, addresses, ends, and forked children."""

import contextlib
import resource
import socket
import struct
from pathlib import Path

import pytest
import redis

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.server import Server, module_path
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer
from integration.helpers import Error, Talk, ask, member_number, savers
from integration.test_gate_relay import GATE, connected, read_to_end, words
from processes import has_ended

MANY = 9000  # twice as many descriptors are below the usual hard limit of 20,000


def clients(server: Server) -> int:
    """How many clients Redis has but for the one that asks."""
    return int(ask(server, "CLIENT", "LIST").count(b"\n")) - 1


def descriptors(task: Path) -> set[str]:
    return {path.name for path in (task / "fd").iterdir()}


def is_loading(server: Server) -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return isinstance(ask(server, "GET", 1), Error)
    return False


def field_of(talk: Talk, name: str) -> str:
    lines = talk("INFO", "member").decode().splitlines()
    fields: dict[str, str] = dict(line.split(":", 1) for line in lines if ":" in line)
    return fields[f"member_{name}"]


def gate_threads(server: Server) -> list[Path]:
    """The threads of the server that have a table of descriptors of their own: it has an eventfd and two sockets."""
    process = Path(f"/proc/{server.pid}")
    while True:     # until the server's table is the same after the threads' tables were read as before
        main = descriptors(process)
        others = [task for task in (process / "task").iterdir() if descriptors(task) != main]
        if descriptors(process) == main:
            return others


@pytest.fixture
def one(server: StartServer) -> Server:
    return server(MEMBER, **GATE)


# ------------------------------------------------------------------------------------------------------- how they end


def test_quit(one: Server) -> None:
    with connected(one) as connection:
        connection.sendall(words("SET", "k", "v") + words("QUIT") + words("SET", "k", "after"))
        assert b"".join(read_to_end(connection)) == b"+OK\r\n+OK\r\n"
    assert ask(one, "GET", "k") == b"v"
    wait_until(lambda: member_number(one, "gate_clients") == 1, 10)


def test_a_protocol_error(one: Server) -> None:
    with connected(one) as connection:
        connection.sendall(words("PING") + b"*1\r\nnonsense\r\n")
        assert b"".join(read_to_end(connection)).startswith(b"+PONG\r\n-ERR Protocol error")


def test_a_half_closed_connection(one: Server) -> None:
    """Redis takes the end of what it can read for the end of the client, and replies to what came before."""
    with connected(one) as connection:
        connection.sendall(words("SET", "k", "v") * 1000)
        connection.shutdown(socket.SHUT_WR)
        assert set(b"".join(read_to_end(connection)).split(b"\r\n")) <= {b"+OK", b"", b"+O", b"+"}
    wait_until(lambda: ask(one, "GET", "k") == b"v" and clients(one) == 0, 10)


def test_a_client_that_sends_and_closes(one: Server) -> None:
    for _ in range(50):
        with connected(one) as connection:
            connection.sendall(words("INCR", "n") * 100)
    wait_until(lambda: ask(one, "GET", "n") == b"5000" and clients(one) == 0, 20)


def test_connections_that_are_reset(one: Server) -> None:
    for number in range(200):
        with connected(one) as connection:
            connection.sendall(words("SET", "k", "x" * 1000) * (number % 20) + words("GET", "k")[: number % 30])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: clients(one) == 0 and member_number(one, "gate_clients") == 1, 20)


def test_a_client_is_killed(one: Server) -> None:
    with Talk(one) as victim, Talk(one) as other:
        number = victim("CLIENT", "ID")
        assert other("CLIENT", "KILL", "ID", number) == 1
        with pytest.raises(redis.ConnectionError):
            victim.receive()
        assert other("PING") == b"PONG"


def test_addresses(one: Server) -> None:
    with connected(one) as connection, Talk(one) as other:
        address = "{}:{}".format(*connection.getsockname())
        wait_until(lambda: f"addr={address} laddr=127.0.0.1:{one.port} ".encode() in other("CLIENT", "LIST"), 10)
        assert other("CLIENT", "KILL", "ADDR", address) == 1
        assert connection.recv(1) == b""


def test_idle_clients_time_out(server: StartServer) -> None:
    one = server(MEMBER, **GATE, timeout="1")
    with connected(one) as connection:
        assert connection.recv(1) == b""


def test_more_clients_than_redis_takes(server: StartServer) -> None:
    one = server(MEMBER, **GATE, maxclients="10")
    with Talk(one) as first:
        wait_until(lambda: first("CLIENT", "LIST").count(b"\n") == 1, 10)  # those of the start have left
        talks = [Talk(one) for _ in range(9)]
        assert [talk("PING") for talk in talks] == [b"PONG"] * 9
        with connected(one) as refused:
            assert b"".join(read_to_end(refused)) == b"-ERR max number of clients reached\r\n"
        for talk in talks:
            talk.close()
        wait_until(lambda: first("CLIENT", "LIST").count(b"\n") == 1, 10)


def test_a_unix_socket(server: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "s"
    one = server(MEMBER, **GATE, unixsocket=str(path))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(words("SET", "k", "v") + words("GET", "k"))
        connection.shutdown(socket.SHUT_WR)
        assert b"".join(read_to_end(connection)) == b"+OK\r\n$1\r\nv\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(words("INCR", "n") * 10_000)
    wait_until(lambda: ask(one, "GET", "n") == b"10000" and clients(one) == 0, 10)


def test_a_server_that_shuts_down(one: Server) -> None:
    with Talk(one) as idle, Talk(one) as blocked, Talk(one) as last:
        assert idle("PING") == b"PONG"
        blocked.send("BLPOP", "nothing", 0)
        last.send("SHUTDOWN", "NOSAVE")
        for talk in (idle, blocked, last):
            with pytest.raises(redis.ConnectionError):
                talk.receive()
    wait_until(lambda: not one.running, 10)


# ------------------------------------------------------------------------------------------------------- descriptors


def test_thousands_of_idle_clients(one: Server) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * MANY + 100:
        pytest.skip("descriptors are limited")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets = [socket.create_connection((one.endpoint.host, one.port), 30) for _ in range(MANY)]
    try:
        wait_until(lambda: member_number(one, "gate_clients") >= MANY, 30)
        for connection in sockets:
            connection.sendall(b"PING\r\n")
        for connection in sockets:
            assert connection.recv(10) == b"+PONG\r\n"
        (gate,) = gate_threads(one)
        assert len(descriptors(Path(f"/proc/{one.pid}"))) < MANY + 100      # one each, as without a gate
        assert len(descriptors(gate)) < 2 * MANY + 100
    finally:
        for connection in sockets:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    wait_until(lambda: clients(one) == 0 and len(descriptors(gate)) < 100, 30)


@pytest.mark.parametrize("command", ["BGSAVE", "BGREWRITEAOF"])
def test_connections_end_with_a_server_that_is_killed_while_saving(server: StartServer, command: str) -> None:
    one = server(MEMBER, **GATE, rdb_key_save_delay=str(100 * 1_000_000))
    ask(one, "SET", "k", "v")
    with Talk(one) as talk:
        assert b"ackground" in talk(command)
        (child,) = savers(one)
        child.suspend()         # nor does the child's own end close them
        one.kill()
        with pytest.raises(redis.ConnectionError):
            talk.receive()
        wait_until(lambda: has_ended(child.pid), 5)


def test_clients_come_and_go_while_a_child_saves(server: StartServer) -> None:
    """The child has copies of the server's sockets, and keeps none of the clients' own open."""
    one = server(MEMBER, **GATE, rdb_key_save_delay=str(100 * 1_000_000))
    ask(one, "SET", "k", "v")
    with Talk(one) as before:
        assert before("PING") == b"PONG"
        assert b"ackground" in ask(one, "BGSAVE")
        assert before("GET", "k") == ask(one, "GET", "k") == b"v"
        for _ in range(20):
            ask(one, "PING")
        with Talk(one) as other:
            wait_until(lambda: b"gate_clients:2" in other("INFO", "member"), 10)
        assert before("QUIT") == b"OK"
        with pytest.raises(redis.ConnectionError):
            before.receive()
        assert ask(one, "INFO", "persistence").count(b"rdb_bgsave_in_progress:1") == 1


def test_clients_that_connect_while_the_server_loads(server: StartServer) -> None:
    one = server(MEMBER, **GATE, rdbcompression="no", loading_process_events_interval_bytes="1024")
    for number in range(100):
        ask(one, "SET", number, "x" * 1000)
    assert ask(one, "SAVE") == b"OK"
    one.stop()
    one.config["key-load-delay"] = "50000"
    one.spawn()
    wait_until(lambda: is_loading(one), 20)
    with Talk(one) as talk:
        assert talk("GET", 1).startswith("LOADING")
        assert talk("CONFIG", "SET", "key-load-delay", 0) == b"OK"
        wait_until(lambda: talk("GET", 1) == b"x" * 1000, 20)
        assert field_of(talk, "gate_clients") == "1"


def test_a_module_that_is_loaded_into_a_server_with_clients(server: StartServer) -> None:
    one = server(enable_module_command="yes")
    with Talk(one) as first, Talk(one) as loader:
        assert first("SET", "k", "v") == b"OK"
        assert loader("MODULE", "LOADEX", str(module_path(MEMBER)), "CONFIG", "member.commands", "all") == b"OK"
        assert (first("GET", "k"), loader("GET", "k")) == (b"v", b"v")
        assert field_of(first, "gate_clients") == "2"


# ------------------------------------------------------------------------------------------------- connections unheld


def test_a_connection_that_begins_unheld_leaves_the_gate(one: Server) -> None:
    with Talk(one) as talk:
        assert talk.pipeline([("MEMBER.UNHELD",), ("SET", "k", "v"), ("GET", "k")]) == [b"OK", b"OK", b"v"]
        assert member_number(one, "gate_handed_back") == 1
        assert member_number(one, "gate_unheld_clients") == 0
        assert b"laddr=127.0.0.1" in talk("CLIENT", "LIST")


def test_a_connection_that_logs_in_and_begins_unheld(server: StartServer) -> None:
    one = server(MEMBER, **GATE, requirepass="secret")
    with connected(one) as connection:
        request = words("AUTH", "secret") + words("member.unheld") + words("PING")
        for place in range(len(request)):
            connection.sendall(request[place : place + 1])
            if place > len(words("AUTH", "secret")):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.shutdown(socket.SHUT_WR)
        assert b"".join(read_to_end(connection)) == b"+OK\r\n+OK\r\n+PONG\r\n"
    with connected(one) as connection:
        connection.sendall(words("AUTH", "secret") + words("member.unheld"))
        assert connection.recv(10) == b"+OK\r\n+OK\r\n"
        assert member_number(one, "gate_handed_back") >= 1


def test_a_connection_becomes_unheld_later(one: Server) -> None:
    with Talk(one) as talk:
        assert talk("PING") == b"PONG"
        assert talk.pipeline([("MEMBER.UNHELD",), ("PING",), ("MEMBER.UNHELD",)]) == [b"OK", b"PONG", b"OK"]
        assert member_number(one, "gate_unheld_clients") == 1
        assert member_number(one, "gate_handed_back") == 0
    wait_until(lambda: member_number(one, "gate_unheld_clients") == 0, 10)


@pytest.mark.parametrize("first", [
    [("AUTH", "app", "wrong"), ("MEMBER.UNHELD",), ("PING",)],
    [("AUTH", "app", "pass"), ("MEMBER.UNHELD",), ("GET", "k")],
])  # fmt: skip
def test_who_may_not_goes_through_the_gate(one: Server, first: list[tuple[str, ...]]) -> None:
    ask(one, "SET", "k", "v")
    ask(one, "ACL", "SETUSER", "app", "on", ">pass", "+get", "+ping", "~*")
    ask(one, "ACL", "SETUSER", "default", "resetpass", ">x")
    with Talk(one) as talk:
        auth, unheld, last = talk.pipeline(first)
        assert isinstance(unheld, Error)
        assert auth == b"OK" or unheld.startswith("NOAUTH")
        assert last in (b"v", "NOAUTH Authentication required.")
        with Talk(one) as other:
            assert other("AUTH", "x") == b"OK"
            fields = dict(line.split(":", 1) for line in other("INFO", "member").decode().splitlines() if ":" in line)
        assert (fields["member_gate_handed_back"], fields["member_gate_clients"]) == ("0", "2")


def test_unheld_while_a_script_runs(one: Server) -> None:
    """A master must get in while the server is busy."""
    ask(one, "CONFIG", "SET", "busy-reply-threshold", "50")
    with Talk(one) as busy, Talk(one) as master:
        busy.send("EVAL", "while true do end", 0)
        wait_until(lambda: isinstance(ask(one, "GET", "k"), Error), 10)
        assert master("MEMBER.UNHELD") == b"OK"
        assert master("SCRIPT", "KILL") == b"OK"
        assert isinstance(busy.receive(), Error)
    assert member_number(one, "gate_handed_back") == 1


def test_no_gate_where_none_is_wanted(server: StartServer) -> None:
    for config in ({}, {"member.commands": "all", "member.gate": "no"}):
        one = server(MEMBER, **config)
        assert member_number(one, "gate") == 0
        assert ask(one, "MEMBER.UNHELD") == b"OK"
        assert gate_threads(one) == []
