#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The connections of a killed server end only when its memory has been freed: the more data, the later.
#
# Most expect: when a server's process is killed, the kernel closes its connections at once, so whoever waits on one learns
#     of the death within a millisecond, and the port refuses from then on, however much data the server had.
# What happens: Linux frees a process's memory before it closes its descriptors. With a gigabyte of small values the
#     connections stay open for about a tenth of a second, and the port goes on to accept others, which nobody will serve.
# Versions: Redis 8.2.3 and Valkey 9.1.2 on Linux 6.18, 2026-11-29.
# Where it matters: fail-over that begins with the end of a connection; time limits for connecting; tests of fail-over with
#     small data, which show nothing of this.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

# time_of_death SERVER KEYS: seconds from SIGKILL to the end of a client's connection.
time_of_death() {
    local port
    port=$(free_port)
    start "$1" "$port" --save '' --enable-debug-command yes
    python - "$port" "$pid" "$2" <<'EOF'
import os, signal, sys, time
import redis

client = redis.Redis(port=int(sys.argv[1]), socket_timeout=120)
client.execute_command("DEBUG", "POPULATE", sys.argv[3], "key", "1000")
connection = client.connection_pool.get_connection()
killed = time.monotonic()
os.kill(int(sys.argv[2]), signal.SIGKILL)
try:
    connection.read_response()
except redis.ConnectionError:
    print(time.monotonic() - killed)
EOF
    stop "$pid"
}

median_of_three() { for _ in 1 2 3; do time_of_death "$@"; done | sort -g | sed -n 2p; }

echo "versions: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: after SIGKILL, a client's connection ends later when the server has a million values of a kilobyte"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    python - "$server" "$(median_of_three "$server" 1)" "$(median_of_three "$server" 1000000)" <<'EOF'
import sys

server, small, large = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
print(f"{server}: {1000 * small:.1f} ms without data, {1000 * large:.1f} ms with them", file=sys.stderr)
print(f"{server}: {'more than five times as long' if large > 5 * small else 'about as soon'} with data")
EOF
done)
verdict "$seen" "redis-8.2.3: more than five times as long with data
valkey-9.1.2: more than five times as long with data"
