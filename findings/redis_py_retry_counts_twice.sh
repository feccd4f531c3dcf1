#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A counter that redis-py increments once counts twice.
#
# Most expect: when the connection breaks between a command and its reply, the client raises, since nobody can know
#     whether INCR was carried out; at the most reads are repeated. valkey-py, its fork, does that.
# What happens: redis-py sends the same INCR again over a new connection, by default up to ten times, and returns the
#     last reply as one success. The same with a pipeline, MULTI/EXEC included. Nothing is logged.
# Versions: redis-py 8.1.0 and valkey-py 6.2.0 against Redis 8.2.3, 2026-11-28. ioredis 6.0.0, iovalkey 0.4.0 and
#     coredis 6.9.0 repeat like redis-py; node-redis 6.3.1 and Valkey GLIDE 2.6.0 raise like valkey-py.
# Where it matters: counters, queues (LPUSH, XADD, BLPOP) and ids behind a proxy or a fail-over; and a client that stays
#     with the API and moves from one fork to the other changes from at-least-once to at-most-once.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client valkey==6.2.0
lossy_proxy

echo "version: redis-py 8.1.0, valkey-py 6.2.0; $(version redis-8.2.3)"
echo "behaviour: one incr() through a proxy that loses one reply; the fork raises, redis-py counts twice and says nothing"
seen=$(python - "$port" <<'EOF'
import sys
import redis, valkey
from lossy_proxy import proxy

server = int(sys.argv[1])
direct = redis.Redis(port=server, decode_responses=True)

for name, client in ("valkey-py", valkey.Valkey), ("redis-py", redis.Redis):
    port = proxy(server, b"INCR")
    try:
        outcome = f"returns {client(port=port).incr(name)}"
    except valkey.ConnectionError:
        outcome = "raises ConnectionError"
    print(f"{name}: incr() {outcome}, the counter is {direct.get(name)}")
EOF
)
verdict "$seen" "valkey-py: incr() raises ConnectionError, the counter is 1
redis-py: incr() returns 2, the counter is 2"
