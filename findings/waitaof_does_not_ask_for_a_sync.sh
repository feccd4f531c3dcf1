#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# WAITAOF never confirms anything with appendfsync no, and makes no sync happen sooner with everysec.
#
# Most expect: WAITAOF 1 0 is fsync() for a client: it has the append-only file synced and answers then; where that
#     cannot be, it is an error, as it is without an append-only file.
# What happens: it only waits for a sync that the server does by itself. With appendfsync no the server does none that
#     it counts, so WAITAOF waits until its time-out (for ever with 0) and answers 0, although the data are in the file.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-28.
# Where it matters: servers with appendfsync no and a few writes that are to be safe; each of these costs the whole
#     time-out.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: WAITAOF 1 0 3000 after one SET, with each setting of appendfsync"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    port=$(free_port)
    start "$server" "$port" --appendonly yes
    python - "$server" "$port" <<'EOF'
import sys, time
import redis

client = redis.Redis(port=int(sys.argv[2]))
for setting in "always", "everysec", "no":
    client.config_set("appendfsync", setting)
    time.sleep(1.5)
    client.set("key", setting)
    begun = time.monotonic()
    local, _ = client.execute_command("WAITAOF", 1, 0, 3000)
    waited = "the whole time-out" if time.monotonic() - begun >= 2.9 else "less"
    print(f"{sys.argv[1]}, appendfsync {setting}: {local} confirmed, waited {waited}")
EOF
done)
verdict "$seen" "redis-8.2.3, appendfsync always: 1 confirmed, waited less
redis-8.2.3, appendfsync everysec: 1 confirmed, waited less
redis-8.2.3, appendfsync no: 0 confirmed, waited the whole time-out
valkey-9.1.2, appendfsync always: 1 confirmed, waited less
valkey-9.1.2, appendfsync everysec: 1 confirmed, waited less
valkey-9.1.2, appendfsync no: 0 confirmed, waited the whole time-out"
