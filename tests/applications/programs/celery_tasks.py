# SPDX-License-Identifier: Apache-2.0
"""Celery with Redis as broker and for results: a group, a chord, a chain of tasks, a retry and a countdown."""

import sys

from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker

app = Celery("tasks", broker=sys.argv[1], backend=sys.argv[1])
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
if sys.argv[1].startswith("sentinel://"):
    app.conf.broker_transport_options = app.conf.result_backend_transport_options = {"master_name": "mymaster"}


@app.task
def add(one: int, other: int) -> int:
    return one + other


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def second_try(self) -> str:
    if not self.request.retries:
        raise self.retry(countdown=0.1)
    return "at last"


def main() -> None:
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR", shutdown_timeout=30):
        assert add.delay(2, 3).get(timeout=30) == 5
        doubled = group(add.s(number, number) for number in range(10))
        assert doubled.apply_async().get(timeout=30) == list(range(0, 20, 2))
        raised = [add.s(number, 1) for number in range(10)]
        assert chord(raised, total.s()).apply_async().get(timeout=30) == 55
        assert chain(add.s(1, 2), add.s(3), add.s(4)).apply_async().get(timeout=30) == 10
        assert second_try.delay().get(timeout=30) == "at last"
        assert add.apply_async((4, 5), countdown=0.2).get(timeout=30) == 9


main()
