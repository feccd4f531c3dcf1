# SPDX-License-Identifier: Apache-2.0
"""A chain that died as a whole, and who of it comes back with what."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from chainredis.protocol.errors import Closed
from chainredis.transport.waiting import wait_until
from unit.fake_members import FakeProcess, run_id
from unit.world import HOST, World, a_world, kills_masters


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Of a chain of three that has had writes."""
    with a_world(tmp_path) as world:
        world.build(7000, 7001, 7002)
        world.give_data(7000, 7001, 7002)
        yield world


def die(world: World) -> None:
    """All at once: no answer of one of them is still on its way to the master, which would take that one for alive."""
    fleet, ports = world.fleet, world.ports()
    wait_until(lambda: len(fleet.open_links) == 2 * len(ports), 10)
    for port in ports:
        fleet.processes[port].hang_unnoticed()
    world.master._runtime._sessions.wake(fleet.processes[port].state.run_id for port in ports)
    wait_until(lambda: len(fleet.open_links) == len(ports), 10)  # those on which reports are awaited
    fleet.kill(*ports)
    wait_until(lambda: "no process of the chain lives" in str(world.master.status()["state"]), 5)


def back(world: World, port: int, *, durable: bool = False, epoch: int = 3, applied: int = 9) -> FakeProcess:
    """It is restarted, with what it has on its disk."""
    return world.fleet.start(
        port, identity=port + 100, history=world.stored().view.history, applied=applied, assigned=1,
        record_epoch=epoch, record_run_id=run_id(port), record_durable=durable,
    )  # fmt: skip


def await_waiting(world: World, says: str) -> None:
    wait_until(lambda: says in str(world.master.status()["waits_for"]), 5)


def test_one_that_lost_nothing_is_the_chain_and_the_others_are_added_when_they_are_back(world: World) -> None:
    die(world)
    back(world, 7001, durable=True)
    world.await_chain(7001)
    assert world.master.status()["awaited"] == "10.0.0.1:7000,10.0.0.1:7002"
    back(world, 7002)
    world.await_chain(7001, 7002)
    back(world, 7000)
    world.await_chain(7001, 7002, 7000)
    wait_until(lambda: world.master.status()["awaited"] == "", 5)


def test_without_that_all_of_them_are_waited_for_and_the_longest_is_the_chain(world: World) -> None:
    die(world)
    await_waiting(world, "waiting for 10.0.0.1:7000, 10.0.0.1:7001, 10.0.0.1:7002")
    back(world, 7000, applied=5)
    back(world, 7002, applied=7)
    await_waiting(world, "waiting for 10.0.0.1:7001; or MASTER.FORM")
    assert world.stored().view.epoch == 3
    back(world, 7001, applied=6)
    wait_until(lambda: world.ports()[0] == 7002, 5)
    world.await_chain(7002, 7000, 7001)
    assert world.master.status()["waits_for"] == ""


def test_those_who_died_shortly_before_are_awaited_too(world: World) -> None:
    world.fleet.kill(7000)
    world.await_chain(7001, 7002)
    world.fleet.kill(7001)
    world.await_chain(7002)
    die(world)
    back(world, 7000, durable=True)
    await_waiting(world, "waiting for 10.0.0.1:7002")
    back(world, 7002, durable=True, epoch=5)
    back(world, 7001, durable=True, epoch=4)
    wait_until(lambda: len(world.ports()) == 3 and world.agrees(), 10)
    assert world.ports()[0] == 7002


def test_a_record_of_another_view_does_not_count(world: World) -> None:
    die(world)
    for port in (7000, 7001, 7002):
        back(world, port, epoch=2)
    await_waiting(world, "waiting for 10.0.0.1:7000, 10.0.0.1:7001, 10.0.0.1:7002")
    assert world.stored().view.epoch == 3


def test_a_chain_whose_data_is_gone_begins_anew_when_told_to(world: World) -> None:
    history = world.stored().view.history
    die(world)
    for port in (7000, 7001, 7002):
        world.fleet.start(port, identity=port + 100, history=history)
    await_waiting(world, "none kept its data")
    assert world.run("ADD", HOST, 7000) == "OK"
    assert world.ports() == [7000]
    assert world.stored().view.history != history


