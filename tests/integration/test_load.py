# SPDX-License-Identifier: Apache-2.0
"""Many clients, long pipelines, slow members, saving under load: bounded memory and true answers (rules 6 and 9)."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from time import monotonic, sleep

import pytest
import redis

from chainredis.local_cluster.cluster import MASTER, MEMBER, Cluster
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import Server, module_path
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import (
    PATIENT,
    Error,
    Talk,
    ask,
    assert_serves,
    await_repair,
    info,
    member_number,
    paused,
    running,
    settled,
    state,
)

MIB = 1 << 20


# ----------------------------------------------------------------------------- many clients, long pipelines


def test_1_000_clients(chain: StartChain) -> None:
    """All are connected and blocked at the same time, and each gets an sn of its own."""
    cluster = chain(3, master_config=PATIENT)
    with ExitStack() as stack:
        clients = [stack.enter_context(Talk(cluster.head, 60)) for _ in range(1_000)]
        with paused(cluster.tail):
            for number, client in enumerate(clients):
                client.send("MEMBER.PUT", f"key-{number}", number)
            wait_until(lambda: state(cluster.head).applied == 999, 30)
            assert state(cluster.head).committed == -1
        assert sorted(client.receive() for client in clients) == list(range(1_000))
        readers = [stack.enter_context(Talk(cluster.tail)) for _ in range(1_000)]
        for number, reader in enumerate(readers):
            reader.send("READ", f"key-{number}")
        assert [reader.receive() for reader in readers] == [b"%d" % number for number in range(1_000)]
    assert_serves(cluster)


def test_1_000_clients_that_leave_while_they_are_blocked(chain: StartChain) -> None:
    cluster = chain(2, master_config=PATIENT)
    with paused(cluster.tail):
        with ExitStack() as stack:
            clients = [stack.enter_context(Talk(cluster.head)) for _ in range(1_000)]
            for number, client in enumerate(clients):
                client.send("MEMBER.PUT", f"key-{number}", number)
            wait_until(lambda: state(cluster.head).applied == 999, 30)
        wait_until(lambda: info(cluster.head, "clients")["blocked_clients"] == "1", 30)  # the master's watch
    assert settled(cluster) == 999
    assert_serves(cluster)


@pytest.mark.parametrize("form", [("me",), ()], ids=["at-once", "blocking"])
def test_pipelining(chain: StartChain, form: tuple[str, ...]) -> None:
    """Thousands of commands in one write. A blocking PUT delays only later commands of the same connection."""
    cluster = chain(3)
    depth = 20_000 if form else 2_000
    with Talk(cluster.head, 60) as talk, Talk(cluster.head) as other:
        talk.send_all([("MEMBER.PUT", f"key-{number % 100}", number, *form) for number in range(depth)])
        assert isinstance(other("MEMBER.PUT", "other", "x"), int)
        sns = [talk.receive() for _ in range(depth)]
    assert sns == sorted(set(sns))
    assert settled(cluster) == depth
    assert ask(cluster.tail, "READ", "key-99") == b"%d" % (depth - 1)


def test_a_pipeline_of_everything(chain: StartChain) -> None:
    """Blocking and other commands with errors in between: the replies come in the order of the commands."""
    cluster = chain(2)
    with Talk(cluster.head) as talk:
        replies = talk.pipeline([
            ("MEMBER.PUT", "a", 1), ("MEMBER.PUT", "a", 2, "me"), ("MEMBER.PUT",), ("MEMBER.WAIT", 1), ("READ", "a"),
            ("GET", "a"), ("MEMBER.DEL", "a"), ("GET", "a"), ("SET", "a", 3), ("MEMBER.WAIT", 99, 50), ("MEMBER.SN",),
        ])  # fmt: skip
    assert [reply for reply in replies if not isinstance(reply, Error)] == [0, 1, 1, b"2", 2, None, 2]
    kinds = [reply.split()[0] for reply in replies if isinstance(reply, Error)]
    assert kinds == ["ERR", "MOVED", "ERR", "ERR"]


# --------------------------------------------------------------------------------------------- back-pressure


def flood(server: Server, count: int, value: bytes) -> list[int | Error]:
    """Send `count` puts with a client id in one pipeline; returns all replies."""
    with Talk(server, 60) as talk:
        for start in range(0, count, 100):
            talk.send_all([("MEMBER.PUT", f"key-{number % 50}", value, "me") for number in range(start, start + 100)])
        return [talk.receive() for _ in range(count)]


def memory_without_clients(server: Server) -> int:
    """The server's memory in bytes, without the query buffers of clients, for which Redis has limits."""
    with Talk(server) as talk:
        talk.pipeline([("MULTI",), ("INFO", "memory"), ("CLIENT", "LIST")])
        memory, clients = (reply.decode() for reply in talk("EXEC"))
    used = re.search(r"^used_memory:(\d+)", memory, re.MULTILINE)
    assert used
    return int(used[1]) - sum(int(size) for size in re.findall(r" tot-mem=(\d+)", clients))


