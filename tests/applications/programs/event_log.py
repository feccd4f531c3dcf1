# SPDX-License-Identifier: Apache-2.0
"""Streams: consumers of a group share the entries, one dies, and another claims what that one had not acknowledged."""

import sys
from threading import Thread

import redis

client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
COUNT = 200


def consume(name: str, dies_after: int | None = None) -> None:
    while batch := client.xreadgroup("workers", name, {"events": ">"}, count=5, block=300):
        for entry, fields in batch[0][1]:
            if dies_after == 0:
                return
            dies_after = dies_after - 1 if dies_after else dies_after
            with client.pipeline() as pipe:
                pipe.incrby("total", int(fields["number"]))
                pipe.xack("events", "workers", entry)
                pipe.execute()


def main() -> None:
    client.xgroup_create("events", "workers", id="0", mkstream=True)
    threads = [Thread(target=consume, args=(f"worker {number}", 7 if number == 0 else None)) for number in range(3)]
    for thread in threads:
        thread.start()
    for number in range(COUNT):
        client.xadd("events", {"number": number}, maxlen=10 * COUNT)
    for thread in threads:
        thread.join()
    left = client.xpending("events", "workers")["pending"]
    claimed = client.xautoclaim("events", "workers", "heir", 0)[1]
    assert len(claimed) == left
    for entry, fields in claimed:
        client.incrby("total", int(fields["number"]))
        client.xack("events", "workers", entry)
    assert client.get("total") == str(COUNT * (COUNT - 1) // 2)
    assert client.xinfo_groups("events")[0]["pending"] == 0


main()
