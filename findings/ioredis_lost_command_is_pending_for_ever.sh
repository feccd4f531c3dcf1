#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# With `autoResendUnfulfilledCommands: false`, a command that is lost with its connection neither succeeds nor fails.
#
# Most expect: the option is the way to at-most-once. A command that was under way when the connection ended is not sent
#     again; its promise is rejected, since nobody knows whether it was carried out.
# What happens: it is not sent again, and its promise is never settled, although the client has connected anew within
#     milliseconds and carries out what comes after. `await` on it waits for ever. Nothing is logged.
# Version: ioredis 6.0.0 against Redis 8.2.3, 2026-11-28. `commandTimeout` ends the wait, as does `maxRetriesPerRequest: 0`,
#     which repeats nothing either.
# Where it matters: whoever turns the repetition off because INCR, LPUSH or XADD must not be done twice gets requests that
#     hang at each fail-over, with all that they hold: locks, slots of a pool, connections of their own clients.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_8_2_3
node_packages ioredis@6.0.0
node_lossy_proxy
cat >"$tmp/client.mjs" <<'EOF'
import { Redis } from "ioredis";
import { setTimeout as sleep } from "node:timers/promises";
import { proxy } from "./lossy_proxy.mjs";

const server = Number(process.argv[2]);
for (const [name, options] of [["by default", {}], ["without resending", { autoResendUnfulfilledCommands: false }]]) {
    const client = new Redis({ port: await proxy(server, "incr", 1), ...options });
    client.on("error", () => {});
    const lost = client.incr(name).then((reply) => `returns ${reply}`, (error) => `raises ${error.name}`);
    const outcome = await Promise.race([lost, sleep(15000, "is pending after 15 s")]);
    console.log(`${name}: incr() ${outcome}, the counter is ${await client.get(name)} by the same client`);
}
process.exit(0);
EOF

port=$(free_port)
start redis-8.2.3 "$port"
echo "version: $(node_version ioredis), $(version redis-8.2.3)"
echo "behaviour: one incr() through a proxy that loses the first reply to it"
seen=$(node "$tmp/client.mjs" "$port")
verdict "$seen" "by default: incr() returns 2, the counter is 2 by the same client
without resending: incr() is pending after 15 s, the counter is 1 by the same client"
