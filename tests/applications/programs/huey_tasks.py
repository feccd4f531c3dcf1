# SPDX-License-Identifier: Apache-2.0
"""huey: tasks with priorities, a pipeline, a delayed task, a lock."""

import sys

from huey import PriorityRedisHuey

huey = PriorityRedisHuey("tasks", url=sys.argv[1])


@huey.task()
def add(one: int, other: int) -> int:
    return one + other


@huey.task(retries=2, retry_delay=0)
@huey.lock_task("one at a time")
def alone(number: int) -> int:
    return number


def main() -> None:
    consumer = huey.create_consumer(workers=2, initial_delay=0.01, max_delay=0.05, scheduler_interval=1)
    consumer.start()
    try:
        results = [add(number, 1, priority=number) for number in range(50)]
        assert [result.get(blocking=True, timeout=30) for result in results] == list(range(1, 51))
        results = huey.enqueue(add.s(1, 2).then(add, 3).then(add, 4))
        assert results.get(blocking=True, timeout=30) == [3, 6, 10]
        assert add.schedule((2, 2), delay=1).get(blocking=True, timeout=30) == 4
        assert alone(5).get(blocking=True, timeout=30) == 5
    finally:
        consumer.stop(graceful=True)


main()
