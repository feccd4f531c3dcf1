# SPDX-License-Identifier: Apache-2.0
"""Direct clients (docs/decisions/0016) under attack: what a reviewer found, and what held."""

import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import PATIENT, Error, Talk, ask, info, member_number, paused, settled
from integration.test_direct_clients import MANY, become_direct, bytes_of, direct, is_direct, puts, reads

MIB = 1024 * 1024


def server_memory(server: Server) -> int:
    """Bytes of the server's process that are in memory."""
    with open(f"/proc/{server.pid}/status") as file:
        line = next(line for line in file if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@contextmanager
def bare(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.settimeout(15)
        yield raw


def receive_to_the_end(raw: socket.socket) -> bytes:
    got = b""
    while piece := raw.recv(65536):
        got += piece
    return got


# ------------------------------------------------------------------------------------------------ becoming direct


def test_replies_that_the_server_has_not_sent_when_its_client_is_looked_at(chain: StartChain) -> None:
    """The server waits to write to the candidate, and goes on when the candidate stays the server's."""
    only = chain(1).head
    with Talk(only) as talk:
        talk("MEMBER.PUT", "long", "x" * MIB, "me")
        talk.send_all([("READ", "long")] * 60)
        time.sleep(0.5)
        assert [len(talk.receive()) for _ in range(60)] == [MIB] * 60
