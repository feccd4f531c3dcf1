#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# WATCH and client-side caches do not see what happens to a stream's consumer groups.
#
# Most expect: a group is part of its stream's key: it is dumped, copied and expires with it. So a transaction that watches the
#     key fails when another client acknowledges or claims an entry, and a client that caches XPENDING is told of that.
# What happens: XREADGROUP, XACK, XCLAIM, XAUTOCLAIM and all of XGROUP change the key without marking it as changed, although
#     replicas, the append-only file and keyspace events hear of it. EXEC succeeds, no invalidation is sent. XADD, XDEL and XTRIM
#     mark it.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-29.
# Where it matters: WATCH, XPENDING, MULTI, then XCLAIM or XGROUP DESTROY, EXEC, which two workers do at the same time; and caches:
#     XPENDING is among the commands that redis-py 8.1 caches, and keeps saying what it said first until somebody adds an entry.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: of a stream's key that one client watches and another one tracks, what EXEC and the invalidations say of commands"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    port=$(free_port)
    start "$server" "$port"
    python - "$server" "$port" <<'EOF'
import socket, sys
import redis

server, port = sys.argv[1], int(sys.argv[2])
client = redis.Redis(port=port, decode_responses=True)

def invalidated(command: str) -> bool:
    """Whether a client that has read the stream is told of a change by the command. It asks for a PONG after that."""
    with socket.create_connection(("127.0.0.1", port)) as tracking:
        replies = tracking.makefile("rb")
        tracking.sendall(b"HELLO 3\r\nCLIENT TRACKING ON\r\nXPENDING stream group\r\nECHO read\r\n")
        while replies.readline() != b"read\r\n":
            pass
        client.execute_command(*command.split())
        tracking.sendall(b"PING\r\n")
        return replies.readline() != b"+PONG\r\n"

def executed(command: str) -> bool:
    with client.pipeline() as transaction:
        transaction.watch("stream")
        client.execute_command(*command.split())
        transaction.multi()
        transaction.ping()
        try:
            transaction.execute()
        except redis.WatchError:
            return False
        return True

said = {}
for command in (
    "XREADGROUP GROUP group worker COUNT 1 STREAMS stream >", "XCLAIM stream group other 0 1-0", "XAUTOCLAIM stream group worker 0 0",
    "XACK stream group 1-0", "XGROUP SETID stream group 0", "XGROUP DESTROY stream group", "XADD stream 9-0 field value",
    "XDEL stream 1-0", "XTRIM stream MAXLEN 1",
):
    outcome = []
    for seen_by in executed, invalidated:
        client.delete("stream")
        for number in 1, 2, 3:
            client.xadd("stream", {"field": "value"}, id=f"{number}-0")
        client.xgroup_create("stream", "group", "0")
        if not command.startswith("XREADGROUP"):
            client.xreadgroup("group", "worker", {"stream": ">"}, count=1)
        outcome.append(seen_by(command))
    name = " ".join(command.split()[:1 + command.startswith("XGROUP")])
    said.setdefault((outcome[0], outcome[1]), []).append(name)
for (success, told), names in said.items():
    print(f"{server}, EXEC {'succeeds' if success else 'fails'}, {'an' if told else 'no'} invalidation: {', '.join(names)}")
EOF
done)
verdict "$seen" "$(for server in redis-8.2.3 valkey-9.1.2; do
    echo "$server, EXEC succeeds, no invalidation: XREADGROUP, XCLAIM, XAUTOCLAIM, XACK, XGROUP SETID, XGROUP DESTROY"
    echo "$server, EXEC fails, an invalidation: XADD, XDEL, XTRIM"
done)"
