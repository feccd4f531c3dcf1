# SPDX-License-Identifier: Apache-2.0
"""Links that a master makes before its term, and what becomes of them in it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chainredis.coordinator.commands import Coordinator
from chainredis.etcd.standing_links import StandingLinks
from chainredis.protocol.view import Endpoint
from chainredis.transport.member_client import MemberLink
from chainredis.transport.waiting import wait_until
from unit.fake_members import FakeLink, run_id
from unit.world import HOST, World, kills_masters

PORTS = (7000, 7001, 7002)


class Standby:
    """A master that does not lead yet. dialled: the ports of the links that it has made, and its own term since."""

    def __init__(self, world: World) -> None:
        world.build(*PORTS)
        self.world = world
        self.dialled: list[int] = []
        self.wanted = world.stored().view.members
        self.links = StandingLinks(lambda: self.wanted, self.dial, lambda: 60)

    def dial(self, endpoint: Endpoint) -> MemberLink:
        self.dialled.append(endpoint.port)
        return self.world.fleet.dial(endpoint)

    def standing(self) -> set[int]:
        return {link._port for link in self.links._links.values() if isinstance(link, FakeLink)}

    def lead(self) -> Coordinator:
        """The other master ends, and this one's term begins."""
        self.world.life += 1
        self.world.master.close()
        self.dialled.clear()
        self.world.master = Coordinator(
            self.world.settings,
            store=self.world.store,
            dial=self.dial,
            hold=self.world.fleet.hold,
            resolve=lambda _: HOST,
            standing=self.links.take(),
        )
        return self.world.master


@pytest.fixture
def standby(world: World) -> Iterator[Standby]:
    standby = Standby(world)
    yield standby
    standby.links.close()


def test_each_member_of_the_newest_view_has_a_link_and_nobody_else(standby: Standby) -> None:
    standby.links.step()
    assert standby.standing() == set(PORTS)
    standby.links.step()
    assert sorted(standby.dialled) == list(PORTS), "links that answer are kept"
    first, middle, tail = standby.wanted
    standby.wanted = (first, replace(middle, port=7009), tail)
    opened = len(standby.world.fleet.open_links)
    standby.links.step()
    assert standby.standing() == {7000, 7002}, "nobody listens there"
    assert len(standby.world.fleet.open_links) == opened - 1, "the other one is closed"


def test_nothing_but_a_question_is_said_on_them(standby: Standby) -> None:
    before = list(standby.world.fleet.events)
    leases = {port: len(standby.world.fleet.processes[port].leases) for port in PORTS}
    standby.world.master.close()
    standby.links.step()
    standby.links.step()
    assert standby.world.fleet.events == before, "no proof, no view"
    assert not any(link._proven for link in standby.links._links.values() if isinstance(link, FakeLink))
    assert all(len(standby.world.fleet.processes[port].leases) >= leases[port] for port in PORTS)


def test_a_member_that_was_started_again_gets_a_new_link_and_another_process_none(standby: Standby) -> None:
    standby.links.step()
    standby.world.fleet.processes[7001].condition = "dead"
    standby.links.step()
    assert standby.standing() == {7000, 7002}
    standby.world.fleet.start(7001, identity=9001)
    standby.links.step()
    assert standby.standing() == {7000, 7002}, "the view does not name the new process yet"
    standby.wanted = tuple(replace(each, run_id=run_id(9001)) if each.port == 7001 else each for each in standby.wanted)
    standby.links.step()
    assert standby.standing() == set(PORTS)


def test_who_leads_keeps_no_links_of_a_standby(standby: Standby) -> None:
    """Its term began while a link was made."""
    taken: dict[str, MemberLink] = {}

    def dial(endpoint: Endpoint) -> MemberLink:
        taken.update(standby.links.take())
        return standby.dial(endpoint)

    standby.links._dial = dial
    opened = len(standby.world.fleet.open_links)
    standby.links.step()
    standby.links.step()
    assert taken == standby.links.take() == {}
    assert len(standby.world.fleet.open_links) == opened
    standby.links._dial = standby.dial
    standby.links.resume()
    standby.links.step()
    assert standby.standing() == set(PORTS)


def test_links_are_left_alone_while_the_same_members_are_wanted(standby: Standby) -> None:
    """The change of leader is news of etcd, too, and in that moment they are needed."""
    standby.links.step()
    standby.links.look()
    assert not standby.links._moved.is_set()
    standby.wanted = standby.wanted[:2]
    standby.links.look()
    assert standby.links._moved.is_set()


def test_who_leads_has_nothing_to_look_for(standby: Standby) -> None:
    """What it stores is news of etcd, too, and in that moment its members are told."""
    standby.links.step()
    for link in standby.links.take().values():
        link.close()
    for wanted in (standby.wanted, standby.wanted[:2]):
        standby.wanted = wanted
        standby.links.look()
        assert not standby.links._moved.is_set()
        standby.links.step()


@kills_masters
def test_a_term_begins_without_connecting(standby: Standby) -> None:
    standby.links.step()
    master = standby.lead()
    assert master.execute("MASTER.REMOVE", [HOST.encode(), b"7002"]) == "OK"
    standby.world.await_chain(7000, 7001)
    polls = [link for link in standby.world.fleet.open_links if link._port == 7000]
    assert len(polls) <= 2, "one that polls, and one that waits for reports"
    assert standby.dialled.count(7000) <= 1, "that for reports"


@kills_masters
@pytest.mark.parametrize("what", ["its connection ended", "it was started again", "it hangs", "it left the view"])
def test_a_link_that_is_of_no_use_is_made_anew(quick_world: World, what: str) -> None:
    standby = Standby(quick_world)
    fleet = quick_world.fleet
    standby.links.step()
    victim = next(link for link in standby.links._links.values() if isinstance(link, FakeLink) and link._port == 7001)
    left: tuple[int, ...] = PORTS
    if what == "its connection ended":
        victim.interrupt()
    elif what == "it was started again":
        fleet.kill(7001)
        quick_world.await_chain(7000, 7002)
        fleet.start(7001, identity=9001)
        left = (7000, 7002)
    elif what == "it hangs":
        fleet.processes[7001].condition = "hung"
        left = (7000, 7002)
    else:
        assert quick_world.run("REMOVE", HOST, 7001) == "OK"
        left = (7000, 7002)
    standby.lead()
    wait_until(lambda: [port for port in quick_world.ports() if port != 7001 or 7001 in left] == list(left), 10)
    wait_until(lambda: victim not in fleet.open_links, 10)
    standby.links.close()
