# SPDX-License-Identifier: Apache-2.0
"""The connection to etcd, without an etcd: what its failures become."""

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, NoReturn

import grpc
import pytest

from chainredis.etcd.client import Access, Connection, is_modified_at
from chainredis.protocol.errors import EtcdAway
from chainredis.protocol.view import Endpoint


def test_a_watch_on_a_channel_that_another_thread_closes_finds_etcd_away() -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise ValueError("Cannot invoke RPC: Channel closed!")  # as grpc does

    def stream_stream(*_: Any, **__: Any) -> Callable[..., NoReturn]:
        return refuse

    connection = Connection(Access((Endpoint("127.0.0.1", 2379),)), 10)
    channel = SimpleNamespace(stream_stream=stream_stream)
    connection._client = SimpleNamespace(channel=channel, metadata=None, close=lambda: None)
    with pytest.raises(EtcdAway, match="Channel closed"):
        next(connection.watch("chain/", 1, 5.0))


class Unanswered(grpc.RpcError):  # type: ignore[misc]  # grpc has no annotations
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        return "Deadline Exceeded"


class ElectingEtcd:
    """What a client of python-etcd3 is to `Connection`. The first `lost` transactions get no answer."""

    def __init__(self, lost: int, *, timeout: float = 30.0) -> None:
        self.lost, self.timeout, self.metadata = lost, timeout, None
        self.kvstub = SimpleNamespace(Txn=self)
        self.pending: list[Future[Any]] = []
        self.is_closed = False

    def _is_lost(self) -> bool:
        self.lost -= 1
        return self.lost >= 0

    def future(self, wanted: Any, timeout: float, metadata: Any) -> Future[Any]:
        self.pending.append(Future())
        if not self._is_lost():
            self.pending[-1].set_result(SimpleNamespace(succeeded=True, header=SimpleNamespace(revision=7)))
        return self.pending[-1]

    def close(self) -> None:
        self.is_closed = True


def connected_to(etcd: ElectingEtcd) -> Connection:
    connection = Connection(Access((Endpoint("127.0.0.1", 2379),)), 10)
    connection._client = etcd
    return connection


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_what_is_lost_while_etcd_elects_is_asked_again_on_the_same_connection(lost: int) -> None:
    etcd = ElectingEtcd(lost)
    assert connected_to(etcd).put_if([is_modified_at("view", 5)], "view", "new") == 7
    assert etcd.lost == -1, "asked once more than what was lost"
    assert not etcd.is_closed
    assert all(each.done() for each in etcd.pending), "nobody waits for those that were lost"


class SlowEtcd(ElectingEtcd):
    """Carries each transaction out when `late` more have been asked: the conditions hold for the first one only."""

    def __init__(self, late: int) -> None:
        super().__init__(1000)
        self.late = late

    def future(self, wanted: Any, timeout: float, metadata: Any) -> Future[Any]:
        asked, turn = super().future(wanted, timeout, metadata), len(self.pending) - 1 - self.late
        if turn >= 0:
            self.pending[turn].set_result(SimpleNamespace(succeeded=turn == 0, header=SimpleNamespace(revision=8)))
        return asked


@pytest.mark.parametrize("late", [1, 2, 4])
def test_a_slow_etcd_s_answer_to_the_first_one_counts(late: int) -> None:
    """It refuses the repetitions. Who heard of these alone would take another one for the leader, again and again."""
    etcd = SlowEtcd(late)
    assert connected_to(etcd).put_if([is_modified_at("leader", 5)], "leader", "new") == 8
    assert all(each.cancelled() for each in etcd.pending[1:])


def test_a_server_that_waits_for_another_one_has_not_answered() -> None:
    """It says after a while that the request timed out, possibly because the leader has failed."""

    class TimedOut(Unanswered):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNAVAILABLE

        def details(self) -> str:
            return "etcdserver: request timed out, possibly due to previous leader failure"

    etcd = ElectingEtcd(2)
    connection = connected_to(etcd)

    def future(*arguments: Any, **named: Any) -> Future[Any]:
        asked = ElectingEtcd.future(etcd, *arguments, **named)
        if len(etcd.pending) == 1:
            asked.set_exception(TimedOut())
        return asked

    etcd.future = future  # type: ignore[method-assign]
    assert connection.put_if([], "view", "new") == 7
    assert not etcd.is_closed
