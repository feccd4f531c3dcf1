#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A client that waits at a replica for a stream's next entry sleeps on when a full copy brings that entry.
#
# Most expect: XREAD BLOCK answers as soon as the stream has an entry for it, however that came into the data.
# What happens: a full copy from the primary replaces the data without waking anybody. The client waits for its whole time and is
#     answered that there is nothing, with the entry in place; with BLOCK 0 it waits until the next XADD. With repl-diskless-load
#     swapdb the same copy wakes it.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-30.
# Where it matters: readers of streams at replicas whose link breaks for longer than the primary's backlog lasts, above all
#     where entries are rare: each looks healthy, and is behind by the entries that came while the link was down.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: a client waits 3 s at a replica for the next entry of a stream, and the replica gets that entry by a full copy"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    for load in disabled swapdb; do
        start_pair "$server" --repl-diskless-load "$load" --repl-backlog-size 16kb
        python - "$server, repl-diskless-load $load" "$primary" "$replica" <<'EOF'
import sys, threading, time
import redis

primary, replica = (redis.Redis(port=int(port), decode_responses=True) for port in sys.argv[2:])

def copied() -> None:
    while replica.info("replication")["master_link_status"] != "up":
        time.sleep(0.02)
    time.sleep(0.2)     # the last part of a copy is loaded a moment after the link

copied()
primary.xadd("stream", {"number": 1}, id="1-0")
primary.wait(1, 0)
answers = []
reader = redis.Redis(port=int(sys.argv[3]), socket_timeout=None, decode_responses=True)
waiting = threading.Thread(target=lambda: answers.append(reader.xread({"stream": "1-0"}, block=3000)))
waiting.start()
while not replica.info("clients")["blocked_clients"]:
    time.sleep(0.02)
copies = primary.info("stats")["sync_full"]
primary.config_set("requirepass", "which the replica does not know")
primary.client_kill_filter(_type="replica")
primary.xadd("stream", {"number": 2}, id="2-0")
primary.set("more than the backlog", "-" * 100_000)
primary.set("more than the backlog", "-" * 100_000)
primary.config_set("requirepass", "")
while primary.info("stats")["sync_full"] == copies:
    time.sleep(0.02)
copied()
there = len(replica.xrange("stream"))
waiting.join()
print(f"{sys.argv[1]}: the replica has {there} entries; the client that waited for the second gets {'it' if answers[0] else 'nothing'}")
EOF
    done
done)
verdict "$seen" "redis-8.2.3, repl-diskless-load disabled: the replica has 2 entries; the client that waited for the second gets nothing
redis-8.2.3, repl-diskless-load swapdb: the replica has 2 entries; the client that waited for the second gets it
valkey-9.1.2, repl-diskless-load disabled: the replica has 2 entries; the client that waited for the second gets nothing
valkey-9.1.2, repl-diskless-load swapdb: the replica has 2 entries; the client that waited for the second gets it"
