# SPDX-License-Identifier: Apache-2.0
"""chainredis.client over real chains: its clients write while members die, leave, come and restart."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import pytest
import redis

from chainredis.client import AsyncChain, Chain, NotWritten, Unknown
from chainredis.client.async_pipelines import AsyncChainPipeline
from chainredis.client.pipelines import ChainPipeline
from chainredis.local_cluster.cluster import Cluster
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain
from integration.disks import ALWAYS
from integration.helpers import ask, member_number, paused
from integration.upheavals import come_back, kill, restart_all

PROGRESS = 20  # writes of each writer between two events
PATIENCE_S = 60

AnyPipeline = TypeVar("AnyPipeline", ChainPipeline, AsyncChainPipeline)


def addresses(cluster: Cluster) -> list[str]:
    return [str(server.endpoint) for server in cluster.members]


class Writer:
    """Counts what was acknowledged and what is unknown. Any other error ends it, and fails the test.

    once: each write is one command, which is carried out once, so nothing is unknown.
    """

    def __init__(self, name: str, *, once: bool = False) -> None:
        self.name = name
        self.once = once
        self.acknowledged = 0
        self.unknown = 0
        self.longest_s = 0.0
        self.failed: BaseException | None = None
        self._last = time.monotonic()

    def note(self, error: Exception | None) -> None:
        if error is None:
            now = time.monotonic()
            self.longest_s, self._last = max(self.longest_s, now - self._last), now
            self.acknowledged += 1
        elif isinstance(error, Unknown) and not self.once:
            self.unknown += 1
        else:
            self.failed = error
            raise error

    def run(self, stop: threading.Event, write: Callable[[int], object]) -> None:
        while not stop.is_set():
            try:
                write(self.acknowledged + self.unknown)
            except redis.RedisError as error:
                self.note(error)
            else:
                self.note(None)

    async def run_async(self, stop: threading.Event, write: Callable[[int], Awaitable[object]]) -> None:
        while not stop.is_set():
            try:
                await write(self.acknowledged + self.unknown)
            except redis.RedisError as error:
                self.note(error)
            else:
                self.note(None)


def queue(pipe: AnyPipeline, key: str) -> AnyPipeline:
    pipe.incr(key)
    pipe.get(key)
    return pipe


def increment(pipe: ChainPipeline) -> None:
    value = int(pipe.get("transaction") or 0)
    pipe.multi()
    pipe.set("transaction", value + 1)


async def write_with_asyncio(
    cluster: Cluster, stop: threading.Event, writes: dict[Writer, Callable[[AsyncChain, int], Awaitable[object]]]
) -> None:
    async with AsyncChain(addresses(cluster), timeout=PATIENCE_S) as chain:
        await asyncio.gather(
            *(writer.run_async(stop, partial(write, chain)) for writer, write in writes.items())
        )


@contextmanager
def writing(
    cluster: Cluster,
    sync: dict[Writer, Callable[[Chain, int], object]],
    with_asyncio: dict[Writer, Callable[[AsyncChain, int], Awaitable[object]]],
) -> Iterator[None]:
    stop = threading.Event()
    with Chain(addresses(cluster), timeout=PATIENCE_S) as chain:
        threads = [
            threading.Thread(target=writer.run, args=(stop, partial(write, chain)))
            for writer, write in sync.items()
        ]
        threads.append(threading.Thread(target=lambda: asyncio.run(write_with_asyncio(cluster, stop, with_asyncio))))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)
    assert [thread for thread in threads if thread.is_alive()] == []


def go_on(writers: list[Writer], what: str) -> None:
    """Wait until each writer has written some more, and print its longest pause."""
    before = [writer.acknowledged for writer in writers]

    def all_wrote() -> bool:
        for writer in writers:
            assert writer.failed is None, f"{writer.name} after {what}: {writer.failed!r} {writer.failed}"
        return all(each.acknowledged >= had + PROGRESS for each, had in zip(writers, before, strict=True))

    wait_until(all_wrote, PATIENCE_S)
    print(f"{what}:", {each.name: f"{each.longest_s * 1000:.0f} ms" for each in writers})
    for each in writers:
        each.longest_s = 0.0


EVENTS: dict[str, Callable[[Cluster], None]] = {
    "the head is killed": lambda cluster: kill(cluster, 0),
    "MASTER.ADD": come_back,
    "the tail is killed": lambda cluster: kill(cluster, -1),
    "MASTER.ADD again": come_back,
    "MASTER.REMOVE of the head": lambda cluster: cluster.remove(cluster.head),
    "restart of all": restart_all,
}


def test_no_acknowledged_write_is_lost_and_none_is_done_twice(chain: StartChain) -> None:
    cluster = chain(3, commands="all", member_config=ALWAYS)
    sync: dict[Writer, Callable[[Chain, int], object]] = {
        Writer("incr", once=True): lambda chain, _: chain.incr("incr"),
        Writer("pipeline"): lambda chain, _: queue(chain.pipeline(), "pipeline").execute(),
        Writer("transaction"): lambda chain, _: chain.transaction(increment, "transaction"),
        Writer("put", once=True): lambda chain, number: chain.put(f"put:{number}", number),
    }
    with_asyncio: dict[Writer, Callable[[AsyncChain, int], Awaitable[object]]] = {
        Writer("async incr", once=True): lambda chain, _: chain.incr("async incr"),
        Writer("async pipeline"): lambda chain, _: (
            queue(chain.pipeline(transaction=False), "async pipeline").execute()
        ),
    }
    writers = [*sync, *with_asyncio]
    with writing(cluster, sync, with_asyncio):
        go_on(writers, "start")
        for what, event in EVENTS.items():
            event(cluster)
            go_on(writers, what)
    final = cluster.head.client()
    for writer in writers:
        counted = len(final.keys("put:*")) if writer.name == "put" else int(cast(bytes, final.get(writer.name)))
        print(writer.name, writer.acknowledged, counted, writer.unknown)
        assert writer.acknowledged <= counted <= writer.acknowledged + writer.unknown, writer.name


def test_a_chain_of_kind_put(chain: StartChain) -> None:
    """Each key is written once, with its number. What is not there is one of those that are unknown."""
    cluster = chain(3, member_config=ALWAYS)
    unknown: set[str] = set()
    written: set[str] = set()

    def put_many(chain: Chain, number: int) -> None:
        keys = [f"many:{number}:{each}" for each in range(50)]
        try:
            sns = chain.put_many((key, key) for key in keys)
        except Unknown as error:
            unknown.update(error.keys)
            written.update({*keys} - {*error.keys, *error.not_written})
            raise
        assert sns == sorted(sns) and len(sns) == len(keys)
        written.update(keys)

    sync: dict[Writer, Callable[[Chain, int], object]] = {
        Writer("put"): lambda chain, number: chain.put("put", number),
        Writer("put_many"): put_many,
    }
    with_asyncio: dict[Writer, Callable[[AsyncChain, int], Awaitable[object]]] = {
        Writer("async put_many"): lambda chain, number: chain.put_many({f"async:{number}": number}),
    }
    writers = [*sync, *with_asyncio]
    with writing(cluster, sync, with_asyncio):
        go_on(writers, "start")
        for what in ("the head is killed", "MASTER.ADD", "MASTER.REMOVE of the head", "restart of all"):
            EVENTS[what](cluster)
            go_on(writers, what)
    with Chain(addresses(cluster), decode_responses=True) as reader:
        there = set(reader.keys("many:*"))
        assert written <= there
        assert there <= written | unknown
        assert reader.read(f"async:{with_asyncio.popitem()[0].acknowledged // 2}") is not None


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(3, folder=tmp_path_factory.mktemp("calm"), commands="all") as cluster:
        yield cluster


def test_reads_are_answered_by_all_members(calm: Cluster) -> None:
    """Cursors of a scan mean nothing elsewhere, so that scans stay at the head. Blocking reads do, too."""
    with Chain(addresses(calm), decode_responses=True) as chain:
        chain.set("k", "v")
        chain.get("k")
        for server in calm.members:
            assert ask(server, "CONFIG", "RESETSTAT") == b"OK"
        assert [chain.get("k") for _ in range(30)] == ["v"] * 30
        assert [chain.object("encoding", "k") for _ in range(3)] == ["embstr"] * 3
        for count in range(200):
            chain.sadd("s", count)
        assert {int(each) for each in chain.sscan_iter("s", count=10)} == set(range(200))
        calls = [stat(server, "get") for server in calm.members]
        assert min(calls) >= 9
        assert [stat(server, "sscan") > 0 for server in calm.members] == [True, False, False]


def stat(server: Server, command: str) -> int:
    lines = ask(server, "INFO", "commandstats").decode()
    return int(lines.partition(f"cmdstat_{command}:calls=")[2].partition(",")[0] or 0)


def test_what_redis_py_has_besides_commands(calm: Cluster) -> None:
    with Chain(addresses(calm)) as chain:
        with chain.lock("lock", timeout=10):
            assert not chain.lock("lock").acquire(blocking=False)
        script = chain.register_script("return redis.call('INCR', KEYS[1])")
        assert script(keys=["scripted"]) == 1
        with chain.pipeline() as pipe:
            script(keys=["scripted"], client=pipe)
            assert pipe.execute() == [2]
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            chain.lpush("scripted", 1)
        pipe = chain.pipeline()
        pipe.set("a", 1)
        pipe.lpush("a", 1)
        pipe.get("a")
        replies = pipe.execute(raise_on_error=False)
        assert replies[::2] == [True, b"1"]
        assert isinstance(replies[1], redis.ResponseError)


def test_what_is_carried_out_once(calm: Cluster) -> None:
    """Replies are those of redis-py. Places are given up at the end; a user without the right does without."""
    before = member_number(calm.head, "once_clients")
    with Chain(addresses(calm), decode_responses=True) as chain:
        assert chain.set("once", "1") is True
        assert chain.hset("once:hash", mapping={"a": "1"}) == 1
        assert chain.xgroup_create("once:stream", "group", mkstream=True) is True
        assert chain.zadd("once:sorted", {"a": 1.5}) == 1
        assert chain.zincrby("once:sorted", 1, "a") == 2.5
        assert chain.spop("once:none") is None
        assert chain.blpop(["once:none"], timeout=1) is None
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            chain.incr("once:hash")
        assert chain.put("once:put", "1") >= 0
        assert stat(calm.head, "member.once") > 5
        assert member_number(calm.head, "once_clients") == before + 1
    assert member_number(calm.head, "once_clients") == before
    assert ask(calm.head, "ACL", "SETUSER", "plain", "on", "nopass", "~*", "+@all", "-member.once") == b"OK"
    with Chain(addresses(calm), username="plain", password="x") as chain:
        calls = stat(calm.head, "member.once")
        assert [chain.incr("by-plain") for _ in range(3)] == [1, 2, 3]
        assert stat(calm.head, "member.once") == calls
    with Chain(addresses(calm), exactly_once=False) as chain:
        assert chain.incr("by-plain") == 4
        assert stat(calm.head, "member.once") == calls


def test_the_same_for_asyncio(calm: Cluster) -> None:
    async def check() -> None:
        async with AsyncChain(addresses(calm), decode_responses=True) as chain:
            assert await chain.set("async once", "1") is True
            assert await asyncio.gather(*(chain.incr("async n") for _ in range(20)))
            assert await chain.get("async n") == "20"
            assert member_number(calm.head, "once_clients") > before

    before = member_number(calm.head, "once_clients")
    asyncio.run(check())
    assert member_number(calm.head, "once_clients") == before


def test_a_subscription_goes_on_at_another_member(chain: StartChain) -> None:
    cluster = chain(3, commands="all")
    with Chain(addresses(cluster), reads="tail") as client, closing(client.pubsub()) as subscriber:
        subscriber.subscribe("news")
        assert message(subscriber) == ("subscribe", 1)
        client.publish("news", "one")
        assert message(subscriber) == ("message", b"one")
        kill(cluster, -1)
        assert message(subscriber) == ("subscribe", 1)
        client.publish("news", "two")
        assert message(subscriber) == ("message", b"two")


def message(subscriber: redis.client.PubSub) -> tuple[str, object]:
    got = subscriber.get_message(timeout=10)
    assert got
    return got["type"], got["data"]


def test_the_three_outcomes(chain: StartChain) -> None:
    """A head that stands still: the answer does not come, and then there is no connection."""
    cluster = chain(1, commands="all", master_config={"master.lease": "60000", "master.heartbeat-timeout": "60000"})
    impatient: dict[str, Any] = {"timeout": 0.2, "socket_timeout": 0.2}
    with Chain(addresses(cluster), **impatient) as client, Chain(addresses(cluster), **impatient) as other:
        client.set("k", 1)
        other.get("k")
        with paused(cluster.head):
            with pytest.raises(Unknown):
                client.incr("k")
            with pytest.raises(NotWritten):
                client.incr("k")
            with pytest.raises(NotWritten) as raised:
                client.put_many({"a": 1, "b": 2})
            assert raised.value.keys == ["a", "b"]
            with pytest.raises(Unknown):
                other.transaction(lambda pipe: pipe.incr("k"))
        assert int(cast(bytes, client.get("k"))) in {2, 3}

