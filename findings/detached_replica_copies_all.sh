#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A replica that was detached for a moment copies everything, although nobody has written anything.
#
# Most expect: REPLICAOF NO ONE and REPLICAOF the same primary again is like a connection that was lost: both have the same data and
#     the same offset, and the backlog is there, so a partial synchronisation goes on. (It does after CLIENT KILL.)
# What happens: with NO ONE the replica begins a history of its own with a new replication id. It keeps the old id, too, but
#     asks for the new one, which the primary has never heard of: a full copy, and its own data are dropped for that. The other way
#     round is cheap: the former primary, made a replica of the detached one, goes on with a partial synchronisation.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-29.
# Where it matters: replicas that are detached for a backup, a test or maintenance: with data of many gigabytes each return
#     costs the primary a fork, and the replica an hour without its data.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: which synchronisation a replica gets, with no write all the while"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    first=$(free_port)
    start "$server" "$first"
    second=$(free_port)
    start "$server" "$second"
    python - "$server" "$first" "$second" <<'EOF'
import sys, time
import redis

name, first, second = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
one, other = redis.Redis(port=first), redis.Redis(port=second)
counted = {first: (0, 0), second: (0, 0)}

def synchronised(what: str, primary: redis.Redis, port: int) -> None:
    """Waits for the next synchronisation that the primary counts, and prints its kind."""
    while True:
        info = primary.info("stats")
        now = info["sync_full"], info["sync_partial_ok"]
        if now != counted[port]:
            break
        time.sleep(0.05)
    print(f"{name}, {what}: {'full copy' if now[0] > counted[port][0] else 'partial'}")
    counted[port] = now

one.set("key", "value")
other.replicaof("127.0.0.1", first)
synchronised("new replica", one, first)
while other.info("replication")["master_link_status"] != "up":
    time.sleep(0.05)
one.client_kill_filter(_type="replica")
synchronised("after CLIENT KILL", one, first)
other.replicaof("NO", "ONE")
other.replicaof("127.0.0.1", first)
synchronised("after REPLICAOF NO ONE", one, first)
while other.info("replication")["master_link_status"] != "up":
    time.sleep(0.05)
other.replicaof("NO", "ONE")
one.replicaof("127.0.0.1", second)
synchronised("the former primary at its former replica", other, second)
EOF
done)
verdict "$seen" "$(for server in redis-8.2.3 valkey-9.1.2; do
    echo "$server, new replica: full copy"
    echo "$server, after CLIENT KILL: partial"
    echo "$server, after REPLICAOF NO ONE: full copy"
    echo "$server, the former primary at its former replica: partial"
done)"
