# SPDX-License-Identifier: Apache-2.0
"""A member's heartbeats, on an etcd in memory."""

import pytest

from chainredis.etcd.heartbeat_sender import HeartbeatSender
from chainredis.etcd.leader import Leader
from unit.fake_etcd import KEYS, FakeConnection, FakeEtcd


class Heart:
    """A member's heartbeat, looked at in short steps."""

    def __init__(self, etcd: FakeEtcd, interval_s: float = 3, timeout_s: int = 15) -> None:
        self.etcd = etcd
        self.pulse = 0
        self.shown: list[tuple[str, str]] = []
        self.sender = HeartbeatSender(
            FakeConnection(etcd),
            KEYS,
            "me",
            address=lambda: "10.0.0.1:6370",
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
            self.sender.look()

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
