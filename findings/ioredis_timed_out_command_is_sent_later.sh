#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A command of ioredis that has timed out is sent nevertheless, as soon as the client is connected again.
#
# Most expect: a command that was waiting in the client for a connection when its `commandTimeout` rejected it is dropped: nobody
#     has sent it, so it has not happened, and it will not.
# What happens: the promise is rejected, the command stays in the queue, and is sent with the next connection, be that minutes later.
#     What the application took for failed, and has repeated or done in another way, is done then; a value of long ago overwrites
#     a newer one. (node-redis, with `timeout`, takes such a command out of its queue.)
# Version: ioredis 6.0.0, Redis 8.2.3, 2026-11-29. `enableOfflineQueue: false` leaves nothing to wait.
# Where it matters: fail-overs and restarts: the old writes of all clients arrive at the new primary in its first moment.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_node ioredis@6.0.0 redis@6.3.1
node_gate

cat >"$tmp/late.mjs" <<'EOF'
import { Redis } from "ioredis";
import { createClient } from "redis";
import { setTimeout as sleep } from "node:timers/promises";
import { gate } from "./gate.mjs";

const port = Number(process.argv[2]);
const other = new Redis(port);

// A client has no connection and is given a write, which times out. Another client writes; then the first is connected again.
async function show(name, way, client) {
    client.on("error", () => {});
    await client.ping();
    await way.shut();
    await sleep(200);
    const outcome = await client.set("key", "of the past").then(() => "an answer", (error) => error.message || error.constructor.name);
    await other.set("key", "newest");
    await way.open();
    await client.ping().catch(() => {});
    while (await client.ping().catch(() => "") !== "PONG");
    console.log(`${name}: SET is rejected ("${outcome}"); then the key is "${await other.get("key")}"`);
}

const first = await gate(port);
await show("ioredis", first, new Redis({ port: first.port, commandTimeout: 500 }));
const second = await gate(port);
await show("node-redis", second, await createClient({ socket: { port: second.port }, commandOptions: { timeout: 500 } }).connect());
process.exit(0);
EOF

echo "version: $(version redis-8.2.3), $(node_version ioredis), node-redis $(node_version redis)"
echo "behaviour: SET key \"of the past\" times out without a connection; another client sets \"newest\"; the first is connected again"
seen=$(cd "$tmp" && node late.mjs "$port")
verdict "$seen" 'ioredis: SET is rejected ("Command timed out"); then the key is "of the past"
node-redis: SET is rejected ("TimeoutError"); then the key is "newest"'
