"""The master's commands against a fake fleet: what is said, what is stored and told, and in which order."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from chainredis.coordinator.commands import Coordinator, Status
from chainredis.protocol.errors import CannotFeed, CommandError, OutcomeUnknown, Silent
from chainredis.protocol.view import View
from chainredis.storage.view_store import FileStore
from chainredis.transport.member_client import MemberState, Progress
from chainredis.transport.waiting import WaitTimeout, wait_until
from unit.fake_members import FakeLink, FakeProcess, run_id
from unit.world import HOST, QUICK, Killed, World, a_world, kills_masters


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        yield world


@pytest.fixture
def quick_world(tmp_path: Path) -> Iterator[World]:
    """Silence for 0.4 s is an end here."""
    with a_world(tmp_path, QUICK) as world:
        yield world


def assert_before(world: World, *groups: set[str]) -> None:
    """What was stored and told is all of these, each group before the next; inside of one in any order."""
    rest = world.fleet.changes()
    for group in groups:
        assert set(rest[: len(group)]) == group, (group, rest)
        rest = rest[len(group) :]
    assert not rest


# ------------------------------------------------------------------------------------------------ MASTER.ADD


def test_first_member_keeps_its_data_and_begins_a_history(world: World) -> None:
    world.fleet.start(7000, keys=3)
    assert world.run("ADD", HOST, 7000) == "OK"
    assert world.chain() == ["10.0.0.1:7000"]
    assert world.fleet.changes() == ["save:1", "adopt:7000"]


def test_two_chains_never_have_the_same_history_or_secret(tmp_path: Path) -> None:
    views = []
    for name in ("a", "b"):
        with a_world(tmp_path / name) as world:
            world.build(7000)
            views += [world.stored().view.history, world.stored().view.secret]
    assert len(set(views)) == 4


def test_addition_copies_first_then_persists_then_tells(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    assert world.run("ADD", "later.example", 7002) == "OK"
    assert world.chain() == ["10.0.0.1:7000", "10.0.0.1:7001", "later.example:7002"]
    assert world.fleet.changes()[:4] == ["pin:7001", "join:7002", "feed:7001", "save:3"]
    assert set(world.fleet.changes()[4:]) == {"adopt:7002", "adopt:7001", "adopt:7000", "save:3"}
    assert not world.stored().pending


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("", 7001, "host is empty"),
        ("a host", 7001, "visible ASCII"),
        (b"a\0b", 7001, "visible ASCII"),
        (b"\xff\xfe", 7001, "visible ASCII"),
        ("h" * 256, 7001, "longer than 255"),
        (HOST, "", "port '' is not a number"),
        (HOST, "seven", "port 'seven' is not a number"),
        (HOST, "0", "between 1 and 65535"),
        (HOST, "65536", "between 1 and 65535"),
        (HOST, "-1", "between 1 and 65535"),
        (HOST, "7001\n", "between 1 and 65535"),
        (HOST, "9" * 5000, "between 1 and 65535"),
        ("nowhere", 7001, "cannot resolve the host 'nowhere'"),
        (HOST, 7009, "10.0.0.1:7009: nobody listens"),
    ],
)
@pytest.mark.parametrize("chain", [(), (7000,)])
def test_wrong_addresses_change_nothing(
    world: World, chain: tuple[int, ...], host: str | bytes, port: str | int, says: str
) -> None:
    world.build(*chain)
    world.refuses(says, "ADD", host, port)


def test_servers_that_cannot_be_members(world: World) -> None:
    world.build(7000)
    world.fleet.start(7001).condition = "no-module"
    world.refuses("without libmember.so", "ADD", HOST, 7001)
    world.fleet.start(6369)
    world.refuses("this master itself", "ADD", HOST, 6369)
    world.fleet.processes[6369].condition = "no-module"
    world.refuses("this master itself", "ADD", HOST, 6369)
    world.fleet.start(7002).condition = "hung"
    world.refuses("no answer", "ADD", HOST, 7002)
    world.refuses("already in the chain, as 10.0.0.1:7000", "ADD", "another.name", 7000)
    world.refuses("syntax error", "ADD", HOST, 7001, "PLEASE")


def test_data_is_discarded_only_when_told(world: World) -> None:
    world.build(7000)
    world.fleet.start(7001, keys=2)
    world.refuses("data of its own, 2 keys.*DISCARD", "ADD", HOST, 7001)
    world.fleet.start(7002, history="ab" * 16, applied=3)
    world.refuses("data of another chain.*DISCARD", "ADD", HOST, 7002)
    assert world.run("ADD", HOST, 7001, "DISCARD") == "OK"
    assert world.run("ADD", HOST, 7002, "discard") == "OK"
    world.fleet.start(7003, history="ab" * 16, applied=-1)
    assert world.run("ADD", HOST, 7003) == "OK"  # it has nothing left of that chain


def test_a_first_member_never_brings_another_chains_data(world: World) -> None:
    world.fleet.start(7000, history="ab" * 16, applied=3)
    world.refuses("cannot begin this one", "ADD", HOST, 7000)
    world.refuses("cannot begin this one", "ADD", HOST, 7000, "DISCARD")


def test_what_cannot_begin_a_chain_is_refused_before_anything_is_stored(world: World) -> None:
    process = world.fleet.start(7000)
    process.state = replace(process.state, unfit="keys with a time to live")
    world.refuses("keys with a time to live", "ADD", HOST, 7000)
    assert world.fleet.changes() == []


def test_a_former_member_comes_back(world: World) -> None:
    world.build(7000, 7001)
    world.run("REMOVE", HOST, 7001)
    assert world.run("ADD", HOST, 7001) == "OK"
    assert world.chain() == ["10.0.0.1:7000", "10.0.0.1:7001"]


def test_a_member_that_was_restarted_is_another_one(world: World) -> None:
    """The chain is repaired first, and then gets it as a new tail."""
    world.build(7000, 7001)
    world.fleet.start(7000, identity=99)
    assert world.run("ADD", HOST, 7000) == "OK"
    assert world.ports() == [7001, 7000]
    assert world.stored().view.tail.run_id == run_id(99)


def test_a_dead_member_does_not_stand_in_the_way(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    world.fleet.kill(7000)
    world.await_chain(7001)
    assert world.run("ADD", HOST, 7002) == "OK"
    world.await_chain(7001, 7002)


def test_one_that_hangs_holds_the_addition_up_until_it_is_gone(quick_world: World) -> None:
    quick_world.build(7000, 7001)
    quick_world.fleet.start(7002)
    quick_world.fleet.processes[7000].condition = "hung"
    assert quick_world.run("ADD", HOST, 7002) == "OK"
    quick_world.await_chain(7001, 7002)


def test_at_most_32_members(world: World) -> None:
    world.build(*range(7000, 7032))
    world.fleet.start(7032)
    world.refuses("32 members", "ADD", HOST, 7032)


@pytest.mark.parametrize("step", ["pin:7001", "join:7002", "prove:7002", "feed:7001"])
def test_a_join_that_fails_leaves_the_chain_as_it_was(world: World, step: str) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    world.fleet.fail_at = step
    world.refuses("injected.*as it was", "ADD", HOST, 7002)
    assert not world.fleet.processes[7001].pinned
    world.fleet.fail_at = ""
    world.fleet.start(7002, identity=77)
    assert world.run("ADD", HOST, 7002) == "OK"


def test_a_copy_that_fails_or_stands_still_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainredis.transport.waiting.StallWatch.LOOK_EVERY_S", 0.01)
    world.build(7000)
    for copy, says in (("failed", "the disk is full"), ("copying", "nothing has moved")):
        world.fleet.start(7001, identity=77)
        with monkeypatch.context() as patch:
            learner = world.fleet.processes[7001]
            patch.setattr(FakeLink, "progress", lambda link: Progress(1, 1, 1, 1, 1))
            seen_through(learner, patch, join=copy, join_error="the disk is full")
            world.refuses(says, "ADD", HOST, 7001)


def seen_through(process: FakeProcess, patch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Every look at `process` gives its state with these fields instead."""
    look = FakeLink.state

    def state(link: FakeLink) -> MemberState:
        found = look(link)
        return replace(found, **changed) if link.process is process else found

    patch.setattr(FakeLink, "state", state)


