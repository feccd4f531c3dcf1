#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The `timeout` of a command of node-redis is over as soon as the command has been sent: for the answer it waits for ever.
#
# Most expect: commandOptions({ timeout: 500 }) rejects what has no reply after half a second, whatever the cause.
# What happens: it bounds the time in the client's own queue, while there is no connection. When a command is written to the socket,
#     its timer is removed. A server that is suspended, swaps, or hangs on its disk keeps the promise pending, and the client says
#     nothing. An AbortSignal (withAbortSignal) behaves alike. `socketTimeout` ends such waits, with the connection.
# Version: node-redis (redis) 6.3.1, Redis 8.2.3, 2026-11-29.
# Where it matters: deadlines of requests, and fail-overs: as long as the connection to a hanging primary stands, no time-out makes the
#     client look for another.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_node redis@6.3.1
node_gate

cat >"$tmp/timeout.mjs" <<'EOF'
import { createClient } from "redis";
import { setTimeout as sleep } from "node:timers/promises";
import { gate } from "./gate.mjs";

const port = Number(process.argv[2]), server = Number(process.argv[3]);

async function connect(options) {
    const client = createClient({ commandOptions: { timeout: 500 }, ...options });
    client.on("error", () => {});
    await client.connect();
    return client;
}

async function show(name, reply) {
    const settled = reply.then(() => "an answer", (error) => error.constructor.name);
    console.log(`${name}: ${await Promise.race([settled.then((outcome) => `${outcome}, in time`), sleep(6000, "nothing after 6 s")])}`);
}

const way = await gate(port);
const away = await connect({ socket: { port: way.port } });
await way.shut();
await sleep(200);
await show("while there is no connection", away.get("key"));

const plain = await connect({ socket: { port } });
const bounded = await connect({ socket: { port, socketTimeout: 1000, reconnectStrategy: false } });
process.kill(server, "SIGSTOP");
await show("while the server is suspended", plain.get("key"));
await show("the same with an AbortSignal", plain.withAbortSignal(AbortSignal.timeout(500)).get("key"));
await show("the same with a socketTimeout of 1 s", bounded.get("key"));
process.exit(0);
EOF

echo "version: $(version redis-8.2.3), node-redis $(node_version redis)"
echo "behaviour: GET with a timeout of 500 ms, when nobody answers"
seen=$(cd "$tmp" && node timeout.mjs "$port" "$pid")
verdict "$seen" "while there is no connection: TimeoutError, in time
while the server is suspended: nothing after 6 s
the same with an AbortSignal: nothing after 6 s
the same with a socketTimeout of 1 s: ClientClosedError, in time"
