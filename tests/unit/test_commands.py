# SPDX-License-Identifier: Apache-2.0
"""The master's commands against a fake fleet: what is said, what is stored and told, and in which order."""

from threading import Event, Thread

import pytest

from chainredis.coordinator.commands import Status
from chainredis.protocol.errors import CommandError, OutcomeUnknown, Silent
from chainredis.transport.waiting import wait_until
from unit.world import HOST, World


def assert_before(world: World, *groups: set[str]) -> None:
    """What was stored and told is all of these, each group before the next; inside of one in any order."""
    rest = world.fleet.changes()
    for group in groups:
        assert set(rest[: len(group)]) == group, (group, rest)
        rest = rest[len(group) :]
    assert not rest

# -------------------------------------------------------------------------------------------------------- MASTER.REMOVE


@pytest.mark.parametrize("port", [7000, 7001, 7002])
def test_removal_tells_the_removed_one_first(world: World, port: int) -> None:
    world.build(7000, 7001, 7002)
    assert world.run("REMOVE", HOST, port) == "OK"
    wait_until(lambda: not world.stored().leaving, 5)
    rest = {f"adopt:{other}" for other in (7000, 7001, 7002) if other != port}
    assert_before(world, {"save:4"}, {f"adopt:{port}"}, {"save:4", *rest})
    assert world.fleet.processes[port].state.role == "removed"


def test_a_member_that_hangs_is_removed_when_its_lease_has_run_out(quick_world: World) -> None:
    quick_world.build(7000, 7001, 7002)
    quick_world.fleet.processes[7001].condition = "hung"
    assert quick_world.run("REMOVE", HOST, 7001) == "OK"
    assert quick_world.ports() == [7000, 7002]
    assert "adopt:7001" not in quick_world.fleet.events


def test_the_last_copy_is_never_removed(world: World) -> None:
    world.refuses("no members", "REMOVE", HOST, 7000)
    world.build(7000)
    world.refuses("only member", "REMOVE", HOST, 7000)
    world.build(7001)
    world.refuses("10.0.0.1:7009 is not in the chain", "REMOVE", HOST, 7009)
    world.fleet.kill(7000)
    world.await_chain(7001)
    world.refuses("only member", "REMOVE", HOST, 7001)


def test_others_hear_nothing_before_the_removed_one_has(quick_world: World) -> None:
    quick_world.build(7000, 7001, 7002)
    quick_world.fleet.events.clear()
    quick_world.fleet.fail_at = "adopt:7002"
    with pytest.raises(OutcomeUnknown, match="may still serve, and has not acknowledged"):
        quick_world.run("REMOVE", HOST, 7002)
    assert {"save:4", "adopt:7002"} <= set(quick_world.fleet.changes()) <= {"save:3", "save:4", "adopt:7002"}
    with pytest.raises(CommandError, match=r"10.0.0.1:7002 has not acknowledged yet"):
        quick_world.run("REMOVE", HOST, 7001)
    quick_world.fleet.fail_at = ""
    quick_world.await_chain(7000, 7001)


def test_a_member_is_found_by_its_number_too(world: World) -> None:
    world.build(7000, 7001)
    assert world.run("REMOVE", "another.name", 7001) == "OK"

# ---------------------------------------------------------------------------------------- reads, and the end of a chain


def test_reads_do_not_wait_for_a_change(world: World) -> None:
    world.build(7000)
    world.fleet.start(7001)
    copying, go_on = Event(), Event()
    world.fleet.fail_at = "join:7001"

    def stop_here() -> BaseException:
        copying.set()
        assert go_on.wait(5)
        return Silent("injected")

    world.fleet.failure = stop_here
    adding = Thread(target=world.refuses, args=("injected", "ADD", HOST, 7001))
    adding.start()
    assert copying.wait(5)
    assert world.chain() == ["10.0.0.1:7000"]
    assert world.run("REFRESH_TAIL") == "10.0.0.1:7000"
    assert world.master.status()["last_change_state"] == "under way"
    go_on.set()
    adding.join(5)
    assert str(world.master.status()["last_change_state"]).startswith("failed: ERR")


def test_a_chain_that_died_without_leaving_data_begins_anew(world: World) -> None:
    world.build(7000, 7001)
    old = world.stored()
    world.fleet.kill(7000)
    world.fleet.start(7001, identity=99, history=old.view.history)
    assert world.run("ADD", HOST, 7001) == "OK"
    new = world.stored()
    assert new.view.history != old.view.history
    assert new.view.epoch > old.view.epoch


