# SPDX-License-Identifier: Apache-2.0
"""MASTER.ADD against a fake fleet: what is said, what is stored and told, and in which order."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chainredis.protocol.errors import CannotFeed, CommandError, OutcomeUnknown, Silent
from chainredis.protocol.view import Kind
from chainredis.transport.member_state import MemberState, Progress
from chainredis.transport.waiting import wait_until
from unit.fake_members import FakeLink, FakeProcess, run_id
from unit.world import HOST, World, a_world


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


def test_a_copy_that_cannot_be_loaded_is_never_begun(world: World) -> None:
    """And a member that has most of the data needs no copy."""
    world.fleet.start(7000, version="redis 8.2.3")
    world.run("ADD", HOST, 7000)
    world.fleet.start(7001, version="redis 7.0.15", keys=3)
    world.fleet.events.clear()
    world.refuses("is Redis 7.0, .* load a copy of .*:7000, Redis 8.2: .*as it was", "ADD", HOST, 7001, "DISCARD")
    assert world.fleet.changes() == []
    world.fleet.start(7001, version="redis 8.2.3")
    world.run("ADD", HOST, 7001)
    world.give_data(7000, 7001)
    world.remove(7000)
    former = world.fleet.processes[7000]
    former.state = replace(former.state, version="redis 7.0.15")
    world.fleet.events.clear()
    assert world.run("ADD", HOST, 7000) == "OK"
    assert world.fleet.changes()[:2] == ["pin:7001", "rejoin:7000"]


def seen_through(process: FakeProcess, patch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Every look at `process` gives its state with these fields instead."""
    look = FakeLink.state

    def state(link: FakeLink, timeout_s: float | None = None) -> MemberState:
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
    world.remove(7001)
    world.fleet.events.clear()
    assert world.run("ADD", HOST, 7001) == "OK"
    assert world.fleet.changes()[:4] == ["pin:7000", "rejoin:7001", "feed:7000", "save:4"]


def test_what_a_former_member_comes_back_with_is_on_all_disks_first(world: World) -> None:
    world.build(7000, 7001)
    world.give_data(7000, 7001)
    world.remove(7001)
    world.settings.__dict__["stall_timeout_s"] = 60.0
    tail = world.fleet.processes[7000]
    tail.state = replace(tail.state, committed=8)
    with ThreadPoolExecutor() as pool:
        adding = pool.submit(world.run, "ADD", HOST, 7001)
        wait_until(lambda: "feed:7000" in world.fleet.events or adding.done(), 10)
        asked = tail.asked
        wait_until(lambda: tail.asked > asked + 3 or adding.done(), 10)
        assert not adding.done()
        tail.state = replace(tail.state, committed=9)
        assert adding.result(10) == "OK"


def test_a_former_member_that_was_away_too_long_is_copied_anew(world: World) -> None:
    world.build(7000, 7001)
    world.give_data(7000, 7001)
    world.remove(7001)
    world.fleet.processes[7000].log_begins_at = 100
    world.fleet.events.clear()
    assert world.run("ADD", HOST, 7001) == "OK"
    assert world.fleet.changes()[:5] == ["pin:7000", "pin:7000", "join:7001", "feed:7000", "save:4"]


@pytest.mark.parametrize(("reaches_back", "way"), [(True, "rejoin"), (False, "join")])
def test_a_learner_left_over_gets_only_the_missing_log(world: World, reaches_back: bool, way: str) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    world.fleet.fail_at = "feed:7001"
    world.refuses("injected.*as it was", "ADD", HOST, 7002)
    world.fleet.fail_at = ""
    world.fleet.events.clear()
    assert world.fleet.processes[7002].state.role == "learner"
    world.fleet.processes[7001].log_begins_at = 0 if reaches_back else 100
    assert world.run("ADD", HOST, 7002) == "OK"
    assert [event for event in world.fleet.events if event in ("join:7002", "rejoin:7002")] == [f"{way}:7002"]


def test_a_learner_whose_copy_is_not_complete_is_copied_anew(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)
    world.fleet.fail_at = "feed:7001"
    world.refuses("injected.*as it was", "ADD", HOST, 7002)
    world.fleet.fail_at = ""
    learner = world.fleet.processes[7002]
    learner.state = replace(learner.state, join="failed")
    world.fleet.events.clear()
    assert world.run("ADD", HOST, 7002) == "OK"
    assert "join:7002" in world.fleet.events and "rejoin:7002" not in world.fleet.events


def interrupt(world: World, step: str, change: Callable[[], object]) -> None:
    """At this step the chain changes, and the master's call fails."""

    def change_meanwhile() -> BaseException:
        world.fleet.fail_at = ""
        change()
        return Silent("injected")

    world.fleet.fail_at, world.fleet.failure = step, change_meanwhile


