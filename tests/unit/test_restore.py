# SPDX-License-Identifier: Apache-2.0
"""MASTER.ADD … ADOPT against a fake fleet: a backup begins a chain, and never enters one."""


import pytest

from unit.world import HOST, Killed, World, kills_masters


def test_a_backup_begins_a_history_of_its_own(world: World) -> None:
    world.fleet.start(7000, history="ab" * 16, applied=3, assigned=57)
    world.refuses("if that data is a backup.*ADOPT", "ADD", HOST, 7000)
    assert world.run("ADD", HOST, 7000, "adopt") == "OK"
    assert world.fleet.changes() == ["branch:7000", "save:58", "adopt:7000"]
    assert world.stored().view.history == world.fleet.processes[7000].state.history != "ab" * 16


def test_a_backup_that_lacks_keys_is_taken_when_told(world: World) -> None:
    world.fleet.start(7000, history="ab" * 16, keys=3)
    assert world.run("ADD", HOST, 7000, "ADOPT", "INCOMPLETE") == "OK"
    assert world.fleet.changes() == ["branch INCOMPLETE:7000", "save:1", "adopt:7000"]


def test_a_backup_never_enters_a_chain(world: World) -> None:
    world.build(7000)
    world.fleet.start(7001, history="ab" * 16, applied=3)
    world.refuses("this chain has members, 10.0.0.1:7000", "ADD", HOST, 7001, "ADOPT")
    world.refuses("syntax error", "ADD", HOST, 7001, "INCOMPLETE")
    world.refuses("syntax error", "ADD", HOST, 7001, "DISCARD", "ADOPT")


@kills_masters
def test_a_master_that_ends_before_it_has_stored_the_new_history_can_be_told_again(world: World) -> None:
    world.fleet.start(7000, history="ab" * 16, applied=3, assigned=2)
    world.fleet.fail_at, world.fleet.failure = "save:3", world.kill_master
    with pytest.raises(Killed):
        world.run("ADD", HOST, 7000, "ADOPT")
    world.fleet.fail_at = ""
    world.start_master()
    world.refuses("ADOPT", "ADD", HOST, 7000)
    assert world.run("ADD", HOST, 7000, "ADOPT") == "OK"


def test_data_of_ones_own_needs_no_history_made_for_it(world: World) -> None:
    world.fleet.start(7000, keys=3)
    assert world.run("ADD", HOST, 7000, "ADOPT") == "OK"
    assert world.fleet.changes() == ["save:1", "adopt:7000"]
