#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A replica never sends the keyspace event "expired": there the same key is "del", and a hash's field "hdel".
#
# Most expect: keyspace events are the same on a replica, where one likes to subscribe to spare the primary: those of
#     SET and EXPIRE are.
# What happens: a replica does not expire anything itself. It is sent a DEL or HDEL, and tells of these. A subscriber to
#     "expired" or "hexpired" hears nothing for ever, and one to "del" cannot tell an expired key from a deleted one.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-28; Redis 7.0.15 and Valkey 8.1.8 behave alike (keys only).
# Where it matters: time-outs of sessions and jobs by keyspace events, at a fail-over: the same subscription hears them
#     after the replica was promoted, and not before.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: a key and a field of a hash expire; the primary's events and the replica's"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    primary=$(free_port)
    start "$server" "$primary" --repl-diskless-sync-delay 0 --notify-keyspace-events EA
    replica=$(free_port)
    start "$server" "$replica" --replicaof 127.0.0.1 "$primary" --notify-keyspace-events EA
    python - "$server" "$primary" "$replica" <<'EOF'
import sys, time
import redis

primary, replica = (redis.Redis(port=int(port), decode_responses=True) for port in sys.argv[2:])
while replica.info("replication")["master_link_status"] != "up":
    time.sleep(0.05)
listeners = [server.pubsub(ignore_subscribe_messages=True) for server in (primary, replica)]
for listener in listeners:
    listener.psubscribe("__keyevent@0__:*")
    listener.get_message(timeout=1)
primary.set("key", "value", px=200)
primary.hset("hash", mapping={"field": 1, "other": 2})
primary.hpexpire("hash", 200, "field")
while replica.hlen("hash") + replica.dbsize() > 2:
    time.sleep(0.05)
primary.set("last", "value")
for name, listener in zip(("primary", "replica"), listeners):
    events = []
    while "set last" not in events:
        message = listener.get_message(timeout=5)
        events.append(f"{message['channel'].rpartition(':')[2]} {message['data']}" if message else "set last")
    print(f"{sys.argv[1]}, {name}: {sorted(event for event in events if event.split()[0] not in ('expire', 'hexpire'))}")
EOF
done)
verdict "$seen" "redis-8.2.3, primary: ['expired key', 'hexpired hash', 'hset hash', 'set key', 'set last']
redis-8.2.3, replica: ['del key', 'hdel hash', 'hset hash', 'set key', 'set last']
valkey-9.1.2, primary: ['expired key', 'hexpired hash', 'hset hash', 'set key', 'set last']
valkey-9.1.2, replica: ['del key', 'hdel hash', 'hset hash', 'set key', 'set last']"
