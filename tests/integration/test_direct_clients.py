# SPDX-License-Identifier: Apache-2.0
"""Direct clients (docs/decisions/0016): the member reads their PUTs and READs itself, and nobody can tell.

A client becomes direct by many of these requests in a row, and is the server's again with the first other one.
"""

import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from redis.connection import Connection

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import PATIENT, Error, Talk, Word, ask, info, member_number, paused, settled

MANY = 40  # more than a client needs to become direct
KINDS = ["put", "number", "del", "read", "get", "ping", "nonsense"]
Requests = Callable[[int], list[tuple[Word, ...]]]


def puts(count: int) -> list[tuple[Word, ...]]:
    return [("MEMBER.PUT", f"warm-{i}", "v", "me") for i in range(count)]


def reads(count: int) -> list[tuple[Word, ...]]:
    return [("READ", f"warm-{i}") for i in range(count)]


def become_direct(talk: Talk, requests: Requests = puts) -> None:
    server = talk.server
    assert isinstance(server, Server)
    made = member_number(server, "direct_clients_made")

    def ask_much() -> bool:
        talk.pipeline(requests(MANY))
        return member_number(server, "direct_clients_made") > made

    wait_until(ask_much, 20)
    assert member_number(server, "direct_clients") >= 1


def is_direct(server: Server) -> bool:
    return member_number(server, "direct_clients") > 0


@contextmanager
def direct(server: Server, requests: Requests = puts) -> Iterator[Talk]:
    with Talk(server) as talk:
        become_direct(talk, requests)
        yield talk


def bytes_of(*commands: tuple[Word, ...]) -> bytes:
    connection: Any = Connection
    return b"".join(connection().pack_commands(commands))


# ------------------------------------------------------------------------------------------------ the ordinary case


def test_requests_are_carried_out_without_the_server(chain: StartChain) -> None:
    only = chain(1).head
    with direct(only) as talk:
        before = member_number(only, "direct_requests")
        first = talk("MEMBER.PUT", "a", "1", "me")
        assert talk("MEMBER.PUT", "a", "2", "me") == first + 1
        assert talk("member.put", "b", "") == first + 2
        assert talk("READ", "a") == b"2"
        assert talk("read", "b") == b""
        assert talk("MEMBER.DEL", "a", "me") == first + 3
        assert talk("MEMBER.DEL", "a") == first + 4
        assert talk("READ", "a") is None
        assert member_number(only, "direct_requests") == before + 8
        assert is_direct(only)


def test_blocking_writes_of_a_chain(chain: StartChain) -> None:
    """A PUT without a client id is answered when it is committed. What the client sent behind it waits."""
    cluster = chain(3, master_config=PATIENT)
    with direct(cluster.head) as talk:
        with paused(cluster.tail):
            talk.send_all([("MEMBER.PUT", "k", "1"), ("MEMBER.PUT", "k", "2"), ("MEMBER.PUT", "k", "3", "me")])
            assert talk.is_silent()
        first = talk.receive()
        assert [talk.receive(), talk.receive()] == [first + 1, first + 2]
        assert is_direct(cluster.head)
    settled(cluster)
    assert ask(cluster.tail, "READ", "k") == b"3"


def test_blocking_writes_alone_make_a_client_direct(chain: StartChain) -> None:
    cluster = chain(2)
    with direct(cluster.head, lambda count: [("MEMBER.PUT", f"b-{i}", "v") for i in range(count)]) as talk:
        assert talk("MEMBER.PUT", "k", "v") >= MANY


def test_reads_of_a_tail(chain: StartChain) -> None:
    cluster = chain(2)
    with Talk(cluster.head) as writer:
        writer.pipeline([("MEMBER.PUT", f"warm-{i}", f"value {i}") for i in range(MANY)])
    with direct(cluster.tail, reads) as talk:
        assert talk("READ", "warm-7") == b"value 7"
        assert talk("READ", "nowhere") is None
        assert ask(cluster.head, "MEMBER.PUT", "warm-7", "new") > 0
        assert talk("READ", "warm-7") == b"new"
        assert is_direct(cluster.tail)


