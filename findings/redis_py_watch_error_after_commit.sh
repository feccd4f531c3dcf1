#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A transaction that was carried out raises WatchError, and the loop for that error carries it out again.
#
# Most expect: WatchError means that somebody else changed a watched key and that nothing was done; hence the usual loop
#     "on WatchError read again and try again", which redis-py has as Redis.transaction(). Optimistic locking is the
#     very means against doing a thing twice.
# What happens: when the connection breaks after EXEC was carried out and before its reply, redis-py does not say that
#     the outcome is unknown. A pipeline that had watched raises WatchError, although the only one who wrote the key is
#     the transaction itself; and transaction() repeats it.
# Version: redis-py 8.1.0 against Redis 8.2.3, 2026-11-28.
# Where it matters: balances, sequence numbers and ids that are guarded by WATCH, at each fail-over or restart of a
#     proxy.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_client
lossy_proxy

echo "version: redis-py 8.1.0; $(version redis-8.2.3)"
echo "behaviour: nobody else writes, one reply to EXEC is lost: WatchError, and transaction() pays twice"
seen=$(python - "$port" <<'EOF'
import sys
import redis
from lossy_proxy import proxy

server = int(sys.argv[1])
direct = redis.Redis(port=server, decode_responses=True)

def client() -> redis.Redis:
    """The reply to EXEC follows those to MULTI and to what is queued."""
    return redis.Redis(port=proxy(server, b"EXEC", b"*1\r\n"), decode_responses=True)

def pay(pipeline: redis.client.Pipeline) -> None:
    balance = int(pipeline.get("balance"))
    pipeline.multi()
    pipeline.set("balance", balance - 10)

direct.set("balance", 100)
with client().pipeline() as pipeline:
    pipeline.watch("balance")
    pay(pipeline)
    try:
        outcome = f"returns {pipeline.execute()}"
    except redis.WatchError:
        outcome = "raises WatchError"
print(f"pipeline: execute() {outcome}, the balance went from 100 to {direct.get('balance')}")

direct.set("balance", 100)
print(f"transaction() returns {client().transaction(pay, 'balance')}, the balance went from 100 to {direct.get('balance')}")
EOF
)
verdict "$seen" "pipeline: execute() raises WatchError, the balance went from 100 to 90
transaction() returns [True], the balance went from 100 to 80"
