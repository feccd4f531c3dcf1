/* SPDX-License-Identifier: Apache-2.0 */
/* A module of somebody else's, which a member or a master finds in its server: what it does to their data is up to the
 * command filter. The tests build it (conftest.py). Names are in upper case, as those of Redis 8's own vector sets are. */

#include <string.h>

#include "redismodule.h"

#define PROMISE 12  /* REDISMODULE_REPLY_PROMISE, which this header does not have */

static int copy_set(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 3) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ | REDISMODULE_WRITE);
    RedisModule_StringSet(key, argv[2]);
    RedisModule_CloseKey(key);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static int show(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc != 2) return RedisModule_WrongArity(ctx);
    RedisModuleKey *key = RedisModule_OpenKey(ctx, argv[1], REDISMODULE_READ);
    size_t length = 0;
    const char *value = key ? RedisModule_StringDMA(key, &length, REDISMODULE_READ) : NULL;
    if (value) RedisModule_ReplyWithStringBuffer(ctx, value, length);
    else RedisModule_ReplyWithNull(ctx);
    if (key) RedisModule_CloseKey(key);
    return REDISMODULE_OK;
}

/* Any command, as a module calls it. */
static int call(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    RedisModuleCallReply *reply = RedisModule_Call(
        ctx, RedisModule_StringPtrLen(argv[1], NULL), "Ev", argv + 2, (size_t)argc - 2);
    if (!reply) return RedisModule_ReplyWithError(ctx, "ERR no reply");
    RedisModule_ReplyWithCallReply(ctx, reply);
    RedisModule_FreeCallReply(reply);
    return REDISMODULE_OK;
}

typedef void (*OnReply)(RedisModuleCtx *ctx, RedisModuleCallReply *reply, void *data);

/* A client that waits for the reply to a call. */
typedef struct {
    RedisModuleBlockedClient *client;
    RedisModuleCtx *ctx;
} Caller;

static void pass_on(RedisModuleCtx *ctx, RedisModuleCallReply *reply, void *data) {
    Caller *caller = data;
    RedisModule_ReplyWithCallReply(caller->ctx, reply);
    RedisModule_FreeCallReply(reply);
    RedisModule_FreeThreadSafeContext(caller->ctx);
    RedisModule_UnblockClient(caller->client, NULL);
    RedisModule_Free(caller);
}

/* Any command, as a module calls it that lets it block (Redis 7.2 and later). */
static int call_and_wait(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (argc < 2) return RedisModule_WrongArity(ctx);
    void (*on_unblocked)(RedisModuleCallReply *, OnReply, void *);
    if (RedisModule_GetApi("RedisModule_CallReplyPromiseSetUnblockHandler", &on_unblocked) != REDISMODULE_OK)
        return RedisModule_ReplyWithError(ctx, "ERR this server's modules can't wait for a call");
    RedisModuleCallReply *reply = RedisModule_Call(
        ctx, RedisModule_StringPtrLen(argv[1], NULL), "KEv", argv + 2, (size_t)argc - 2);
    if (RedisModule_CallReplyType(reply) != PROMISE) {
        RedisModule_ReplyWithCallReply(ctx, reply);
        RedisModule_FreeCallReply(reply);
        return REDISMODULE_OK;
    }
    Caller *caller = RedisModule_Alloc(sizeof *caller);
    caller->client = RedisModule_BlockClient(ctx, NULL, NULL, NULL, 0);
    caller->ctx = RedisModule_GetThreadSafeContext(caller->client);
    on_unblocked(reply, pass_on, caller);
    return REDISMODULE_OK;
}

/* Any command, as a module calls it that lets other servers call it, too: its own command is what is replicated. */
static int repeat(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    int status = call(ctx, argv, argc);
    RedisModule_ReplicateVerbatim(ctx);
    return status;
}

static int set_now(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ReplicateVerbatim(ctx);
    return copy_set(ctx, argv, argc);
}

/* Sets a key when it replies to the client, which it has blocked. Where it is replicated, there is no such client. */
static int set_later(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_REPLICATED) return copy_set(ctx, argv, argc);
    RedisModule_UnblockClient(RedisModule_BlockClient(ctx, set_now, NULL, NULL, 0), NULL);
    return REDISMODULE_OK;
}

/* Drops all data behind everybody's back. */
static int wipe(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    RedisModule_ResetDataset(0, 0);
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

static long long sets = 0;

static int note_set(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *key) {
    sets += strcmp(event, "set") == 0;
    return REDISMODULE_OK;
}

/* How many keys were set, by the keyspace events that this module has got. */
static int count_sets(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithLongLong(ctx, sets);
}

static int say_ok(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    return RedisModule_ReplyWithSimpleString(ctx, "OK");
}

/* FOREIGN.FOLLOW host port becomes REPLICAOF host port, after the filters that were there before. */
static void disguise(RedisModuleCommandFilterCtx *command) {
    const char *name = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, 0), NULL);
    if (strcmp(name, "FOREIGN.FOLLOW") == 0)
        RedisModule_CommandFilterArgReplace(command, 0, RedisModule_CreateString(NULL, "REPLICAOF", 9));
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
    if (RedisModule_Init(ctx, "foreign", 1, REDISMODULE_APIVER_1) != REDISMODULE_OK) return REDISMODULE_ERR;
    RedisModule_CreateCommand(ctx, "FOREIGN.SET", copy_set, "write deny-oom", 1, 1, 1);
    RedisModule_CreateCommand(ctx, "MIRROR.SET", copy_set, "write deny-oom", 1, 1, 1);
    RedisModule_CreateCommand(ctx, "FOREIGN.SHOW", show, "readonly", 1, 1, 1);
    RedisModule_CreateCommand(ctx, "FOREIGN.CALL", call, "", 0, 0, 0);
    RedisModule_CreateCommand(ctx, "FOREIGN.CALLANDWAIT", call_and_wait, "", 0, 0, 0);
    RedisModule_CreateCommand(ctx, "FOREIGN.REPEAT", repeat, "write", 0, 0, 0);
    RedisModule_CreateCommand(ctx, "FOREIGN.LATER", set_later, "write", 1, 1, 1);
    RedisModule_CreateCommand(ctx, "FOREIGN.WIPE", wipe, "", 0, 0, 0);
    RedisModule_CreateCommand(ctx, "FOREIGN.SETS", count_sets, "", 0, 0, 0);
    RedisModule_SubscribeToKeyspaceEvents(ctx, REDISMODULE_NOTIFY_STRING, note_set);
    RedisModule_CreateCommand(ctx, "FOREIGN.BOX", NULL, "", 0, 0, 0);
    RedisModuleCommand *box = RedisModule_GetCommand(ctx, "FOREIGN.BOX");
    RedisModule_CreateSubcommand(box, "PUT", copy_set, "write", 2, 2, 1);
    RedisModule_CreateSubcommand(box, "LOOK", say_ok, "readonly", 0, 0, 0);
    return RedisModule_RegisterCommandFilter(ctx, disguise, 0) ? REDISMODULE_OK : REDISMODULE_ERR;
}
