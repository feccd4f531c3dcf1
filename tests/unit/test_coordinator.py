"""The master's commands against a fake fleet: what is said, what is stored and told, and in which order."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from chainredis.coordinator import Coordinator, Status
from chainredis.errors import CommandError, OutcomeUnknown, Silent
from chainredis.member_client import MemberState
from chainredis.settings import Settings
from chainredis.stores import FileStore
from chainredis.view import View
from chainredis.waiting import wait_until
from unit.fake_members import FakeFleet, FakeLink, FakeProcess, RecordingStore, run_id

HOST = "10.0.0.1"
OWN = run_id(6369)


class Killed(BaseException):
    """The master's process ends here."""


class World:
    """A fleet, a store that outlives masters, and the master of the moment."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            folder, OWN, 6369, settle_timeout_s=0.05, stall_timeout_s=0.05, retry_interval_s=0.01, poll_interval_s=0.001
        )
        self.fleet = FakeFleet()
        self.store = RecordingStore(self.fleet)
        self.master: Coordinator
        self.start_master()

    def start_master(self) -> None:
        def resolve(host: str) -> str:
            if host == "nowhere":
                raise OSError("Name or service not known")
            return HOST

        self.master = Coordinator(self.settings, store=self.store, dial=self.fleet.dial, resolve=resolve)

    def run(self, command: str, *arguments: str | int | bytes) -> str | list[str]:
        as_bytes = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
        return self.master.execute(f"MASTER.{command}", as_bytes)

    def chain(self) -> list[str] | str:
        return self.run("GET_CHAIN")

    def build(self, *ports: int) -> None:
        for port in ports:
            self.fleet.start(port)
            assert self.run("ADD", HOST, port) == "OK"
        self.fleet.events.clear()

    def refuses(self, says: str, command: str, *arguments: str | int | bytes) -> None:
        """The command fails for good, with this in its text, and nothing has changed."""
        before = self.store.load()
        self.fleet.events.clear()
        with pytest.raises(CommandError, match=says) as caught:
            self.run(command, *arguments)
        assert str(caught.value).startswith("ERR ")
        assert self.store.load() == before
        assert not [event for event in self.fleet.events if event.startswith(("save", "adopt"))]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.master.close()
    assert world.fleet.open_links == 0


# ------------------------------------------------------------------------------------------------ MASTER.ADD


def test_first_member_keeps_its_data_and_begins_a_history(world: World) -> None:
    world.fleet.start(7000, keys=3)
    assert world.run("ADD", HOST, 7000) == "OK"
    assert world.chain() == ["10.0.0.1:7000"]
    assert world.fleet.changes() == ["save:1", "adopt:7000"]


def test_two_chains_never_have_the_same_history_or_secret(tmp_path: Path) -> None:
    views = []
    for name in ("a", "b"):
        world = World(tmp_path / name)
        world.build(7000)
        change = world.store.load()
        assert change
        views += [change.view.history, change.view.secret]
    assert len(set(views)) == 4


def test_addition_copies_first_then_persists_then_tells_tail_first(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    assert world.run("ADD", "later.example", 7002) == "OK"
    assert world.chain() == ["10.0.0.1:7000", "10.0.0.1:7001", "later.example:7002"]
    assert world.fleet.changes() == [
        "pin:7001", "join:7002", "feed:7001", "save:3", "adopt:7002", "adopt:7001", "adopt:7000", "save:3",
    ]  # fmt: skip


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
    world.fleet.start(7002, history="ab" * 16)
    world.refuses("data of another chain.*DISCARD", "ADD", HOST, 7002)
    assert world.run("ADD", HOST, 7001, "DISCARD") == "OK"
    assert world.run("ADD", HOST, 7002, "discard") == "OK"


def test_a_first_member_never_brings_another_chains_data(world: World) -> None:
    world.fleet.start(7000, history="ab" * 16)
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


def test_a_member_that_was_restarted_is_not_the_member(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7001, identity=99)
    world.refuses("was restarted.*MASTER.REMOVE 10.0.0.1 7001", "ADD", HOST, 7001)
    assert world.run("REMOVE", HOST, 7001) == "OK"
    assert world.run("ADD", HOST, 7001) == "OK"


def test_nobody_joins_a_chain_with_a_member_that_does_not_answer(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    for condition in ("dead", "hung"):
        world.fleet.processes[7000].condition = condition
        world.refuses("10.0.0.1:7000 is in the chain and does not answer", "ADD", HOST, 7002)


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
    monkeypatch.setattr("chainredis.waiting.StallWatch.LOOK_EVERY_S", 0.01)
    world.build(7000)
    for copy, says in (("failed", "the disk is full"), ("copying", "nothing has moved")):
        world.fleet.start(7001, identity=77)
        with monkeypatch.context() as patch:
            learner = world.fleet.processes[7001]
            patch.setattr("unit.fake_members.FakeLink.progress", lambda link: (1,))
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


def test_a_member_that_cannot_be_told_is_named_and_told_later(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    world.fleet.fail_at = "adopt:7000"
    with pytest.raises(OutcomeUnknown, match=r"UNKNOWN .*epoch 3, but injected"):
        world.run("ADD", HOST, 7002)
    assert world.chain() == ["10.0.0.1:7000", "10.0.0.1:7001", "10.0.0.1:7002"]
    world.fleet.fail_at = ""
    wait_until(lambda: world.fleet.processes[7000].state.epoch == 3, 5)


# --------------------------------------------------------------------------------------------- MASTER.REMOVE


@pytest.mark.parametrize("port", [7000, 7001, 7002])
def test_removal_tells_the_removed_one_first(world: World, port: int) -> None:
    world.build(7000, 7001, 7002)
    assert world.run("REMOVE", HOST, port) == "OK"
    rest = [other for other in (7002, 7001, 7000) if other != port]
    assert world.fleet.changes() == ["save:4", f"adopt:{port}", "save:4", *(f"adopt:{other}" for other in rest)]
    assert world.fleet.processes[port].state.role == "removed"


def test_a_dead_member_is_removed_without_being_told(world: World) -> None:
    world.build(7000, 7001, 7002)
    world.fleet.processes[7001].condition = "dead"
    assert world.run("REMOVE", HOST, 7001) == "OK"
    assert world.chain() == ["10.0.0.1:7000", "10.0.0.1:7002"]


def test_a_hung_member_stays(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.processes[7001].condition = "hung"
    world.refuses("does not answer, and may be alive", "REMOVE", HOST, 7001)


def test_the_last_copy_is_never_removed(world: World) -> None:
    world.refuses("no members", "REMOVE", HOST, 7000)
    world.build(7000)
    world.refuses("only member", "REMOVE", HOST, 7000)
    world.build(7001)
    world.refuses("10.0.0.1:7009 is not in the chain", "REMOVE", HOST, 7009)
    world.fleet.processes[7000].condition = "dead"
    world.refuses("no member with all the data", "REMOVE", HOST, 7001)


def test_others_hear_nothing_before_the_removed_one_has(world: World) -> None:
    world.build(7000, 7001, 7002)
    world.fleet.fail_at = "adopt:7002"
    with pytest.raises(OutcomeUnknown, match="removal is not in force yet"):
        world.run("REMOVE", HOST, 7002)
    assert set(world.fleet.changes()) == {"save:4", "adopt:7002"}
    with pytest.raises(CommandError, match=r"10.0.0.1:7002 has not acknowledged yet"):
        world.run("REMOVE", HOST, 7001)
    world.fleet.fail_at = ""
    wait_until(lambda: world.fleet.processes[7000].state.epoch == 4, 5)


def test_a_member_is_found_by_its_number_too(world: World) -> None:
    world.build(7000, 7001)
    assert world.run("REMOVE", "another.name", 7001) == "OK"


# ------------------------------------------------------------------------------- reads, and the end of a chain


def test_refresh(world: World) -> None:
    world.refuses("no members", "REFRESH_HEAD")
    world.refuses("no members", "REFRESH_TAIL")
    assert world.chain() == []
    world.build(7000, 7001)
    assert world.run("REFRESH_HEAD") == "10.0.0.1:7000"
    assert world.run("REFRESH_TAIL") == "10.0.0.1:7001"
    world.fleet.start(7001, identity=99)
    world.refuses("another process.*MASTER.REMOVE", "REFRESH_TAIL")


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
    old = world.store.load()
    world.fleet.processes[7000].condition = "dead"
    world.fleet.start(7001, identity=99)
    assert world.run("ADD", HOST, 7001) == "OK"
    new = world.store.load()
    assert old and new
    assert new.view.history != old.view.history
    assert new.view.epoch > old.view.epoch


def test_a_chain_that_died_is_formed_again_from_the_survivor_that_the_operator_names(world: World) -> None:
    world.build(7000, 7001)
    change = world.store.load()
    assert change
    world.fleet.processes[7000].condition = "dead"
    world.fleet.start(7001, identity=99, history=change.view.history)
    world.fleet.start(7002)
    world.refuses("MASTER.FORM 10.0.0.1 7001", "ADD", HOST, 7001)
    world.refuses("MASTER.FORM 10.0.0.1 7001", "ADD", HOST, 7002)
    world.refuses("holds no data of this chain", "FORM", HOST, 7002)
    assert world.run("FORM", HOST, 7001) == "OK"
    assert world.chain() == ["10.0.0.1:7001"]
    assert world.run("ADD", HOST, 7002) == "OK"


def test_form_does_not_override_the_living(world: World) -> None:
    world.refuses("knows of no chain", "FORM", HOST, 7000)
    world.build(7000, 7001)
    change = world.store.load()
    assert change
    world.fleet.start(7002, history=change.view.history)
    world.refuses("10.0.0.1:7000 is in the chain and may be alive", "FORM", HOST, 7002)
    world.fleet.processes[7000].condition = "hung"
    world.refuses("does not answer, and may be alive", "FORM", HOST, 7001)
    world.fleet.processes[7000].condition = "alive"
    assert world.run("FORM", HOST, 7001) == "OK"
    assert world.fleet.processes[7000].state.role == "removed"


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


def steps_of(command: Callable[[World], object], folder: Path) -> list[str]:
    world = World(folder)
    world.build(7000, 7001, 7002)
    world.fleet.start(7003)
    command(world)
    return list(dict.fromkeys(world.fleet.events))


COMMANDS: dict[str, Callable[[World], object]] = {
    "add": lambda world: world.run("ADD", HOST, 7003),
    "remove head": lambda world: world.run("REMOVE", HOST, 7000),
    "remove middle": lambda world: world.run("REMOVE", HOST, 7001),
    "remove tail": lambda world: world.run("REMOVE", HOST, 7002),
    "form": lambda world: world.run("FORM", HOST, 7001),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_master_killed_at_any_step_never_reuses_an_epoch(tmp_path: Path, name: str) -> None:
    """After each possible death: the next master ends the change, and every epoch has had one view only."""
    steps = steps_of(COMMANDS[name], tmp_path / "rehearsal")
    assert len(steps) > 3
    for number, step in enumerate(steps):
        world = World(tmp_path / str(number))
        seen: dict[int, set[tuple[str, ...]]] = {}
        watch_views(world, seen)
        world.build(7000, 7001, 7002)
        world.fleet.start(7003)
        world.fleet.fail_at, world.fleet.failure = step, Killed
        with pytest.raises(Killed):
            COMMANDS[name](world)
        world.fleet.fail_at = ""
        world.master.close()
        world.start_master()
        wait_until(lambda world=world: chain_agrees(world), 5)  # type: ignore[misc]
        if name != "add":
            world.fleet.start(7004)
            assert world.run("ADD", HOST, 7004) == "OK"
        world.master.close()
        assert all(len(views) == 1 for views in seen.values()), (step, seen)


def watch_views(world: World, seen: dict[int, set[tuple[str, ...]]]) -> None:
    """Notes the members of every view that any process is told of, and that it was stored before."""

    def watch(view: View) -> None:
        stored = world.store.load()
        assert stored and stored.view == view
        seen.setdefault(view.epoch, set()).add(tuple(str(member) for member in view.members))

    world.fleet.on_adopt = watch


def chain_agrees(world: World) -> bool:
    """Everybody in the newest stored view has adopted it; those it left out know that they are out."""
    change = world.store.load()
    if change is None or change.leaving or change.pending:
        return False
    inside = {member.port for member in change.view.members}
    for port, process in world.fleet.processes.items():
        state = process.state
        if port in inside and (state.epoch, state.serving) != (change.view.epoch, True):
            return False
        if port not in inside and state.role in ("head", "tail"):
            return False
    return True


def test_an_addition_that_the_old_tail_never_heard_of_is_withdrawn(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    world.fleet.fail_at, world.fleet.failure = "adopt:7002", Killed
    with pytest.raises(Killed):
        world.run("ADD", HOST, 7002)
    world.fleet.fail_at = ""
    world.master.close()
    world.start_master()
    wait_until(lambda: world.chain() == ["10.0.0.1:7000", "10.0.0.1:7001"] and chain_agrees(world), 5)


def test_a_damaged_file_refuses_changes_until_it_is_repaired(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.build(7000)
    change = world.store.load()
    assert change
    store = FileStore(tmp_path)
    store.save(change)
    whole = store.path.read_text()
    store.path.write_text(whole[: len(whole) // 2])
    master = Coordinator(world.settings, dial=world.fleet.dial, resolve=lambda host: host)
    world.fleet.start(7001)
    for command in (["MASTER.ADD", HOST, "7001"], ["MASTER.GET_CHAIN"]):
        with pytest.raises(CommandError, match=r"ERR .*is damaged"):
            master.execute(command[0], [argument.encode() for argument in command[1:]])
    assert "damaged" in str(master.status()["last_change_state"])
    store.path.write_text(whole)
    assert master.execute("MASTER.ADD", [HOST.encode(), b"7001"]) == "OK"
    master.close()


# --------------------------------------------------------------------------------------------- for the server


def test_arity_and_unknown_commands(world: World) -> None:
    world.refuses("wrong number of arguments for 'master.add'", "ADD")
    world.refuses("wrong number of arguments for 'master.add'", "ADD", HOST, 1, "DISCARD", "x")
    world.refuses("wrong number of arguments for 'master.get_chain'", "GET_CHAIN", "x")
    world.refuses("unknown command", "NONSENSE")


def test_observers_see_every_change_and_break_nothing(world: World) -> None:
    seen: list[object] = []

    def observe(status: Status) -> None:
        seen.append((status["epoch"], status["last_change"], status["last_change_state"]))

    world.master.on_status(observe)
    world.build(7000)
    assert seen == [(0, "none", "done"), (0, "MASTER.ADD", "under way"), (1, "MASTER.ADD", "done")]

    def fail(status: Status) -> None:
        raise ZeroDivisionError

    world.master._observers.append(fail)
    assert world.run("GET_CHAIN") == ["10.0.0.1:7000"]
    world.build(7001)


def test_a_fault_of_our_own_is_an_error_reply(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.build(7000)
    world.fleet.start(7001)
    world.fleet.fail_at, world.fleet.failure = "pin:7000", lambda: ZeroDivisionError("a bug")
    with pytest.raises(CommandError, match=r"internal error.*a bug"):
        world.run("ADD", HOST, 7001)
    assert "nobody has thought of" in caplog.text
