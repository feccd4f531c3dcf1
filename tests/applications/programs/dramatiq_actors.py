# SPDX-License-Identifier: Apache-2.0
"""dramatiq: actors with results, one that is tried again, a delayed one. Its queues are scripts in Lua."""

import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(url=sys.argv[1])
broker.add_middleware(Results(backend=RedisBackend(url=sys.argv[1])))
dramatiq.set_broker(broker)
tries: list[int] = []


@dramatiq.actor(store_results=True)
def square(number: int) -> int:
    return number * number


@dramatiq.actor(store_results=True, max_retries=3, min_backoff=50, max_backoff=100)
def second_try() -> str:
    tries.append(1)
    if len(tries) == 1:
        raise ValueError("not yet")
    return "at last"


def main() -> None:
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=4)
    worker.start()
    try:
        group = dramatiq.group([square.message(number) for number in range(50)]).run()
        assert list(group.get_results(block=True, timeout=30_000)) == [number * number for number in range(50)]
        assert square.send_with_options(args=(7,), delay=200).get_result(block=True, timeout=30_000) == 49
        assert second_try.send().get_result(block=True, timeout=30_000) == "at last"
    finally:
        worker.stop()
        broker.close()


main()
