#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ioredis with `failoverDetector` gives up for ever when the news of a fail-over comes while it is connecting again.
#
# Most expect: the option makes the client leave a deposed master at once, and go on with the new one, as it does without
#     the option; that is what the option is for.
# What happens: the detector hears "+switch-master" and disconnects. If the client is just asking the Sentinels for the
#     master, because the old one has died, that attempt ends with "Connection is closed.", and no other one is made: the
#     status is "end", each command fails at once, and retryStrategy is not asked. The process has to make a new client.
#     Without the option the same client goes on with the new master.
# Versions: ioredis 6.0.0 with Redis 8.2.3 as master, replica and Sentinel, 2026-11-28.
# Where it matters: a master's machine dies with the Sentinel on it. Clients ask that Sentinel first, and wait for it, while
#     the others agree on the next master. A fast answer makes the window small, and the end rare.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_8_2_3
node_packages ioredis@6.0.0
cat >"$tmp/client.mjs" <<'EOF'
import { Redis } from "ioredis";

const [detects, replica, ...ports] = process.argv.slice(2);
const client = new Redis({
    sentinels: ports.map((port) => ({ host: "127.0.0.1", port: Number(port) })), name: "mymaster",
    failoverDetector: detects === "with", sentinelCommandTimeout: 8000, maxRetriesPerRequest: null,
});
client.on("error", () => {});
await client.set("key", "before");
console.log("ready");
let end = "is still looking";
const deadline = Date.now() + 30000;
while (end === "is still looking" && Date.now() < deadline) {
    const info = await Promise.race([client.info("server").catch(() => ""), new Promise((go) => setTimeout(go, 50, ""))]);
    if (client.status === "end") end = "has ended";
    else if (info.includes(`tcp_port:${replica}\r`)) end = "goes on with the new master";
}
console.log(`the client ${end}`);
process.exit(0);
EOF

sentinel() {    # of the master at port $1; its port is $port, its process $pid
    port=$(free_port)
    mkdir -p "$tmp/$port"
    printf '%s\n' "sentinel monitor mymaster 127.0.0.1 $1 2" "sentinel down-after-milliseconds mymaster 1000" >"$tmp/$port.conf"
    "$tmp/redis-8.2.3" "$tmp/$port.conf" --sentinel --port "$port" --bind 127.0.0.1 &>"$tmp/$port/log" &
    pid=$!
    echo "$pid" >>"$tmp/pids"
    disown "$pid"
}

fail_over() {   # with or without the detector
    local master replica process ports=() frozen client
    master=$(free_port); start redis-8.2.3 "$master"; process=$pid
    replica=$(free_port); start redis-8.2.3 "$replica" --replicaof "127.0.0.1 $master"
    sentinel "$master"; frozen=$pid; ports+=("$port")
    for _ in 1 2; do sentinel "$master"; ports+=("$port"); done
    sleep 12        # Sentinels look for replicas every ten seconds, and for each other every two
    node "$tmp/client.mjs" "$1" "$replica" "${ports[@]}" >"$tmp/$1" 2>"$tmp/$1.err" &
    client=$!
    until grep -q ready "$tmp/$1"; do sleep 0.05; done
    sleep 1         # the detector has subscribed
    kill -STOP "$frozen"
    stop "$process"
    wait "$client"
    echo "$1 failoverDetector: $(tail -1 "$tmp/$1")"
}

echo "version: $(node_version ioredis), $(version redis-8.2.3)"
echo "behaviour: the master is killed, the first of three Sentinels hangs, and the others make the replica the new master"
seen=$(fail_over without; fail_over with)
verdict "$seen" "without failoverDetector: the client goes on with the new master
with failoverDetector: the client has ended"
