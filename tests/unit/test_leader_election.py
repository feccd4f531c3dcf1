# SPDX-License-Identifier: Apache-2.0
"""Elections, on an etcd in memory."""

import json

import pytest

from chainredis.etcd.client import Picture
from chainredis.etcd.leader import Leader, leader_in
from chainredis.etcd.leader_election import LeaderElection
from chainredis.transport.settings import PollSettings
from unit.fake_etcd import KEYS, FakeConnection, FakeEtcd

# ------------------------------------------------------------------------------------------------------------ elections


class Candidate:
    """A master of several, whose election is carried out step by step."""

    def __init__(self, etcd: FakeEtcd, name: str) -> None:
        self.etcd = etcd
        self.name = name
        self.connection = FakeConnection(etcd)
        self.settings: list[int] = []
        self.election = LeaderElection(
            self.connection,
            KEYS,
            who=lambda: Leader(f"{name}:1", name),
            polling=lambda: PollSettings(timeout_ms=10_000, clock_drift_percent=10),
            clock=etcd.clock,
            changed=lambda: self.settings.append(self.election.term),
        )

    def look(self) -> None:
        """It sees what etcd has."""
        entry = self.etcd.entries.get(KEYS.leader)
        self.election.saw(leader_in(entry) if entry else None, self.etcd.revision)

    def step(self) -> None:
        self.look()
        self.election.step()
        self.look()

    def leads(self) -> bool:
        return self.etcd.now < self.election.leads_until(self.election.term or -1)


@pytest.fixture
def two(etcd: FakeEtcd) -> list[Candidate]:
    return [Candidate(etcd, "a"), Candidate(etcd, "b")]


def test_one_leads(etcd: FakeEtcd, two: list[Candidate]) -> None:
    for _ in range(10):
        for each in two:
            each.step()
        etcd.pass_time(2)
        assert [each.leads() for each in two] == [True, False]
    assert two[0].settings == [etcd.entries[KEYS.leader].modified]


def test_who_leads_knows_the_view_without_another_question(etcd: FakeEtcd, two: list[Candidate]) -> None:
    etcd.put_by_hand(KEYS.view, b"a view")
    two[0].step()
    etcd.put_by_hand(KEYS.view, b"the next one, which this term did not begin with")
    assert two[0].election.view and two[0].election.view.value == b"a view"
    assert "read" not in etcd.calls


def test_the_next_one_leads_when_the_lease_has_run_out(etcd: FakeEtcd, two: list[Candidate]) -> None:
    for each in two:
        each.step()
    etcd.pass_time(9)
    two[1].step()
    assert not two[1].leads()
    etcd.pass_time(2)
    assert not two[0].leads()
    two[1].step()
    assert two[1].leads()


