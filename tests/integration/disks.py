# SPDX-License-Identifier: Apache-2.0
"""Helpers for tests of members that are restarted with their data on disk."""

from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server

ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
EVERY_SECOND = {"appendonly": "yes", "appendfsync": "everysec"}


def restart(server: Server) -> None:
    server.kill()
    server.start()


def without_master(cluster: Cluster) -> Cluster:
    """Kill the master, so that restarted members keep the state that they read from disk. Returns the cluster."""
    cluster.master.kill()
    return cluster
