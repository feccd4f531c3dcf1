# SPDX-License-Identifier: Apache-2.0
"""The connection to etcd, without an etcd: what its failures become."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from chainredis.etcd.client import Access, Connection
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
