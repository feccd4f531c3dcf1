# SPDX-License-Identifier: Apache-2.0
"""Every command of a server is the same on a chain as on a plain server: its replies, and the data on every member."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import cache

import pytest

from chainredis.local_cluster.server import Server
from commands import (
    administration,
    connections,
    hashes,
    keys,
    lists,
    scripts,
    sets,
    sorted_sets,
    streams,
    strings,
    vectors,
)
from commands.case import Case, make
from commands.conftest import Pair
from commands.differences import DIFFERENT
from commands.run import compare, same_data
from commands.wire import Wire
from servers import OLDEST_AND_NEWEST, SERVERS

GROUPS = (strings, keys, lists, hashes, sets, sorted_sets, streams, scripts, connections, administration, vectors)
CASES = [case for group in GROUPS for case in group.CASES]

pytestmark = pytest.mark.timeout(60)

ON_SERVERS = [
    pytest.param(server, case, id=f"{server}-{case.name}")
    for server in SERVERS for case in CASES if server in case.servers or server not in OLDEST_AND_NEWEST
]


@pytest.mark.parametrize(("server", "case"), ON_SERVERS)
def test_same(pair_of: Callable[[str], Pair], server: str, case: Case) -> None:
    pair = pair_of(server)
    if server not in case.servers and case.command not in commands_of(pair.plain):
        pytest.skip("this server does not know the command")
    compare(case, pair.plain, pair.chain.head, pair.chain.members)


@pytest.mark.parametrize("server", SERVERS)
def test_every_command_has_a_case(pair_of: Callable[[str], Pair], server: str) -> None:
    known = {case.command for case in CASES if server in case.servers or server not in OLDEST_AND_NEWEST}
    listed = commands_of(pair_of(server).plain)
    assert listed - known - set(DIFFERENT) == set()
    assert known - listed == set() or server not in OLDEST_AND_NEWEST


@cache
def commands_of(server: Server) -> frozenset[str]:
    """Their names, or those of their subcommands."""
    with closing(Wire(server.endpoint)) as wire:
        return frozenset(name for entry in wire("COMMAND") for name in names(entry))


def names(entry: list[object]) -> list[str]:
    """Of a command, or of its subcommands if it has some."""
    name, subcommands = entry[0], entry[9]
    assert isinstance(name, bytes) and isinstance(subcommands, list)
    return [sub[0].decode() for sub in subcommands] or [name.decode()]


def test_cases_have_different_names() -> None:
    found = Counter((case.name, server) for case in CASES for server in case.servers)
    assert max(found.values()) == 1
    assert {case.command for case in CASES} & set(DIFFERENT) == set()


def test_a_difference_is_noticed(pair_of: Callable[[str], Pair]) -> None:
    pair = pair_of(SERVERS[0])
    (case,) = make({"incr": ["INCR n", "GET n"]})
    compare(case, pair.plain, pair.chain.head, pair.chain.members)
    pair.plain.call("INCR", "n")
    with pytest.raises(AssertionError, match="the data differ"):
        same_data([pair.plain, *pair.chain.members], within_s=0.1)
    (case,) = make({"client|id": ["CLIENT ID"]})
    with pytest.raises(AssertionError, match="on a plain server"):
        compare(case, pair.plain, pair.chain.head, pair.chain.members)
