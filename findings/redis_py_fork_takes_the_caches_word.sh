#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A forked process that reads from redis-py's client-side cache takes away its parent's invalidations: the parent reads old values.
#
# Most expect: a client may be made before a fork, since the pool notices the fork and connects anew in the child; parent and child
#     do not disturb each other.
# What happens: the child inherits the cache with its entries, and each entry names the connection on which its invalidation comes.
#     To see whether an entry is still good, the child reads from that connection, which is its parent's socket. What has come
#     there is gone: the parent keeps the old value, and that of every other key whose word the child has read.
# Version: redis-py 8.1.0 against Redis 8.2.3, 2026-11-29.
# Where it matters: servers that load the application and then fork (gunicorn --preload, uWSGI, Celery, multiprocessing), when anything
#     was read before. The cache's client has to be made after the fork.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client

echo "version: redis-py 8.1.0; $(version redis-8.2.3)"
echo "behaviour: a process caches two keys, another client changes both; what it reads then, if a child has read the first one before"
seen=$(python - "$port" <<'EOF'
import os, sys, time
import redis
from redis.cache import CacheConfig

port = int(sys.argv[1])

def show(name: str, with_child: bool) -> None:
    writer = redis.Redis(port=port)
    writer.mset({"one": "old", "other": "old"})
    client = redis.Redis(port=port, decode_responses=True, cache_config=CacheConfig())
    client.get("one"), client.get("other")
    writer.mset({"one": "new", "other": "new"})
    time.sleep(0.5)
    if with_child:
        child = os.fork()
        if not child:
            print(f"{name}, the child: {client.get('one')}", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    for _ in range(2):
        time.sleep(1)
        print(f"{name}, the parent: {client.get('one')}, {client.get('other')}", flush=True)

show("without a child", False)
show("with a child", True)
EOF
)
verdict "$seen" "without a child, the parent: new, new
without a child, the parent: new, new
with a child, the child: new
with a child, the parent: old, old
with a child, the parent: old, old"
