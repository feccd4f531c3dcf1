#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SWAPDB changes every key of two databases, and no client-side cache hears of it.
#
# Most expect: whatever changes what a cached read would answer is told: SET, DEL, expiry, eviction, FLUSHDB. SWAPDB is the way
#     to put a whole new data set in place at once, and a transaction that WATCHes a key is aborted by it.
# What happens: for WATCH the two databases changed, for CLIENT TRACKING nothing did. A client that caches reads the old data set
#     for as long as its connection lives, or until somebody writes to the key.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-30. The cache of redis-py 8.1.0 reads the old value without end, too.
# Where it matters: data sets that are loaded into a spare database and swapped in, beside clients with a cache.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: a client has read a key and is to be told of changes; the key's value changes in five ways"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    port=$(free_port)
    start "$server" "$port"
    python - "$server" "$port" <<'EOF'
import sys, time
import redis

name, port = sys.argv[1], int(sys.argv[2])
writer, spare = (redis.Redis(port=port, db=number, decode_responses=True) for number in (0, 1))
told = redis.Redis(port=port, protocol=2, decode_responses=True).pubsub()
told.subscribe("__redis__:invalidate")
told.get_message(timeout=1)
reader = redis.Redis(port=port, protocol=2, decode_responses=True, single_connection_client=True)
reader.client_tracking_on(clientid=int(writer.client_list(_type="pubsub")[0]["id"]))

ways = {
    "SET": lambda: writer.set("key", "another"),
    "DEL": lambda: writer.delete("key"),
    "expiry": lambda: writer.pexpire("key", 1) and time.sleep(0.5),
    "FLUSHDB": lambda: writer.flushdb(),
    "SWAPDB": lambda: writer.swapdb(0, 1),
}
for way, change in ways.items():
    writer.set("key", "value")
    spare.set("key", "value of the spare database")
    while told.get_message(timeout=0.5):
        pass
    reader.get("key")
    with writer.pipeline() as transaction:
        transaction.watch("key")
        change()
        transaction.multi()
        transaction.get("key")
        try:
            watched = f"WATCH saw nothing, {transaction.execute()}"
        except redis.WatchError:
            watched = "WATCH sees it"
    print(f"{name}, {way}: {watched}, the cache {'is told' if told.get_message(timeout=1) else 'is not told'}")
EOF
done)
verdict "$seen" "redis-8.2.3, SET: WATCH sees it, the cache is told
redis-8.2.3, DEL: WATCH sees it, the cache is told
redis-8.2.3, expiry: WATCH sees it, the cache is told
redis-8.2.3, FLUSHDB: WATCH sees it, the cache is told
redis-8.2.3, SWAPDB: WATCH sees it, the cache is not told
valkey-9.1.2, SET: WATCH sees it, the cache is told
valkey-9.1.2, DEL: WATCH sees it, the cache is told
valkey-9.1.2, expiry: WATCH sees it, the cache is told
valkey-9.1.2, FLUSHDB: WATCH sees it, the cache is told
valkey-9.1.2, SWAPDB: WATCH sees it, the cache is not told"