def test_at_no_time_do_two_lead(etcd: FakeEtcd, two: list[Candidate]) -> None:
    """The first one is slower and slower, and in the end it sleeps too long."""
    for tenth in range(600):
        if tenth % (1 + tenth // 4) == 0:
            two[0].step()
        two[1].step()
        assert [each.leads() for each in two].count(True) <= 1
        etcd.pass_time(0.1)
    assert two[1].leads()
    two[0].step()
    assert two[0].settings[-1] == 0


def test_who_cannot_renew_its_lease_stops_in_time(etcd: FakeEtcd, two: list[Candidate]) -> None:
    two[0].step()
    etcd.is_away = True
    for _ in range(90):
        etcd.pass_time(0.1)
        two[0].step()
    assert two[0].leads()
    etcd.pass_time(0.2)
    assert not two[0].leads()
    assert etcd.entries, "etcd's own reckoning ends later"
    two[0].step()
    assert two[0].settings[-1] == 0


def test_an_answer_that_was_lost(etcd: FakeEtcd, two: list[Candidate]) -> None:
    """It has put the key, and does not know: it finds itself there."""
    etcd.loses_answers = True
    two[0].step()
    assert not two[0].leads()
    etcd.loses_answers = False
    two[0].step()
    assert two[0].leads()
    assert two[0].election.term == etcd.entries[KEYS.leader].modified


@pytest.mark.parametrize("value", [b"garbage", b"", b"[]", b'{"address": 1, "run_id": ""}', b"\xff", b"[" * 100_000])
def test_a_key_that_somebody_has_put_by_hand_is_no_leader(etcd: FakeEtcd, two: list[Candidate], value: bytes) -> None:
    two[0].step()
    etcd.put_by_hand(KEYS.leader, value)
    before = two[0].election.term
    two[0].step()
    two[0].step()
    assert two[0].leads()
    assert two[0].election.term > before


def test_a_key_that_was_deleted(etcd: FakeEtcd, two: list[Candidate]) -> None:
    for each in two:
        each.step()
    etcd.delete(KEYS.leader)
    two[0].look()
    two[1].step()
    assert two[1].leads()
    two[0].step()
    assert [each.leads() for each in two] == [False, True]


def test_a_leader_that_has_ended_is_succeeded_while_its_lease_lasts(etcd: FakeEtcd, two: list[Candidate]) -> None:
    for each in two:
        each.step()
    ended = leader_in(etcd.entries[KEYS.leader])
    etcd.calls.clear()
    two[1].election.succeed(ended)
    two[1].step()
    assert two[1].leads()
    assert etcd.calls[0] == "put", "one request decides"
    two[1].election.succeed(ended)
    before = two[1].election.term
    two[1].step()
    assert two[1].election.term == before


def test_of_several_one_succeeds(etcd: FakeEtcd, two: list[Candidate]) -> None:
    """The second one acts on what it knew."""
    third = Candidate(etcd, "c")
    for each in (*two, third):
        each.step()
    for each in (two[1], third):
        each.election.succeed(leader_in(etcd.entries[KEYS.leader]))
    two[1].election.step()
    third.election.step()
    third.step()
    assert [two[1].leads(), third.leads()] == [True, False]


def test_who_was_taken_for_dead_leads_no_longer_than_it_knew(etcd: FakeEtcd, two: list[Candidate]) -> None:
    """It renews its lease, which nobody has revoked yet, before it hears of its successor."""
    for each in two:
        each.step()
    two[1].election.succeed(leader_in(etcd.entries[KEYS.leader]))
    two[1].step()
    election, until = two[0].election, two[0].election.leads_until(two[0].election.term)
    term, seen = election.term, []
    read = two[0].connection.read

    def observed(prefix: str) -> Picture:
        seen.append(election.leads_until(term))
        return read(prefix)

    two[0].connection.read = observed  # type: ignore[method-assign]
    etcd.pass_time(3)
    election.step()
    assert "keep_alive" in etcd.calls
    assert seen == [until]
    assert not two[0].leads()


def test_an_old_picture_deposes_nobody(etcd: FakeEtcd, two: list[Candidate]) -> None:
    """The watch is behind: it has not seen yet what this master has put."""
    two[0].look()
    two[0].election.step()
    two[0].election.saw(None, 1)
    two[0].election.step()
    assert two[0].leads()


@pytest.mark.parametrize("newest", [0, 1])
def test_etcd_is_put_back_to_an_earlier_term(etcd: FakeEtcd, two: list[Candidate], newest: int) -> None:
    """The leases are as old as the earlier term. So the last leader renews its own, in an etcd of smaller revisions."""
    for each in two:
        each.step()
    restore = etcd.backup()
    etcd.delete(KEYS.leader)
    two[0].step()
    assert not two[0].leads()
    two[newest].step()
    assert two[newest].leads()
    restore()
    for _ in range(2):
        etcd.pass_time(3)
        for each in two:
            each.step()
    [leader] = [each for each in two if each.leads()]
    assert leader.election.term == etcd.entries[KEYS.leader].modified


def test_what_the_leaders_key_says() -> None:
    leader = Leader("10.0.0.1:6369", "a" * 40, "boot/1")
    assert json.loads(leader.to_text()) == {"address": "10.0.0.1:6369", "run_id": "a" * 40, "machine": "boot/1"}

# --------------------------------------------------------------------------------------------------------- watch caches


def test_who_cannot_lead_makes_way(etcd: FakeEtcd, two: list[Candidate]) -> None:
    """At once, without its lease running out; it stands again when it has given the others time."""
    a, b = two
    a.step()
    assert a.leads()
    a.election.resign(a.election.term, "no threads")
    a.step()
    assert not a.leads() and a.settings[-1] == 0
    assert KEYS.leader not in etcd.entries
    a.step()
    assert KEYS.leader not in etcd.entries
    b.step()
    assert b.leads()
    etcd.pass_time(3)
    a.step()
    assert not a.leads()


def test_who_cannot_lead_and_is_alone_tries_again(etcd: FakeEtcd, two: list[Candidate]) -> None:
    a, _ = two
    a.step()
    former = a.election.term
    a.election.resign(former, "no threads")
    a.step()
    pause_s = a.election.step()
    assert 0 < pause_s <= 2
    etcd.pass_time(pause_s)
    a.step()
    assert a.leads() and a.election.term != former
    a.election.resign(former, "late")  # of a term that is over
    a.step()
    assert a.leads()


def test_making_way_while_etcd_is_away(etcd: FakeEtcd, two: list[Candidate]) -> None:
    """It leads no longer, whatever etcd says; its lease is renewed no more."""
    a, b = two
    a.step()
    a.election.resign(a.election.term, "no threads")
    etcd.is_away = True
    a.election.step()
    assert not a.leads()
    etcd.is_away = False
    etcd.pass_time(11)
    b.step()
    assert b.leads()
