# SPDX-License-Identifier: Apache-2.0
"""Decided, stored, told: in this order, whatever the disk does."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from chainredis.coordinator.runtime import Runtime
from chainredis.protocol.errors import CommandError, Deposed, StoreError
from chainredis.protocol.member_record import BrokenLink, Lifeline, MemberReport
from chainredis.protocol.reconfiguration import Configuration
from chainredis.protocol.view import Member, View
from chainredis.transport.settings import PollSettings, Settings
from chainredis.transport.waiting import wait_until
from unit.world import HOST, OWN, World, a_world, kills_masters


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        world.build(7000, 7001, 7002)
        yield world


def test_a_repair_is_told_when_it_could_be_stored(world: World) -> None:
    world.store.broken = True
    world.fleet.kill(7001)
    runtime = world.master._runtime
    wait_until(lambda: runtime._doubt is not None, 5)
    assert "disk is full" in str(world.master.status()["state"])
    assert world.fleet.changes() == []
    assert world.ports() == [7000, 7001, 7002]
    world.store.broken = False
    world.await_chain(7000, 7002)


def test_who_has_lost_the_lead_has_changed_nothing_for_certain(world: World) -> None:
    """Unlike after any other failure of the store."""
    world.fleet.start(7003)
    world.fleet.fail_at, world.fleet.failure = "save:4", lambda: Deposed("this master leads no longer")
    with pytest.raises(CommandError, match="ERR this master leads no longer"):
        world.run("ADD", HOST, 7003)
    assert world.ports() == [7000, 7001, 7002]


def test_what_may_have_been_stored_after_all_is_carried_out(world: World) -> None:
    """The write succeeded, and was reported as failed."""
    save = world.store.save
    failed: list[Configuration] = []

    def save_and_fail(configuration: Configuration) -> None:
        save(configuration)
        if not failed:
            failed.append(configuration)
            world.fleet.happens("fails")

    world.store.save = save_and_fail  # type: ignore[method-assign]
    world.fleet.fail_at, world.fleet.failure = "fails", lambda: StoreError("no answer from the disk")
    world.fleet.kill(7001)
    world.await_chain(7000, 7002)
    assert failed


def test_a_fault_of_the_store_stops_nothing_for_good(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def fail_once() -> BaseException:
        world.fleet.fail_at = ""
        return ZeroDivisionError("a bug")

    world.fleet.fail_at, world.fleet.failure = "save:4", fail_once
    world.fleet.kill(7001)
    world.await_chain(7000, 7002)
    assert "a bug" in caplog.text


def test_leases_of_a_master_that_held_the_store_until_now_are_waited_for(world: World, tmp_path: Path) -> None:
    """It granted them while this one waited for the store, and these may be longer than what this one grants."""
    now = 0.0
    silent = world.stored().view.tail.run_id
    world.store.broken = True
    impatient = Settings(tmp_path, OWN, 6369, polling=lambda: PollSettings(timeout_ms=200))
    runtime = Runtime(world.store, impatient, clock=lambda: now)
    runtime._sessions = Nobody()
    with pytest.raises(StoreError):
        runtime.ensure_read()
    now, world.store.broken = 60.0, False
    runtime.ensure_read()
    for moment, is_gone in ((60.5, False), (61.5, False), (62.5, True)):
        for tick in range(50):
            runtime._controller.detector.attend(moment + tick / 100)
        assert runtime._controller.detector.is_gone(silent) == is_gone


class Nobody:
    """Talks with no member. woken: whom it would have polled. announced: to whom it would have sent a view, at once."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.announced: list[str] = []

    def follow(self, members: tuple[Member, ...]) -> None:
        pass

    def wake(self, run_ids: Iterable[str]) -> None:
        self.woken += run_ids

    def announce(self, view: View, run_ids: Iterable[str]) -> None:
        self.announced += run_ids


def test_nobody_is_followed_after_the_end(world: World) -> None:
    world.master.close()
    wait_until(lambda: not world.fleet.open_links, 5)


