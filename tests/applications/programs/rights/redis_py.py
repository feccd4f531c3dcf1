# SPDX-License-Identifier: Apache-2.0
"""redis-py: logs in and writes and reads, where Sentinels or the nodes of a Cluster say.

redis_py.py sentinel|cluster host:port[,host:port…] NAME USER PASSWORD
"""

import sys

from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

protocol, addresses, name, user, password = sys.argv[1:6]
places = [(host, int(port)) for host, port in (address.split(":") for address in addresses.split(","))]
login = {"username": user, "password": password}
if protocol == "sentinel":
    client = Sentinel(places, sentinel_kwargs=login).master_for(name, **login)
else:
    client = RedisCluster(startup_nodes=[ClusterNode(*place) for place in places], read_from_replicas=True, **login)
with client.pipeline() as pipeline:
    pipeline.set("app:{one}", 1).incr("app:{one}")
    assert pipeline.execute() == [True, 2]
assert client.mget("app:{one}", "app:{one}:absent") == [b"2", None]
