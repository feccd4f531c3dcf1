# SPDX-License-Identifier: Apache-2.0
"""Hosts that are somewhere else than they were, under the same names."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from chainredis.protocol.view import Member
from chainredis.transport.addresses import Addresses
from chainredis.transport.waiting import wait_until
from unit.fake_members import run_id
from unit.world import QUICK, World, a_world

MEMBER = Member("one.example", "10.0.0.1", 7000, run_id(7000))
PORTS = {"one.example": 7000, "two.example": 7001, "three.example": 7002}
FORMER = dict(zip(PORTS, ("10.0.0.1", "10.0.0.2", "10.0.0.3"), strict=True))


def test_a_resolver_that_hangs_holds_up_nobody() -> None:
    over = Event()

    def resolve(_: str) -> str:
        over.wait()
        return "10.0.0.9"

    addresses = Addresses(resolve)
    began = monotonic()
    assert [addresses.of(MEMBER), addresses.of(MEMBER, patience_s=0.01)] == ["10.0.0.1"] * 2
    assert monotonic() - began < 5
    over.set()
    assert addresses.of(MEMBER, patience_s=10) == "10.0.0.9"


def test_what_was_found_last_counts_while_names_cannot_be_looked_up() -> None:
    found = iter(["10.0.0.9"])

    def resolve(host: str) -> str:
        for address in found:
            return address
        raise OSError("Temporary failure in name resolution")

    addresses = Addresses(resolve)
    assert [addresses.of(MEMBER, 10) for _ in range(3)] == ["10.0.0.9"] * 3
    assert addresses.of(Member("10.0.0.5", "10.0.0.5", 7000, run_id(1)), 10) == "10.0.0.5"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Of three, each on a host of its own."""
    with a_world(tmp_path, QUICK) as world:
        world.names.update(FORMER)
        for name, port in PORTS.items():
            world.fleet.start(port).address = FORMER[name]
            assert world.run("ADD", name, port) == "OK"
        world.give_data(*PORTS.values())
        yield world


def move(world: World, name: str, address: str) -> None:
    world.names[name] = address
    world.fleet.processes[PORTS[name]].address = address


def end_silently(world: World) -> None:
    """Where they were, nobody answers any more, not even with a refusal."""
    former = list(world.fleet.processes.values())
    world.fleet.processes.clear()
    for process in former:
        process.address, process.condition = "nowhere", "dead"


def addresses_of(world: World) -> list[str]:
    return [member.address for member in world.stored().view.members]


def test_a_member_that_lives_at_another_address_is_the_same(world: World) -> None:
    before = world.stored().view
    move(world, "two.example", "10.0.0.22")
    wait_until(lambda: addresses_of(world) == ["10.0.0.1", "10.0.0.22", "10.0.0.3"], 10)
    view = world.stored().view
    assert [member.run_id for member in view.members] == [member.run_id for member in before.members]
    world.await_chain(*PORTS.values())
    world.fleet.kill(7002)
    world.await_chain(7000, 7001)


def test_a_name_that_leads_elsewhere_takes_nobody_out_who_lives(world: World) -> None:
    """Another process there is no sign of the former's end: only its silence is, for the lease."""
    held = world.stored().view.tail
    world.names["three.example"] = "10.0.0.33"
    former = world.fleet.processes.pop(7002)
    world.fleet.start(7002, 8002).address = "10.0.0.33"
    former.address = "elsewhere"
    controller = world.master._runtime._controller
    wait_until(lambda: controller.detector.records[held.run_id].is_displaced, 10)
    assert not controller.detector.is_dead(held.run_id)
    wait_until(lambda: world.stored().view.member(held.run_id) is None, 10)


def test_a_chain_that_is_restarted_with_new_addresses_is_formed_again(world: World) -> None:
    history = world.stored().view.history
    end_silently(world)
    for number, (name, port) in enumerate(PORTS.items()):
        world.names[name] = f"10.1.0.{number}"
        process = world.fleet.start(
            port, port + 100, history=history, applied=9, assigned=1, record_epoch=3, record_run_id=run_id(port),
            record_durable=True,
        )  # fmt: skip
        process.address = f"10.1.0.{number}"
    wait_until(lambda: sorted(addresses_of(world)) == ["10.1.0.0", "10.1.0.1", "10.1.0.2"] and world.agrees(), 20)
    assert world.stored().awaited == ()


def test_a_sole_member_that_is_restarted_at_another_address_is_taken_back(world: World) -> None:
    """Silence alone would never have taken it out."""
    for name in ("one.example", "two.example"):
        assert world.run("REMOVE", name, PORTS[name]) == "OK"
    view = world.stored().view
    end_silently(world)
    world.names["three.example"] = "10.1.0.3"
    world.fleet.start(
        7002, 8002, history=view.history, applied=9, record_epoch=view.epoch, record_run_id=run_id(7002),
        record_durable=True,
    ).address = "10.1.0.3"  # fmt: skip
    wait_until(lambda: addresses_of(world) == ["10.1.0.3"], 20)
