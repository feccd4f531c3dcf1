#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# With io-threads, each blocking command of a module makes Redis's main thread and an I/O thread spin for each other.
#
# Most expect: a client that a module blocks and unblocks costs with io-threads what one of BLPOP costs: little more than
#     without.
# What happens: a client that is blocked moves to the main thread, which waits in a loop until the I/O thread has stopped,
#     and again until it goes on. After BLPOP it stays there. After a module's command it goes back to an I/O thread with its
#     reply, so that the next command moves it again. Where threads share a processor, each of these loops may last for
#     whole time slices.
# Versions: Redis 8.2.3, 2026-11-29; 8.0.2 behaves alike. Valkey and Redis 7 move no clients.
# Where it matters: modules that answer after something else has happened (consensus, replication): leave io-threads at 1,
#     or have more processors than busy threads.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

command -v taskset >/dev/null || { echo "taskset is missing" >&2; exit 2; }
redis_8_2_3
packages redis==8.1.0
module <<'EOF'
static void *waiting;

static int reply(void *context, void **arguments, int count) {
    return RM_ReplyWithSimpleString(context, "done");
}

static int wait(void *context, void **arguments, int count) {
    waiting = RM_BlockClient(context, reply, 0, 0, 0);
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

echo "version: $(version redis-8.2.3)"
echo "behaviour: CPU of the server, on one processor, for 200 commands one after another; which thread has the client then"
seen=$(for threads in 1 3; do
    port=$(free_port)
    start redis-8.2.3 "$port" --io-threads "$threads" --loadmodule "$tmp/probe.so"
    taskset -a -p -c "$(taskset -p -c "$pid" | grep -o '[0-9]*$')" "$pid" >"$tmp/taskset.log"
    python - "$port" "$pid" "$threads" <<'EOF'
import os, sys
import redis

port, pid, threads = map(int, sys.argv[1:])
waiter, pusher = (redis.Redis(port=port, single_connection_client=True) for _ in range(2))

def cpu():
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")

def blpop():
    waiter.connection.send_command("BLPOP", "list", "0")
    pusher.rpush("list", "x")
    waiter.connection.read_response()

def place():
    return "an I/O thread" if waiter.client_info()["io-thread"] != "0" else "the main thread"

for name, run in ("BLPOP", blpop), ("the module's", lambda: waiter.execute_command("probe.wait")):
    run()
    before = cpu()
    for _ in range(200):
        run()
    spent = (cpu() - before) / 200
    print(f"io-threads {threads}, {name}: {'more' if spent > 0.001 else 'less'} than 1 ms each; {place()}")
EOF
    stop "$pid"
done)
verdict "$seen" "io-threads 1, BLPOP: less than 1 ms each; the main thread
io-threads 1, the module's: less than 1 ms each; the main thread
io-threads 3, BLPOP: less than 1 ms each; the main thread
io-threads 3, the module's: more than 1 ms each; an I/O thread"