def test_no_new_chain_while_a_member_of_the_dead_one_is_loading_its_data(world: World) -> None:
    world.build(7000, 7001)
    history = world.stored().view.history
    world.fleet.kill(7000, 7001)
    # Both come back: the last view has one of them alone if its death was found out later than the other's.
    returned = [world.fleet.start(port, port + 1000, history=history, applied=9) for port in (7000, 7001)]
    for process in returned:
        process.condition = "loading"
    world.fleet.start(7002)
    world.await_loss()
    world.refuses("is still loading its data", "ADD", HOST, 7002)
    for process in returned:
        process.condition = "alive"
    world.refuses("MASTER.FORM 10.0.0.1 700[01]", "ADD", HOST, 7002)


def test_a_chain_that_died_is_formed_again_from_the_survivor_that_the_operator_names(world: World) -> None:
    world.build(7000, 7001)
    history = world.stored().view.history
    world.fleet.kill(7000)
    world.fleet.start(7001, identity=99, history=history, applied=5)
    world.fleet.start(7002)
    world.await_loss()
    world.refuses("MASTER.FORM 10.0.0.1 7001", "ADD", HOST, 7001)
    world.refuses("MASTER.FORM 10.0.0.1 7001", "ADD", HOST, 7002)
    world.refuses("holds no data of this chain", "FORM", HOST, 7002)
    assert world.run("FORM", HOST, 7001) == "OK"
    assert world.ports() == [7001]
    assert world.run("ADD", HOST, 7002) == "OK"


def test_form_does_not_override_the_living(world: World) -> None:
    world.fleet.start(7000)
    world.refuses("knows of no chain, and 10.0.0.1:7000 holds no data", "FORM", HOST, 7000)
    world.build(7000, 7001)
    world.fleet.start(7002, history=world.stored().view.history, applied=5)
    world.refuses("10.0.0.1:7000 is in the chain and may be alive", "FORM", HOST, 7002)
    assert world.run("FORM", HOST, 7001) == "OK"
    assert world.fleet.processes[7000].state.role == "removed"


def test_form_waits_for_the_lease_of_one_that_hangs(quick_world: World) -> None:
    quick_world.build(7000, 7001, 7002)
    quick_world.fleet.processes[7002].condition = "hung"
    assert quick_world.run("FORM", HOST, 7001) == "OK"
    assert quick_world.ports() == [7001]

# ------------------------------------------------------------------------------------------------------- for the server


def test_arity_and_unknown_commands(world: World) -> None:
    world.refuses("wrong number of arguments for 'master.add'", "ADD")
    world.refuses("wrong number of arguments for 'master.add'", "ADD", HOST, 1, "ADOPT", "INCOMPLETE", "x")
    world.refuses("wrong number of arguments for 'master.get_chain'", "GET_CHAIN", "x")
    world.refuses("unknown command", "NONSENSE")


def test_observers_see_every_change_and_break_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []

    def observe(status: Status) -> None:
        seen.append((status["epoch"], status["last_change"], status["last_change_state"]))

    world.master.on_status(observe)
    world.build(7000)
    assert list(dict.fromkeys(seen)) == [
        (0, "none", "done"), (0, "MASTER.ADD", "under way"), (1, "MASTER.ADD", "under way"), (1, "MASTER.ADD", "done"),
    ] or list(dict.fromkeys(seen)) == [
        (0, "none", "done"), (0, "MASTER.ADD", "under way"), (1, "MASTER.ADD", "done"),
    ]  # fmt: skip

    def fail(status: Status) -> None:
        raise ZeroDivisionError

    world.master._observers.append(fail)
    assert world.run("GET_CHAIN") == ["10.0.0.1:7000"]
    world.build(7001)
    assert "an observer of the status failed" in caplog.text


def test_the_status_tells_how_everybody_is(world: World) -> None:
    assert world.master.status()["state"] == "no chain"
    world.build(7000, 7001)
    status = world.master.status()
    assert (status["state"], status["members"], status["repairs"]) == ("serving", 2, 0)
    assert str(status["member_1"]).startswith("10.0.0.1:7001,state=alive,silent_ms=")
    world.fleet.kill(7001)
    world.await_chain(7000)
    assert world.master.status()["repairs"] == 1
    world.fleet.kill(7000)
    wait_until(lambda: "no process of the chain lives" in str(world.master.status()["state"]), 5)
    assert str(world.master.status()["member_0"]).startswith("10.0.0.1:7000,state=dead")


def test_a_fault_of_our_own_is_an_error_reply(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.build(7000)
    world.fleet.start(7001)
    world.fleet.fail_at, world.fleet.failure = "pin:7000", lambda: ZeroDivisionError("a bug")
    with pytest.raises(CommandError, match=r"internal error.*a bug"):
        world.run("ADD", HOST, 7001)
    assert "nobody has thought of" in caplog.text
