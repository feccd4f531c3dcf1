# SPDX-License-Identifier: Apache-2.0
"""Members that a fault took out come back by themselves, at a pace that spares the chain; removed ones do not."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from chainredis.coordinator.cold_start import FALL_LEAST_S, STEADY_S, TRY_LEAST_S, TRY_MOST_S, RetryPace
from chainredis.protocol.errors import CommandError, Silent
from chainredis.transport.settings import PollSettings
from chainredis.transport.waiting import wait_until
from unit.fake_members import FakeProcess
from unit.world import HOST, QUICK, World, a_world, kills_masters


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        world.build(7000, 7001, 7002)
        world.give_data(7000, 7001, 7002)
        yield world


def fell(world: World, port: int) -> None:
    rest = [each for each in world.ports() if each != port]
    world.fleet.kill(port)
    world.await_chain(*rest)


def restarted(world: World, port: int, **fields: str | int) -> FakeProcess:
    return world.fleet.start(port, identity=port + 100, **fields)


def with_its_data(world: World) -> dict[str, str | int]:
    return {"history": world.stored().view.history, "applied": 9, "assigned": 1}


@pytest.mark.parametrize("port", [7000, 7001, 7002])
def test_a_member_that_was_restarted_is_the_new_tail(world: World, port: int) -> None:
    fell(world, port)
    assert world.master.status()["fallen"] == f"10.0.0.1:{port}"
    restarted(world, port, **with_its_data(world))
    world.await_chain(*(each for each in (7000, 7001, 7002) if each != port), port)
    wait_until(lambda: world.master.status()["fallen"] == "", 5)


def test_one_without_any_data_is_copied(world: World) -> None:
    """A container that was restarted without a volume."""
    fell(world, 7000)
    restarted(world, 7000)
    world.await_chain(7001, 7002, 7000)
    assert "join:7000" in world.fleet.events


def test_a_return_goes_on_when_the_chain_has_changed(world: World) -> None:
    fell(world, 7000)

    def change() -> BaseException:
        world.fleet.fail_at = ""
        world.run("REMOVE", HOST, 7001)
        return Silent("injected")

    world.fleet.fail_at, world.fleet.failure = "feed:7002", change
    restarted(world, 7000, **with_its_data(world))
    world.await_chain(7002, 7000)
    assert world.fleet.events.count("feed:7002") == 2
    assert world.master.status()["waits_for"] == ""


FOREIGN: dict[str, dict[str, str | int]] = {
    "its own": {"keys": 5},
    "another chain's": {"history": "d" * 32, "applied": 3},
}


@pytest.mark.parametrize("fields", FOREIGN.values(), ids=FOREIGN)
def test_foreign_data_is_the_operators(world: World, fields: dict[str, str | int]) -> None:
    fell(world, 7000)
    restarted(world, 7000, **fields)
    wait_until(lambda: "7000 is back, and cannot be added: ERR 10.0.0.1:7000 holds data of" in str(
        world.master.status()["waits_for"]), 5)
    assert world.ports() == [7001, 7002]
    assert world.run("ADD", HOST, 7000, "DISCARD") == "OK"
    wait_until(lambda: world.master.status()["waits_for"] == "", 5)


def test_one_that_was_removed_stays_away(world: World) -> None:
    assert world.run("REMOVE", HOST, 7000) == "OK"
    restarted(world, 7000, **with_its_data(world))
    fell(world, 7001)
    assert world.run("REMOVE", HOST, 7001) == "OK"  # after its fall, too
    restarted(world, 7001, **with_its_data(world))
    time.sleep(0.3)
    assert world.ports() == [7002]
    assert world.stored().fallen == ()
    world.refuses("not in the chain", "REMOVE", HOST, 7001)


def test_a_removed_one_is_not_remembered_from_an_earlier_fall(world: World) -> None:
    fell(world, 7000)
    restarted(world, 7000, **with_its_data(world))
    world.await_chain(7001, 7002, 7000)
    assert world.run("REMOVE", HOST, 7000) == "OK"
    time.sleep(0.3)
    assert world.ports() == [7001, 7002]


def test_who_is_back_may_be_added_again_by_an_operator_who_has_not_seen_that(world: World) -> None:
    fell(world, 7000)
    restarted(world, 7000, **with_its_data(world))
    world.await_chain(7001, 7002, 7000)
    assert world.run("ADD", HOST, 7000) == "OK"
    world.refuses("already in the chain", "ADD", HOST, 7001)
    assert world.ports() == [7001, 7002, 7000]


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    with a_world(tmp_path, PollSettings(auto_return=False)) as world:
        world.build(7000, 7001)
        fell(world, 7000)
        restarted(world, 7000)
        time.sleep(0.3)
        assert world.ports() == [7001]
        assert world.run("ADD", HOST, 7000) == "OK"


def test_a_hung_one_that_wakes_is_the_same_process(tmp_path: Path) -> None:
    with a_world(tmp_path, QUICK) as world:
        world.build(7000, 7001, 7002)
        world.fleet.processes[7001].condition = "hung"
        wait_until(lambda: world.ports() == [7000, 7002], 10)
        world.fleet.processes[7001].condition = "alive"
        world.await_chain(7000, 7002, 7001)


def test_one_that_nobody_reaches_does_not_hold_up_another(world: World) -> None:
    fell(world, 7000)
    fell(world, 7001)
    restarted(world, 7001, **with_its_data(world))
    world.await_chain(7002, 7001)
    assert world.master.status()["fallen"] == "10.0.0.1:7000"
    restarted(world, 7000)
    world.await_chain(7002, 7001, 7000)


def test_an_addition_that_fails_is_tried_again_later(world: World) -> None:
    fell(world, 7000)
    process = restarted(world, 7000)
    process.state = replace(process.state, keys=1)
    wait_until(lambda: "cannot be added" in str(world.master.status()["waits_for"]), 5)
    before = len(world.fleet.events)
    time.sleep(0.3)
    assert len(world.fleet.events) == before
    assert world.run("REMOVE", HOST, 7000) == "OK"
    wait_until(lambda: world.master.status()["waits_for"] == "", 5)


@kills_masters
def test_another_master_takes_over_who_is_missing(world: World) -> None:
    fell(world, 7000)
    world.kill_master()
    restarted(world, 7000, **with_its_data(world))
    world.start_master()
    world.await_chain(7001, 7002, 7000)


# ------------------------------------------------------------------------------------------------ the pace


def test_who_falls_again_and_again_comes_back_less_and_less_often() -> None:
    pace, now = RetryPace(), monotonic()
    assert pace.is_due(now)
    pauses = []
    for _ in range(12):
        pace.succeeded()
        assert not pace.is_due(now)
        pauses.append(pace._due_at - now)
    assert pauses[0] == pytest.approx(FALL_LEAST_S)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(TRY_MOST_S)


def test_who_has_stayed_for_long_comes_back_at_once() -> None:
    pace, now = RetryPace(), monotonic()
    for _ in range(5):
        pace.succeeded()
        pace.is_due(now)
    pace.succeeded()
    later = monotonic() + STEADY_S + 1
    assert pace.is_due(later)


def test_failures_are_spaced_and_looks_stay_frequent() -> None:
    pace = RetryPace()
    for _ in range(20):
        pace.missed(0.5)
    assert pace.is_due(monotonic() + 2.1)
    pace.failed()
    assert not pace.is_due(monotonic() + TRY_LEAST_S - 0.1)
    for _ in range(20):
        pace.failed()
    assert not pace.is_due(monotonic() + TRY_MOST_S - 1)
    assert pace.is_due(monotonic() + TRY_MOST_S + 1)


# -------------------------------------------------------------------------------------- additions called off


def test_an_addition_that_waits_and_one_under_way_are_called_off(world: World) -> None:
    for port in (7003, 7004):
        world.fleet.start(port)
    learner = world.fleet.processes[7003]
    answers: dict[int, str] = {}

    def add(port: int) -> None:
        try:
            answers[port] = str(world.run("ADD", HOST, port))
        except CommandError as error:
            answers[port] = str(error)

    # It says that it is copying for as long as it is asked.
    world.settings.__dict__["stall_timeout_s"] = 60.0
    world.fleet.never_copied = 7003
    threads = [threading.Thread(target=add, args=(port,)) for port in (7003, 7004)]
    threads[0].start()
    wait_until(lambda: learner.state.join == "copying", 5)
    threads[1].start()
    wait_until(lambda: len(world.master._additions._asked_for) == 2, 5)
    for port in (7004, 7003):
        assert world.run("REMOVE", HOST, port) == "OK"
        wait_until(lambda port=port: "has called this off" in answers.get(port, ""), 5)  # type: ignore[misc]
    for thread in threads:
        thread.join()
    assert learner.state.join == "failed"
    assert world.ports() == [7000, 7001, 7002]
    world.refuses("not in the chain", "REMOVE", HOST, 7003)