@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_cut_anywhere(chain: StartChain, seed: int) -> None:
    """Whatever is sent, in pieces of any size: the replies are those that a single server gives, in their order."""
    only = chain(1).head
    chance = random.Random(seed)
    keys = [f"k{i}" for i in range(4)]
    values: dict[str, bytes] = {}
    with direct(only) as talk:
        sn = talk("MEMBER.PUT", "k0", "", "me")
        values["k0"] = b""
        commands: list[tuple[Word, ...]] = []
        answers: list[object] = []
        for _ in range(400):
            key = chance.choice(keys)
            [what] = chance.choices(KINDS, [60, 60, 20, 60, 3, 3, 2])
            match what:
                case "put" | "number":
                    values[key] = chance.randbytes(chance.choice([0, 1, 13, 64, 1024, 1025, 20_000]))
                    sn += 1
                    commands.append(("MEMBER.PUT", key, values[key], *(["me"] if what == "number" else [])))
                    answers.append(sn)
                case "del":
                    values.pop(key, None)
                    sn += 1
                    commands.append(("MEMBER.DEL", key))
                    answers.append(sn)
                case "read" | "get":
                    commands.append((what.upper(), key))
                    answers.append(values.get(key))
                case "ping":
                    commands.append(("PING",))
                    answers.append(b"PONG")
                case "nonsense":
                    commands.append(("READ", key, "too", "many"))
                    answers.append("ERR wrong number of arguments for 'read' command")
        text = bytes_of(*commands)
        sent = 0
        while sent < len(text):
            size = chance.choice([1, 7, 100, 3000, 40_000])
            talk.send_bytes(text[sent : sent + size])
            sent += size
            if chance.random() < 0.2:
                time.sleep(0.001)
        assert [talk.receive() for _ in commands] == answers
        assert ask(only, "READ", "k0") == values.get("k0")


def test_replies_that_nobody_reads_for_a_while(chain: StartChain) -> None:
    """More replies than a socket takes wait in the member, which reads nothing more of that client until they left."""
    only = chain(1).head
    with direct(only) as talk:
        talk("MEMBER.PUT", "long", "x" * 15_000, "me")
        count = 2000
        talk.send_all([("READ", "long")] * count)
        assert ask(only, "PING") == b"PONG"
        assert [len(talk.receive()) for _ in range(count)] == [15_000] * count
        assert talk("MEMBER.PUT", "a", "b", "me") > 0


def test_a_value_that_is_longer_than_what_is_looked_at(chain: StartChain) -> None:
    only = chain(1).head
    with direct(only) as talk:
        assert talk("MEMBER.PUT", "long", "x" * 100_000, "me") > 0
        assert talk("READ", "long") == b"x" * 100_000
        assert not is_direct(only)


# ------------------------------------------------------------------------------------ what makes it the server's again


@pytest.mark.parametrize(("command", "answer"), [
    (("PING",), b"PONG"),
    (("GET", "warm-1"), b"v"),
    (("MEMBER.PUT", "a"), Error("ERR wrong number of arguments for 'member.put' command")),
    (("SELECT", "1"), b"OK"),
    (("SUBSCRIBE", "channel"), [b"subscribe", b"channel", 1]),
    (("CLIENT", "NO-EVICT", "ON"), b"OK"),
])  # fmt: skip
def test_another_command_is_the_servers(chain: StartChain, command: tuple[str, ...], answer: object) -> None:
    only = chain(1).head
    with direct(only) as talk:
        reply = talk(*command)
        assert reply == answer
        assert not is_direct(only)


def test_a_client_comes_and_goes(chain: StartChain) -> None:
    """Each time it needs more requests in a row, so that a client of many kinds of them is not moved all the time."""
    only = chain(1).head
    with direct(only) as talk:
        for round_ in range(1, 4):
            assert talk("PING") == b"PONG"
            assert talk.pipeline(puts(MANY))[-1] > 0
            become_direct(talk)
            assert member_number(only, "direct_clients_made") == round_ + 1


@pytest.mark.parametrize("before", [
    [("MULTI",)], [("SUBSCRIBE", "x")], [("SELECT", "1")], [("CLIENT", "REPLY", "OFF")], [("MONITOR",)],
    [("CLIENT", "TRACKING", "ON")],
], ids=str)  # fmt: skip
def test_who_does_more_than_that_stays_the_servers(chain: StartChain, before: list[tuple[str, ...]]) -> None:
    only = chain(1).head
    with socket.create_connection(("127.0.0.1", only.port)) as raw:
        raw.sendall(bytes_of(*before))
        for _ in range(30):
            raw.sendall(bytes_of(*puts(MANY)))
            time.sleep(0.01)
        assert member_number(only, "direct_clients_made") == 0


