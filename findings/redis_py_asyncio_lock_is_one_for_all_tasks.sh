#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# With asyncio, a task whose lock of redis-py has expired releases the lock of another task, without an error.
#
# Most expect: a Lock keeps its token where only its holder sees it (thread_local=True, the default): release() of a lock that was
#     lost raises LockNotOwnedError, for tasks as for threads.
# What happens: the token is in a threading.local, also in redis.asyncio, and all tasks of an event loop are one thread. A task
#     that gets the shared Lock after it expired puts its token in the place of the first one's. The first one's release() gives
#     the second one's lock away, and is a success; the second one, whose work is not done, gets LockError in the end.
# Version: redis-py 8.1.0 against Redis 8.2.3, 2026-11-29.
# Where it matters: a Lock that is kept in a module or an object and used by many requests, whose work now and then takes longer than
#     the time-out. One Lock for each use has no such fault.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client

echo "version: redis-py 8.1.0; $(version redis-8.2.3)"
echo "behaviour: two users share a Lock with a time-out of half a second; the first one's work takes longer, the second one then has it"
seen=$(python - "$port" <<'EOF'
import asyncio, sys, threading, time
import redis, redis.asyncio

port = int(sys.argv[1])
server = redis.Redis(port=port)

def show(who: str, error: Exception | None) -> None:
    print(f"{who} releases: {type(error).__name__ if error else 'a success'}; the lock is {'held' if server.exists('lock') else 'free'}")

def with_threads() -> None:
    lock, has_it, done = redis.Redis(port=port).lock("lock", timeout=0.5), threading.Event(), threading.Event()

    def release(who: str) -> None:
        try:
            lock.release()
        except redis.exceptions.LockError as error:
            show(who, error)
        else:
            show(who, None)

    def first() -> None:
        lock.acquire()
        has_it.wait()
        release("first thread")
        done.set()

    def second() -> None:
        lock.acquire()
        lock.extend(60)
        has_it.set()
        done.wait()
        release("second thread")

    threads = [threading.Thread(target=user) for user in (first, second)]
    for thread in threads:
        thread.start()
        while not server.exists("lock"):
            time.sleep(0.01)
    for thread in threads:
        thread.join()

async def with_tasks() -> None:
    client = redis.asyncio.Redis(port=port)
    lock, has_it, done = client.lock("lock", timeout=0.5), asyncio.Event(), asyncio.Event()

    async def release(who: str) -> None:
        try:
            await lock.release()
        except redis.exceptions.LockError as error:
            show(who, error)
        else:
            show(who, None)

    async def first() -> None:
        await lock.acquire()
        await has_it.wait()
        await release("first task")
        done.set()

    async def second() -> None:
        while not server.exists("lock"):
            await asyncio.sleep(0.01)
        await lock.acquire()
        await lock.extend(60)
        has_it.set()
        await done.wait()
        await release("second task")

    await asyncio.gather(first(), second())
    await client.aclose()

with_threads()
asyncio.run(with_tasks())
EOF
)
verdict "$seen" "first thread releases: LockNotOwnedError; the lock is held
second thread releases: a success; the lock is free
first task releases: a success; the lock is free
second task releases: LockError; the lock is free"
