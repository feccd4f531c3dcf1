"""What tests of members that come back from their disks have in common."""

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server

ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
EVERY_SECOND = {"appendonly": "yes", "appendfsync": "everysec"}


def restart(server: Server) -> None:
    server.kill()
    server.start()


def without_master(cluster: Cluster) -> Cluster:
    """From now on members are as their disks leave them."""
    cluster.master.kill()
    return cluster
