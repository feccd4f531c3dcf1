# SPDX-License-Identifier: Apache-2.0
"""Members whose servers read and write in several threads (io-threads), under load, while members are killed."""

from contextlib import suppress
from functools import partial
from itertools import count
from threading import Event

import pytest
import redis

from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.helpers import Talk, ask, await_chain, running, settled
from servers import SERVERS, use

CLIENTS = 8  # Redis 7.0 uses its threads while there are twice as many clients with output as threads
THREADS = {"io-threads": "3"}
READS_TOO = {"io-threads-do-reads": "yes"}  # of Redis 7.0; later ones read in threads anyhow
PROGRESS = 300
REQUESTS: dict[str, list[tuple[str, ...]]] = {
    "put": [("MEMBER.PUT", "k", "v")],
    "all": [("INCR", "n"), ("MEMBER.ONCE", "client", "sequence", "INCR", "n")],
}


def more_than(told: list[int], length: int) -> bool:
    return len(told) > length


@pytest.mark.parametrize("version", SERVERS)
@pytest.mark.parametrize("kind", REQUESTS)
def test_no_number_is_told_twice_or_lost(
    chain: StartChain, monkeypatch: pytest.MonkeyPatch, kind: str, version: str
) -> None:
    use(version, monkeypatch)
    config = THREADS | (READS_TOO if version == "redis-7.0" else {})
    cluster = chain(3, commands=kind, member_config=config, master_config={"master.auto-return": "yes"})
    told: list[int] = []

    def write(stop: Event, client: str, request: tuple[str, ...]) -> None:
        sequence = count(1)
        while not stop.is_set():
            with suppress(redis.ConnectionError, redis.TimeoutError), Talk(cluster.head, timeout_s=20) as talk:
                while not stop.is_set():
                    names = [{"client": client, "sequence": str(next(sequence))} for _ in range(20)]
                    replies = talk.pipeline([[each.get(word, word) for word in request] for each in names])
                    told.extend(reply for reply in replies if isinstance(reply, int))
                    if not isinstance(replies[-1], int):
                        break

    requests = REQUESTS[kind] * (CLIENTS // len(REQUESTS[kind]))
    with running(*(partial(write, client=f"c{number}", request=each) for number, each in enumerate(requests))):
        for place in (1, 0):  # without the middle, head and tail need a link, while nothing can be committed
            wait_until(partial(more_than, told, len(told) + PROGRESS), 60)
            victim = cluster.members[place]
            others = [each for each in cluster.members if each is not victim]
            victim.kill()
            await_chain(cluster, *others)
            victim.start()
            await_chain(cluster, *others, victim, timeout_s=60)
        wait_until(partial(more_than, told, len(told) + PROGRESS), 60)
    assert len(told) == len(set(told))
    assert settled(cluster) >= max(told)
    if kind == "all":
        for member in cluster.members:
            assert int(ask(member, "GET", "n")) >= max(told)
