# SPDX-License-Identifier: Apache-2.0
"""Chains of all commands: whoever has been told that the chain serves gets the next write answered.

A member's server becomes a master some passes of its event loop after the member has become the head. Here each pass is
long, so that whoever does not wait for that is too early.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Talk, running, unheld
from servers import SERVERS, use

DEBUG = {"enable-debug-command": "yes"}
BUSY = 3  # connections, of which each makes a pass longer
PASS_S = 0.02


@pytest.fixture(params=SERVERS[:2], autouse=True)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    use(request.param, monkeypatch)
    return str(request.param)


@contextmanager
def long_passes(server: Server) -> Iterator[None]:
    """For the time of the block each pass of the server's event loop takes BUSY * PASS_S."""

    def occupy(stop: Event) -> None:
        with unheld(server) as talk:
            while not stop.is_set():
                talk("DEBUG", "SLEEP", str(PASS_S))

    with running(*[occupy] * BUSY):
        time.sleep(2 * BUSY * PASS_S)  # they have begun
        yield


def test_the_first_member_takes_writes_when_it_has_been_added(chain: StartChain) -> None:
    cluster = chain(0, commands="all", member_config=DEBUG)
    first = cluster.spare()
    with unheld(first) as client, long_passes(first):
        cluster.add(first)
        assert client("SET", "added", "1") == b"OK"
        assert client("MEMBER.PUT", "added", "2") >= 0


def test_a_request_waits_until_the_new_head_leads(chain: StartChain) -> None:
    """No client of a new head hears that its server is a replica, or is to try again."""
    cluster = chain(0, commands="all", member_config=DEBUG)
    first = cluster.spare()
    with Talk(first) as client, unheld(first) as operator, long_passes(first):
        assert client("SET", "key", "1") == b"OK"  # the gate has this client
        with running(lambda _: cluster.add(first)):
            wait_until(lambda: b"singleton" in operator("CHAIN.STATE"), 20)
            assert client.pipeline([("INCR", "key"), ("MEMBER.PUT", "other", "2")])[0] == 2
