# SPDX-License-Identifier: Apache-2.0
"""Free ports of this machine."""

import random
import socket

from chainredis.local_cluster.process import LauncherError

HOST = "127.0.0.1"
BELOW_EPHEMERAL = range(10_000, 32_768)

_ports = random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL))


def take_share(number: int, count: int) -> None:
    """From now on find ports in one of `count` equal shares: number 0 or later. Others find theirs beside it.

    A port that one process was given is free for another to find until the port's server has been started.
    """
    size = len(BELOW_EPHEMERAL) // count
    share = BELOW_EPHEMERAL[number * size : (number + 1) * size]
    _ports[:] = random.sample(share, size)


def free_port() -> int:
    """Returns a port that nobody listens on, and that this process has not been given before.

    A port that binding to 0 finds is no good. Outgoing connections use such a port while its server is restarted, and a
    member that keeps trying it connects to itself at last. The same port twice is no good either: the servers of a
    chain are configured before the first of them is started.
    """
    for _ in range(len(_ports)):
        port = _ports.pop()
        _ports.insert(0, port)
        if is_free(port):
            return port
    raise LauncherError("no free port found")


def is_free(port: int) -> bool:
    """Returns True if a server can listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
