#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What one reader does to a list that he got from redis-py's client-side cache, all later readers get.
#
# Most expect: a reply is the caller's own, with the cache as without it: sorting or emptying the list that lrange()
#     returned changes nothing anywhere else. The server keeps the cache true: it tells of each change of the key.
# What happens: the cache hands out the very object that it keeps. list.pop(), dict.update(), set.discard() on a reply
#     change what the next call returns, in other threads too, until somebody writes the key. No invalidation comes,
#     since the server knows of no change. Without the cache the same program is right.
# Version: redis-py 8.1.0 against Redis 8.2.3, 2026-11-28.
# Where it matters: whoever switches CacheConfig on in a program that was written without it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client

echo "version: redis-py 8.1.0; $(version redis-8.2.3)"
echo "behaviour: a reader empties the list and the hash that it got; the next reader gets them empty"
seen=$(python - "$port" <<'EOF'
import sys
import redis
from redis.cache import CacheConfig

for name, config in ("without a cache", None), ("with a cache", CacheConfig()):
    client = redis.Redis(port=int(sys.argv[1]), decode_responses=True, cache_config=config)
    client.flushall()
    client.rpush("tasks", "a", "b")
    client.hset("limits", "cpu", "2")
    client.lrange("tasks", 0, -1).clear()
    client.hgetall("limits").clear()
    print(f"{name}: {client.lrange('tasks', 0, -1)} {client.hgetall('limits')}; on the server {client.llen('tasks')} elements")
EOF
)
verdict "$seen" "without a cache: ['a', 'b'] {'cpu': '2'}; on the server 2 elements
with a cache: [] {}; on the server 2 elements"
