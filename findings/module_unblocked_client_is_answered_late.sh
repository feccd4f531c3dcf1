#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A client that a module unblocks just before the server sleeps is answered after the commands of the next pass.
#
# Most expect: a module that decides in the event loop's before-sleep event that a blocked client may be answered has
#     its reply callback run before any other command, as up to Redis 7.0: the event comes first, and then the unblocked
#     clients. What was true at the decision is true in the reply.
# What happens: from Redis 7.2 on, and in all versions of Valkey, unblocked clients are served before the event, so that
#     these wait for the next pass; commands that have arrived meanwhile run first, and the reply callback sees what
#     they wrote.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-28; Valkey 8.1.8 behaves alike. With Redis 7.0.15 the reply is "old".
# Where it matters: modules that check a permission or a lease in the event and read the data in the reply callback: the
#     check has to be repeated there, or the value taken with it.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey
module <<'EOF'
#include <unistd.h>

static void *waiting;

static int reply(void *context, void **arguments, int count) {
    return RM_ReplyWithCallReply(context, RM_Call(context, "GET", "c", "key"));
}

static int wait(void *context, void **arguments, int count) {
    waiting = RM_BlockClient(context, reply, 0, 0, 0);
    usleep(500000);     /* another client's SET arrives meanwhile */
    return 0;
}

static void before_sleep(void *context, event which, uint64_t kind, void *data) {
    if (kind != 0 || !waiting) return;
    RM_UnblockClient(waiting, 0);
    waiting = 0;
}

int RedisModule_OnLoad(void *context, void **arguments, int count) {
    begin(context);
    RM_CreateCommand(context, "probe.wait", wait, "", 0, 0, 0);
    return RM_SubscribeToServerEvent(context, (event){15, 1}, before_sleep);
}
EOF

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: a client unblocked in the event is answered with what a command of the next pass has written"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    port=$(free_port)
    start "$server" "$port" --loadmodule "$tmp/probe.so"
    python - "$server" "$port" <<'EOF'
import sys, threading, time
import redis

reader, writer = (redis.Redis(port=int(sys.argv[2]), decode_responses=True) for _ in range(2))
writer.set("key", "old")
writing = threading.Timer(0.2, writer.set, ("key", "new"))
writing.start()
print(f"{sys.argv[1]}: {reader.execute_command('probe.wait')}")
writing.join()
EOF
    stop "$pid"
done)
verdict "$seen" "redis-8.2.3: new
valkey-9.1.2: new"
