# SPDX-License-Identifier: Apache-2.0
"""Second ports: who is told which port of a member."""

from core_extension.core import CONNECTION_OTHER, CONNECTION_PLAIN, CONNECTION_TLS, MAX_MEMBERS, PortTable
from unit.core.test_cluster_map import ALL, IDS, NAMED, A, B, reply

PORT = 7000


def told(table: PortTable, run_id: bytes) -> tuple[int, int, int]:
    kinds = (CONNECTION_OTHER, CONNECTION_PLAIN, CONNECTION_TLS)
    other, plain, tls = (table.port_for(kind, run_id, PORT) for kind in kinds)
    return other, plain, tls


def test_a_client_is_told_the_port_of_its_own_kind() -> None:
    table = PortTable()
    assert told(table, IDS[0]) == (PORT, PORT, PORT)
    table.learn(IDS, IDS[0], 6001, 0)
    table.learn(IDS, IDS[1], 0, 6002)
    table.learn(IDS, IDS[2], 0, 0)
    assert told(table, IDS[0]) == (PORT, 6001, PORT)
    assert told(table, IDS[1]) == (PORT, PORT, 6002)
    assert told(table, IDS[2]) == told(table, IDS[3]) == (PORT, PORT, PORT)


def test_the_newest_word_counts() -> None:
    table = PortTable()
    table.learn(IDS, IDS[0], 0, 6001)
    table.learn(IDS, IDS[0], 0, 6002)
    assert told(table, IDS[0]) == (PORT, PORT, 6002)
    table.learn(IDS, IDS[0], 6003, 0)
    assert told(table, IDS[0]) == (PORT, 6003, PORT)
    table.learn(IDS, IDS[0], 0, 0)
    assert told(table, IDS[0]) == (PORT, PORT, PORT)


def test_all_members_of_the_view_have_places_whoever_was_there_before() -> None:
    """Processes come and go, and each has another run_id."""
    table = PortTable()
    generations = [[b"%040x" % (100 * age + at) for at in range(MAX_MEMBERS)] for age in range(3)]
    for members in generations:
        for at, run_id in enumerate(members):
            table.learn(members, run_id, 0, 6000 + at)
        assert [told(table, run_id)[2] for run_id in members] == [6000 + at for at in range(MAX_MEMBERS)]


def test_one_that_is_about_to_be_in_the_view_never_takes_a_member_s_place() -> None:
    table = PortTable()
    members = [b"%040x" % at for at in range(MAX_MEMBERS)]
    for run_id in members:
        table.learn(members, run_id, 0, 6001)
    table.learn(members, IDS[0].replace(b"0", b"f"), 0, 6002)
    assert {told(table, run_id)[2] for run_id in members} == {6001}
    table.learn(members[1:], b"e" * 40, 0, 6003)
    assert told(table, b"e" * 40)[2] == 6003


def test_a_map_names_the_ports_that_fit_who_asks() -> None:
    table = PortTable()
    table.learn(IDS, IDS[0], 0, 6001)
    table.learn(IDS, NAMED[3], 0, 6009)
    shards = (ALL, [A, B, NAMED])
    for kind, ports in ((CONNECTION_PLAIN, [7000, 7000, 7009]), (CONNECTION_TLS, [6001, 7000, 6009])):
        ((_, _, *nodes),) = reply("SLOTS", shards, ports=table, connection=kind)
        assert [node[1] for node in nodes] == ports
        lines = reply("NODES", shards, ports=table, connection=kind).splitlines()
        assert [line.split()[1].partition("@")[0].partition(":")[2] for line in lines] == [str(port) for port in ports]
        assert all(line.split()[1].partition(",")[0].endswith(f"@{port + 10000}")
                   for line, port in zip(lines, ports, strict=True))
        replicas = reply("REPLICAS", shards, asked=IDS[0], ports=table, connection=kind)
        assert [line.split()[1].partition("@")[0].partition(":")[2] for line in replicas] == [str(p) for p in ports[1:]]


def test_shards_name_both_ports_whoever_asks() -> None:
    table = PortTable()
    table.learn(IDS, IDS[0], 0, 6001)
    table.learn(IDS, NAMED[3], 6009, 0)
    for kind in (CONNECTION_PLAIN, CONNECTION_TLS):
        (shard,) = reply("SHARDS", (ALL, [A, B, NAMED]), ports=table, connection=kind)
        assert [(node.get("port"), node.get("tls-port")) for node in shard["nodes"]] == [
            (7000, 6001), (7000, None), (6009, 7009),
        ]  # fmt: skip
        assert [len(node) for node in shard["nodes"]] == [8, 7, 9]
