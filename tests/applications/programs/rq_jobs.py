# SPDX-License-Identifier: Apache-2.0
"""RQ: jobs of a queue, one of them dependent on another, one that fails, one that is scheduled."""

import operator
import sys
from datetime import timedelta

import redis
from redis.sentinel import Sentinel
from rq import Queue, Retry, SimpleWorker
from rq.job import JobStatus


def connect(url: str) -> redis.Redis:
    """url: of the head; or sentinel://host:port of a master."""
    if not url.startswith("sentinel://"):
        return redis.Redis.from_url(url)
    host, port = url.removeprefix("sentinel://").split(":")
    return Sentinel([(host, int(port))], socket_timeout=1).master_for("mymaster")


connection = connect(sys.argv[1])


def main() -> None:
    queue = Queue("jobs", connection=connection)
    first = queue.enqueue(pow, 2, 10)
    second = queue.enqueue(len, "four", depends_on=first)
    bad = queue.enqueue(operator.truediv, 1, 0, retry=Retry(max=1))
    queue.enqueue_in(timedelta(hours=1), abs, -1)
    many = queue.enqueue_many([Queue.prepare_data(abs, (-number,)) for number in range(50)])
    SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR")
    assert (first.return_value(), second.return_value()) == (1024, 4)
    assert bad.get_status() is JobStatus.FAILED and bad.id in queue.failed_job_registry
    assert [job.return_value() for job in many] == list(range(50))
    assert queue.scheduled_job_registry.count == 1
    assert queue.count == 0


main()
