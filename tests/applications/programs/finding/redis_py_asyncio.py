# SPDX-License-Identifier: Apache-2.0
"""redis-py with asyncio: as redis_py.py."""

import asyncio
import itertools
import sys

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisClusterException, RedisError

protocol, addresses, name, key = sys.argv[1:]
places = [(host, int(port)) for host, port in (address.split(":") for address in addresses.split(","))]


async def main() -> None:
    if protocol == "sentinel":
        client = Sentinel(places, socket_timeout=1).master_for(name)
    else:
        client = RedisCluster(startup_nodes=[ClusterNode(*place) for place in places])
    for number in itertools.count():
        while True:
            try:
                await client.sadd(key, number)
                break
            except (RedisClusterException, RedisError):
                await asyncio.sleep(0.02)
        print(number, flush=True)
        await asyncio.sleep(0.005)


asyncio.run(main())