def test_a_skipped_reply_is_skipped(chain: StartChain) -> None:
    only = chain(1).head
    with direct(only) as talk:
        talk.send_all([("CLIENT", "REPLY", "SKIP"), ("MEMBER.PUT", "a", "1", "me"), ("READ", "a")])
        assert talk.receive() == b"1"


def test_resp3(chain: StartChain) -> None:
    only = chain(1).head
    with socket.create_connection(("127.0.0.1", only.port)) as raw, raw.makefile("rb") as stream:
        raw.settimeout(15)
        raw.sendall(bytes_of(("HELLO", "3"), ("ECHO", "end")))
        while stream.readline() != b"end\r\n":
            pass
        for _ in range(100):
            raw.sendall(bytes_of(*puts(MANY)))
            for _ in range(MANY):
                assert stream.readline().startswith(b":")
            if is_direct(only):
                break
        raw.sendall(bytes_of(("READ", "nowhere"), ("READ", "warm-1")))
        assert [stream.readline() for _ in range(3)] == [b"_\r\n", b"$1\r\n", b"v\r\n"]
        assert is_direct(only)


def test_users_change(chain: StartChain) -> None:
    """A right that was taken away is gone with the next request, and so is a client whose user is deleted."""
    only = chain(1).head
    assert ask(only, "ACL", "SETUSER", "writer", "on", "nopass", "~*", "&*", "+@all") == b"OK"
    with Talk(only) as talk, Talk(only) as admin:
        assert talk("AUTH", "writer", "x") == b"OK"
        become_direct(talk)
        assert admin("ACL", "SETUSER", "writer", "-member.put") == b"OK"
        assert talk("MEMBER.PUT", "a", "1", "me").startswith("NOPERM")
        assert admin("ACL", "SETUSER", "writer", "+member.put") == b"OK"
        become_direct(talk)
        assert admin.pipeline([("MULTI",), ("ACL", "SETUSER", "writer", "resetkeys", "~b*")]) == [b"OK", b"QUEUED"]
        become_direct(talk)
        assert admin("EXEC") == [b"OK"]
        assert talk("MEMBER.PUT", "a", "1", "me").startswith("NOPERM")
        assert talk("MEMBER.PUT", "b", "1", "me") > 0
        talk.pipeline([("MEMBER.PUT", "b", "1", "me")] * (100 * MANY))
        assert not is_direct(only)
        assert admin("ACL", "DELUSER", "writer") == 1
        with pytest.raises(redis.ConnectionError):
            talk("MEMBER.PUT", "b", "1", "me")


def test_paused_clients_wait(chain: StartChain) -> None:
    only = chain(1).head
    with direct(only) as talk:
        assert ask(only, "CLIENT", "PAUSE", "60000", "WRITE") == b"OK"
        talk.send("MEMBER.PUT", "a", "1", "me")
        assert talk.is_silent()
        assert ask(only, "CLIENT", "UNPAUSE") == b"OK"
        assert talk.receive() > 0


@pytest.mark.parametrize("setting", [("timeout", "1000"), ("maxmemory", "1gb"), ("member.direct-clients", "0")])
def test_settings_that_need_the_server(chain: StartChain, setting: tuple[str, str]) -> None:
    only = chain(1).head
    with direct(only) as talk:
        assert ask(only, "CONFIG", "SET", *setting) == b"OK"
        talk.pipeline(puts(10 * MANY))
        assert not is_direct(only)
        assert ask(only, "CONFIG", "SET", setting[0], "1000" if "direct" in setting[0] else "0") == b"OK"
        become_direct(talk)


def test_a_disk_that_fails_refuses_writes(chain: StartChain) -> None:
    """What Redis refuses because a snapshot failed, it refuses direct clients, too, within a tick."""
    only = chain(1, member_config={"save": "3600 1"}).head
    with direct(only) as talk:
        obstacle = only.folder / "dump.rdb"
        obstacle.mkdir()
        ask(only, "BGSAVE")
        wait_until(lambda: info(only, "persistence")["rdb_last_bgsave_status"] == "err", 20)
        wait_until(lambda: str(talk("MEMBER.PUT", "a", "1", "me")).startswith("MISCONF"), 20)
        obstacle.rmdir()
        ask(only, "BGSAVE")
        wait_until(lambda: info(only, "persistence")["rdb_last_bgsave_status"] == "ok", 20)
        become_direct(talk)


# ---------------------------------------------------------------------------------------------- chains and their ends


