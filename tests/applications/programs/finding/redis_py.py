# SPDX-License-Identifier: Apache-2.0
"""redis-py: writes on and on where Sentinels or the nodes of a Cluster say, and prints what was acknowledged.

redis_py.py sentinel|cluster host:port[,host:port…] NAME KEY
"""

import itertools
import sys
import time

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.sentinel import Sentinel

protocol, addresses, name, key = sys.argv[1:]
places = [(host, int(port)) for host, port in (address.split(":") for address in addresses.split(","))]
if protocol == "sentinel":
    client = Sentinel(places, socket_timeout=1).master_for(name)
else:
    client = RedisCluster(startup_nodes=[ClusterNode(*place) for place in places])
for number in itertools.count():
    while True:
        try:
            client.sadd(key, number)
            break
        except (RedisClusterException, RedisError):
            time.sleep(0.02)
    print(number, flush=True)
    time.sleep(0.005)