def test_the_operators_choice_awaits_nobody(world: World) -> None:
    die(world)
    back(world, 7001)
    assert world.run("FORM", HOST, 7001) == "OK"
    back(world, 7002)
    assert world.stored().awaited == ()
    assert world.run("ADD", HOST, 7002) == "OK"
    assert world.ports() == [7001, 7002]


def test_who_is_removed_is_awaited_no_more(world: World) -> None:
    die(world)
    back(world, 7001, durable=True)
    world.await_chain(7001)
    assert world.run("REMOVE", HOST, 7000) == "OK"
    assert [str(member) for member in world.stored().awaited] == ["10.0.0.1:7002"]
    assert world.run("REMOVE", HOST, 7002) == "OK"
    assert world.stored().awaited == ()
    assert world.ports() == [7001]


def test_one_that_is_back_with_other_data_is_named(world: World) -> None:
    die(world)
    back(world, 7001, durable=True)
    world.fleet.start(7000, identity=7100, keys=5)
    await_waiting(world, "10.0.0.1:7000 is back, and cannot be added: ERR 10.0.0.1:7000 holds data of its own")
    assert world.ports() == [7001]


@kills_masters
def test_a_master_that_was_restarted_forms_the_chain_as_well(world: World) -> None:
    world.kill_master()
    for port in (7000, 7001, 7002):
        back(world, port)
    world.start_master()
    wait_until(lambda: len(world.ports()) == 3 and world.agrees(), 10)


def test_a_store_that_fails_meanwhile_holds_it_up(world: World) -> None:
    world.store.broken = True
    die(world)
    back(world, 7001, durable=True)
    await_waiting(world, "the disk is full")
    assert world.fleet.processes[7001].state.role == "removed"
    world.store.broken = False
    world.await_chain(7001)


def die_at_adoption(world: World, port: int) -> None:
    """The chosen one is killed after the decision was stored, and before it hears of it."""

    def kill() -> BaseException:
        world.fleet.kill(port)
        return Closed("killed")

    world.fleet.failure, world.fleet.fail_at = kill, f"adopt:{port}"


def lose_the_chosen(world: World) -> None:
    die(world)
    die_at_adoption(world, 7001)
    back(world, 7001, durable=True)
    wait_until(lambda: world.ports() == [7001] and world.fleet.processes[7001].condition == "dead", 5)
    world.fleet.fail_at = ""


def test_a_chosen_one_that_dies_before_it_hears_of_it_is_chosen_again(world: World) -> None:
    lose_the_chosen(world)
    world.fleet.start(
        7001, identity=8001, history=world.stored().view.history, applied=9, assigned=1,
        record_epoch=3, record_run_id=run_id(7001), record_durable=True,
    )  # fmt: skip
    wait_until(lambda: world.stored().view.head.run_id == run_id(8001) and world.agrees(), 5)
    assert world.stored().view.epoch == 5
    back(world, 7002)
    world.await_chain(7001, 7002)


def test_nobody_else_is_in_its_place_since_it_may_have_served(world: World) -> None:
    lose_the_chosen(world)
    back(world, 7002, durable=True)
    await_waiting(world, "waiting for 10.0.0.1:7001; or MASTER.FORM")
    assert world.ports() == [7001]


def keep_all(world: World) -> None:
    """They have `appendfsync always`, and the master knows."""
    for port in world.ports():
        process = world.fleet.processes[port]
        process.state = replace(
            process.state, record_epoch=process.state.epoch, record_run_id=process.state.run_id, record_durable=True
        )
    world.run("REFRESH_TAIL")
    wait_until(lambda: len(world.stored().durable) == len(world.ports()), 5)


def test_no_new_history_begins_before_all_disks_have_been_looked_at(world: World) -> None:
    keep_all(world)
    die(world)
    world.fleet.start(7000, identity=7100)
    world.fleet.start(7003)
    world.refuses("10.0.0.1:7001 has all of the chain's data on its disk", "ADD", HOST, 7003)
    world.fleet.start(7001, identity=7101)
    world.refuses("10.0.0.1:7002 has all", "ADD", HOST, 7003)
    back(world, 7002, durable=True)
    wait_until(lambda: world.ports()[0] == 7002 and world.agrees(), 10)


