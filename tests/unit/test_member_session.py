# SPDX-License-Identifier: Apache-2.0
"""Sessions with members: they end when they are told to, whatever they are doing."""

from threading import Event

import pytest

from chainredis.coordinator.member_session import LifelineSession
from chainredis.coordinator.runtime import Runtime
from chainredis.protocol.view import Endpoint
from chainredis.transport.addresses import Addresses
from chainredis.transport.waiting import wait_until
from unit.fake_members import FakeLine
from unit.world import World


def test_a_session_that_is_ended_while_it_connects_holds_no_lifeline(world: World) -> None:
    world.build(7000)
    view, runtime = world.stored().view, world.master._runtime
    connecting, ended = Event(), Event()

    def hold(endpoint: Endpoint, secret: str, run_id: str) -> FakeLine:
        connecting.set()
        assert ended.wait(10)
        return world.fleet.hold(endpoint, secret, run_id)

    session = LifelineSession(view.head, runtime, Addresses(lambda host: host), hold)
    session.start()
    assert connecting.wait(10)
    session.end()
    ended.set()
    wait_until(lambda: not session.is_alive(), 10)
    assert len(world.fleet.open_lines) == 1, "that of the master itself"


def test_what_is_in_no_hurry_waits_until_a_view_is_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the interpreter is the thread's that stores it."""
    world.build(7000)
    looks = 0

    def is_storing(_: Runtime) -> bool:
        nonlocal looks
        looks += 1
        return looks < 3

    session = LifelineSession(
        world.stored().view.head, world.master._runtime, Addresses(lambda host: host), world.fleet.hold
    )
    monkeypatch.setattr(Runtime, "is_storing", property(is_storing))
    session._keep_calm()
    assert looks == 3
    monkeypatch.setattr(Runtime, "is_storing", True)
    session.end()
    session._keep_calm()


def test_a_store_that_does_not_answer_keeps_no_session_from_its_member(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.build(7000)
    session = LifelineSession(
        world.stored().view.head, world.master._runtime, Addresses(lambda host: host), world.fleet.hold
    )
    monkeypatch.setattr(Runtime, "is_storing", True)
    session._keep_calm()
