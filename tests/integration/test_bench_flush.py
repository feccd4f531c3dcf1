# SPDX-License-Identifier: Apache-2.0
"""The benchmark of checkpoints and flushing on real servers. The measured times do not matter here."""

import pytest

from chainredis.benchmarks import fills, flushes
from chainredis.benchmarks.fills import MODES, PIPELINE, Fills
from chainredis.local_cluster.process import LauncherError
from integration.conftest import StartChain
from integration.helpers import member_number
from servers import DEFAULT

pytestmark = pytest.mark.skipif(DEFAULT != "redis-7.0", reason="redis-benchmark is beside the server that was built")


def test_each_mode_does_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fills, "AFTERWARDS_S", 0.2)
    for mode, settings in (("checkpoint", {}), ("checkpoint-flush", {"member.flush-above": "3mb"})):
        monkeypatch.setitem(MODES, mode, MODES[mode] | {"member.checkpoint-interval": "20"} | settings)
    measured = Fills(5_000)
    for row in measured.rows():
        assert row.ours() > 0 and row.theirs() > 0
    assert [(fill.mode, fill.pipeline) for fill in measured.done] == [
        ("checkpoint", 1), ("normal", 1), ("checkpoint", PIPELINE), ("normal", PIPELINE),
        ("checkpoint-flush", PIPELINE), ("normal", PIPELINE),
    ]  # fmt: skip
    assert all(samples for fill in measured.done for samples in fill.memory.values())


def test_a_mode_that_has_done_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fills, "AFTERWARDS_S", 0)
    monkeypatch.setitem(MODES, "checkpoint-flush", {})
    with pytest.raises(LauncherError, match="has member_checkpoints 0"):
        fills._fill("checkpoint-flush", 100, PIPELINE)


def test_writers_go_on_while_keys_are_checkpointed_and_flushed(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flushes, "NORMAL_S", 0.1)
    monkeypatch.setattr(flushes, "READS", 200)
    cluster = chain(2, member_config=flushes.CONFIG)
    outcomes = flushes.measure_pauses(cluster, 2, 2_000, lambda _: None)
    assert [len(outcome.rounds) for outcome in outcomes] == [2, 2]
    assert all(gap > 0 for outcome in outcomes for both in outcome.rounds for gap in both)
    row = flushes.reads_row(cluster, 500)
    assert row.ours() > 0 and row.theirs() > 0
    for member in cluster.members:
        assert member_number(member, "flushed_keys") > 2 * 1_900
