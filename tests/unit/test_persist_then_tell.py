# SPDX-License-Identifier: Apache-2.0
"""Rule 5: a master that cannot store, or is killed at any step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chainredis.coordinator.commands import Coordinator
from chainredis.protocol.errors import CommandError, OutcomeUnknown
from chainredis.protocol.view import View
from chainredis.storage.view_store import FileStore
from chainredis.transport.waiting import WaitTimeout, wait_until
from unit.fake_members import run_id
from unit.world import HOST, Killed, World, a_world, kills_masters


def test_nobody_is_told_of_what_could_not_be_stored(world: World) -> None:
    world.build(7000, 7001)
    world.store.broken = True
    with pytest.raises(OutcomeUnknown, match="disk is full"):
        world.run("REMOVE", HOST, 7001)
    assert world.fleet.changes() == []
    world.refuses("disk is full", "REMOVE", HOST, 7000)
    assert world.chain() == ["10.0.0.1:7000", "10.0.0.1:7001"]
    world.store.broken = False
    assert world.run("REMOVE", HOST, 7001) == "OK"
COMMANDS: dict[str, Callable[[World], object]] = {
    "add": lambda world: world.run("ADD", HOST, 7003),
    "remove head": lambda world: world.run("REMOVE", HOST, 7000),
    "remove middle": lambda world: world.run("REMOVE", HOST, 7001),
    "remove tail": lambda world: world.run("REMOVE", HOST, 7002),
    "form": lambda world: world.run("FORM", HOST, 7001),
    "repair": lambda world: kill_and_await(world, 7000),
}


def kill_and_await(world: World, victim: int) -> None:
    world.fleet.kill(victim)
    world.await_chain(*(port for port in (7000, 7001, 7002) if port != victim))


def steps_of(name: str, folder: Path) -> list[str]:
    with a_world(folder) as world:
        world.build(7000, 7001, 7002)
        world.fleet.start(7003)
        COMMANDS[name](world)
        return list(dict.fromkeys(world.fleet.changes()))


@kills_masters
@pytest.mark.parametrize("name", COMMANDS)
def test_a_master_killed_at_any_step_never_reuses_an_epoch(tmp_path: Path, name: str) -> None:
    """After each possible death: the next master ends the change, and every epoch has had one view only."""
    steps = steps_of(name, tmp_path / "rehearsal")
    assert len(steps) >= 3
    for number, step in enumerate(steps):
        with a_world(tmp_path / str(number)) as world:
            seen: dict[int, set[tuple[str, ...]]] = {}
            watch_views(world, seen)
            world.build(7000, 7001, 7002)
            world.fleet.start(7003)
            world.fleet.fail_at, world.fleet.failure = step, world.kill_master
            with pytest.raises((Killed, CommandError, WaitTimeout)):
                COMMANDS[name](world)
            world.fleet.fail_at = ""
            world.start_master()
            wait_until(world.agrees, 10)
            world.fleet.start(7004)
            assert world.run("ADD", HOST, 7004) == "OK"
            assert all(len(views) == 1 for views in seen.values()), (step, seen)


def watch_views(world: World, seen: dict[int, set[tuple[str, ...]]]) -> None:
    """Notes the members of every view that any process is told of, and that it was stored before."""

    def watch(view: View) -> None:
        assert world.stored().view == view
        seen.setdefault(view.epoch, set()).add(tuple(str(member) for member in view.members))

    world.fleet.on_adopt = watch


@kills_masters
def test_a_master_that_was_away_finds_out_who_died(world: World) -> None:
    """Nobody's connection was lost before its eyes, but a neighbour's was."""
    world.build(7000, 7001, 7002)
    world.kill_master()
    world.fleet.kill(7001)
    world.start_master()
    world.await_chain(7000, 7002)


def test_a_neighbours_report_is_looked_into_at_once(world: World) -> None:
    """Here the poll would have come after three seconds."""
    world.build(7000, 7001, 7002)
    reporter, suspect = world.fleet.processes[7000], world.fleet.processes[7001]
    polls = len(suspect.leases)
    reporter.state = replace(reporter.state, unreached=f"{run_id(7001)}:0:1")
    reporter.suspect()
    wait_until(lambda: len(suspect.leases) > polls, 1)
    assert world.ports() == [7000, 7001, 7002]


def test_everybody_gets_leases_of_the_newest_epoch(world: World) -> None:
    world.build(7000, 7001)
    for port in (7000, 7001):
        process = world.fleet.processes[port]
        wait_until(lambda process=process: process.leases and process.leases[-1].epoch == 2, 5)  # type: ignore[misc]
        assert process.leases[-1].length_ms == 2000


def test_a_damaged_file_refuses_changes_until_it_is_repaired(world: World, tmp_path: Path) -> None:
    world.build(7000)
    store = FileStore(tmp_path)
    store.save(world.stored())
    whole = store.path.read_text()
    store.path.write_text(whole[: len(whole) // 2])
    master = Coordinator(world.settings, dial=world.fleet.dial, resolve=lambda host: host)
    world.fleet.start(7001)
    for command in (["MASTER.ADD", HOST, "7001"], ["MASTER.GET_CHAIN"]):
        with pytest.raises(CommandError, match=r"ERR .*is damaged"):
            master.execute(command[0], [argument.encode() for argument in command[1:]])
    assert "damaged" in str(master.status()["state"])
    store.path.write_text(whole)
    assert master.execute("MASTER.ADD", [HOST.encode(), b"7001"]) == "OK"
    master.close()
