#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A clock that was wrong for half a second silences a module's timers for as long as it was wrong by.
#
# Most expect: RM_CreateTimer takes milliseconds from now, so that setting the clock does nothing to it; the server's
#     own timers run on the monotonic clock. At the worst, timers are wrong while the clock is.
# What happens: a module's timers are kept by the wall clock, and one timer of the event loop, on the monotonic clock,
#     is set to the next of them. Computed while the clock stood an hour back it is an hour long, and nothing computes
#     it anew when the clock is right again. The server itself works on, and keys expire in time.
# Versions: Redis 8.2.3 and Valkey 9.1.2 with libfaketime 0.9.10, 2026-11-28; Valkey 8.1.8 behaves alike.
# Where it matters: heartbeats and time-outs in modules, when a clock is stepped (a resumed virtual machine, the first
#     answer of a time server): the process lives, and its module is dead. Take the event loop's cron event instead.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

redis_and_valkey
debian libfaketime=0.9.10-2.1
module <<'EOF'
static long long ticks;

static void tick(void *context, void *data) {
    ticks++;
    RM_CreateTimer(context, 100, tick, data);
}

static int count_ticks(void *context, void **arguments, int count) {
    return RM_ReplyWithLongLong(context, ticks);
}

int RedisModule_OnLoad(void *context, void **arguments, int count) {
    begin(context);
    RM_CreateCommand(context, "probe.ticks", count_ticks, "", 0, 0, 0);
    tick(context, 0);
    return 0;
}
EOF

echo "version: $(version redis-8.2.3), $(version valkey-9.1.2)"
echo "behaviour: a timer of 100 ms, an hour back for half a second, and no tick any more; a key expires as ever"
export FAKETIME_TIMESTAMP_FILE="$tmp/clock" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
faketime=$(find "$tmp/debian" -name libfaketime.so.1)
seen=$(for server in redis-8.2.3 valkey-9.1.2; do
    port=$(free_port)
    echo "+0" >"$tmp/clock"
    LD_PRELOAD="$faketime" start "$server" "$port" --loadmodule "$tmp/probe.so"
    python - "$server" "$port" "$tmp/clock" <<'EOF'
import pathlib, sys, time
import redis

client, clock = redis.Redis(port=int(sys.argv[2])), pathlib.Path(sys.argv[3])

def watch(moment: str) -> None:
    before = client.execute_command("probe.ticks")
    client.set("key", "value", px=500)
    time.sleep(3)
    ticks = client.execute_command("probe.ticks") - before
    print(f"{sys.argv[1]} {moment}: {'ticks' if ticks > 5 else 'no tick' if ticks == 0 else ticks}, {client.exists('key')} keys left")

watch("before")
clock.write_text("-3600\n")
time.sleep(0.5)
clock.write_text("+0\n")
watch("after")
EOF
    stop "$pid"
done)
verdict "$seen" "redis-8.2.3 before: ticks, 0 keys left
redis-8.2.3 after: no tick, 0 keys left
valkey-9.1.2 before: ticks, 0 keys left
valkey-9.1.2 after: no tick, 0 keys left"
