# SPDX-License-Identifier: Apache-2.0
"""The replies that MEMBER.ONCE keeps go with the data: into copies, logs, snapshots and append-only files. Old clients
are forgotten, and only those.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from chainredis.backup.plain import read_source
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from commands.wire import Wire
from integration.conftest import StartChain
from integration.disks import ALWAYS
from integration.helpers import Talk, ask, await_chain, info, member_number
from integration.test_once import MEMBER_CONFIG, same_tables
from integration.upheavals import kill, restart_all
from servers import SERVERS, use

CLIENTS = 300
REPLY = b"x" * 100_000


@pytest.fixture(params=SERVERS)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use(request.param, monkeypatch)
    return str(request.param)


def start(chain: StartChain, size: int, **config: str) -> Cluster:
    return chain(size, commands="all", member_config=MEMBER_CONFIG | config)


def restart(cluster: Cluster) -> None:
    """Restart all processes. Returns when the head takes writes."""
    restart_all(cluster)
    wait_until(lambda: not str(ask(cluster.head, "SET", "serves", "?")).startswith(("READONLY", "TRYAGAIN", "ERR")), 20)


def write(server: Server, sequence: int = 1, clients: range = range(CLIENTS)) -> None:
    """Each client has one command executed: an increment, and one has a long reply."""
    with Talk(server) as talk:
        assert talk("SET", f"long-{sequence}", REPLY) == b"OK"
        assert talk("MEMBER.ONCE", "long", sequence, "GETDEL", f"long-{sequence}") == REPLY
        commands: list[list[Any]] = [["MEMBER.ONCE", f"c{number}", sequence, "INCR", "n"] for number in clients]
        assert all(isinstance(reply, int) for reply in talk.pipeline(commands))


def assert_kept(server: Server, sequence: int = 1, clients: range = range(CLIENTS)) -> None:
    """The newest reply of each client is given again."""
    with Talk(server) as talk:
        before = talk("GET", "n")
        assert talk("MEMBER.ONCE", "long", sequence, "GETDEL", f"long-{sequence}") == REPLY
        commands: list[list[Any]] = [["MEMBER.ONCE", f"c{number}", sequence, "INCR", "n"] for number in clients]
        replies = talk.pipeline(commands)
        assert replies == list(range(replies[0], replies[0] + len(clients)))
        assert talk("GET", "n") == before


def test_copies_and_logs_have_them(version: str, chain: StartChain) -> None:
    """A member that joined by copy leads when the others are gone, then one that came back by log."""
    cluster = start(chain, 1)
    write(cluster.head)
    cluster.grow()
    assert member_number(cluster.tail, "joins_by_copy") == 1
    same_tables(cluster)
    write(cluster.head, 2)
    first, second = cluster.members
    wait_until(lambda: info(second, "persistence")["rdb_bgsave_in_progress"] == "0", 10)
    assert ask(second, "SAVE") == b"OK"
    kill(cluster, 1)
    write(first, 3)
    second.start()
    cluster.add(second)
    await_chain(cluster, first, second)
    assert member_number(second, "joins_by_log") == 1
    same_tables(cluster)
    kill(cluster, 0)
    assert_kept(second, 3)
    write(second, 4)
    assert_kept(second, 4)


@pytest.mark.parametrize("rewritten", [False, True], ids=["log", "preamble"])
def test_the_append_only_file_has_them(version: str, chain: StartChain, rewritten: bool) -> None:
    """As commands, and as the RDB at the beginning of a file that was rewritten."""
    cluster = start(chain, 2, **ALWAYS)
    write(cluster.head)
    for member in cluster.members if rewritten else []:
        with closing(Wire(member.endpoint)) as wire:
            wire("BGREWRITEAOF")
        wait_until(lambda member=member: info(member, "persistence")["aof_rewrite_in_progress"] == "0"  # type: ignore[misc]
                   and info(member, "persistence")["aof_rewrite_scheduled"] == "0", 20)
    write(cluster.head, 2, range(10, CLIENTS))
    restart(cluster)
    assert_kept(cluster.head, 2, range(10, CLIENTS))
    assert_kept_of_first(cluster.head)
    same_tables(cluster)
    write(cluster.head, 3)
    assert_kept(cluster.head, 3)
    same_tables(cluster)


def assert_kept_of_first(server: Server) -> None:
    with Talk(server) as talk:
        assert [talk("MEMBER.ONCE", f"c{number}", 1, "INCR", "n") for number in range(10)] == list(range(1, 11))


def test_the_snapshot_has_them(version: str, chain: StartChain) -> None:
    cluster = start(chain, 1)
    write(cluster.head)
    assert ask(cluster.head, "SAVE") == b"OK"
    if version != "valkey-9.1":   # whose RDB no backup for servers without the modules knows
        with (cluster.head.folder / "dump.rdb").open("rb") as file:
            assert read_source(file).position   # such a backup does without the replies
    restart(cluster)
    assert_kept(cluster.head)


def test_the_longest_silent_are_forgotten_and_no_others(version: str, chain: StartChain) -> None:
    cluster = start(chain, 2, **{"member.once-keep": "1"})
    write(cluster.head)
    with Talk(cluster.head) as talk:
        wait_until(lambda: talk("MEMBER.ONCE", "new", int(talk("INCR", "s")), "SET", "k", "v") == b"OK"
                   and member_number(cluster.head, "once_clients") == 1, 20)
        same_tables(cluster)
        # A client that gives up its place, and one that has none.
        assert talk("MEMBER.ONCE", "new", "FORGET") == 1
        assert talk("MEMBER.ONCE", "new", "forget") == 0
    same_tables(cluster)
    assert member_number(cluster.tail, "once_clients") == 0


def test_who_is_not_old_is_never_forgotten(chain: StartChain) -> None:
    """A new client has no place then. Nor has a reply, beyond the limit of memory."""
    cluster = start(chain, 2, **{"member.once-clients": "3"})
    with Talk(cluster.head) as talk:
        for client in "abc":
            assert isinstance(talk("MEMBER.ONCE", client, 1, "INCR", "n"), int)
        assert str(talk("MEMBER.ONCE", "d", 1, "INCR", "n")).startswith("ONCEFULL")
        assert talk("GET", "n") == b"3"
        assert talk("MEMBER.ONCE", "a", 2, "INCR", "n") == 4
        assert talk("MEMBER.ONCE", "c", "FORGET") == 1
        assert talk("MEMBER.ONCE", "d", 1, "INCR", "n") == 5
        assert talk("CONFIG", "SET", "member.once-memory", 1024) == b"OK"
        assert talk("CONFIG", "SET", "member.once-clients", 100) == b"OK"
        assert talk("SET", "long", "x" * 2000) == b"OK"
        assert talk("MEMBER.ONCE", "d", 2, "GETDEL", "long") == b"x" * 2000
        assert str(talk("MEMBER.ONCE", "d", 2, "GETDEL", "long")).startswith("ONCELONG")
        assert talk("CONFIG", "SET", "member.once-memory", 4096) == b"OK"
        assert talk("SET", "long", "x" * 4000) == b"OK"
        assert talk("MEMBER.ONCE", "d", 3, "GETDEL", "long") == b"x" * 4000
        assert str(talk("MEMBER.ONCE", "e", 1, "INCR", "n")).startswith("ONCEFULL")
        assert talk("MEMBER.ONCE", "d", 4, "INCR", "n") == 6
        assert talk("MEMBER.ONCE", "e", 1, "INCR", "n") == 7
    same_tables(cluster)


def test_a_new_head_forgets_later(chain: StartChain) -> None:
    """It counts from when it got the command itself."""
    cluster = start(chain, 2, **{"member.once-keep": "2"})
    with Talk(cluster.head) as talk:
        assert talk("MEMBER.ONCE", "a", 1, "INCR", "n") == 1
    kill(cluster, 0)
    with Talk(cluster.head) as talk:
        assert talk("MEMBER.ONCE", "b", 1, "INCR", "n") == 2
        assert talk("MEMBER.ONCE", "a", 1, "INCR", "n") == 1
        wait_until(lambda: talk("MEMBER.ONCE", "b", int(talk("INCR", "s")) + 1, "SET", "k", "v") == b"OK"
                   and member_number(cluster.head, "once_clients") == 1, 20)


def tables(cluster: Cluster) -> list[int]:
    return [member_number(member, "once_clients") for member in cluster.members]


def test_all_data_is_deleted_and_the_replies_stay(chain: StartChain) -> None:
    cluster = start(chain, 2)
    write(cluster.head)
    assert ask(cluster.head, "FLUSHALL") == b"OK"
    assert tables(cluster) == [CLIENTS + 1] * 2
    with Talk(cluster.head) as talk:
        assert talk("MEMBER.ONCE", "c7", 1, "INCR", "n") == 8
        assert talk("GET", "n") is None
