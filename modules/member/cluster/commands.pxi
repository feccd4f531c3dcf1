# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# CLUSTER, READONLY, READWRITE and ASKING, in the place of Redis's own, with `member.cluster-announce yes`.
#
# What a map says is what this member's view says: the head has all slots. A member that knows no view answers an error,
# so that clients ask another one; Redis would answer that there are no slots.

from libc.stdint cimport INT64_MAX
from libc.stdlib cimport atoll
from libc.string cimport memset, strlen

from modules.bindings.redismodule cimport (
    REDISMODULE_OK, RedisModuleCtx, RedisModuleString, RedisModule_GetClientId, RedisModule_ReplyWithArray,
    RedisModule_ReplyWithCString, RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong, RedisModule_ReplyWithMap,
    RedisModule_ReplyWithSimpleString, RedisModule_ReplyWithVerbatimString, RedisModule_StringPtrLen,
    RedisModule_StringToLongLong,
)
from modules.core.client_ports cimport CONNECTION_PLAIN, CONNECTION_TLS
from modules.core.cluster_map cimport (
    ClusterMap, Shard, cluster_info, cluster_nodes, cluster_replicas, cluster_shards, cluster_slots,
)
from modules.core.hex cimport to_hex
from modules.core.key_slot cimport SLOTS, key_slot
from modules.core.reply_items cimport Items, items_drop
from modules.core.view cimport HISTORY_BYTES
from modules.member.keyspace cimport is_logged_in
from modules.member.state.member cimport Member, the_member
from modules.server.acl cimport is_denied
from modules.server.connection_kind cimport connection_of
from modules.server.passwords cimport strcasecmp
from modules.server.redis_calls cimport redis_port
from modules.server.tls cimport tls_replicates


# -------------------------------------------------------------------------------------------------------- replies

cdef void reply_item(RedisModuleCtx *ctx, char letter, const char *text) noexcept nogil:
    if letter == c"$":
        RedisModule_ReplyWithCString(ctx, text)
    elif letter == c"=":
        RedisModule_ReplyWithVerbatimString(ctx, text, strlen(text))
    elif letter == c":":
        RedisModule_ReplyWithLongLong(ctx, atoll(text))
    elif letter == c"*":
        RedisModule_ReplyWithArray(ctx, atoll(text))
    else:
        RedisModule_ReplyWithMap(ctx, atoll(text))


cdef int reply_items(RedisModuleCtx *ctx, Items *items) noexcept nogil:
    """Reply with the parts, and give their memory back."""
    cdef const char *item = items.bytes
    if items.lacks_memory:
        RedisModule_ReplyWithError(ctx, "ERR out of memory")
    else:
        while item < items.bytes + items.used:
            reply_item(ctx, item[0], item + 1)
            item += strlen(item) + 1
    items_drop(items)
    return REDISMODULE_OK


