#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# With automatic pipelining, a transaction of ioredis is executed before commands that the same client was given earlier.
#
# Most expect: enableAutoPipelining puts commands together for the network; in their order, as ever on one connection.
# What happens: single commands wait for the end of the turn of the event loop, and pipeline() and multi() do not: they are sent at
#     once, and so overtake what was given before them. EVAL and blocking commands are in their place.
# Version: ioredis 6.0.0, Redis 8.2.3, 2026-11-29.
# Where it matters: programs that write without await and then begin a transaction on that; Promise.all. The option is switched on for
#     speed in a program that was right without it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_node ioredis@6.0.0

cat >"$tmp/order.mjs" <<'EOF'
import { Redis } from "ioredis";

const port = Number(process.argv[2]);
for (const enableAutoPipelining of [false, true]) {
    const client = new Redis({ port, enableAutoPipelining });
    await client.ping();
    const batch = async (chain) => (await chain.exec())[0][1];
    const ways = {
        "a single GET": () => client.get("key"),
        "EVAL": () => client.eval("return redis.call('GET', KEYS[1])", 1, "key"),
        "pipeline()": () => batch(client.pipeline().get("key")),
        "multi()": () => batch(client.multi().get("key")),
    };
    for (const [name, read] of Object.entries(ways)) {
        await client.set("key", "old");
        const [, seen] = await Promise.all([client.set("key", "new"), read()]);
        console.log(`${enableAutoPipelining ? "with" : "without"} automatic pipelining: after SET, ${name} reads ${seen}`);
    }
}
process.exit(0);
EOF

echo "version: $(version redis-8.2.3), $(node_version ioredis)"
echo "behaviour: one client is given SET key new and then a read of the key, without waiting in between"
seen=$(cd "$tmp" && node order.mjs "$port")
verdict "$seen" "without automatic pipelining: after SET, a single GET reads new
without automatic pipelining: after SET, EVAL reads new
without automatic pipelining: after SET, pipeline() reads new
without automatic pipelining: after SET, multi() reads new
with automatic pipelining: after SET, a single GET reads new
with automatic pipelining: after SET, EVAL reads new
with automatic pipelining: after SET, pipeline() reads old
with automatic pipelining: after SET, multi() reads old"
