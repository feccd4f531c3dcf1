#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A lock of python-redis-lock that renews itself stops doing so for good after one error, and two processes hold it.
#
# Most expect: with auto_renewal a lock lives as long as its holder does: an attempt that the server refuses is repeated before
#     the lock's time is over, or the holder is told.
# What happens: the thread that renews ends at the first error of an attempt, such as NOREPLICAS or READONLY of a moment. The holder
#     works on, is told nothing, and the lock expires under it although the server answers again and time was left. Another takes it.
#     Only release() raises, when both have done their work.
# Version: python-redis-lock 4.0.1, redis-py 8.1.0, Redis 8.2.3, 2026-11-30.
# Where it matters: fail-overs and replicas that are away for a moment: redis-py repeats what a lost connection took, but not what
#     the server refuses. The lock of etcd or a lease that is asked for each step has no such thread.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client python-redis-lock==4.0.1

echo "version: python-redis-lock 4.0.1, redis-py 8.1.0, $(version redis-8.2.3)"
echo "behaviour: a lock of 6 s that renews itself every 4 s is held for 9 s; the server refuses writes for half a second, or not"
seen=$(python - "$port" <<'EOF'
import logging, sys, threading, time
import redis, redis_lock

logging.disable()
threading.excepthook = lambda _: None       # the default hook prints the error of the thread that ends
server = redis.Redis(port=int(sys.argv[1]), decode_responses=True)

def hold(name: str, refused: bool) -> None:
    lock = redis_lock.Lock(server, name, expire=6, auto_renewal=True)
    lock.acquire()
    time.sleep(3.75)
    if refused:
        server.config_set("min-replicas-to-write", 1)
    time.sleep(0.5)
    server.config_set("min-replicas-to-write", 0)
    left = server.pttl(f"lock:{name}") > 1000
    time.sleep(4.75)
    another = redis_lock.Lock(server, name, expire=6).acquire(blocking=False)
    try:
        lock.release()
        released = "returns"
    except redis_lock.NotAcquired:
        released = "raises NotAcquired"
    print(f"{name}: {'more' if left else 'less'} than a second was left; another gets the lock meanwhile: {another}; release() {released}")

hold("no refusal", refused=False)
hold("half a second of NOREPLICAS", refused=True)
EOF
)
verdict "$seen" "no refusal: more than a second was left; another gets the lock meanwhile: False; release() returns
half a second of NOREPLICAS: more than a second was left; another gets the lock meanwhile: True; release() raises NotAcquired"
