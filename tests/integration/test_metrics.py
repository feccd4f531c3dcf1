# SPDX-License-Identifier: Apache-2.0
"""The script that exports a chain's numbers to Prometheus, run as prometheus-redis-exporter runs it."""

from chainredis.local_cluster.server import ROOT, Server
from integration.conftest import StartChain
from integration.helpers import ask, settled

SCRIPT = (ROOT / "scripts/metrics.lua").read_text()


def metrics(server: Server) -> dict[str, float]:
    """The script's output, read as the exporter does: names and values in turn, every value a number."""
    reply = [item.decode() for item in ask(server, "EVAL", SCRIPT, 0, 0)]
    assert len(reply) % 2 == 0
    return dict(zip(reply[::2], map(float, reply[1::2]), strict=True))


def test_numbers_of_members_and_master(chain: StartChain) -> None:
    cluster = chain(3, member_config={"member.gcs-mode": "checkpoint"})
    for n in range(3):
        ask(cluster.head, "MEMBER.PUT", "k", n)
    settled(cluster)
    assert ask(cluster.tail, "TAIL.CHECKPOINT") == 3
    found = [metrics(member) for member in cluster.members]
    assert [(each["head"], each["tail"], each["in_chain"]) for each in found] == [(1, 0, 1), (0, 0, 1), (0, 1, 1)]
    assert {each["epoch"] for each in found} == {3} and {each["applied"] for each in found} == {2}
    assert found[0]["link_down"] == found[1]["link_up"] == 1 and "link_up" not in found[0]
    assert found[2]["checkpointed"] == 2 and found[2]["checkpoint_failing"] == 0
    master = metrics(cluster.master)
    assert (master["master_epoch"], master["master_members"], master["master_serving"]) == (3, 3, 1)
    assert master["master_repairs"] == 0 and master["master_member_2_silent_ms"] >= 0


def test_a_removed_member_shows_that(chain: StartChain) -> None:
    cluster = chain(2)
    former = cluster.head
    cluster.remove(former)
    assert metrics(former)["in_chain"] == metrics(former)["serving"] == 0
