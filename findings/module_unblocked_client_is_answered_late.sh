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
#include <stdint.h>
#include <unistd.h>

typedef int (*command)(void *context, void **arguments, int count);
typedef struct { uint64_t id, version; } event;
static int (*RM_SetModuleAttribs)(void *, const char *, int, int);
static int (*RM_CreateCommand)(void *, const char *, command, const char *, int, int, int);
static void *(*RM_BlockClient)(void *, command, command, void *, long long);
static int (*RM_UnblockClient)(void *, void *);
static void *(*RM_Call)(void *, const char *, const char *, ...);
static int (*RM_ReplyWithCallReply)(void *, void *);
static int (*RM_SubscribeToServerEvent)(void *, event, void (*)(void *, event, uint64_t, void *));
static void *waiting;

static int reply(void *context, void **arguments, int count) {
    (void)arguments, (void)count;
    return RM_ReplyWithCallReply(context, RM_Call(context, "GET", "c", "key"));
}

static int wait(void *context, void **arguments, int count) {
    (void)arguments, (void)count;
    waiting = RM_BlockClient(context, reply, 0, 0, 0);
    usleep(500000);     /* another client's SET arrives meanwhile */
    return 0;
}

static void before_sleep(void *context, event which, uint64_t kind, void *data) {
    (void)context, (void)which, (void)data;
    if (kind != 0 || !waiting) return;
    RM_UnblockClient(waiting, 0);
    waiting = 0;
}

int RedisModule_OnLoad(void *context, void **arguments, int count) {
    int (*lookup)(const char *, void *) = ((void **)context)[0];
    (void)arguments, (void)count;
    lookup("RedisModule_SetModuleAttribs", &RM_SetModuleAttribs);
    lookup("RedisModule_CreateCommand", &RM_CreateCommand);
    lookup("RedisModule_BlockClient", &RM_BlockClient);
    lookup("RedisModule_UnblockClient", &RM_UnblockClient);
    lookup("RedisModule_Call", &RM_Call);
    lookup("RedisModule_ReplyWithCallReply", &RM_ReplyWithCallReply);
    lookup("RedisModule_SubscribeToServerEvent", &RM_SubscribeToServerEvent);
    RM_SetModuleAttribs(context, "probe", 1, 1);
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
