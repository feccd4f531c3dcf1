#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ioredis sends one INCR a hundred times, although `maxRetriesPerRequest` is 1.
#
# Most expect: the option bounds how often one request is sent again (its default is 20); then the command fails with
#     MaxRetriesPerRequestError.
# What happens: what is counted are attempts to connect in a row that fail. An attempt that succeeds begins the count anew,
#     and the command under way is sent again. So a command whose answer is lost each time, while the server goes on
#     accepting connections, is sent without end. The counter has all of them, and the last is returned as one success.
# Version: ioredis 6.0.0 against Redis 8.2.3, 2026-11-28. With 0 the command is sent once, and fails.
# Where it matters: a command that ends its connection, each time: a request or a reply that a proxy or the server finds too
#     long, a script that ends the server. One request, and those that wait behind it, keep the client, the proxy and the
#     server busy for ever; and what is not idempotent is done as often.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_8_2_3
node_packages ioredis@6.0.0
node_lossy_proxy
cat >"$tmp/client.mjs" <<'EOF'
import { Redis } from "ioredis";
import { proxy } from "./lossy_proxy.mjs";

const server = Number(process.argv[2]);
for (const maxRetriesPerRequest of [0, 1]) {
    const client = new Redis({ port: await proxy(server, "incr", 100), maxRetriesPerRequest });
    client.on("error", () => {});
    const outcome = await client.incr(`counter ${maxRetriesPerRequest}`).then((reply) => `returns ${reply}`, (error) => `raises ${error.name}`);
    console.log(`maxRetriesPerRequest ${maxRetriesPerRequest}: incr() ${outcome}, the counter is ${await new Redis({ port: server }).get(`counter ${maxRetriesPerRequest}`)}`);
}
process.exit(0);
EOF

port=$(free_port)
start redis-8.2.3 "$port"
echo "version: $(node_version ioredis), $(version redis-8.2.3)"
echo "behaviour: one incr() through a proxy that loses the first hundred replies to it"
seen=$(node "$tmp/client.mjs" "$port")
verdict "$seen" "maxRetriesPerRequest 0: incr() raises MaxRetriesPerRequestError, the counter is 1
maxRetriesPerRequest 1: incr() returns 101, the counter is 101"