def test_a_disk_that_is_lost_is_given_up_with_remove(world: World) -> None:
    keep_all(world)
    die(world)
    world.fleet.start(7003)
    for port in (7000, 7001, 7002):
        world.refuses("has all of the chain's data", "ADD", HOST, 7003)
        assert world.run("REMOVE", HOST, port) == "OK"
    assert world.run("ADD", HOST, 7003) == "OK"
    assert world.ports() == [7003]


def test_who_keeps_nothing_any_more_is_not_waited_for(world: World) -> None:
    keep_all(world)
    process = world.fleet.processes[7001]
    process.state = replace(process.state, record_durable=False)
    world.run("REFRESH_HEAD")
    wait_until(lambda: len(world.stored().durable) == 2, 5)


@pytest.fixture
def last_of_two(world: World) -> World:
    """7000 has died, and 7001, which went on alone, right after it; 7001 has lost its disk, and 7003 is a spare."""
    world.remove(7002)
    keep_all(world)
    world.fleet.kill(7000)
    world.await_chain(7001)
    die(world)
    world.fleet.start(7001, identity=7101, history=world.stored().view.history)
    world.fleet.start(7003)
    return world


def test_no_new_history_begins_before_the_disks_of_the_fallen_have_been_looked_at(last_of_two: World) -> None:
    world = last_of_two
    await_waiting(world, "10.0.0.1:7000 may have kept what there was then")
    for port in (7001, 7003):
        world.refuses("10.0.0.1:7000 had all of the chain's data on its disk", "ADD", HOST, port)
    back(world, 7000, durable=True)
    for port in (7001, 7003):
        world.refuses("MASTER.FORM 10.0.0.1 7000 makes it the chain", "ADD", HOST, port)
    assert world.run("FORM", HOST, 7000) == "OK"
    assert world.run("ADD", HOST, 7001) == "OK"
    assert world.ports() == [7000, 7001]


def test_what_the_fallen_have_is_looked_for_though_it_was_not_always_durable(world: World) -> None:
    world.fleet.kill(7000)
    world.await_chain(7001, 7002)
    die(world)
    back(world, 7000)
    world.fleet.start(7003)
    world.refuses("10.0.0.1:7000 holds data of this chain", "ADD", HOST, 7003)


def test_the_awaited_count_like_the_fallen(world: World) -> None:
    """The chosen one, which had kept everything, is lost with its disk before anybody else is back."""
    keep_all(world)
    lose_the_chosen(world)
    wait_until(lambda: not world.stored().leaving, 5)
    world.fleet.start(7001, identity=8001, history=world.stored().view.history)
    world.fleet.start(7003)
    world.refuses("10.0.0.1:7000 had all of the chain's data on its disk", "ADD", HOST, 7003)
    world.fleet.start(7000, identity=7100)
    world.refuses("10.0.0.1:7002 had all", "ADD", HOST, 7003)
    assert world.run("REMOVE", HOST, 7002) == "OK"
    assert world.run("ADD", HOST, 7003) == "OK"


def test_the_disk_of_one_that_fell_is_given_up_with_remove(last_of_two: World) -> None:
    world = last_of_two
    assert world.run("REMOVE", HOST, 7000) == "OK"
    assert world.run("ADD", HOST, 7003) == "OK"
    assert world.ports() == [7003]


def test_who_comes_back_without_a_command_begins_no_history(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last member dies while an empty server, a member that fell, is being added again."""
    world.remove(7002)
    additions, over = world.master._additions, Event()
    bring_back = additions.bring_back

    def bring_back_to_a_dead_chain(*args: Any) -> None:
        world.fleet.kill(7001)
        world.await_loss()
        try:
            bring_back(*args)
        finally:
            over.set()

    monkeypatch.setattr(additions, "bring_back", bring_back_to_a_dead_chain)
    history = world.stored().view.history
    world.fleet.kill(7000)
    world.await_chain(7001)
    world.fleet.start(7000, identity=7100, history=history)
    assert over.wait(10)
    assert world.stored().view.history == history
    await_waiting(world, "waiting for 10.0.0.1:7001")
