"""Free ports of this machine."""

import random
import socket

from chainredis.local_cluster.process import LauncherError

HOST = "127.0.0.1"
BELOW_EPHEMERAL = range(10_000, 32_768)


def free_port() -> int:
    """Not one that binding port 0 finds: those go to outgoing connections too, while a server is being restarted.

    Worse, a member that keeps trying such a port of a dead neighbour connects to itself at last.
    """
    for port in random.sample(BELOW_EPHEMERAL, 100):
        if is_free(port):
            return port
    raise LauncherError("no free port found")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
