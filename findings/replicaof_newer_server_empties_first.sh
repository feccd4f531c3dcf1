#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server that is told to replicate a newer one loses its data, and only then finds that it cannot read the other's.
#
# Most expect: a server that cannot read another's RDB version refuses the copy and keeps what it had. So do Valkey
#     9.1.2, and each server that is only started from such a file.
# What happens: up to Valkey 8.1 and on every Redis that was tried the whole copy is received, the own data are emptied,
#     and the version is looked at last. The server stays empty, asks for the next full copy at once, and so on without
#     end. REPLICAOF NO ONE then leaves an empty, writable server.
# Versions: Valkey 8.1.8 and 9.1.2 as replicas of Redis 8.2.3, 2026-11-28; Redis 7.0.15 behaves like Valkey 8.1.8.
# Where it matters: going back from an upgrade by replication, moving between the forks, a wrong address in REPLICAOF.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_8_2_3
valkey_8_1_8
valkey_9_1_2
packages redis==8.1.0
newer=$(free_port)
start redis-8.2.3 "$newer" --repl-diskless-sync-delay 0
older=$(free_port)
start valkey-8.1.8 "$older"
careful=$(free_port)
start valkey-9.1.2 "$careful"

echo "version: $(version valkey-8.1.8), $(version valkey-9.1.2)"
echo "behaviour: after the first refused copy of Redis 8.2.3 the one has lost its keys, the other has them"
seen=$(python - "$newer" "$older" "$careful" <<'EOF'
import sys, time
import redis

primary, *replicas = (redis.Redis(port=int(port)) for port in sys.argv[1:])
primary.set("key", "of Redis 8")
for replica in replicas:
    replica.mset({f"own {number}": number for number in range(1000)})
    copies = primary.info("stats")["sync_full"]
    replica.replicaof("127.0.0.1", primary.get_connection_kwargs()["port"])
    while primary.info("stats")["sync_full"] < copies + 3:      # it tries again and again
        time.sleep(0.05)
    replica.replicaof("NO", "ONE")
    print(f"Valkey {replica.info('server')['valkey_version']}: of 1000 keys {replica.dbsize()} are left")
EOF
)
verdict "$seen" "Valkey 8.1.8: of 1000 keys 0 are left
Valkey 9.1.2: of 1000 keys 1000 are left"
