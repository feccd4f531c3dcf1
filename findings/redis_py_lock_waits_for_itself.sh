#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A lock of redis-py that is free cannot be taken, since the client holds it itself without knowing.
#
# Most expect: acquire() of a lock that nobody holds takes it, or raises when the connection breaks meanwhile.
# What happens: when the reply to its SET … NX is lost, redis-py sends the same SET again over a new connection. That finds the key,
#     with this very lock's token, and answers that another holds it. acquire() waits until its time is over, or for the key's time
#     to live; the lock without a timeout waits for ever, and so does everybody else. The token is forgotten, so release() raises.
# Versions: redis-py 8.1.0 and valkey-py 6.2.0 with Redis 8.2.3, 2026-11-30. The fork raises and leaves the key behind, too;
#     python-redis-lock 4.0.1 over redis-py waits like it.
# Where it matters: locks, claims and ids that are taken with SET … NX, HSETNX or SADD, behind a proxy or a fail-over.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client valkey==6.2.0
lossy_proxy

echo "version: redis-py 8.1.0, valkey-py 6.2.0; $(version redis-8.2.3)"
echo "behaviour: one acquire() of a lock that nobody holds, through a proxy that loses one reply"
seen=$(python - "$port" <<'EOF'
import sys
import redis, valkey
from lossy_proxy import proxy

server = int(sys.argv[1])
direct = redis.Redis(port=server, decode_responses=True)

def attempt(name: str, client: redis.Redis | valkey.Valkey) -> None:
    lock = client.lock(name)
    try:
        outcome = f"is {lock.acquire(blocking_timeout=2)} after two seconds"
    except (redis.ConnectionError, valkey.ConnectionError) as error:
        outcome = f"raises {type(error).__name__}"
    others = direct.lock(name).acquire(blocking=False)
    print(f"{name}: acquire() {outcome}, its key {'exists' if direct.exists(name) else 'does not exist'}, "
          f"and lives {'for ever' if direct.ttl(name) == -1 else 'for a time'}; another's acquire() is {others}")

attempt("redis-py", redis.Redis(port=proxy(server, b"\nSET\r\n")))
attempt("valkey-py", valkey.Valkey(port=proxy(server, b"\nSET\r\n")))
EOF
)
verdict "$seen" "redis-py: acquire() is False after two seconds, its key exists, and lives for ever; another's acquire() is False
valkey-py: acquire() raises ConnectionError, its key exists, and lives for ever; another's acquire() is False"
