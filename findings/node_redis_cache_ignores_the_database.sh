#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# With the client-side cache of node-redis, select() changes the database for writes, and not for what is cached.
#
# Most expect: after select(1) every command of that client is about database 1.
# What happens: the cache knows keys without their database, and select() does not empty it. GET answers for database 1 what was
#     read in database 0, until somebody changes that key in any database; a SET goes to database 1. A key that database 1 lacks has a
#     value, and a counter is copied from one database into the other by reading and writing it.
# Version: node-redis (redis) 6.3.1, Redis 8.2.3, 2026-11-29.
# Where it matters: applications that keep tenants, or tests and production, apart by databases and take the cache for speed. One
#     client for each database, each with a cache of its own, has no such trouble.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_node redis@6.3.1

cat >"$tmp/select.mjs" <<'EOF'
import { BasicClientSideCache, createClient } from "redis";

const url = `redis://127.0.0.1:${process.argv[2]}`;

async function show(name, options) {
    const client = await createClient({ url, RESP: 3, ...options }).connect();
    await client.flushAll();
    await client.set("key", "of database 0");
    await client.get("key");
    await client.select(1);
    console.log(`${name}: EXISTS key ${await client.exists("key")}, DBSIZE ${await client.dbSize()}, GET key ${await client.get("key")}`);
    client.destroy();
}

await show("without the cache", {});
await show("with the cache", { clientSideCache: new BasicClientSideCache() });
EOF

echo "version: $(version redis-8.2.3), node-redis $(node_version redis)"
echo "behaviour: three reads after select(1), where nothing was ever written; the key is one of database 0"
seen=$(cd "$tmp" && node select.mjs "$port")
verdict "$seen" "without the cache: EXISTS key 0, DBSIZE 0, GET key null
with the cache: EXISTS key 0, DBSIZE 0, GET key of database 0"
