# SPDX-License-Identifier: Apache-2.0
"""The master tells all members the second ports of all."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chainredis.protocol.member_record import SecondPort
from chainredis.transport.member_state import state_in
from chainredis.transport.settings import PollSettings
from chainredis.transport.waiting import wait_until
from unit.fake_members import FakeProcess, run_id
from unit.world import World, a_world, kills_masters

HOUR_MS = 3_600_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Nobody is polled again within the time of a test but for news."""
    with a_world(tmp_path, PollSettings(interval_ms=HOUR_MS, timeout_ms=HOUR_MS, lease_ms=HOUR_MS)) as world:
        yield world


def sets(process: FakeProcess, plain: int = 0, tls: int = 0) -> None:
    """An operator sets a port. The next poll tells."""
    process.state = replace(process.state, plain_port=plain, tls_port=tls)


def await_told(world: World, **told: SecondPort) -> None:
    """Those of these ports, as `_port`, know all of these, and nothing else."""
    expected = {run_id(int(name[1:])): port for name, port in told.items()}
    asked = [world.fleet.processes[int(name[1:])] for name in told]
    wait_until(lambda: all(process.second_ports == expected for process in asked), 10)


def begin(world: World, *ports: int, **fields: int) -> None:
    for port in ports:
        world.fleet.start(port, plain_port=0, tls_port=port + 1000, **fields)
        world.run("ADD", "10.0.0.1", port)
    wait_until(lambda: world.fleet.held() == set(world.ports()), 10)  # so that a death is noticed at once


def test_all_are_told_all(world: World) -> None:
    begin(world, 1, 2, 3)
    await_told(world, _1=SecondPort(tls=1001), _2=SecondPort(tls=1002), _3=SecondPort(tls=1003))


def test_a_change_is_told_at_once(world: World) -> None:
    begin(world, 1, 2)
    await_told(world, _1=SecondPort(tls=1001), _2=SecondPort(tls=1002))
    sets(world.fleet.processes[2], tls=5)
    world.run("REFRESH_TAIL")   # polls all, as time does
    await_told(world, _1=SecondPort(tls=1001), _2=SecondPort(tls=5))
    sets(world.fleet.processes[2], plain=6)
    world.run("REFRESH_TAIL")
    await_told(world, _1=SecondPort(tls=1001), _2=SecondPort(plain=6))
    sets(world.fleet.processes[2])
    world.run("REFRESH_TAIL")
    await_told(world, _1=SecondPort(tls=1001), _2=SecondPort())


def test_a_member_of_an_earlier_version_is_told_nothing(world: World) -> None:
    """It would refuse a poll that tells it what it does not know, and with that its lease."""
    begin(world, 1)
    earlier = world.fleet.start(2)
    world.run("ADD", "10.0.0.1", 2)
    begin(world, 3)
    await_told(world, _1=SecondPort(tls=1001), _3=SecondPort(tls=1003))
    assert earlier.leases
    assert not earlier.second_ports


def test_the_process_has_the_port_and_not_the_place(world: World) -> None:
    begin(world, 1, 2)
    world.fleet.kill(2)
    wait_until(lambda: world.ports() == [1], 10)
    world.fleet.start(2, identity=9, plain_port=0, tls_port=7)
    world.run("ADD", "10.0.0.1", 2)
    expected = {run_id(1): SecondPort(tls=1001), run_id(9): SecondPort(tls=7)}
    for port in (1, 2):
        process = world.fleet.processes[port]
        wait_until(lambda process=process: process.second_ports.items() >= expected.items(), 10)  # type: ignore[misc]
    assert run_id(2) not in world.fleet.processes[2].second_ports


@kills_masters
def test_a_new_master_learns_and_tells_them(world: World) -> None:
    begin(world, 1, 2)
    world.kill_master()
    for port in (1, 2):
        world.fleet.processes[port].second_ports.clear()
    sets(world.fleet.processes[1], tls=5)
    world.start_master()
    await_told(world, _1=SecondPort(tls=5), _2=SecondPort(tls=1002))


def test_what_an_answer_says() -> None:
    answer = ["run_id", "", "role", "", "history", "", "epoch", "0", "applied", "0", "committed", "0", "serving", "0",
              "streaming", "0", "keys", "0", "join", "", "join_error", "", "pinned", "0"]  # fmt: skip

    def second_port(*more: str) -> SecondPort | None:
        return state_in([word.encode() for word in (*answer, *more)]).second_port

    assert second_port() is None
    assert second_port("plain_port", "1") is None
    assert second_port("plain_port", "0", "tls_port", "65536") is None
    assert second_port("plain_port", "0", "tls_port", "65535") == SecondPort(0, 65535)
    with pytest.raises(ValueError, match="invalid literal"):
        second_port("plain_port", "0", "tls_port", "x")