def test_a_head_that_is_one_no_more_refuses(chain: StartChain) -> None:
    cluster: Cluster = chain(2)
    with direct(cluster.head) as talk:
        assert ask(cluster.master, "MASTER.REMOVE", cluster.head.endpoint.host, cluster.head.port) == b"OK"
        assert str(talk("MEMBER.PUT", "a", "1", "me")).startswith(("MOVED", "ERR"))


def test_a_writer_whose_update_is_orphaned_hears_that_it_is_unknown(chain: StartChain) -> None:
    cluster: Cluster = chain(2, master_config=PATIENT, member_config={"member.write-timeout": "300"})
    with direct(cluster.head) as talk, paused(cluster.tail):
        talk.send_all([("MEMBER.PUT", "a", "1"), ("PING",)])
        assert talk.receive().startswith("UNKNOWN")
        assert talk.receive() == b"PONG"


def test_a_full_log_holds_direct_clients(chain: StartChain) -> None:
    """Nothing is refused that has room in time. What has none is the server's, which refuses it after the timeout."""
    cluster: Cluster = chain(2, master_config=PATIENT,
                             member_config={"member.log-limit": "1mb", "member.write-timeout": "2000"})
    commands = [("MEMBER.PUT", f"k{i}", "x" * 1000, "me") for i in range(2000)]
    with direct(cluster.head) as talk:
        with paused(cluster.tail):
            talk.send_all(commands)
            first = talk.receive()
            wait_until(lambda: member_number(cluster.head, "applied") > first + 800, 20)
        assert [talk.receive() for _ in commands[1:]] == list(range(first + 1, first + 2000))
        with paused(cluster.tail):
            talk.send_all(commands)
            answer = talk.receive()
            while isinstance(answer, int):
                answer = talk.receive()
            assert answer.startswith("ERR not written")


def test_requests_that_are_cut_by_segments(chain: StartChain) -> None:
    """The beginning of a request that stays in a socket does not close the window through which its end would come."""
    only = chain(1).head
    commands = [("MEMBER.PUT", f"k{i}", "x" * 1000, "me") for i in range(3000)]
    for _ in range(5):
        with direct(only) as talk:
            talk.send_all(commands)
            first = talk.receive()
            assert [talk.receive() for _ in commands[1:]] == list(range(first + 1, first + 3000))


def test_clients_that_leave(chain: StartChain) -> None:
    """Amid a request, with an answer due, killed by an operator, while a child has copies of all sockets."""
    cluster: Cluster = chain(2, master_config=PATIENT)
    head = cluster.head
    for how in ("close", "amid a request", "half", "kill", "due"):
        talk = Talk(head)
        become_direct(talk)
        ask(head, "BGSAVE")
        if how == "amid a request":
            talk.send_bytes(b"*3\r\n$10\r\nMEMBER.P")
        elif how == "half":
            talk.send_bytes(bytes_of(*puts(3)))
            talk._connection._sock.shutdown(socket.SHUT_WR)
            assert [talk.receive() > 0 for _ in range(3)] == [True] * 3
        elif how == "kill":
            assert ask(head, "CLIENT", "KILL", "TYPE", "normal") >= 1
            with pytest.raises(redis.ConnectionError):
                talk("PING")
        elif how == "due":
            with paused(cluster.tail):
                talk.send_all([("MEMBER.PUT", "a", "b")] * 3)
                talk.close()
        talk.close()
        wait_until(lambda: not is_direct(head), 20)
    assert ask(head, "MEMBER.PUT", "a", "b") > 0


def test_many_clients_at_once(chain: StartChain) -> None:
    cluster: Cluster = chain(2)
    talks = [Talk(cluster.head) for _ in range(300)]
    rounds = iter(range(1000))

    def write() -> int:
        this = next(rounds)
        for talk in talks:
            talk.send_all([("MEMBER.PUT", f"{id(talk)}-{i}", this, "me") for i in range(15)])
            talk.send("MEMBER.PUT", f"{id(talk)}", this)
        for talk in talks:
            numbers = [talk.receive() for _ in range(16)]
            assert numbers == sorted(set(numbers))
        return this

    wait_until(lambda: write() >= 0 and member_number(cluster.head, "direct_clients") > 100, 60)
    last = write()
    settled(cluster)
    assert [ask(cluster.tail, "READ", f"{id(talk)}") for talk in talks[:20]] == [b"%d" % last] * 20
    for talk in talks:
        talk.close()
    wait_until(lambda: not is_direct(cluster.head), 20)