cdef int reply_own_shard(const Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CLUSTER MYSHARDID: the chain's history, in as many digits as Redis has."""
    cdef char id[8 + 2 * HISTORY_BYTES + 1]
    memset(id, c"0", 8)
    to_hex(m.chain.history, HISTORY_BYTES, &id[8])
    return RedisModule_ReplyWithCString(ctx, id)


# ------------------------------------------------------------------------------------------------------- questions

cdef bint is_word(RedisModuleString *argument, const char *word) noexcept nogil:
    return strcasecmp(RedisModule_StringPtrLen(argument, NULL), word) == 0


cdef bint is_slot(RedisModuleCtx *ctx, RedisModuleString *argument, int *slot) noexcept nogil:
    """Returns False, with Redis's error replied, if the argument is no slot."""
    cdef long long number = -1
    if RedisModule_StringToLongLong(argument, &number) != REDISMODULE_OK or not 0 <= number < SLOTS:
        RedisModule_ReplyWithError(ctx, "ERR Invalid or out of range slot")
        return False
    slot[0] = <int>number
    return True


cdef int reply_keys_in(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CLUSTER COUNTKEYSINSLOT slot | GETKEYSINSLOT slot count"""
    cdef Slot slot
    slot.found, slot.most, slot.shows = 0, INT64_MAX, argc == 4
    if not is_slot(ctx, argv[2], &slot.number):
        return REDISMODULE_OK
    if slot.shows and (RedisModule_StringToLongLong(argv[3], &slot.most) != REDISMODULE_OK or slot.most < 0):
        return RedisModule_ReplyWithError(ctx, "ERR Invalid number of keys")
    return reply_keys(ctx, &slot)


cdef int reply_replicas(const ClusterMap *map, RedisModuleCtx *ctx, RedisModuleString *run_id) noexcept nogil:
    cdef Items items
    cdef const char *error
    memset(&items, 0, sizeof(items))
    error = cluster_replicas(map, RedisModule_StringPtrLen(run_id, NULL), &items)
    if error != NULL:
        items_drop(&items)
        return RedisModule_ReplyWithError(ctx, error)
    return reply_items(ctx, &items)


cdef int reply_with_map(const ClusterMap *map, RedisModuleCtx *ctx, RedisModuleString *what) noexcept nogil:
    """Reply to a question without arguments."""
    cdef Items items
    memset(&items, 0, sizeof(items))
    if map.count == 0 and (is_word(what, "slots") or is_word(what, "shards")):
        return RedisModule_ReplyWithError(ctx, "CLUSTERDOWN this member is in no chain at present: ask another one")
    if is_word(what, "slots"):
        cluster_slots(map, &items)
    elif is_word(what, "shards"):
        cluster_shards(map, &items)
    elif is_word(what, "nodes"):
        cluster_nodes(map, &items)
    elif is_word(what, "info"):
        cluster_info(map, &items)
    elif is_word(what, "links"):
        return RedisModule_ReplyWithArray(ctx, 0)       # there is no bus
    elif is_word(what, "myid"):
        return RedisModule_ReplyWithCString(ctx, map.run_id)
    else:
        return RedisModule_ReplyWithError(
            ctx, "ERR refused on a chain member: the chain's master decides who has which slots")
    return reply_items(ctx, &items)


cdef int answer(const Member *m, const ClusterMap *map, RedisModuleCtx *ctx, RedisModuleString **argv, int argc,
                ) noexcept nogil:
    cdef RedisModuleString *what = argv[1]
    cdef const char *key
    cdef size_t length
    if argc == 2 and is_word(what, "myshardid"):
        return reply_own_shard(m, ctx)
    if argc == 3 and is_word(what, "keyslot"):
        key = RedisModule_StringPtrLen(argv[2], &length)
        return RedisModule_ReplyWithLongLong(ctx, key_slot(key, length))
    if (argc == 3 and is_word(what, "countkeysinslot")) or (argc == 4 and is_word(what, "getkeysinslot")):
        return reply_keys_in(ctx, argv, argc)
    if argc == 3 and (is_word(what, "replicas") or is_word(what, "slaves")):
        return reply_replicas(map, ctx, argv[2])
    if argc == 3 and is_word(what, "count-failure-reports"):
        return RedisModule_ReplyWithLongLong(ctx, 0)
    return reply_with_map(map, ctx, what)


cdef int own_port(RedisModuleCtx *ctx, const ClusterMap *map) noexcept nogil:
    """Returns this server's port for a client that asks so, 0: none."""
    cdef bint tls = map.connection == CONNECTION_TLS or (map.speaks_tls and map.connection != CONNECTION_PLAIN)
    return redis_port(ctx, "tls-port" if tls else "port")


cdef int on_cluster(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.CLUSTER command …, in place of CLUSTER, READONLY, READWRITE and ASKING -> the reply of a node of a cluster
    """
    cdef const Member *m = the_member()
    cdef ClusterMap map
    cdef Shard shard
    if is_denied(ctx, argv, argc):
        return REDISMODULE_OK
    if not is_word(argv[1], "cluster"):
        return RedisModule_ReplyWithSimpleString(ctx, "OK")     # any member answers reads, and no slot migrates
    shard.view = &m.chain.view
    shard.first_slot, shard.last_slot = 0, SLOTS - 1
    shard.offset = m.chain.committed + 1
    map.shards = &shard
    map.count = 1 if m.chain.view.count else 0
    map.run_id = m.self.run_id
    map.speaks_tls = tls_replicates(ctx)
    map.ports = &m.replication.ports
    map.connection = connection_of(ctx, RedisModule_GetClientId(ctx))
    map.port = own_port(ctx, &map)
    return answer(m, &map, ctx, &argv[1], argc - 1)


cdef int on_cluster_any(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.CLUSTER.ANY: as CHAIN.CLUSTER; Redis lets a client that has not logged in run it."""
    return on_cluster(ctx, argv, argc) if is_logged_in(the_member(), ctx) else REDISMODULE_OK
