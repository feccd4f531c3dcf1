# SPDX-License-Identifier: Apache-2.0
"""What differs between servers and is easily guessed wrong: lifetimes of fields, commands of built-in modules, offsets
after a restart.
"""

import random

import pytest

from chainredis.local_cluster.cluster import MEMBER
from integration.conftest import StartChain, StartServer
from integration.disks import ALWAYS
from integration.helpers import ask, await_repair, member_number, state
from integration.test_any_command import assert_same, start, write_each_type
from integration.test_any_command import client as connect
from servers import OLDEST_AND_NEWEST, use

NEWER = pytest.mark.parametrize("version", OLDEST_AND_NEWEST[1:])


@NEWER
def test_a_field_with_a_lifetime_begins_no_chain_of_puts(
    server: StartServer, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """`expires=` of INFO keyspace counts keys. The field would vanish by each member's own clock."""
    use(version, monkeypatch)
    for commands, fits in (("put", False), ("all", True)):
        one = server(MEMBER, **{"member.commands": commands})
        assert ask(one, "HSET", "h", "field", "v") == 1
        assert state(one).unfit == ""
        assert ask(one, "HEXPIRE", "h", 1000, "FIELDS", 1, "field") == [1]
        assert (state(one).unfit == "") == fits


def test_a_write_of_a_built_in_module_is_refused_in_a_chain_of_puts(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands of modules are in no ACL category by themselves: what is asked for is the flag."""
    use("redis-8.2", monkeypatch)
    cluster = chain(1)
    assert ask(cluster.head, "COMMAND", "COUNT") > 0
    assert ask(cluster.head, "COMMAND", "INFO", "VADD") != [None]
    for command in (["VADD", "v", "VALUES", 1, 1, "a"], ["VREM", "v", "a"], ["VSETATTR", "v", "a", "{}"]):
        assert "copies must not differ" in str(ask(cluster.head, *command)), command


@NEWER
@pytest.mark.parametrize("files", [ALWAYS, {"save": "3600 1"}], ids=["aof", "rdb"])
def test_a_member_comes_back_by_log_whatever_its_server_makes_of_offsets(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch, version: str, files: dict[str, str]
) -> None:
    """After an append-only file the offset begins anew, on 8.x with a number that means nothing; after an RDB it goes
    on.
    """
    use(version, monkeypatch)
    cluster = start(chain, 2, **files)
    write_each_type(connect(cluster.head))
    assert_same(cluster)
    tail = cluster.tail
    tail.stop()
    await_repair(cluster, tail)
    connect(cluster.head, db=3).lpush("list", *range(100))
    tail.start()
    cluster.add(tail)
    assert member_number(tail, "joins_by_log") == 1
    connect(cluster.head, db=3).lpush("list", *range(100))
    assert_same(cluster)


def test_an_exact_search_of_vectors_agrees_at_all_members(chain: StartChain, monkeypatch: pytest.MonkeyPatch) -> None:
    """An approximate one need not: each server builds its graph by chance (docs/clients.md)."""
    use("redis-8.2", monkeypatch)
    cluster = start(chain, 3)
    chance = random.Random(1)
    for element in range(300):
        ask(cluster.head, "VADD", "vectors", *vector(chance), element)
    for _ in range(20):
        wanted = vector(chance)
        answers = [ask(member, "VSIM", "vectors", *wanted, "COUNT", 10, "TRUTH") for member in cluster.members]
        assert len(answers[0]) == 10
        assert answers[0] == answers[1] == answers[2]


def vector(chance: random.Random) -> list[str]:
    return ["VALUES", "8", *(str(chance.gauss(0, 1)) for _ in range(8))]
