#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A module's command filter rules on a command that runs minutes later, and is not asked again before it runs.
#
# Most expect: a command filter sees a command right before it is executed, as "called before each command" says and as
#     up to Redis 7.0: what a filter refuses from now on is not executed from now on.
# What happens: from Redis 7.2 on, and in all versions of Valkey, a command that CLIENT PAUSE postpones has passed the
#     filters when it arrived. When the pause ends it is executed as it is. A SET that arrived while the filter let writes
#     pass is executed long after the filter has begun to refuse them, beside others that are refused.
# Versions: Redis 8.2.3 and Valkey 9.1.2, 2026-11-28; Valkey 8.1.8 behaves alike. Redis 7.0.15 asks the filter again.
# Where it matters: filters that decide by something that changes: a maintenance mode, a role, a lease. The pause is what
#     a fail-over begins with, so the role may be another one when the postponed writes run.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey
module <<'EOF'
static int closed;

/* While closed, every SET becomes PROBE.REFUSED. */
static void filter(void *command) {
    unsigned long length;
    const char *name = RM_StringPtrLen(RM_CommandFilterArgGet(command, 0), &length);
    if (closed && length == 3 && (name[0] | 32) == 's' && (name[1] | 32) == 'e' && (name[2] | 32) == 't')
        RM_CommandFilterArgReplace(command, 0, RM_CreateString(0, "probe.refused", 13));
}

static int refused(void *context, void **arguments, int count) {
    return RM_ReplyWithSimpleString(context, "refused");
}

static int close_now(void *context, void **arguments, int count) {
    closed = 1;
    return RM_ReplyWithSimpleString(context, "closed");
}

int RedisModule_OnLoad(void *context, void **arguments, int count) {
    begin(context);
    RM_CreateCommand(context, "probe.refused", refused, "", 0, 0, 0);
    RM_CreateCommand(context, "probe.close", close_now, "", 0, 0, 0);
    return RM_RegisterCommandFilter(context, filter, 0) ? 0 : 1;
}
EOF

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: two SETs after the filter has begun to refuse SET: one was postponed by a pause before, one arrives afterwards"
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    port=$(free_port)
    start "$server" "$port" --loadmodule "$tmp/probe.so"
    python - "$server" "$port" <<'EOF'
import sys, threading, time
import redis

operator, writer = (redis.Redis(port=int(sys.argv[2]), decode_responses=True) for _ in range(2))
operator.client_pause(600_000, all=False)
said = []
postponed = threading.Thread(target=lambda: said.append(writer.execute_command("SET", "key", "postponed")))
postponed.start()
while not operator.info("clients")["blocked_clients"]:
    time.sleep(0.01)
operator.execute_command("PROBE.CLOSE")
operator.client_unpause()
postponed.join()
said.append(operator.execute_command("SET", "key", "later"))
earlier, later = ("done" if answer else "refused" for answer in said)
print(f"{sys.argv[1]}: the postponed one {earlier}, the later one {later}, the key is {operator.get('key')!r}")
EOF
done)
verdict "$seen" "redis-8.2.3: the postponed one done, the later one refused, the key is 'postponed'
valkey-9.1.2: the postponed one done, the later one refused, the key is 'postponed'"
