# SPDX-License-Identifier: Apache-2.0
"""redis-py: writes on and on where Sentinels say that the head is, and prints what was acknowledged.

redis_py.py sentinel host:port NAME KEY
"""

import itertools
import sys
import time

from redis.exceptions import RedisError
from redis.sentinel import Sentinel

protocol, address, name, key = sys.argv[1:]
host, port = address.split(":")
client = Sentinel([(host, int(port))], socket_timeout=1).master_for(name)
for number in itertools.count():
    while True:
        try:
            client.sadd(key, number)
            break
        except RedisError:
            time.sleep(0.02)
    print(number, flush=True)
    time.sleep(0.005)
