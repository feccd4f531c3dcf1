# SPDX-License-Identifier: Apache-2.0
"""redis-py: locks, optimistic transactions, pipelines, scripts, publications, and the same with asyncio."""

import asyncio
import sys
from threading import Thread

import redis
import redis.asyncio

URL = sys.argv[1]
client = redis.Redis.from_url(URL, decode_responses=True)


def in_threads(work, count=4) -> None:
    threads = [Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def count_under_lock() -> None:
    for _ in range(25):
        with client.lock("the lock", timeout=30, blocking_timeout=30, sleep=0.001):
            client.set("counted", int(client.get("counted") or 0) + 1)


def count_by_watching() -> None:
    def step(pipe: redis.client.Pipeline) -> None:
        value = int(pipe.get("watched") or 0)
        pipe.multi()
        pipe.set("watched", value + 1)
        pipe.rpush("seen", value)

    for _ in range(25):
        client.transaction(step, "watched")


def publications() -> None:
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.psubscribe("news.*")
        assert listener.get_message(timeout=10) is None
        client.publish("news.today", "hello")
        message = listener.get_message(timeout=10)
        assert message and message["data"] == "hello"


async def with_asyncio() -> None:
    async with redis.asyncio.Redis.from_url(URL, protocol=3, decode_responses=True) as connection:
        async def move(number: int) -> None:
            async with connection.pipeline(transaction=True) as pipe:
                await pipe.decrby("from", number).incrby("to", number).execute()

        await asyncio.gather(*(move(number) for number in range(100)))
        assert await connection.mget("from", "to") == ["-4950", "4950"]
        assert await connection.hset("h", mapping={"a": 1}) == 1 and await connection.hgetall("h") == {"a": "1"}


def main() -> None:
    in_threads(count_under_lock)
    assert client.get("counted") == "100"
    in_threads(count_by_watching)
    assert client.lrange("seen", 0, -1) == [str(number) for number in range(100)]
    pipe = client.pipeline(transaction=False)
    for number in range(1000):
        pipe.set(f"key {number}", number)
    assert pipe.execute() == [True] * 1000
    take = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [take(keys=["n"], args=[5]) for _ in range(3)] == [5, 10, 15]
    publications()
    asyncio.run(with_asyncio())


main()
