#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A client that speaks RESP2 gets a reply of RESP3, which it cannot read, when somebody calls FLUSHALL.
#
# Most expect: a server says to each connection only what the protocol has that this connection asked for. CLIENT TRACKING ON
#     REDIRECT is there so that a client of RESP2 is told of changes.
# What happens: "everything has changed" is a null, which is written as the connection that reads has it, not the one that is told. If
#     the first speaks RESP3 and the second RESP2, it is told "_", which no parser of RESP2 knows: redis-py raises InvalidResponse.
#     What follows FLUSHALL or FLUSHDB alone; all other changes are told by name, and well.
# Versions: Redis 8.2.3, Valkey 9.1.2, redis-py 8.1.0, 2026-11-30. redis-py 8 speaks RESP3 unless it is told not to.
# Where it matters: invalidations that one connection takes for a pool of others, during an upgrade of clients to RESP3.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2), redis-py 8.1.0"
echo "behaviour: a client of RESP2 is told what a client of RESP2, or of RESP3, has read: first SET, then FLUSHALL"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    port=$(free_port)
    start "$server" "$port"
    python - "$server" "$port" <<'EOF'
import sys
import redis

name, port = sys.argv[1], int(sys.argv[2])
writer = redis.Redis(port=port)
for protocol in (2, 3):
    told = redis.Redis(port=port, protocol=2).pubsub()
    told.subscribe("__redis__:invalidate")
    told.get_message(timeout=1)
    reader = redis.Redis(port=port, protocol=protocol, single_connection_client=True)
    reader.client_tracking_on(clientid=int(writer.client_list(_type="pubsub")[0]["id"]))
    hears = []
    for change in ("SET key value", "FLUSHALL"):
        reader.get("key")
        writer.execute_command(*change.split())
        try:
            hears.append(f"{change.split()[0]}: {told.get_message(timeout=1)['data']}")
        except redis.exceptions.InvalidResponse as error:
            hears.append(f"{change.split()[0]}: InvalidResponse, {error}")
    told.close()
    print(f"{name}, the reader speaks RESP{protocol}: {'; '.join(hears)}")
EOF
done)
verdict "$seen" "redis-8.2.3, the reader speaks RESP2: SET: [b'key']; FLUSHALL: None
redis-8.2.3, the reader speaks RESP3: SET: [b'key']; FLUSHALL: InvalidResponse, Protocol Error: b'_'
valkey-9.1.2, the reader speaks RESP2: SET: [b'key']; FLUSHALL: None
valkey-9.1.2, the reader speaks RESP3: SET: [b'key']; FLUSHALL: InvalidResponse, Protocol Error: b'_'"
