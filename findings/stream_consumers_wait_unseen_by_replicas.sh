#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Of a stream's consumers that wait for entries, a replica knows nothing: new ones are not there, others seem to have left.
#
# Most expect: a replica has its primary's groups and consumers, with their times, so that XINFO says the same after a fail-over.
# What happens: XREADGROUP is replicated by what it delivers. A consumer that has waited in vain since it came exists on the primary
#     alone, and not in the append-only file either. One that has had entries is "idle" there since the last of them, on the primary
#     since its last attempt. Offsets and DEBUG DIGEST of both servers agree.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-29.
# Where it matters: what counts a group's consumers, or takes those away that are idle for long (XGROUP DELCONSUMER, with what
#     is pending for them): after a fail-over in a quiet hour it finds all workers gone or dead, which are in good health.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: XINFO CONSUMERS of two workers that ask for entries all the time; only the first one has ever got one"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    start_pair "$server"
    python - "$server" "$primary" "$replica" <<'EOF'
import sys, time
import redis

name = sys.argv[1]
primary, replica = (redis.Redis(port=int(port), decode_responses=True) for port in sys.argv[2:])
while replica.info("replication")["master_link_status"] != "up":
    time.sleep(0.05)
primary.xgroup_create("stream", "group", "0", mkstream=True)
identity = primary.xadd("stream", {"field": "value"})
primary.xreadgroup("group", "first", {"stream": ">"})
primary.xack("stream", "group", identity)
begun = time.monotonic()
while time.monotonic() < begun + 6:
    for worker in "first", "second":
        primary.xreadgroup("group", worker, {"stream": ">"}, block=100)
primary.set("last", "write")
primary.wait(1, 0)
for where, server in ("primary", primary), ("replica", replica):
    idle = {each["name"]: each["idle"] for each in server.xinfo_consumers("stream", "group")}
    print(f"{name}, {where}:", ", ".join(f"{worker} idle for {'less' if idle[worker] < 3000 else 'more'} than 3 s" for worker in sorted(idle)))
EOF
done)
verdict "$seen" "$(for server in redis-8.2.3 valkey-9.1.2; do
    echo "$server, primary: first idle for less than 3 s, second idle for less than 3 s"
    echo "$server, replica: first idle for more than 3 s"
done)"
