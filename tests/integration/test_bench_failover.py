# SPDX-License-Identifier: Apache-2.0
"""The fail-over benchmark on real servers: it kills, adds and records. The measured times do not matter here."""

import pytest

from chainredis.benchmarks import joins, kills
from chainredis.benchmarks.clients import VALUE, Load
from chainredis.benchmarks.systems import MIB
from integration.conftest import StartChain
from servers import DEFAULT

SMALL = Load(writers=2, readers=2)


def test_each_position_is_killed_and_added_while_clients_go_on(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kills, "WINDOW_S", 0.1)
    cluster = chain(3)
    before = [member.pid for member in cluster.members]
    failover = kills.measure_failover(cluster, 1, SMALL, lambda _: None)
    assert [kill.position for kill in failover.kills] == ["head", "middle", "tail"]
    assert all(kill.flush_ms > 0 for kill in failover.kills)
    # The second kill is of the former third member, and the third kill is of the one that has just come back.
    assert len({member.pid for member in cluster.members} & set(before)) == 1
    for service in failover.recording:
        assert all(service.per_s(kill.adding) > 0 for kill in failover.kills)


def test_a_member_joins_under_each_load_and_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "NORMAL_S", 0.1)
    keys = 5_000
    found = joins.measure_joins(1, keys, lambda _: None)
    every = [*found.native, *found.idle, *(join.copy for loaded in found.loaded.values() for join in loaded)]
    assert len(every) == 2 + len(joins.LOADS)
    if not DEFAULT.startswith("redis-8"):   # which counts no full copy (findings/redis_8_full_copy_not_counted.sh)
        assert all(copy.mib * MIB > keys * len(VALUE) for copy in every)
    assert all(join.writes_per_s > 0 and join.gap > 0 for loaded in found.loaded.values() for join in loaded)
