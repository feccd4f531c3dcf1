/* SPDX-License-Identifier: Apache-2.0 */
/* The one door through which the Redis module API enters this project: the header of Redis 7.0, whichever server is built. */
#ifndef CHAINREDIS_REDISMODULE_H
#define CHAINREDIS_REDISMODULE_H

#include <src/redismodule.h>    /* of vendor/redis-api, which is on the include path; its src/ is not */

#ifndef REDISMODULE_APIVER_1
#error "src/redismodule.h is not a Redis module header: build against the tree that vendor/fetch-redis puts in place"
#endif

/* All of these came with Redis 7.0: file events on the server's loop, module configurations, ACL-aware calls. */
#if !defined(REDISMODULE_EVENTLOOP_READABLE) || !defined(REDISMODULE_EVENT_EVENTLOOP) \
    || !defined(REDISMODULE_CONFIG_SENSITIVE) || !defined(REDISMODULE_CTX_FLAGS_RESP3)
#error "this Redis is older than 7.0, which brought the event loop API and module configurations to modules"
#endif

/* Everything else in a module is hidden; Redis finds these two by name. */
__attribute__((visibility("default"))) int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
__attribute__((visibility("default"))) int RedisModule_OnUnload(RedisModuleCtx *ctx);

#endif
