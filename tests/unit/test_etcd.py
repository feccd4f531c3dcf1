"""The parts that talk with etcd, on an etcd in memory: URLs, leases, elections, heartbeats, watch caches."""

import json
import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainredis.etcd.client import Picture, Update
from chainredis.etcd.heartbeat_sender import HeartbeatSender
from chainredis.etcd.leader import Leader, leader_in
from chainredis.etcd.leader_election import LeaderElection
from chainredis.etcd.leader_monitor import LeaderMonitor
from chainredis.etcd.lease import Lease
from chainredis.etcd.url import Keys, parse_url
from chainredis.etcd.watch_cache import WatchCache
from chainredis.protocol.errors import Closed, EtcdAway, Refused, Rejected, Silent
from chainredis.protocol.view import Endpoint
from chainredis.transport.settings import PollSettings
from unit.fake_etcd import FakeConnection, FakeEtcd, ScriptedConnection

KEYS = Keys("chain")


# ------------------------------------------------------------------------------------------------------------ URLs


def test_a_url() -> None:
    url = parse_url("127.0.0.1:12379/my_cool_chain")
    assert url.endpoints == (Endpoint("127.0.0.1", 12379),)
    assert url.keys.view == "my_cool_chain/view"
    several = parse_url("a:1,b.example:2,[::1]:3/x-1.y")
    assert [each.host for each in several.endpoints] == ["a", "b.example", "::1"]
    assert str(several) == "a:1,b.example:2,[::1]:3/x-1.y"


@given(st.text())
def test_any_text_is_a_url_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        url = parse_url(text)
        assert parse_url(str(url)) == url


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True))
def test_no_chain_has_another_ones_keys(one: str, other: str) -> None:
    if one != other:
        keys = Keys(other)
        assert not [key for key in (keys.view, keys.leader, keys.heartbeats) if key.startswith(Keys(one).prefix)]


# ---------------------------------------------------------------------------------------------------------- leases


def test_a_lease_counts_from_before_it_was_asked_for() -> None:
    etcd = FakeEtcd()

    class Slow(FakeConnection):
        def grant(self, ttl_s: int) -> tuple[int, int]:
            etcd.now += 1  # the request is on its way
            granted = super().grant(ttl_s)
            etcd.now += 1  # the answer is
            return granted

    lease = Lease(Slow(etcd), etcd.clock)
    assert lease.renew(10, drift=0.25)
    assert lease.until == 1000 + 10 / 1.25
    assert lease.until < etcd.ends[lease.number]


def test_a_lease_that_has_run_out_is_known_to_have() -> None:
    """That is said by a time to live of nothing, and not by an error."""
    etcd = FakeEtcd()
    lease = Lease(FakeConnection(etcd), etcd.clock)
    assert lease.renew(3, 0)
    etcd.pass_time(5)
    assert not lease.renew(3, 0)
    assert lease.until == 0
    assert lease.renew(3, 0)
    assert lease.until == etcd.now + 3


def test_etcd_away_takes_nothing_from_a_lease() -> None:
    etcd = FakeEtcd()
    lease = Lease(FakeConnection(etcd), etcd.clock)
    lease.renew(3, 0)
    until, etcd.is_away = lease.until, True
    with pytest.raises(EtcdAway):
        lease.renew(3, 0)
    assert lease.until == until


# ------------------------------------------------------------------------------------------------------- elections


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
def etcd() -> FakeEtcd:
    return FakeEtcd()


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


def test_an_old_picture_deposes_nobody(etcd: FakeEtcd, two: list[Candidate]) -> None:
    """The watch is behind: it has not seen yet what this master has put."""
    two[0].look()
    two[0].election.step()
    two[0].election.saw(None, 1)
    two[0].election.step()
    assert two[0].leads()


def test_what_the_leaders_key_says() -> None:
    leader = Leader("10.0.0.1:6369", "a" * 40, "boot/1")
    assert json.loads(leader.to_text()) == {"address": "10.0.0.1:6369", "run_id": "a" * 40, "machine": "boot/1"}


# -------------------------------------------------------------------------------------------- the leader's end


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


def buried(*ends: FakeLine | Exception, leader: Leader = LEADER, trusts_refused: bool = True) -> list[Leader]:
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
    assert buried(FakeLine(LEADER.run_id, Closed("closed")), Refused("nobody listens")) == [LEADER]


def test_a_leader_that_refuses_from_the_first_may_never_have_been_reached() -> None:
    assert buried(Refused("nobody listens"), Refused("nobody listens")) == []


def test_a_leader_in_whose_place_another_process_answers_has_ended() -> None:
    assert buried(FakeLine("b" * 40)) == [LEADER]


@pytest.mark.parametrize("end", [Silent("no answer"), Rejected("NOAUTH"), Closed("closed")])
def test_other_ends_prove_nothing(end: Exception) -> None:
    assert buried(FakeLine(LEADER.run_id, end)) == []
    assert buried(end) == []


def test_a_server_that_does_not_tell_who_it_is_proves_nothing() -> None:
    assert buried(FakeLine("")) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_an_address_that_leads_to_ourselves_proves_nothing(host: str) -> None:
    """Two machines whose masters both reach etcd as 127.0.0.1 would depose each other for ever."""
    leader = replace(LEADER, address=f"{host}:6369")
    monitor = LeaderMonitor(lambda: OWN, pytest.fail, trusts_refused=lambda: True, on_end=pytest.fail)  # type: ignore[arg-type]
    assert not monitor._can_look_after(leader)
    assert monitor._can_look_after(replace(leader, machine=OWN.machine))


