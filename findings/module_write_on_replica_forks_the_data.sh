#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a module writes on a replica goes into the replica's append-only file, but to no replica of the replica.
#
# Most expect: a replica is read-only by default, so RM_Call("SET", "!") there fails as a client's SET does; or the
#     write goes where "!" says, to the append-only file and to the replicas, or to neither.
# What happens: it is carried out, since only clients are refused, is written to the append-only file, and is left out
#     of the replication stream; offsets do not move. From then on the replica, its own replicas and its primary differ,
#     a restart keeps the difference, and the offsets, by which partial resynchronisations are granted, agree.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-28; Redis 6.2.14 behaves alike.
# Where it matters: modules that write from timers or own sockets, whose server somebody makes a replica.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey
module <<'EOF'
static int set(void *context, void **arguments, int count) {
    return RM_ReplyWithCallReply(context, RM_Call(context, "SET", "!cc", "key", "of the module"));
}

int RedisModule_OnLoad(void *context, void **arguments, int count) {
    begin(context);
    return RM_CreateCommand(context, "probe.set", set, "", 0, 0, 0);
}
EOF

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: SET by a module on the middle of three servers: there and in its file, but on neither side"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    primary=$(free_port)
    start "$server" "$primary" --repl-diskless-sync-delay 0
    middle=$(free_port)
    start "$server" "$middle" --replicaof 127.0.0.1 "$primary" --repl-diskless-sync-delay 0 --appendonly yes --loadmodule "$tmp/probe.so"
    last=$(free_port)
    start "$server" "$last" --replicaof 127.0.0.1 "$middle"
    python - "$server" "$tmp/$middle" "$primary" "$middle" "$last" <<'EOF'
import pathlib, sys, time
import redis

servers = [redis.Redis(port=int(port), decode_responses=True) for port in sys.argv[3:]]
primary, middle, last = servers
primary.set("first", "1")
while not last.get("first"):
    time.sleep(0.05)
middle.execute_command("probe.set")
primary.set("second", "2")
while not last.get("second"):
    time.sleep(0.05)
time.sleep(1.5)     # for the file, written each second
in_file = any("of the module" in path.read_text(errors="replace") for path in pathlib.Path(sys.argv[2]).rglob("*.aof"))
print(f"{sys.argv[1]}: {[server.get('key') for server in servers]}, in the middle's file: {in_file}")
EOF
done)
verdict "$seen" "redis-8.2.3: [None, 'of the module', None], in the middle's file: True
valkey-9.1.2: [None, 'of the module', None], in the middle's file: True"
