# SPDX-License-Identifier: Apache-2.0
"""A process that shares the server's memory: so the kernel need not free that before it closes the server's sockets."""

import os
import socket
import time
from pathlib import Path

import psutil
import pytest
import redis

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.ports import HOST
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartServer
from integration.helpers import KEEPER, Talk, ask
from processes import has_ended

MIB = 1 << 20


def keeper_of(server: Server) -> psutil.Process:
    (keeper,) = (child for child in psutil.Process(server.pid).children() if child.name() == KEEPER)
    return keeper


def pipe_of(server: Server, keeper: psutil.Process) -> Path:
    """The server's end of the pipe between the two."""
    (pipe,) = (link.readlink() for link in Path(f"/proc/{keeper.pid}/fd").iterdir())
    return next(link for link in Path(f"/proc/{server.pid}/fd").iterdir() if link.readlink() == pipe)


def test_the_sockets_of_a_killed_server_close_before_its_memory_is_freed(server: StartServer) -> None:
    """The pipe is held open here, so the memory is not freed. Nor is it at once afterwards: a repair comes first."""
    one = server(MEMBER)
    for number in range(40):
        ask(one, "MEMBER.PUT", f"k{number}", b"v" * MIB)
    keeper = keeper_of(one)
    held = os.open(pipe_of(one, keeper), os.O_WRONLY)
    with Talk(one) as talk:
        one.kill()
        with pytest.raises(redis.ConnectionError):
            talk.receive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, one.port))
    assert keeper.memory_info().rss > 40 * MIB
    told = time.monotonic()
    os.close(held)
    wait_until(lambda: has_ended(keeper.pid), 10)
    assert time.monotonic() - told >= 0.1


@pytest.mark.parametrize("module", [MEMBER, MASTER])
def test_a_keeper_ends_with_its_server_and_holds_nothing_else(server: StartServer, module: str) -> None:
    one = server(module)
    keeper = keeper_of(one)
    assert keeper.num_fds() == 1, "the end of the pipe"
    keeper.terminate()
    one.stop()
    wait_until(lambda: has_ended(keeper.pid), 10)


def test_without_its_keeper_a_server_goes_on(server: StartServer) -> None:
    one = server(MEMBER)
    keeper = keeper_of(one)
    keeper.kill()
    wait_until(lambda: has_ended(keeper.pid), 10)
    assert ask(one, "PING") == b"PONG"
