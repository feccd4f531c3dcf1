# SPDX-License-Identifier: Apache-2.0
"""A lease in etcd, on an etcd in memory."""

import pytest

from chainredis.etcd.lease import Lease
from chainredis.protocol.errors import EtcdAway
from unit.fake_etcd import FakeConnection, FakeEtcd


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