@pytest.mark.parametrize("step", ["pin:7002", "join:7003", "feed:7002"])
@pytest.mark.parametrize("gone", [7000, 7001, 7002])
@pytest.mark.parametrize("way", ["is removed", "is killed"])
def test_an_addition_goes_on_when_the_chain_has_changed(world: World, step: str, gone: int, way: str) -> None:
    """The copy holds up neither a repair nor a removal. The death of the tail is noticed later than the failure."""
    world.build(7000, 7001, 7002)
    world.fleet.start(7003)
    left = [port for port in (7000, 7001, 7002) if port != gone]

    def change() -> None:
        if way == "is removed":
            world.run("REMOVE", HOST, gone)
            return
        world.fleet.kill(gone)
        if gone != 7002:
            world.await_chain(*left)

    interrupt(world, step, change)
    assert world.run("ADD", HOST, 7003) == "OK"
    world.await_chain(*left, 7003)
    assert f"feed:{left[-1]}" in world.fleet.events
    assert gone == 7002 or world.fleet.events.count("join:7003") == 1 + (step == "join:7003")


def test_an_addition_goes_on_once_for_each_change(world: World) -> None:
    world.build(7000, 7001, 7002)
    world.fleet.start(7003)

    def fail_for_ever() -> None:
        world.run("REMOVE", HOST, 7000)
        world.fleet.fail_at, world.fleet.failure = "feed:7002", lambda: Silent("injected")

    interrupt(world, "feed:7002", fail_for_ever)
    with pytest.raises(CommandError, match=r"ERR injected.*as it was"):
        world.run("ADD", HOST, 7003)
    assert world.fleet.events.count("feed:7002") == 2
    world.await_chain(7001, 7002)


def test_an_addition_does_not_go_on_without_the_newcomer(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)

    def kill_both() -> None:
        world.run("REMOVE", HOST, 7000)
        world.fleet.kill(7002)

    interrupt(world, "feed:7001", kill_both)
    with pytest.raises(CommandError, match=r"ERR injected.*as it was"):
        world.run("ADD", HOST, 7002)
    world.await_chain(7001)


def test_an_addition_that_goes_on_waits_for_a_newcomer_that_loads(world: World) -> None:
    world.build(7000, 7001)
    newcomer = world.fleet.start(7002)

    def load() -> None:
        world.run("REMOVE", HOST, 7000)
        newcomer.condition = "loading"
        threading.Timer(0.02, setattr, (newcomer, "condition", "alive")).start()

    interrupt(world, "feed:7001", load)
    assert world.run("ADD", HOST, 7002) == "OK"
    world.await_chain(7001, 7002)


def test_an_addition_that_goes_on_can_be_called_off(world: World) -> None:
    world.build(7000, 7001)
    world.fleet.start(7002)

    def copy_for_ever() -> None:
        world.run("REMOVE", HOST, 7000)
        world.fleet.never_copied = 7002

    interrupt(world, "join:7002", copy_for_ever)
    with ThreadPoolExecutor() as pool:
        adding = pool.submit(world.run, "ADD", HOST, 7002)
        wait_until(lambda: world.fleet.events.count("join:7002") == 2, 10)
        assert world.run("REMOVE", HOST, 7002) == "OK"
        with pytest.raises(CommandError, match="has called this off: the chain is as it was"):
            adding.result()
    world.await_chain(7001)
    assert not world.fleet.processes[7001].pinned or world.fleet.processes[7002].state.join == "failed"


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


# ------------------------------------------------------------------------------------------------- kinds of chain

ALL: dict[str, Any] = {"kind": "all", "version": "redis 7.2.4", "databases": 16, "writes": "0123"}


@pytest.mark.parametrize("kind", Kind)
def test_the_first_member_gives_the_chain_its_kind(world: World, kind: Kind) -> None:
    world.fleet.start(7000, **ALL | {"kind": kind.value})
    world.run("ADD", HOST, 7000)
    assert world.stored().view.kind is kind
    world.fleet.start(7001, **ALL | {"kind": kind.value})
    world.run("ADD", HOST, 7001)
    assert world.stored().view.kind is kind


@pytest.mark.parametrize(("chain", "other"), [("put", "all"), ("all", "put")])
def test_a_server_of_the_other_kind_is_refused(world: World, chain: str, other: str) -> None:
    world.fleet.start(7000, **ALL | {"kind": chain})
    world.run("ADD", HOST, 7000)
    world.fleet.start(7001, **ALL | {"kind": other})
    world.refuses(f"start that server with member.commands {chain}", "ADD", HOST, 7001)
    world.refuses(f"start that server with member.commands {chain}", "ADD", HOST, 7001, "DISCARD")


def test_a_server_that_tells_nonsense_of_itself_is_refused(world: World) -> None:
    world.fleet.start(7000, kind="every")
    world.refuses("is of another version", "ADD", HOST, 7000)


def test_in_a_chain_of_kind_all_no_server_follows_a_later_one(world: World) -> None:
    world.fleet.start(7000, **ALL)
    world.run("ADD", HOST, 7000)
    world.fleet.start(7001, **ALL | {"version": "redis 7.0.15"})
    world.refuses("Redis 7.0", "ADD", HOST, 7001)
    world.fleet.start(7002, **ALL | {"databases": 4})
    world.refuses("databases 16", "ADD", HOST, 7002)
    world.fleet.start(7003, **ALL | {"version": "redis 8.0.6", "writes": "4567"})
    world.run("ADD", HOST, 7003)
    assert world.chain() == ["10.0.0.1:7000", "10.0.0.1:7003"]
