#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A module's file-descriptor callback runs in the middle of a Lua script, and the "atomic" script sees its write.
#
# Most expect: a script is atomic: nothing else touches the data while it runs. A busy server answers BUSY to clients,
#     and a module's callbacks come when the script has ended, as its timers and its event-loop events do.
# What happens: once a script has run longer than busy-reply-threshold, the server polls its sockets from within the
#     script, and descriptors that a module gave to RM_EventLoopAdd are among them. The callback may call RM_Call, and
#     its INCR lands between two GETs of the script. The API's text for RM_EventLoopAdd does not mention scripts.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-28; Redis 7.0.15 and Valkey 8.1.8 behave alike.
# Where it matters: modules with connections of their own (replication, brokers). Note what came, and write in the event
#     loop's before-sleep event.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey
module <<'EOF'
#include <fcntl.h>
#include <unistd.h>

static void on_readable(int descriptor, void *context, int mask) {
    char byte;
    if (read(descriptor, &byte, 1) == 1)
        RM_FreeCallReply(RM_Call(context, "INCR", "c!", "counter"));
}

int RedisModule_OnLoad(void *context, void **arguments, int count) {
    begin(context);
    int pipe = open(RM_StringPtrLen(arguments[0], 0), O_RDWR | O_NONBLOCK);
    return RM_EventLoopAdd(pipe, 1, on_readable, RM_GetDetachedThreadSafeContext(context));
}
EOF

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: one script, two GETs of the same key without a write between them, two values"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    mkfifo "$tmp/$server.pipe"
    port=$(free_port)
    start "$server" "$port" --busy-reply-threshold 50 --loadmodule "$tmp/probe.so" "$tmp/$server.pipe"
    python - "$server" "$port" "$tmp/$server.pipe" <<'EOF'
import pathlib, sys, threading
import redis

client = redis.Redis(port=int(sys.argv[2]), decode_responses=True, socket_timeout=60)
client.set("counter", 0)
threading.Timer(0.5, pathlib.Path(sys.argv[3]).write_text, ("x",)).start()
first, last = client.eval("""
    local first, last, tries = redis.call('GET', 'counter'), nil, 0
    repeat
        last, tries = redis.call('GET', 'counter'), tries + 1
    until last ~= first or tries == 10000000
    return {first, last}
""", 0)
print(f"{sys.argv[1]}: the script reads {first}, then {last}")
EOF
    stop "$pid"
done)
verdict "$seen" "redis-8.2.3: the script reads 0, then 1
valkey-9.1.2: the script reads 0, then 1"