def test_where_a_refusing_port_proves_nothing_the_lease_is_waited_for() -> None:
    ends = FakeLine(LEADER.run_id, Closed("closed")), Refused("nobody listens"), FakeLine("b" * 40)
    assert buried(*ends, trusts_refused=False) == []


# ------------------------------------------------------------------------------------------------------ heartbeats


class Heart:
    """A member's heartbeat, looked at in short steps."""

    def __init__(self, etcd: FakeEtcd, interval_s: float = 3, timeout_s: int = 15) -> None:
        self.etcd = etcd
        self.pulse = 0
        self.shown: list[tuple[str, str]] = []
        self.beat = HeartbeatSender(
            FakeConnection(etcd),
            KEYS,
            "me",
            announce=lambda: "10.0.0.1:6370",
            interval_s=interval_s,
            timeout_s=timeout_s,
            pulse=lambda: self.pulse,
            show=lambda state, leader: self.shown.append((state, leader)),
            clock=etcd.clock,
        )

    def pass_time(self, seconds: float, *, turning: bool = True) -> None:
        for _ in range(round(seconds * 10)):
            self.etcd.pass_time(0.1)
            self.pulse += turning
            self.beat.look()

    @property
    def is_there(self) -> bool:
        return KEYS.heartbeat("me") in self.etcd.entries


@pytest.mark.parametrize(("interval_s", "timeout_s"), [(3, 15), (1, 2), (10, 15), (20, 15)])
def test_a_heart_beats_as_long_as_the_loop_turns(etcd: FakeEtcd, interval_s: int, timeout_s: int) -> None:
    heart = Heart(etcd, interval_s, timeout_s)
    heart.pass_time(0.2)
    lease = etcd.entries[KEYS.heartbeat("me")].lease
    for _ in range(100):
        heart.pass_time(1)
        assert etcd.entries[KEYS.heartbeat("me")].lease == lease


def test_it_ends_with_the_loop_after_the_timeout(etcd: FakeEtcd) -> None:
    heart = Heart(etcd)
    heart.pass_time(30)
    heart.pass_time(11, turning=False)
    assert heart.is_there
    heart.pass_time(5, turning=False)
    assert not heart.is_there


def test_a_pause_shorter_than_the_timeout_is_made_good_at_once(etcd: FakeEtcd) -> None:
    heart = Heart(etcd)
    heart.pass_time(0.2)
    for _ in range(20):
        heart.pass_time(14.5, turning=False)
        heart.pass_time(0.2)
        assert heart.is_there


def test_it_comes_back_with_the_loop(etcd: FakeEtcd) -> None:
    heart = Heart(etcd)
    heart.pass_time(1)
    heart.pass_time(30, turning=False)
    assert not heart.is_there
    heart.pass_time(1)
    assert heart.is_there


def test_it_comes_back_with_etcd(etcd: FakeEtcd) -> None:
    heart = Heart(etcd)
    heart.pass_time(1)
    etcd.is_away = True
    heart.pass_time(30)
    assert heart.shown[-1] == ("etcd cannot be reached", "")
    etcd.is_away = False
    heart.pass_time(1)
    assert heart.is_there
    assert heart.shown[-1] == ("beating", "")


def test_a_key_that_was_deleted_by_hand_is_put_again(etcd: FakeEtcd) -> None:
    heart = Heart(etcd)
    heart.pass_time(1)
    etcd.delete(KEYS.heartbeat("me"))
    heart.pass_time(3.1)
    assert heart.is_there


def test_it_tells_who_leads(etcd: FakeEtcd) -> None:
    heart = Heart(etcd)
    etcd.put_by_hand(KEYS.leader, Leader("10.0.0.9:6369", "x").to_text().encode())
    heart.pass_time(0.2)
    assert heart.shown[-1] == ("beating", "10.0.0.9:6369")


# --------------------------------------------------------------------------------------------------------- watch caches


def test_a_mirror_misses_nothing_that_happens_between_two_watches(etcd: FakeEtcd) -> None:
    seen: list[Picture] = []
    etcd.put_by_hand("chain/a", b"1")
    etcd.put_by_hand("chain/b", b"1")

    def lose_one() -> Update:
        """The watch breaks, and before there is another one somebody deletes a key."""
        etcd.delete("chain/b")
        raise EtcdAway("the connection broke")

    def put_one() -> Update:
        etcd.put_by_hand("chain/c", b"1")
        return Update(etcd.revision, {"chain/c": etcd.entries["chain/c"]})

    def delete_one() -> Update:
        etcd.delete("chain/a")
        return Update(etcd.revision, {"chain/a": None})

    connection = ScriptedConnection(etcd, [put_one, lose_one, delete_one])
    cache = WatchCache(connection, KEYS.prefix, seen.append)
    with pytest.raises(EtcdAway):
        cache.follow()
    cache.follow()
    assert [sorted(key[-1] for key in picture.entries) for picture in seen] == [
        ["a", "b"], ["a", "b", "c"], ["a", "c"], ["c"],
    ]  # fmt: skip
    assert connection.watched_from == [4, 6]
    assert cache.picture == Picture(etcd.revision, etcd.entries)


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
