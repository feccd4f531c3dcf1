#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Clients that reconnect by themselves execute a transaction without its WATCH, and report success.
#
# Most expect: a WATCH that was lost with its connection makes the transaction after it fail, as redis-py's does (WatchError).
# What happens: ioredis and Valkey GLIDE connect anew and send MULTI and EXEC there, where nothing is watched: the transaction
#     overwrites what another client wrote. node-redis raises WatchError, but only once it is connected anew: it compares the
#     connection's number when exec() is called, and that number changes when the new connection stands. A transaction that is
#     given while it reconnects waits in its queue and is executed without the WATCH.
# Versions: ioredis 6.0.0, Valkey GLIDE 2.5.2 for Node.js, node-redis (redis) 6.3.1, Redis 8.2.3, 2026-11-29.
# Where it matters: WATCH, GET, MULTI, SET, EXEC during a fail-over or a restart. A condition that travels with the write (a Lua
#     script, SET with IFEQ) needs no connection that lasts.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_node ioredis@6.0.0 @valkey/valkey-glide@2.5.2 redis@6.3.1

cat >"$tmp/watch.mjs" <<'EOF'
import { Batch, GlideClient, Logger } from "@valkey/valkey-glide";
import { Redis } from "ioredis";
import { createClient } from "redis";

Logger.init("off");      // its warnings go to the standard output
const port = Number(process.argv[2]);
const other = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();

// Adds 1 to a counter in a transaction; meanwhile another client adds 10 and closes the connection. The transaction is given when
// `ready` comes true after that.
async function increment(name, { watch, get, id, ready, transaction }) {
    await other.set("counter", 0);
    await watch();
    const value = Number(await get());
    await other.incrBy("counter", 10);
    const broken = await id();
    const isReady = ready(broken);
    await other.sendCommand(["CLIENT", "KILL", "ID", String(broken)]);
    await isReady;
    const result = await transaction(String(value + 1)).catch((error) => error.constructor.name);
    console.log(`${name}: ${JSON.stringify(result)}; the counter is ${await other.get("counter")}`);
}

const ioredis = new Redis(port);
ioredis.on("error", () => {});
await increment("ioredis, connected anew", {
    watch: () => ioredis.watch("counter"), get: () => ioredis.get("counter"), id: () => ioredis.client("ID"),
    ready: () => new Promise((hears) => ioredis.once("ready", hears)),
    transaction: (value) => ioredis.multi().set("counter", value).exec(),
});

const glide = await GlideClient.createClient({ addresses: [{ host: "127.0.0.1", port }] });
await increment("GLIDE, connected anew", {
    watch: () => glide.watch(["counter"]), get: () => glide.get("counter"), id: () => glide.clientId(),
    ready: async (broken) => { while (await glide.clientId().catch(() => broken) === broken); },
    transaction: (value) => glide.exec(new Batch(true).set("counter", value), true),
});

for (const [event, when] of [["ready", "connected anew"], ["reconnecting", "while it reconnects"]]) {
    const redis = createClient({ url: `redis://127.0.0.1:${port}` });
    redis.on("error", () => {});
    await redis.connect();
    await increment(`node-redis, ${when}`, {
        watch: () => redis.watch("counter"), get: () => redis.get("counter"), id: () => redis.clientId(),
        ready: () => new Promise((hears) => redis.once(event, hears)),
        transaction: (value) => redis.multi().set("counter", value).exec(),
    });
}
process.exit(0);
EOF

echo "version: $(version redis-8.2.3), $(node_version ioredis), $(node_version @valkey/valkey-glide), node-redis $(node_version redis)"
echo "behaviour: a transaction whose WATCH was lost with its connection, and whose key another client has changed"
seen=$(cd "$tmp" && node watch.mjs "$port" 2>"$tmp/node.err") || cat "$tmp/node.err"
verdict "$seen" 'ioredis, connected anew: [[null,"OK"]]; the counter is 1
GLIDE, connected anew: ["OK"]; the counter is 1
node-redis, connected anew: "WatchError"; the counter is 10
node-redis, while it reconnects: ["OK"]; the counter is 1'