@pytest.mark.parametrize("stopped", [1, 2])
def test_a_member_that_hangs_holds_writers_back(chain: StartChain, stopped: int) -> None:
    """256 MB of updates meet a log of 16 MB. None is lost or refused, and memory stays within its limits."""
    limit = 16 * MIB
    settings = {"member.log-limit": "16mb", "member.backlog-limit": "4mb", "member.write-timeout": "60000"}
    cluster = chain(3, member_config=settings, master_config=PATIENT)
    idle = memory_without_clients(cluster.head)
    with ThreadPoolExecutor(4) as pool:
        with paused(cluster.members[stopped]):
            floods = [pool.submit(flood, cluster.head, 1_000, b"x" * 64 * 1024) for _ in range(4)]
            wait_until(lambda: member_number(cluster.head, "uncommitted_bytes") > limit - 128 * 1024, 30)
            before = state(cluster.head).applied
            sleep(0.5)  # during this time nothing may change
            assert state(cluster.head).applied == before
            assert member_number(cluster.head, "log_bytes") <= limit + 4 * MIB
            assert memory_without_clients(cluster.head) - idle < limit + 16 * MIB
            assert not any(each.done() for each in floods)
            assert isinstance(ask(cluster.head, "GET", "key-1"), bytes)
        replies = [reply for each in floods for reply in each.result(60)]
    assert sorted(replies, key=str) == sorted(range(4_000), key=str)
    assert settled(cluster) == 3_999
    assert_serves(cluster)
    for member in cluster.members:
        wait_until(lambda member=member: member_number(member, "log_bytes") <= 4 * MIB, 10)  # type: ignore[misc]


def test_held_writers_fail_definitely_and_blocked_ones_do_not(chain: StartChain) -> None:
    """The first word of the error tells them apart: only an update with an sn may survive (rule 6)."""
    cluster = chain(2, member_config={"member.log-limit": "1mb", "member.write-timeout": "700"}, master_config=PATIENT)
    with paused(cluster.tail), ExitStack() as stack:
        blocked, held, held_at_once = (stack.enter_context(Talk(cluster.head)) for _ in range(3))
        blocked.send("MEMBER.PUT", "blocked", "x" * (MIB - 200))
        wait_until(lambda: state(cluster.head).applied == 0, 10)
        held.send("MEMBER.PUT", "held", "x" * 1000)
        held_at_once.send("MEMBER.PUT", "held", "y" * 1000, "me")
        assert blocked.receive().startswith("UNKNOWN ")
        assert held.receive().startswith("ERR not written")
        assert held_at_once.receive().startswith("ERR not written")
        assert ask(cluster.head, "EXISTS", "held") == 0
    assert settled(cluster) == 0
    assert ask(cluster.tail, "EXISTS", "held") == 0
    assert ask(cluster.tail, "STRLEN", "blocked") == MIB - 200
    assert_serves(cluster)


