#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Redis 8 does not count the bytes of a full copy, neither as replication's nor as output at all.
#
# Most expect: total_net_repl_output_bytes grows by the size of the copy when a replica joins, as up to Redis 7 and in
#     Valkey; at least total_net_output_bytes does, which is to hold all that went out.
# What happens: since Redis 8 a child process sends the copy over a connection of its own (the hidden setting
#     repl-rdb-channel, on by default there), and what a child counts ends with it. The primary counts nothing. The
#     replica counts all of it as total_net_repl_input_bytes.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-28; Valkey 8.1.8 and Redis 7.0.15 count as Valkey 9.1.2.
# Where it matters: traffic that is paid for or limited, alarms on replicas that copy again and again: they see 0 bytes.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: a replica copies about 10 MB; what the primary and the replica say of it"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    primary=$(free_port)
    start "$server" "$primary" --repl-diskless-sync-delay 0 --rdbcompression no
    replica=$(free_port)
    start "$server" "$replica" --rdbcompression no
    python - "$server" "$primary" "$replica" <<'EOF'
import sys, time
import redis

primary, replica = (redis.Redis(port=int(port)) for port in sys.argv[2:])
for number in range(100):
    primary.set(f"key {number}", b"x" * 100_000)
replica.replicaof("127.0.0.1", sys.argv[2])
while replica.info("replication")["master_link_status"] != "up":
    time.sleep(0.05)
time.sleep(0.5)
sent, received = primary.info("stats"), replica.info("stats")
for side, name, count in (
    ("primary", "repl_output", sent["total_net_repl_output_bytes"]),
    ("primary", "output", sent["total_net_output_bytes"]),
    ("replica", "repl_input", received["total_net_repl_input_bytes"]),
):
    print(f"{sys.argv[1]}, {side}, total_net_{name}_bytes: {'the copy' if count >= 10_000_000 else 'less than 100 kB' if count < 100_000 else count}")
EOF
done)
verdict "$seen" "redis-8.2.3, primary, total_net_repl_output_bytes: less than 100 kB
redis-8.2.3, primary, total_net_output_bytes: less than 100 kB
redis-8.2.3, replica, total_net_repl_input_bytes: the copy
valkey-9.1.2, primary, total_net_repl_output_bytes: the copy
valkey-9.1.2, primary, total_net_output_bytes: the copy
valkey-9.1.2, replica, total_net_repl_input_bytes: the copy"