def test_only_those_in_question_are_followed(world: World) -> None:
    assert world.run("REMOVE", "10.0.0.1", 7001) == "OK"
    wait_until(lambda: sorted(link._port for link in list(world.fleet.open_links)) == [7000, 7000, 7002, 7002], 5)


@pytest.mark.parametrize("is_reported_first", [True, False])
def test_a_repair_needs_no_other_thread_than_those_that_bring_the_news(
    world: World, tmp_path: Path, *, is_reported_first: bool
) -> None:
    """A neighbour reports the link; the lifeline ends, and nobody listens on the port: that is stored on the way."""
    runtime, sessions = that_has_heard_everybody(world, tmp_path)
    head, middle, tail = world.stored().view.members
    news: list[Callable[[], None]] = [
        lambda: runtime.reported(head.run_id, (BrokenLink(middle.run_id, 0, dropped=True),)),
        lambda: runtime.lifeline(middle.run_id, Lifeline.ENDED, is_refused=True),
    ]
    for tell in news if is_reported_first else reversed(news):
        assert world.stored().view.members == (head, middle, tail)
        tell()
    assert world.stored().view.members == (head, tail)
    assert sessions.announced == sessions.woken == [head.run_id, tail.run_id], "no poll before the view was stored"
    runtime.look_around([middle.run_id])
    assert len(sessions.woken) == 2, "the chain goes on without it already"


def test_without_a_report_the_survivors_are_polled_in_a_moment(world: World, tmp_path: Path) -> None:
    runtime, sessions = that_has_heard_everybody(world, tmp_path)
    everybody = [member.run_id for member in world.stored().view.members]
    runtime.lifeline(everybody[1], Lifeline.ENDED, is_refused=True)
    assert sessions.woken == []
    runtime.look_around([everybody[1]])
    assert sessions.woken == everybody


def test_a_new_view_is_asked_for_at_once_and_then_less_often(world: World, tmp_path: Path) -> None:
    now = 100.0
    runtime = Runtime(world.store, Settings(tmp_path, OWN, 6369), clock=lambda: now)
    runtime._sessions = Nobody()
    runtime.ensure_read()
    head = world.stored().view.head.run_id
    runtime.answered(head, MemberReport(3, serving=False, stamp_ms=0), now)
    assert runtime.pause_s(head) == 0.004
    now = 100.007
    assert round(runtime.pause_s(head), 3) == 0.007
    now = 100.1
    assert runtime.pause_s(head) == 0.02


def that_has_heard_everybody(world: World, tmp_path: Path) -> tuple[Runtime, Nobody]:
    """A runtime of the world's chain, which holds all lifelines."""
    runtime = Runtime(world.store, Settings(tmp_path, OWN, 6369))
    runtime._sessions = sessions = Nobody()
    runtime.ensure_read()
    sessions.woken.clear()
    sessions.announced.clear()
    for member in world.stored().view.members:
        runtime.answered(member.run_id, MemberReport(3, serving=True, stamp_ms=0), runtime.now())
        runtime.lifeline(member.run_id, Lifeline.HELD)
    return runtime, sessions


@kills_masters
@pytest.mark.parametrize("is_certain", [False, True])
def test_what_was_read_is_stored_again_if_it_may_be_lost(world: World, tmp_path: Path, *, is_certain: bool) -> None:
    world.kill_master()
    world.fleet.events.clear()
    world.store.is_certain = is_certain
    runtime = Runtime(world.store, Settings(tmp_path, OWN, 6369))
    runtime._sessions = Nobody()
    runtime.ensure_read()
    assert world.fleet.changes() == ([] if is_certain else ["save:3"])


def test_the_chain_is_told_while_others_are_busy_with_it(world: World) -> None:
    """A repair wakes many threads, of which each needs the lock."""
    told: list[list[int]] = []
    asking = Thread(target=lambda: told.append(world.ports()))
    with world.master._runtime._changed:
        asking.start()
        asking.join(10)
        assert told == [[7000, 7001, 7002]]
