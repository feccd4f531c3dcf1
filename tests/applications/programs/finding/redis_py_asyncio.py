# SPDX-License-Identifier: Apache-2.0
"""redis-py with asyncio: as redis_py.py."""

import asyncio
import itertools
import sys

from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

protocol, address, name, key = sys.argv[1:]
host, port = address.split(":")


async def main() -> None:
    client = Sentinel([(host, int(port))], socket_timeout=1).master_for(name)
    for number in itertools.count():
        while True:
            try:
                await client.sadd(key, number)
                break
            except RedisError:
                await asyncio.sleep(0.02)
        print(number, flush=True)
        await asyncio.sleep(0.005)


asyncio.run(main())
