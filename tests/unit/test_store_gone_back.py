# SPDX-License-Identifier: Apache-2.0
"""A store that goes back, or is lost: brought forward by who knows better, or formed anew by an operator's command."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chainredis.protocol.reconfiguration import EPOCHS_LEFT_OUT, Configuration
from chainredis.storage.view_store import configuration_to_text
from chainredis.transport.waiting import wait_until
from unit.world import HOST, QUICK, World, a_world, kills_masters

pytestmark = kills_masters


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Of four, in epoch 6: one was removed since epoch 3, and two were added."""
    with a_world(tmp_path, QUICK) as world:
        world.build(7000, 7001, 7002)
        world.early = world.stored()  # type: ignore[attr-defined]
        world.run("REMOVE", HOST, 7001)
        world.fleet.start(7003)
        world.run("ADD", HOST, 7003)
        world.fleet.start(7004)
        world.run("ADD", HOST, 7004)
        world.give_data(7000, 7002, 7003, 7004)
        yield world


def put_back(world: World, configuration: Configuration | None, *, hung: int = 0) -> None:
    """While no master is there to see it."""
    world.kill_master()
    if hung:
        world.fleet.processes[hung].condition = "hung"
    world.store._saved = configuration_to_text(configuration) if configuration else None
    world.start_master()


def early(world: World) -> Configuration:
    configuration: Configuration = world.early  # type: ignore[attr-defined]
    return configuration


def test_a_restored_store_is_brought_forward_when_all_serve_in_the_newest_view(world: World) -> None:
    newest = world.stored().view
    put_back(world, early(world))
    wait_until(lambda: world.ports() == [7000, 7002, 7003, 7004], 10)
    view = world.stored().view
    assert (view.members, view.history, view.secret) == (newest.members, newest.history, newest.secret)
    assert view.epoch == newest.epoch + EPOCHS_LEFT_OUT, "a lost one may have been in between"
    world.await_chain(7000, 7002, 7003, 7004)
    world.fleet.kill(7003)
    world.await_chain(7000, 7002, 7004)


def test_while_one_of_it_is_not_heard_nothing_is_decided_but_by_an_operator(world: World) -> None:
    put_back(world, early(world), hung=7003)
    wait_until(lambda: (newer := world.stored().newer) is not None and newer.epoch == 6, 10)
    wait_until(lambda: "epoch 6" in str(world.master.status()["state"]), 10)
    assert world.stored().view == early(world).view
    state = str(world.master.status()["state"])
    assert "has gone back to epoch 3, and there was one of epoch 6" in state
    assert "10.0.0.1:7003" in state and "MASTER.FORM host port" in state
    world.refuses("has gone back to epoch 3", "REMOVE", HOST, 7001)
    world.fleet.start(7005)
    world.refuses("has gone back to epoch 3", "ADD", HOST, 7005)
    assert world.run("FORM", HOST, 7002) == "OK"
    assert world.ports() == [7002]
    assert world.stored().view.epoch > 6 + EPOCHS_LEFT_OUT


def test_what_members_know_is_not_forgotten_when_they_die(world: World) -> None:
    """The next master finds nobody of the newest view, and does not take the members of the older one for all."""
    put_back(world, early(world), hung=7004)
    wait_until(lambda: (newer := world.stored().newer) is not None and newer.epoch == 6, 10)
    world.fleet.kill(7000, 7002, 7003, 7004)
    world.kill_master()
    former = world.fleet.processes[7001].state.run_id
    record: dict[str, Any] = {"record_run_id": former, "record_epoch": 3, "record_durable": True}
    world.fleet.start(7001, 8001, history=early(world).view.history, applied=9, **record)
    world.start_master()
    world.master._runtime.wait_for(lambda _: False, 1)  # it would have been formed again by then
    assert "there was one of epoch 6" in str(world.master.status()["state"])
    assert world.stored().view == early(world).view


def test_a_store_that_goes_back_under_a_running_master_is_written_again(world: World) -> None:
    newest = world.stored()
    world.store._saved = configuration_to_text(early(world))
    world.master.doubt_store()
    wait_until(lambda: world.store.load() == newest, 10)
    world.store._saved = None
    world.master.doubt_store()
    wait_until(lambda: world.store.load() == newest, 10)
    world.fleet.kill(7003)
    world.await_chain(7000, 7002, 7004)


def test_a_lost_store_and_a_chain_that_lives(world: World) -> None:
    """Nobody knows its secret: only who was restarted, which has ended that chain, takes a view from this master."""
    view = world.stored().view
    put_back(world, None)
    world.refuses("whose secret this master does not know", "FORM", HOST, 7002)
    world.refuses("holds data of another chain", "ADD", HOST, 7002)
    world.fleet.start(7002, 8002, history=view.history, applied=9, assigned=5, record_epoch=6)
    assert world.run("FORM", HOST, 7002) == "OK"
    formed = world.stored().view
    assert (formed.history, formed.epoch) == (view.history, 6 + EPOCHS_LEFT_OUT)
    assert formed.secret != view.secret
    world.fleet.start(7000, 8000, history=view.history, applied=9, assigned=5)
    assert world.run("ADD", HOST, 7000) == "OK"
    assert world.ports() == [7002, 7000]