def test_held_writers_that_leave(chain: StartChain) -> None:
    cluster = chain(2, member_config={"member.log-limit": "1mb"}, master_config=PATIENT)
    with paused(cluster.tail), ExitStack() as stack:
        talks = [stack.enter_context(Talk(cluster.head)) for _ in range(20)]
        for talk in talks:
            talk.send("MEMBER.PUT", "key", "x" * (MIB // 2))
        assert talks[-1].is_silent()
    wait_until(lambda: info(cluster.head, "clients")["blocked_clients"] == "1", 30)  # the master's watch
    assert_serves(cluster)


def test_subscribers_that_do_not_read_are_redis_s_business(chain: StartChain) -> None:
    """Redis drops a subscriber whose buffer is full; the chain goes on."""
    cluster = chain(2)
    subscribed = Talk(cluster.tail)
    assert subscribed("SUBSCRIBE", "me")
    assert ask(cluster.tail, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 32kb 1") == b"OK"
    assert flood(cluster.head, 20_000, b"x") == list(range(20_000))
    assert settled(cluster) == 19_999
    subscribed.close()
    assert_serves(cluster)


# --------------------------------------------------------------------------------------- saving under load


def test_saving_on_every_member_under_load(chain: StartChain) -> None:
    cluster = chain(3)

    def write(stop: Event) -> None:
        with Talk(cluster.head) as talk:
            number = 0
            while not stop.is_set():
                number += 100
                replies = talk.pipeline([("MEMBER.PUT", f"k{n % 5_000}", n, "me") for n in range(number, number + 100)])
                assert all(isinstance(reply, int) for reply in replies)

    def saved(member: Server) -> bool:
        persistence = info(member, "persistence")
        assert persistence["rdb_last_bgsave_status"] == "ok"
        return persistence["rdb_bgsave_in_progress"] == "0" and ask(member, "LASTSAVE") > 0

    with running(write, write):
        for _ in range(2):
            for member in cluster.members:
                wait_until(lambda member=member: ask(member, "BGSAVE") == b"Background saving started", 30)  # type: ignore[misc]
            for member in cluster.members:
                wait_until(lambda member=member: saved(member), 30)  # type: ignore[misc]
        for member in cluster.members:
            reply = ask(member, "BGREWRITEAOF")
            assert not isinstance(reply, Error), reply
    assert_serves(cluster)


def test_a_chain_with_append_only_files(chain: StartChain) -> None:
    cluster = chain(3, member_config={"appendonly": "yes", "appendfsync": "everysec"})
    assert flood(cluster.head, 2_000, b"x" * 100) == list(range(2_000))
    assert ask(cluster.head, "MEMBER.DEL", "key-1") == 2_000
    cluster.grow()
    assert_serves(cluster)


# ----------------------------------------------------------------------------------------------- stopping


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("how", [("SHUTDOWN",), ("SHUTDOWN", "NOSAVE", "NOW", "FORCE")], ids=["shutdown", "now"])
def test_a_member_that_is_shut_down(chain: StartChain, place: int, how: tuple[str, ...]) -> None:
    """The chain continues without the member, by itself."""
    cluster = chain(3)
    assert ask(cluster.head, "MEMBER.PUT", "k", "before") == 0
    stopped = cluster.members[place]
    with pytest.raises(redis.ConnectionError):
        ask(stopped, *how)
    if stopped is not cluster.head:
        assert ask(cluster.head, "MEMBER.PUT", "k", "after") == 1
    await_repair(cluster, stopped)
    assert ask(cluster.tail, "READ", "k") == (b"before" if place == 0 else b"after")
    assert_serves(cluster)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_member_that_is_shut_down_under_load(chain: StartChain, place: int) -> None:
    """Only clients that write at the stopped member notice."""
    cluster = chain(3)
    stopped = cluster.members[place]
    head = cluster.head

    def write(stop: Event) -> None:
        try:
            with Talk(head) as talk:
                while not stop.is_set():
                    assert isinstance(talk("MEMBER.PUT", "k", "v"), int)
        except redis.ConnectionError:
            assert stopped is head

    with running(*[write] * 20):
        wait_until(lambda: state(cluster.tail).applied > 100, 30)
        with pytest.raises(redis.ConnectionError):
            ask(stopped, "SHUTDOWN", "NOSAVE")
        await_repair(cluster, stopped)
    assert_serves(cluster)


def test_blocked_clients_do_not_keep_a_member_from_stopping(chain: StartChain) -> None:
    cluster = chain(2, master_config=PATIENT)
    with paused(cluster.tail), ExitStack() as stack:
        for words in [("MEMBER.PUT", "k", "v"), ("MEMBER.WAIT", 99)]:
            talk = stack.enter_context(Talk(cluster.head))
            talk.send(*words)
            assert talk.is_silent(0.05)
        cluster.head.stop()
        assert not cluster.head.running


# ------------------------------------------------------------------------------------------------ modules


@pytest.mark.parametrize("modules", [(MASTER, MEMBER), (MEMBER, MASTER)])
def test_both_modules_in_one_server(server: StartServer, modules: tuple[str, str]) -> None:
    """The server is a master, and also a member of another master's chain."""
    both, other_master, member = server(*modules), server(MASTER), server(MEMBER)
    assert ask(both, "MASTER.ADD", HOST, member.port) == b"OK"
    assert ask(both, "MEMBER.PUT", "alone", "x") == 0
    assert ask(other_master, "MASTER.ADD", HOST, both.port) == b"OK"
    assert ask(both, "READ", "alone") == b"x"
    assert ask(both, "MASTER.GET_CHAIN") == [str(member.endpoint).encode()]
    assert ask(member, "MEMBER.PUT", "k", "v") == 0
    assert ask(both, "MEMBER.PUT", "k", "w") == 1
    assert ask(both, "READ", "k") == b"w"
    assert ask(member, "READ", "k") == b"v"


@pytest.mark.parametrize("name", ["member", "master"])
def test_unloading_a_module_is_refused(server: StartServer, name: str) -> None:
    one = server(MASTER, MEMBER, enable_module_command="yes")
    assert ask(one, "MEMBER.PUT", "k", "v") == 0
    assert isinstance(ask(one, "MODULE", "UNLOAD", name), Error)
    assert ask(one, "READ", "k") == b"v"
    assert ask(one, "MASTER.GET_CHAIN") == []


def test_unloading_a_member_s_module_in_a_chain_is_refused(chain: StartChain) -> None:
    cluster = chain(2, member_config={"enable-module-command": "yes"})
    for member in cluster.members:
        assert isinstance(ask(member, "MODULE", "UNLOAD", "member"), Error)
    assert_serves(cluster)


def test_loading_a_module_twice_is_refused(server: StartServer) -> None:
    one = server(MASTER, MEMBER, enable_module_command="yes")
    for name in (MASTER, MEMBER):
        assert isinstance(ask(one, "MODULE", "LOAD", str(module_path(name))), Error)
    assert ask(one, "MEMBER.PUT", "k", "v") == 0
    assert ask(one, "MASTER.GET_CHAIN") == []


def test_modules_loaded_at_run_time(server: StartServer) -> None:
    master, member = server(enable_module_command="yes"), server(enable_module_command="yes")
    assert ask(master, "MODULE", "LOAD", str(module_path(MASTER))) == b"OK"
    assert ask(member, "MODULE", "LOAD", str(module_path(MEMBER)), "0", "1", "2") == b"OK"
    assert ask(master, "MASTER.ADD", HOST, member.port) == b"OK"
    assert ask(member, "MEMBER.PUT", "k", "v") == 0
    bad = server(enable_module_command="yes")
    assert isinstance(ask(bad, "MODULE", "LOAD", str(module_path(MEMBER)), "nonsense"), Error)
    assert ask(bad, "PING") == b"PONG"


# ------------------------------------------------------------------------------------ unreachable neighbours


def unreachable_neighbours(cluster: Cluster) -> None:
    """Kill the middle, and wait until the head and the tail have lost their links to it."""
    head, middle, tail = cluster.members
    middle.kill()
    wait_until(lambda: info(head, "member")["member_link_down"] != "ready", 10)
    wait_until(lambda: info(tail, "member")["member_link_up"] != "ready", 10)


def test_a_link_to_a_closed_port_is_tried_again_at_a_bounded_pace(chain: StartChain) -> None:
    cluster = chain(3)
    head = cluster.head
    cluster.master.pause()
    unreachable_neighbours(cluster)
    before, began = member_number(head, "link_failures"), monotonic()
    wait_until(lambda: member_number(head, "link_failures") > before + 1, 20)
    elapsed = monotonic() - began
    assert (member_number(head, "link_failures") - before) / elapsed < 50
    assert info(head, "member")["member_link_down_error"]
    assert ask(head, "GET", "k") is None


def test_a_link_that_breaks_is_made_anew_and_nothing_is_lost(chain: StartChain) -> None:
    """CLIENT KILL closes every connection of the members again and again, under load."""
    cluster = chain(3)

    def write(stop: Event) -> None:
        with Talk(cluster.head) as talk:
            number = 0
            while not stop.is_set():
                number += 1
                assert isinstance(talk("MEMBER.PUT", "k", number), int)

    def cut(member: Server) -> None:
        """Close all connections of other members, not those of clients."""
        ours = {talk_id for talk_id in ask(member, "CLIENT", "LIST").splitlines() if b"cmd=chain." in talk_id}
        for line in ours:
            ask(member, "CLIENT", "KILL", "ID", line.split()[0].removeprefix(b"id="))

    with running(write, write):
        for _ in range(10):
            for member in cluster.members:
                cut(member)
            before = state(cluster.tail).committed
            wait_until(lambda before=before: state(cluster.tail).committed > before + 10, 30)  # type: ignore[misc]
    assert member_number(cluster.head, "link_connects") > 5
    assert_serves(cluster)


def test_a_port_that_accepts_and_says_nothing_harms_nobody(chain: StartChain) -> None:
    """A silent port replaces a member that died. The links wait for it, and all clients are served."""
    cluster = chain(3, member_config={"member.write-timeout": "300"})
    head, middle, _ = cluster.members
    cluster.master.pause()
    middle.kill()
    with socket.create_server((HOST, middle.port)):
        wait_until(lambda: info(head, "member")["member_link_down"] == "connecting", 20)
        assert ask(head, "MEMBER.PUT", "k", "v").startswith("UNKNOWN ")
        assert ask(head, "PING") == b"PONG"
        assert ask(head, "GET", "k") == b"v"
