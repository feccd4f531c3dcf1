# SPDX-License-Identifier: Apache-2.0
"""Chains as clients of Redis Cluster see them. The forms are those of Redis's own nodes."""

from typing import Any

import pytest
from redis._parsers.helpers import parse_cluster_nodes

from core_extension.core import CONNECTION_OTHER, PortTable, cluster_reply

IDS = [b"%040x" % number for number in range(1, 7)]
ALL = (0, 16383)
A, B, C = ((b"10.0.0.%d" % at, b"10.0.0.%d" % at, 7000, IDS[at]) for at in (0, 1, 2))
NAMED = (b"db.example", b"10.0.0.9", 7009, IDS[3])


def reply(
    question: str, *shards: Any, me: bytes = IDS[1], asked: bytes = b"", tls: bool = False,
    ports: PortTable | None = None, connection: int = CONNECTION_OTHER,
) -> Any:  # fmt: skip
    """The reply as a client gets it: lists, dicts, integers and text."""
    items = cluster_reply(question, list(shards), me, 7000, asked, tls, ports, connection)
    if isinstance(items, bytes):
        return items.decode()
    value = built(items)
    assert not items
    return value


def built(items: list[bytes]) -> Any:
    item = items.pop(0)
    letter, text = item[:1], item[1:].decode()
    if letter == b"*":
        return [built(items) for _ in range(int(text))]
    if letter == b"%":
        return {built(items): built(items) for _ in range(int(text))}
    return int(text) if letter == b":" else text


def test_the_head_has_all_slots_and_the_others_are_its_replicas() -> None:
    nodes = [[f"10.0.0.{at}", 7000, IDS[at].decode(), {}] for at in (0, 1, 2)]
    assert reply("SLOTS", (ALL, [A, B, C])) == [[0, 16383, *nodes]]
    assert reply("SLOTS", (ALL, [A])) == [[0, 16383, nodes[0]]]


def test_a_host_name_comes_first_and_the_address_with_it() -> None:
    assert reply("SLOTS", (ALL, [NAMED])) == [[0, 16383, ["db.example", 7009, IDS[3].decode(), {"ip": "10.0.0.9"}]]]
    (shard,) = reply("SHARDS", (ALL, [NAMED]))
    assert shard["nodes"] == [{
        "id": IDS[3].decode(), "port": 7009, "ip": "10.0.0.9", "endpoint": "db.example", "hostname": "db.example",
        "role": "master", "replication-offset": 99, "health": "online",
    }]  # fmt: skip
    assert reply("NODES", (ALL, [NAMED])).split()[1] == "10.0.0.9:7009@17009,db.example"


def test_shards_name_roles() -> None:
    (shard,) = reply("SHARDS", (ALL, [A, B]))
    assert shard["slots"] == [0, 16383]
    assert [(node["endpoint"], node["role"]) for node in shard["nodes"]] == [
        ("10.0.0.0", "master"), ("10.0.0.1", "replica"),
    ]  # fmt: skip


def test_shards_say_which_ports_speak_tls() -> None:
    (shard,) = reply("SHARDS", (ALL, [A, B]), tls=True)
    assert [(node["tls-port"], "port" in node) for node in shard["nodes"]] == [(7000, False), (7000, False)]


def test_nodes_are_lines_that_redis_py_understands() -> None:
    text = reply("NODES", (ALL, [A, B]))
    first, second = (each.decode() for each in IDS[:2])
    assert text == (
        f"{first} 10.0.0.0:7000@17000 master - 0 0 7 connected 0-16383\n"
        f"{second} 10.0.0.1:7000@17000 myself,slave {first} 0 0 7 connected\n"
    )
    parsed = parse_cluster_nodes(text)  # type: ignore[no-untyped-call]
    assert parsed["10.0.0.0:7000"]["slots"] == [["0", "16383"]]
    assert parsed["10.0.0.1:7000"]["master_id"] == first


def test_a_member_of_no_chain_knows_itself_alone() -> None:
    assert reply("NODES") == f"{IDS[1].decode()} :7000@17000 myself,master - 0 0 0 connected\n"
    assert reply("SLOTS") == reply("SHARDS") == []
    assert reply("INFO").startswith("cluster_state:fail\r\ncluster_slots_assigned:0\r\n")


def test_replicas_are_those_of_the_head() -> None:
    lines = reply("REPLICAS", (ALL, [A, B, C]), asked=IDS[0])
    assert [line.split()[0] for line in lines] == [IDS[1].decode(), IDS[2].decode()]
    assert reply("REPLICAS", (ALL, [A, B]), asked=IDS[1]) == "ERR The specified node is not a master"
    assert reply("REPLICAS", (ALL, [A, B]), asked=IDS[5]) == "ERR Unknown node"


def test_several_chains_share_the_slots() -> None:
    """The next step: each has its own."""
    shards = (((0, 8191), [A, B]), ((8192, 16382), [C]), ((16383, 16383), [NAMED]))
    assert [shard[:2] for shard in reply("SLOTS", *shards)] == [[0, 8191], [8192, 16382], [16383, 16383]]
    assert [line.split()[8:] for line in reply("NODES", *shards).splitlines()] == [
        ["0-8191"], [], ["8192-16382"], ["16383"],
    ]  # fmt: skip
    assert len(reply("SHARDS", *shards)) == 3
    info = dict(line.split(":") for line in reply("INFO", *shards).split())
    assert (info["cluster_state"], info["cluster_known_nodes"], info["cluster_size"]) == ("ok", "4", "3")


@pytest.mark.parametrize("count", [1, 32])
def test_many_members_have_room(count: int) -> None:
    members = [(b"h" * 200, b"10.0.0.1", 7000 + at, b"%040x" % at) for at in range(count)]
    ((_, _, *nodes),) = reply("SLOTS", (ALL, members))
    assert [node[1] for node in nodes] == [7000 + at for at in range(count)]
    assert len(reply("NODES", (ALL, members)).splitlines()) == count
