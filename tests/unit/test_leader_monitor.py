# SPDX-License-Identifier: Apache-2.0
"""When a master says of another one that it has ended."""

import threading
from dataclasses import replace

import pytest

from chainredis.etcd.leader import Leader
from chainredis.etcd.leader_monitor import LeaderMonitor
from chainredis.protocol.errors import Closed, Refused, Rejected, Silent
from chainredis.protocol.view import Endpoint


class FakeLine:
    """A connection to the leader, which ends when a test says how."""

    def __init__(self, run_id: str, end: Exception | None = None) -> None:
        self._run_id = run_id
        self._end = end
        self._over = threading.Event()

    def run_id(self) -> str:
        return self._run_id

    def await_end(self) -> None:
        if self._end is None:
            assert self._over.wait(10), "nobody has interrupted it"
        raise self._end or Silent("interrupted")

    def interrupt(self) -> None:
        self._over.set()

    def close(self) -> None:
        self._over.set()
LEADER = Leader("10.0.0.1:6369", "a" * 40, "boot/1", term=5, lease=7)
OWN = Leader("10.0.0.2:6369", "f" * 40, "boot/2")


def ended(*ends: FakeLine | Exception, leader: Leader = LEADER, trusts_refused: bool = True) -> list[Leader]:
    """Of whom a leader monitor says that it has ended, after such attempts to talk with it. Then all goes well."""
    found: list[Leader] = []
    attempts = list(ends)
    done = threading.Event()

    def dial(endpoint: Endpoint) -> FakeLine:
        assert str(endpoint) == leader.address
        if not attempts:
            done.set()
            return FakeLine(leader.run_id)
        attempt = attempts.pop(0)
        if isinstance(attempt, Exception):
            raise attempt
        return attempt

    monitor = LeaderMonitor(lambda: OWN, dial, trusts_refused=lambda: trusts_refused, on_end=found.append)
    monitor.start()
    monitor.saw(leader)
    assert done.wait(10)
    monitor.close()
    monitor.join(10)
    assert not monitor.is_alive()
    return found


def test_a_leader_that_closed_its_connection_and_refuses_has_ended() -> None:
    assert ended(FakeLine(LEADER.run_id, Closed("closed")), Refused("nobody listens")) == [LEADER]


def test_a_leader_that_is_ending_may_accept_connections_and_close_them() -> None:
    closed = Closed("closed")
    assert ended(FakeLine(LEADER.run_id, closed), closed, closed, Refused("nobody listens")) == [LEADER]


def test_a_leader_that_refuses_from_the_first_may_never_have_been_reached() -> None:
    assert ended(Refused("nobody listens"), Refused("nobody listens")) == []


def test_a_leader_in_whose_place_another_process_answers_has_ended() -> None:
    assert ended(FakeLine("b" * 40)) == [LEADER]


@pytest.mark.parametrize("end", [Silent("no answer"), Rejected("NOAUTH"), Closed("closed")])
def test_other_ends_prove_nothing(end: Exception) -> None:
    assert ended(FakeLine(LEADER.run_id, end)) == []
    assert ended(end) == []


def test_a_server_that_does_not_tell_who_it_is_proves_nothing() -> None:
    assert ended(FakeLine("")) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_an_address_that_leads_to_ourselves_proves_nothing(host: str) -> None:
    """Two machines whose masters both reach etcd as 127.0.0.1 would depose each other for ever."""
    leader = replace(LEADER, address=f"{host}:6369")
    monitor = LeaderMonitor(lambda: OWN, pytest.fail, trusts_refused=lambda: True, on_end=pytest.fail)  # type: ignore[arg-type]
    assert not monitor._can_watch(leader)
    assert monitor._can_watch(replace(leader, machine=OWN.machine))


def test_where_a_refusing_port_proves_nothing_the_lease_is_waited_for() -> None:
    ends = FakeLine(LEADER.run_id, Closed("closed")), Refused("nobody listens"), FakeLine("b" * 40)
    assert ended(*ends, trusts_refused=False) == []
