# SPDX-License-Identifier: Apache-2.0
"""Free ports of this machine."""

import itertools
import random
import socket

from chainredis.local_cluster.process import LauncherError

HOST = "127.0.0.1"
BELOW_EPHEMERAL = range(10_000, 32_768)


_ports = itertools.cycle(random.sample(BELOW_EPHEMERAL, len(BELOW_EPHEMERAL)))


def free_port() -> int:
    """Returns a port that nobody listens on, and that this process has not been given before.

    A port that binding to 0 finds is no good. Outgoing connections use such a port while its server is restarted, and a
    member that keeps trying it connects to itself at last. The same port twice is no good either: the servers of a
    chain are configured before the first of them is started.
    """
    port = next((port for port in itertools.islice(_ports, len(BELOW_EPHEMERAL)) if is_free(port)), None)
    if port is None:
        raise LauncherError("no free port found")
    return port


def is_free(port: int) -> bool:
    """Returns True if a server can listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
