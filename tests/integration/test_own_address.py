# SPDX-License-Identifier: Apache-2.0
"""A head's module reaches its own server where that listens, which need not be 127.0.0.1."""

from dataclasses import replace
from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import MEMBER
from chainredis.local_cluster.server import Server
from chainredis.protocol.view import Kind, Member
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer, _examine
from integration.helpers import Talk, ask, become_chain, state, unheld

ONLY = {"member.commands": "all", "member.lifeline-port": "-1"}


@pytest.mark.parametrize(("host", "bind"), [
    ("127.0.0.2", "127.0.0.2"), ("::1", "::1"), ("127.0.0.2", "-192.0.2.99 127.0.0.2"), ("::1", "-192.0.2.99 ::*"),
])  # fmt: skip
def test_a_server_that_does_not_bind_127_0_0_1(tmp_path: Path, host: str, bind: str) -> None:
    server = Server(tmp_path / "server", modules=[MEMBER], config={**ONLY, "bind": bind}, host=host)
    server.start()
    try:
        become_chain(server, Kind.ALL)
        with unheld(server) as talk:
            assert talk("SET", "k", "v") == b"OK"
            wait_until(lambda: state(server).committed > 0, 10)
        assert ask(server, "GET", "k") == b"v"
    finally:
        server.stop()
    _examine([server])


def test_a_server_that_its_own_module_cannot_reach_is_told_so(server: StartServer) -> None:
    """It has no port any more. The connection of before stays, as one through a proxy would."""
    only, first = server(MEMBER, **{"member.commands": "all"}), server(MEMBER, **{"member.commands": "all"})
    view = become_chain(first, Kind.ALL)
    itself = Member(only.endpoint.host, only.endpoint.host, only.port, state(only).run_id)
    with Talk(only) as talk:
        assert talk("CONFIG", "SET", "port", 0) == b"OK"
        orders = {"CHAIN.ADOPT": replace(view, members=(itself,)), "CHAIN.JOIN": view, "CHAIN.REJOIN": view}
        for order, its_view in orders.items():
            assert "neither a port nor a unix socket" in talk(order, *its_view.wire())
        assert any(b"neither a port" in bytes(item) for item in talk("CHAIN.STATE"))
