# SPDX-License-Identifier: Apache-2.0
"""The master's side of a lifeline, held to a socket of this process."""

import select
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from chainredis.local_cluster.ports import HOST
from chainredis.protocol.errors import Closed, Rejected
from chainredis.protocol.view import Endpoint
from chainredis.transport import lifeline
from chainredis.transport.lifeline import SocketLine
from chainredis.transport.member_client import mac
from chainredis.transport.settings import Settings

RUN_ID, SECRET = "a" * 40, "b" * 32


def hold(listening: socket.socket, settings: Settings, secret: str = SECRET) -> tuple[SocketLine, socket.socket]:
    """A lifeline to a member that knows SECRET, and the member's side of it."""
    sides: list[socket.socket] = []

    def answer() -> None:
        side, _ = listening.accept()
        sides.append(side)
        with side.makefile("rb") as stream:
            nonce = stream.read(32 + 64)[:32].decode()
        side.sendall(mac(bytes.fromhex(SECRET), "held", nonce, RUN_ID).encode())

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        line = SocketLine(Endpoint(HOST, listening.getsockname()[1]), secret, RUN_ID, settings)
    finally:
        thread.join(10)
        if secret != SECRET:
            sides[0].close()
    return line, sides[0]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, "c" * 40, 1, connect_timeout_s=5, answer_timeout_s=5)


def test_it_tells_who_listens_beside_it(settings: Settings) -> None:
    with socket.create_server((HOST, 0)) as listening, socket.create_server((HOST, 0)) as beside:
        line, side = hold(listening, settings)
        port = beside.getsockname()[1]
        with closing(line), side:
            assert not line.is_refused(port)
            beside.close()
            assert line.is_refused(port)
            side.close()
            with pytest.raises(Closed):
                line.await_end()
            assert line.is_refused(port), "also when it has ended itself"


def test_a_port_that_is_closed_just_after_the_lifeline_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has ended accepts nobody any more, and its port still takes connections into its queue."""
    monkeypatch.setattr(lifeline, "ENDING_S", 10)
    with socket.create_server((HOST, 0)) as listening, socket.create_server((HOST, 0)) as beside:
        line, side = hold(listening, settings)

        def end_when_somebody_waits() -> None:
            select.select([beside], [], [])
            beside.close()

        with closing(line), side:
            ending = threading.Thread(target=end_when_somebody_waits)
            port = beside.getsockname()[1]
            ending.start()
            assert line.is_refused(port)
            ending.join(10)


def test_who_does_not_know_the_secret_is_no_member(settings: Settings) -> None:
    with socket.create_server((HOST, 0)) as listening, pytest.raises(Rejected):
        hold(listening, settings, secret="d" * 32)
