#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# HRANDFIELD of a replica gives fields that have expired, with their values, while HGET and HGETALL deny them.
#
# Most expect: what has expired is hidden until it is removed, on a replica as on its primary, and from all commands alike.
# What happens: before HRANDFIELD chooses, Redis removes the hash's expired fields, where it may. A replica may not, since only the
#     primary's HDEL removes them there, nor may a primary whose clients are paused for a fail-over. There it chooses among all
#     that are left. Valkey 9 looks at each field's time and leaves out what has expired.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-29; Redis 7.4.1 and 8.0.2 behave as Redis 8.2.3.
# Where it matters: a random session, worker or token of those that are alive, read at a replica, which gets the HDELs late when many
#     fields expire at once, or the primary is away.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: a hash's fields at a replica and at its primary, paused as in a fail-over, when \"old\" has expired"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    start_pair "$server"
    python - "$server" "$primary" "$replica" <<'EOF'
import sys, time
import redis

name = sys.argv[1]
primary, replica = (redis.Redis(port=int(port), decode_responses=True) for port in sys.argv[2:])
while replica.info("replication")["master_link_status"] != "up":
    time.sleep(0.05)
primary.hset("hash", mapping={"old": "1", "new": "2"})
with primary.pipeline() as transaction:
    transaction.hpexpire("hash", 500, "old")
    transaction.client_pause(60_000, all=False)
    transaction.execute()
while replica.hget("hash", "old") or primary.hget("hash", "old"):
    time.sleep(0.05)
for where, server in ("replica", replica), ("paused primary", primary):
    fields, values = server.hrandfield("hash", 9), server.hrandfield("hash", 9, withvalues=True)
    print(f"{name}, {where}: HKEYS {server.hkeys('hash')}, HRANDFIELD {sorted(fields)}, with values {sorted(values)}")
EOF
done)
verdict "$seen" "redis-8.2.3, replica: HKEYS ['new'], HRANDFIELD ['new', 'old'], with values ['1', '2', 'new', 'old']
redis-8.2.3, paused primary: HKEYS ['new'], HRANDFIELD ['new', 'old'], with values ['1', '2', 'new', 'old']
valkey-9.1.2, replica: HKEYS ['new'], HRANDFIELD ['new'], with values ['2', 'new']
valkey-9.1.2, paused primary: HKEYS ['new'], HRANDFIELD ['new'], with values ['2', 'new']"
