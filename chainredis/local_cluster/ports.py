# SPDX-License-Identifier: Apache-2.0
"""Free ports of this machine."""

import atexit
import random
import socket
from functools import cache

from chainredis.local_cluster.process import LauncherError

HOST = "127.0.0.1"
BELOW_EPHEMERAL = range(10_000, 32_768)
SHARES = 32  # of these ports: one for each process that looks for some


def _claim(share: int) -> bool:
    """Returns whether no other process of this machine has the share. Then it is this one's until that ends.

    The claim is an abstract unix socket: its name is taken where the ports are, in one network namespace, and the
    kernel gives it back.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0chainredis-ports-{share}")
    except OSError:
        claim.close()
        return False
    atexit.register(claim.close)  # which keeps it open until then
    return True


@cache
def _ports() -> list[int]:
    """Returns the share of this process, which has one together with another where none is left."""
    shares = random.sample(range(SHARES), SHARES)
    share = next((each for each in shares if _claim(each)), shares[0])
    size = len(BELOW_EPHEMERAL) // SHARES
    return random.sample(BELOW_EPHEMERAL[share * size : (share + 1) * size], size)


def free_port() -> int:
    """Returns a port that nobody listens on, and that this process has not been given lately.

    A port that one process was given is free for another to find until the port's server has been started, which takes
    a master a second. So each process has ports of its own.

    A port that binding to 0 finds is no good. Outgoing connections use such a port while its server is restarted, and a
    member that keeps trying it connects to itself at last. The same port twice is no good either: the servers of a
    chain are configured before the first of them is started.
    """
    ports = _ports()
    for _ in range(len(ports)):
        port = ports.pop()
        ports.insert(0, port)
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
