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
        self.unanswered: type[Unanswered] = Unanswered

    def _is_lost(self) -> bool:
        self.lost -= 1
        return self.lost >= 0

    def __call__(self, wanted: Any, timeout: float, metadata: Any) -> Any:
        if self._is_lost():
            raise self.unanswered
        return SimpleNamespace(succeeded=True, header=SimpleNamespace(revision=7))

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


def test_an_answer_that_comes_late_counts_before_a_repetition() -> None:
    """A slow etcd has carried out the first one, and refuses those that follow."""
    etcd = ElectingEtcd(1000)
    connection = connected_to(etcd)
    late = SimpleNamespace(succeeded=True, header=SimpleNamespace(revision=8))

    def future(*arguments: Any, **named: Any) -> Future[Any]:
        asked = ElectingEtcd.future(etcd, *arguments, **named)
        if len(etcd.pending) == 3:
            etcd.pending[0].set_result(late)
        return asked

    etcd.future = future  # type: ignore[method-assign]
    assert connection.put_if([], "view", "new") == 8
    assert etcd.pending[1].cancelled()


def test_a_server_that_waits_for_another_one_has_not_answered() -> None:
    """It says after a while that the request timed out, possibly because the leader has failed."""

    class TimedOut(Unanswered):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNAVAILABLE

        def details(self) -> str:
            return "etcdserver: request timed out, possibly due to previous leader failure"

    etcd = ElectingEtcd(2)
    etcd.unanswered = TimedOut
    connection = connected_to(etcd)

    def future(*arguments: Any, **named: Any) -> Future[Any]:
        asked = ElectingEtcd.future(etcd, *arguments, **named)
        if len(etcd.pending) == 1:
            asked.set_exception(TimedOut())
        return asked

    etcd.future = future  # type: ignore[method-assign]
    assert connection.put_if([], "view", "new") == 7
    assert not etcd.is_closed
