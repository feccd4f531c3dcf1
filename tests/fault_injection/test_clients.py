# SPDX-License-Identifier: Apache-2.0
"""The recording clients, on healthy chains and on two servers that are not a chain."""

import socket

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.ports import HOST
from chainredis.protocol.view import Endpoint
from chainredis.transport.waiting import wait_until
from commands.wire import Wire
from fault_injection.crowd import Crowd
from fault_injection.history import Kind, Outcome
from integration.conftest import StartChain, StartServer

SEED = 1


def test_they_find_their_way_while_members_come_and_go(chain: StartChain) -> None:
    cluster = chain(3)
    crowd = Crowd([member.endpoint for member in cluster.members], SEED)
    with crowd.at_work():
        for member in list(cluster.members):
            await_work(crowd)
            cluster.remove(member)
            await_work(crowd)
            cluster.add(member)
        await_work(crowd)
    crowd.judge()
    operations = crowd.operations()
    assert {each.client for each in operations if each.outcome is Outcome.DONE} == {each.name for each in crowd.clients}
    assert {each.outcome for each in operations} >= {Outcome.DONE, Outcome.FAILED}
    assert crowd.subscriber.heard.keys() & {each.note for each in operations}


def test_two_servers_that_know_nothing_of_each_other_are_found_out(server: StartServer) -> None:
    """Two independent servers answer as in a split brain: the checker must find it."""
    crowd = Crowd([server(MEMBER).endpoint, server(MEMBER).endpoint], SEED)
    with crowd.at_work():
        await_work(crowd)
    with pytest.raises(AssertionError, match="not linearizable"):
        crowd.judge()
    crowd.save().unlink()


def test_a_connection_that_gets_no_answer_is_closed() -> None:
    """Otherwise it lives as long as the error, and Python complains about it in some later test."""
    with socket.create_server((HOST, 0)) as listener:
        with pytest.raises(TimeoutError):
            Wire(Endpoint(HOST, listener.getsockname()[1]), timeout_s=0.1)
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(10)
            assert accepted.recv(1000).startswith(b"*2\r\n$6\r\nCLIENT")
            assert accepted.recv(1000) == b""


def await_work(crowd: Crowd) -> None:
    """Wait until some more writes and reads are done."""
    before = {kind: crowd.done(kind) for kind in (Kind.PUT, Kind.READ)}
    wait_until(lambda: all(crowd.done(kind) > count + 50 for kind, count in before.items()), 30)
