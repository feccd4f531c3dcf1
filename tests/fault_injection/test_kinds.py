# SPDX-License-Identifier: Apache-2.0
"""Faults strike soon, in whatever state the chain is: the nemesis heals no other one meanwhile."""

from random import Random

import pytest

from chainredis.transport.waiting import wait_until
from fault_injection.kinds import Kill, KillWhileSaving, SaveAndKill, ShutDown
from integration.conftest import StartChain
from integration.helpers import Talk


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [KillWhileSaving, SaveAndKill, ShutDown])
def test_a_member_that_holds_its_answers(chain: StartChain, kind: type[Kill]) -> None:
    cluster = chain(2, commands="all", member_config={"shutdown-timeout": "1"})
    cluster.master.kill()
    cluster.tail.pause()
    with Talk(cluster.head) as talk:
        talk.send("SET", "k", "v")
        assert talk.is_silent()
    kind(cluster, [cluster.head], Random(1)).strike()
    wait_until(lambda: not cluster.head.running, 10)
    cluster.tail.resume()
