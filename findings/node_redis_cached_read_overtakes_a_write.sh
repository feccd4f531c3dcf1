#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# With the client-side cache of node-redis, a GET that follows a SET of the same client does not see it.
#
# Most expect: commands that one client is given without waiting are executed in their order, as in a pipeline, cache or no cache.
# What happens: a GET that the cache can answer overtakes the SETs that were sent before it and are not answered yet: it gives the value
#     before them. The entry goes only when the server's word of the change arrives, together with the SET's own reply.
# Version: node-redis (redis) 6.3.1, Redis 8.2.3, 2026-11-29.
# Where it matters: Promise.all, and handlers that write without await and read later; the longer a write takes to be answered
#     (WAIT-like replication, a distant server), the longer a client reads what it has overwritten. Waiting for the write helps.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_node redis@6.3.1

cat >"$tmp/overtake.mjs" <<'EOF'
import { BasicClientSideCache, createClient } from "redis";

const url = `redis://127.0.0.1:${process.argv[2]}`;

async function show(name, options) {
    const client = await createClient({ url, RESP: 3, ...options }).connect();
    await client.set("key", "old");
    await client.get("key");
    const [, read] = await Promise.all([client.set("key", "new"), client.get("key")]);
    console.log(`${name}: GET after SET gives ${read}, and ${await client.get("key")} once both are answered`);
    client.destroy();
}

await show("without the cache", {});
await show("with the cache", { clientSideCache: new BasicClientSideCache() });
EOF

echo "version: $(version redis-8.2.3), node-redis $(node_version redis)"
echo "behaviour: one client is given SET key new and then GET key, without waiting in between"
seen=$(cd "$tmp" && node overtake.mjs "$port")
verdict "$seen" "without the cache: GET after SET gives new, and new once both are answered
with the cache: GET after SET gives old, and new once both are answered"
