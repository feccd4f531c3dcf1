# SPDX-License-Identifier: Apache-2.0
"""Which server can be in which chain, and after which other server."""

from dataclasses import replace

import pytest

from chainredis.protocol.traits import (
    Traits,
    parse_modules,
    why_it_cannot_be_copied,
    why_it_cannot_follow,
    why_of_other_kind,
)
from chainredis.protocol.view import Kind, Member

TAIL, NEWCOMER = Member("t", "t", 1, "a" * 40), Member("n", "n", 2, "b" * 40)
ALL = Traits(Kind.ALL, "redis 7.2.4", 16, parse_modules("bf:20612 member:1"), "0123")


def why(before: Traits, **changes: object) -> str:
    return why_it_cannot_follow(NEWCOMER, replace(before, **changes), TAIL, before)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("has", "chain", "says"),
    [(Kind.PUT, Kind.PUT, ""), (Kind.ALL, Kind.ALL, ""), (Kind.PUT, Kind.ALL, "member.commands all"),
     (Kind.ALL, Kind.PUT, "member.commands put")],
)  # fmt: skip
def test_a_chain_has_one_kind(has: Kind, chain: Kind, says: str) -> None:
    found = why_of_other_kind(NEWCOMER, has, chain)
    assert bool(found) == bool(says)
    assert says in found


@pytest.mark.parametrize(
    ("follower", "before", "can_follow"),
    [
        ("redis 7.2.4", "redis 7.2.4", True),
        ("redis 7.2.0", "redis 7.2.9", True),
        ("redis 7.4.0", "redis 7.2.9", True),
        ("redis 7.10.0", "redis 7.2.9", True),
        ("redis 8.0.6", "redis 7.2.9", True),
        ("redis 7.0.15", "redis 7.2.9", False),
        ("redis 7.2.9", "redis 7.10.0", False),
        ("valkey 7.2.5", "redis 7.0.15", True),
        ("valkey 9.1.2", "redis 7.2.4", True),
        ("valkey 9.1.2", "redis 7.4.0", False),
        ("valkey 9.1.2", "redis 8.0.6", False),
        ("redis 8.0.6", "valkey 7.2.5", False),
        ("valkey 8.0.1", "valkey 9.1.2", False),
        ("redict 7.3.6", "redis 7.2.4", True),
        ("redict 7.3.6", "redis 7.4.0", False),
        ("redict 7.3.6", "valkey 7.2.5", False),
        ("redis 8.0.6", "redict 7.3.6", False),
        ("valkey 9.1.2", "redict 7.3.6", False),
        ("redis ", "redis 7.0.15", False),
        ("redis 7.0.15", "", False),
        ("", "", False),
        ("another 7.2.4", "another 7.2.4", False),
    ],
)
def test_no_server_follows_a_later_one(follower: str, before: str, can_follow: bool) -> None:
    found = why(replace(ALL, version=before), version=follower)
    assert (found == "") == can_follow, found
    if found:
        assert "that version or a later one" in found


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"modules": parse_modules("member:7 master:3 bf:20612")}, ""),
        ({"databases": 17}, "start n:2 with databases 16"),
        ({"databases": 1}, "start n:2 with databases 16"),
        ({"modules": frozenset()}, "lacks what the chain's tail t:1 has, the module bf 20612"),
        ({"modules": parse_modules("bf:20613")}, "the module bf 20612"),
        ({"modules": parse_modules("bf:20612 search:1")}, "the module search 1, which the chain's tail t:1 lacks"),
        ({"writes": "4567"}, "other write commands"),
        ({"version": "redis 8.0.6", "modules": parse_modules("bf:20612 vectorset:1"), "writes": "4567"}, ""),
        ({"version": "redis 8.0.6", "modules": parse_modules("vectorset:1")}, "lacks"),
    ],
)
def test_what_members_have_in_common(changes: dict[str, object], says: str) -> None:
    found = why(ALL, **changes)
    assert bool(found) == bool(says)
    assert says in found


# Whether the server of a row loads what that of a column writes, the columns being in the order of the rows. Each was
# seen with real servers.
COPIES = {
    "redis 7.0.15": "yes no no no no no",
    "redis 8.0.6": "yes yes yes yes yes yes",
    "redis 8.2.3": "yes yes yes yes yes yes",
    "valkey 8.1.8": "yes no no yes yes no",
    "valkey 9.1.2": "yes no no yes yes no",
    "redict 7.3.6": "yes yes yes yes yes yes",
}


@pytest.mark.parametrize("follower", COPIES)
def test_which_copies_can_be_loaded(follower: str) -> None:
    for before, answer in zip(COPIES, COPIES[follower].split(), strict=True):
        found = why_it_cannot_be_copied(NEWCOMER, Traits(version=follower), TAIL, Traits(version=before))
        assert (found == "") == (answer == "yes"), before
        assert found == "" or all(name.split(" ")[1][:3] in found for name in (follower, before))


@pytest.mark.parametrize(
    ("follower", "before", "loads"),
    [
        ("redis 9.0.0", "redis 8.9.1", True),
        ("redis 8.2.0", "redis 8.6.0", False),
        ("redict 7.3.6", "redis 8.4.0", False),
        ("valkey 9.1.2", "redis 8.4.0", False),
        ("valkey 10.0.0", "valkey 9.1.2", True),
        ("redis 7.2.4", "valkey 10.0.0", True),
        ("redis 6.2.0", "redis 7.0.15", False),
        ("another 1.2.3", "redis 7.0.15", True),
        ("redis 7.0.15", "", True),
    ],
)
def test_copies_of_servers_that_nobody_has_tried(follower: str, before: str, loads: bool) -> None:
    found = why_it_cannot_be_copied(NEWCOMER, Traits(version=follower), TAIL, Traits(version=before))
    assert (found == "") == loads


def test_in_a_chain_of_puts_nothing_of_that_matters() -> None:
    assert why(Traits(), version="redis 9.9.9", databases=1, modules=parse_modules("bf:1"), writes="x") == ""
    assert why(replace(ALL, kind=Kind.PUT), version="redis 2.8.0") == ""


@pytest.mark.parametrize("text", ["", "x", ":", "a:1 a:1", " a:b:1 ", "member:1"])
def test_any_text_is_a_list_of_modules(text: str) -> None:
    assert all(name != "member" for name, _ in parse_modules(text))
