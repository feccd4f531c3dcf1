#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A promoted replica evicts first what was read most, with allkeys-lru.
#
# Most expect: after a fail-over the cache goes on as it was: keys that are read all the time stay, those that nobody reads go.
# What happens: a key's time of use is each server's own and is not replicated with reads; a replica knows only writes. To it a
#     key that is read every second, and was written long ago, has been idle since then, longer than any that was written later
#     and never read. OBJECT IDLETIME shows it. So the new primary evicts the working set, and all of that misses at once, at the
#     very moment when the system is recovering. (A replica that copied everything lately has the times of that moment.)
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-29.
# Where it matters: caches with fail-over whose keys are written once and read often: sessions, pages, rights.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: 200 old keys that are read and 2000 newer ones that are not; then 300 new ones, with memory for the others only"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    start_pair "$server" --maxmemory-policy allkeys-lru --maxmemory-samples 64
    python - "$server" "$primary" "$replica" <<'EOF'
import sys, time
import redis

name = sys.argv[1]
primary, replica = (redis.Redis(port=int(port)) for port in sys.argv[2:])
while replica.info("replication")["master_link_status"] != "up":
    time.sleep(0.05)
read = [f"read {number}" for number in range(200)]

def write(server: redis.Redis, keys: list[str]) -> None:
    with server.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.set(key, "x" * 2000)
        pipeline.execute()

write(primary, read)
time.sleep(3)       # times of use are kept in seconds
write(primary, [f"never read {number}" for number in range(2000)])
for _ in range(3):
    time.sleep(1)
    primary.mget(read)
primary.wait(1, 0)
replica.replicaof("NO", "ONE")
for where, server in ("primary", primary), ("promoted replica", replica):
    idle = server.object("idletime", "read 0") < server.object("idletime", "never read 0")
    server.config_set("maxmemory", server.info("memory")["used_memory"])
    write(server, [f"new {number}" for number in range(300)])
    left, evicted = server.exists(*read), server.info("stats")["evicted_keys"]
    print(f"{name}, {where}: what is read is idle for the {'shorter' if idle else 'longer'} time; of 200 of these keys",
          "all are left" if left == 200 else "fewer than 20 are left" if left < 20 else f"{left} are left",
          f"when {'hundreds' if 200 <= evicted < 1000 else evicted} of 2200 have been evicted")
EOF
done)
verdict "$seen" "$(for server in redis-8.2.3 valkey-9.1.2; do
    tail="when hundreds of 2200 have been evicted"
    echo "$server, primary: what is read is idle for the shorter time; of 200 of these keys all are left $tail"
    echo "$server, promoted replica: what is read is idle for the longer time; of 200 of these keys fewer than 20 are left $tail"
done)"