def test_a_tail_over_its_join_limit_gives_the_learner_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.build(7000)
    world.fleet.start(7001)
    seen_through(world.fleet.processes[7000], monkeypatch, pinned=-1)
    world.refuses("member.join-limit", "ADD", HOST, 7001)


def test_a_former_member_gets_only_the_missing_log(world: World) -> None:
    world.build(7000, 7001)
    world.give_data(7000, 7001)
    world.run("REMOVE", HOST, 7001)
    world.fleet.events.clear()
    assert world.run("ADD", HOST, 7001) == "OK"
    assert world.fleet.changes()[:4] == ["pin:7000", "rejoin:7001", "feed:7000", "save:4"]


def test_a_former_member_that_was_away_too_long_is_copied_anew(world: World) -> None:
    world.build(7000, 7001)
    world.give_data(7000, 7001)
    world.run("REMOVE", HOST, 7001)
    world.fleet.processes[7000].log_begins_at = 100
    world.fleet.events.clear()
    assert world.run("ADD", HOST, 7001) == "OK"
    assert world.fleet.changes()[:5] == ["pin:7000", "pin:7000", "join:7001", "feed:7000", "save:4"]


def test_a_learner_left_over_is_copied_anew(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    world.fleet.fail_at = "feed:7001"
    world.refuses("injected.*as it was", "ADD", HOST, 7002)
    world.fleet.fail_at = ""
    world.fleet.events.clear()
    assert world.fleet.processes[7002].state.role == "learner"
    assert world.run("ADD", HOST, 7002) == "OK"
    assert "join:7002" in world.fleet.events


def test_an_addition_that_finds_the_chain_changed_is_off(world: World) -> None:
    """The copy holds up neither a repair nor a removal."""
    world.build(7000, 7001, 7002)
    world.fleet.start(7003)

    def change_meanwhile() -> BaseException:
        world.fleet.fail_at = ""
        assert world.run("REMOVE", HOST, 7000) == "OK"
        return Silent("injected")

    world.fleet.fail_at, world.fleet.failure = "feed:7002", change_meanwhile
    with pytest.raises(CommandError, match=r"ERR .*as it was"):
        world.run("ADD", HOST, 7003)
    world.await_chain(7001, 7002)
    assert not world.fleet.processes[7002].pinned


def test_an_old_tail_that_lacks_what_the_new_one_needs_keeps_its_place(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)

    def refuse_once() -> BaseException:
        world.fleet.fail_at = ""
        return CannotFeed("7001: does not have all")

    world.fleet.fail_at, world.fleet.failure = "adopt:7001", refuse_once
    with pytest.raises(CommandError, match=r"ERR the chain had to go on without 10.0.0.1:7002"):
        world.run("ADD", HOST, 7002)
    world.await_chain(7000, 7001)


def test_a_member_that_cannot_be_told_is_named_and_told_later(quick_world: World) -> None:
    quick_world.build(7000, 7001)
    quick_world.fleet.start(7002)
    quick_world.fleet.fail_at = "adopt:7000"
    with pytest.raises(OutcomeUnknown, match=r"UNKNOWN .*epoch 3, but not serving in it yet: 10.0.0.1:7000"):
        quick_world.run("ADD", HOST, 7002)
    assert quick_world.chain() == ["10.0.0.1:7000", "10.0.0.1:7001", "10.0.0.1:7002"]
    quick_world.fleet.fail_at = ""
    wait_until(lambda: quick_world.fleet.processes[7000].state.epoch == 3, 5)


# --------------------------------------------------------------------------------------------- MASTER.REMOVE


@pytest.mark.parametrize("port", [7000, 7001, 7002])
def test_removal_tells_the_removed_one_first(world: World, port: int) -> None:
    world.build(7000, 7001, 7002)
    assert world.run("REMOVE", HOST, port) == "OK"
    rest = {f"adopt:{other}" for other in (7000, 7001, 7002) if other != port}
    assert_before(world, {"save:4"}, {f"adopt:{port}"}, {"save:4"}, rest)
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


# ------------------------------------------------------------------------------- reads, and the end of a chain


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
    world.fleet.start(7001, 8001, history=history, applied=9).condition = "loading"
    world.fleet.start(7002)
    wait_until(lambda: world.master._runtime.is_lost, 5)
    world.refuses("7001: is still loading its data", "ADD", HOST, 7002)
    world.fleet.processes[7001].condition = "alive"
    world.refuses("MASTER.FORM 10.0.0.1 7001", "ADD", HOST, 7002)


def test_a_chain_that_died_is_formed_again_from_the_survivor_that_the_operator_names(world: World) -> None:
    world.build(7000, 7001)
    history = world.stored().view.history
    world.fleet.kill(7000)
    world.fleet.start(7001, identity=99, history=history, applied=5)
    world.fleet.start(7002)
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


# ------------------------------------------------------------------------------------ rule 5: persist, then tell


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


# --------------------------------------------------------------------------------------------- for the server


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
