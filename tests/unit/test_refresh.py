# SPDX-License-Identifier: Apache-2.0
"""MASTER.REFRESH_HEAD and MASTER.REFRESH_TAIL: who is named serves there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import sleep

import pytest

from unit.world import PATIENT, World, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Whose members do not come back by themselves: who restarts stays out."""
    with a_world(tmp_path, replace(PATIENT, auto_return=False)) as world:
        yield world


def test_refresh(world: World) -> None:
    world.refuses("no members", "REFRESH_HEAD")
    world.refuses("no members", "REFRESH_TAIL")
    assert world.chain() == []
    world.build(7000, 7001)
    assert world.run("REFRESH_HEAD") == "10.0.0.1:7000"
    assert world.run("REFRESH_TAIL") == "10.0.0.1:7001"
    world.fleet.start(7001, identity=99)
    assert world.run("REFRESH_TAIL") == "10.0.0.1:7000"
    world.fleet.kill(7000)
    world.refuses("no process of the chain lives", "REFRESH_TAIL")


def test_a_refreshed_head_knows_that_it_is_the_head(world: World) -> None:
    """Not one that answered between the repair's decision and its telling: it would redirect to the dead."""
    world.build(7000, 7001, 7002)
    world.fleet.on_adopt = lambda _: sleep(0.1)
    world.fleet.kill(7000)
    assert world.run("REFRESH_HEAD") == "10.0.0.1:7001"
    assert world.fleet.processes[7001].state.role == "head"
