# SPDX-License-Identifier: Apache-2.0
"""python-redis-lock: who waits for a lock is woken by a list (BLPOP), and a lock is renewed."""

import sys
from threading import Thread

import redis
import redis_lock

client = redis.Redis.from_url(sys.argv[1])


def count() -> None:
    for _ in range(20):
        with redis_lock.Lock(client, "counter", expire=10, auto_renewal=True):
            client.set("counted", int(client.get("counted") or 0) + 1)


def main() -> None:
    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get("counted") == b"80"
    held = redis_lock.Lock(client, "another", expire=60)
    assert held.acquire(blocking=False) and not redis_lock.Lock(client, "another").acquire(blocking=False)
    held.release()
    redis_lock.reset_all(client)


main()
