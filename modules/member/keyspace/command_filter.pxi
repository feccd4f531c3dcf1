# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The command filter: which of Redis's own commands a member executes (design.md, section 4).
#
# Native commands change one copy only. So a chained member refuses native writes, and other commands that would change
# its data without the chain. A member that is in no view also refuses native reads, since its data may be old.

from libc.string cimport memset, strlen, strncmp

from modules.bindings.redismodule cimport (
    REDISMODULE_CTX_FLAGS_LOADING, REDISMODULE_CTX_FLAGS_LUA, REDISMODULE_CTX_FLAGS_REPLICATED, REDISMODULE_OK,
    REDISMODULE_REPLY_ARRAY, RedisModuleCallReply, RedisModuleCommandFilterCtx, RedisModuleCtx,
    RedisModuleDict, RedisModuleString, RedisModule_Call, RedisModule_CallReplyLength, RedisModule_CallReplyType,
    RedisModule_CommandFilterArgGet, RedisModule_CommandFilterArgInsert, RedisModule_CommandFilterArgReplace,
    RedisModule_CommandFilterArgsCount, RedisModule_CreateDict, RedisModule_CreateString, RedisModule_FreeDict,
    RedisModule_GetClientId, RedisModule_GetContextFlags, RedisModule_Log, RedisModule_ReplyWithCallReply,
    RedisModule_ReplyWithError, RedisModule_StringPtrLen, RedisModule_StringToLongLong,
)
from modules.core.chain cimport chain_shows_data
from modules.core.view cimport KIND_ALL
from modules.member.keyspace.kind cimport own_kind
from modules.member.keyspace.tickets cimport note_command, open_ticket
from modules.member.state.member cimport Member, is_native_replica, the_member
from modules.server.acl cimport is_denied
from modules.server.client_list cimport ClientList, ServerClient, close_client, list_begin, list_end, list_next
from modules.server.command_table cimport (
    NAME_BYTES, RULE_ACL, RULE_BYPASS, RULE_CLUSTER, RULE_CONFIG, RULE_EXECUTES, RULE_FOLLOW, RULE_INFO, RULE_NONE,
    RULE_PAUSE, RULE_PUBLISH, RULE_READ, RULE_REPLY, RULE_ROLE, RULE_SUBSCRIBES, RULE_SYNC, RULE_TRACKING, RULE_WAIT,
    RULE_WAITAOF, RULE_WRITE, Rule, begins_with, is_ours, is_refusable, lower_argument, lower_name, recent_rule,
    table_fill, table_find, table_set,
)
from modules.server.connection_kind cimport is_connected
from modules.server.logins cimport ENTRANCE_PASSWORD
from modules.server.passwords cimport passwords_filter, the_passwords
from modules.server.redis_calls cimport drop_reply


cdef bint filter_build(Member *m) noexcept nogil:
    """Fill the table of rules: when the module is loaded, and again when another module has added commands.

    Returns False if the table is incomplete: native writes could pass the filter.
    """
    cdef RedisModuleDict *table = RedisModule_CreateDict(NULL)
    cdef bint whole = table_fill(m.ctx, table)
    # The module calls these commands by their names, so nobody may have renamed them.
    whole = (whole and is_refusable(m.ctx, "config", 6) and is_refusable(m.ctx, "client", 6)
             and is_refusable(m.ctx, "info", 4) and is_refusable(m.ctx, "replicaof", 9)
             and is_refusable(m.ctx, "psync", 5) and is_refusable(m.ctx, "role", 4))
    table_set(table, "config", 6, RULE_CONFIG)
    table_set(table, "acl", 3, RULE_ACL)
    table_set(table, "subscribe", 9, RULE_SUBSCRIBES)
    table_set(table, "psubscribe", 10, RULE_SUBSCRIBES)
    table_set(table, "exec", 4, RULE_EXECUTES)
    table_set(table, "role", 4, RULE_ROLE)
    table_set(table, "psync", 5, RULE_SYNC)
    table_set(table, "wait", 4, RULE_WAIT)
    table_set(table, "waitaof", 7, RULE_WAITAOF)
    table_set(table, "client|pause", 12, RULE_PAUSE)
    table_set(table, "client|reply", 12, RULE_REPLY)
    table_set(table, "client|tracking", 15, RULE_TRACKING)
    table_set(table, "publish", 7, RULE_PUBLISH)
    table_set(table, "spublish", 8, RULE_PUBLISH)
    table_set(table, "sync", 4, RULE_SYNC)
    table_set(table, "info", 4, RULE_INFO)
    table_set(table, "cluster", 7, RULE_CLUSTER)    # with all of its subcommands
    table_set(table, "readonly", 8, RULE_CLUSTER)
    table_set(table, "readwrite", 9, RULE_CLUSTER)
    table_set(table, "asking", 6, RULE_CLUSTER)
    # Commands of this module whose names lack its usual prefix. They check the member's state themselves.
    table_set(table, "list.checkpoint", 15, RULE_NONE)
    table_set(table, "tail.checkpoint", 15, RULE_NONE)
    table_set(table, "head.flush", 10, RULE_NONE)
    if m.keyspace.commands != NULL:
        RedisModule_FreeDict(NULL, m.keyspace.commands)
    m.keyspace.commands = table
    memset(&m.keyspace.recent, 0, sizeof(m.keyspace.recent))
    return whole


cdef void note_modules(Member *m) noexcept nogil:
    """Note whether this server has other modules than this one."""
    cdef RedisModuleCallReply *modules = RedisModule_Call(m.ctx, "MODULE", "c", b"LIST")
    m.keyspace.alone = (modules != NULL and RedisModule_CallReplyType(modules) == REDISMODULE_REPLY_ARRAY
                        and RedisModule_CallReplyLength(modules) == 1)
    drop_reply(modules)


# ------------------------------------------------------------------------------------------------ every command

cdef void replace_name(RedisModuleCommandFilterCtx *command, const char *name) noexcept nogil:
    RedisModule_CommandFilterArgReplace(command, 0, RedisModule_CreateString(NULL, name, strlen(name)))


cdef void hand_over(RedisModuleCommandFilterCtx *command, const char *name) noexcept nogil:
    """Make the whole command the arguments of our command `name`, which replies to it. Redis has not looked the command
    up yet.
    """
    RedisModule_CommandFilterArgInsert(command, 0, RedisModule_CreateString(NULL, name, strlen(name)))


cdef void replace_asked(Member *m, RedisModuleCommandFilterCtx *command, Rule rule) noexcept nogil:
    """Replace ROLE or INFO with our command of the same meaning (`redis_role.pxi`).

    The variant .ANY needs no login, as far as Redis's own command needs none.
    """
    cdef bint everybody = who_enters(m) != ENTRANCE_PASSWORD
    if rule == RULE_ROLE:
        replace_name(command, "CHAIN.ROLE.ANY" if everybody else "CHAIN.ROLE")
    else:
        replace_name(command, "CHAIN.INFO.ANY" if everybody else "CHAIN.INFO")


cdef bint shows_old_data(const Member *m) noexcept nogil:
    """Returns whether this member's data may be old: it was in a chain, and is in no view. It was removed, or has
    restarted, or is a learner. In a chain of all commands it may have come back and lack what was committed meanwhile.
    """
    if not m.chain.has_history or m.settings.serve_removed_data:
        return False
    return m.chain.me < 0 or (m.chain.log.streams and m.chain.me > 0 and (m.effects.fresh or not m.effects.holds))


cdef bint may_show_data(const Member *m) noexcept nogil:
    """Returns whether a member of a chain of all commands may answer from its data.

    The gate keeps requests back that it may not answer. One that came when this member was in no view, and nothing was
    kept back, is run perhaps when it is a new tail that has not got all that the old one had.
    """
    return chain_shows_data(&m.chain) or m.settings.serve_removed_data


cdef void refuse_read(Member *m, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Clients of a cluster are sent to the head, if this member knows one."""
    if m.settings.cluster_announce and m.chain.view.count:
        hand_over(command, "CHAIN.ELSEWHERE")
    else:
        hand_over(command, "CHAIN.REFUSED.READ")


cdef void note_unreplicated(Member *m) noexcept nogil:
    """Count a write of a member that is in no chain yet, and log the first: no other server has it."""
    if m.keyspace.unreplicated_writes == 0:
        RedisModule_Log(m.ctx, "warning", "this member is in no chain yet, and takes writes: they are on this server "
                        "alone. MASTER.ADD makes them the data of a chain whose first member it is")
    m.keyspace.unreplicated_writes += 1


cdef bint is_update(const char *name, size_t length) noexcept nogil:
    """Returns whether the command, one of ours, is MEMBER.PUT, MEMBER.DEL or MEMBER.ONCE. The stream of effects has
    none of them.
    """
    if length == 11:
        return begins_with(name, "member.once", 11)
    return length == 10 and (begins_with(name, "member.put", 10) or begins_with(name, "member.del", 10))


# ------------------------------------------------------- commands of the stream, and what they call
#
# The stream of effects has commands of other modules as they are, if these modules replicate them so, and such a
# command may call others. Whatever a member may show, and whoever takes writes: it executes them, or it would not have
# what the head has. A command is seen before what it calls, so what has no connection belongs to the newest command
# that has one.

cdef bint is_loaded(Member *m) noexcept nogil:
    """Returns whether the append-only file is being read, by commands of other modules that call this one: Redis itself
    refuses those of clients.
    """
    return not m.disk.started and RedisModule_GetContextFlags(m.ctx) & REDISMODULE_CTX_FLAGS_LOADING != 0


cdef bint is_streams(Member *m, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Returns whether it is certain that the command came with the stream, or is called by one that did. Redis 7.0
    cannot tell.
    """
    cdef unsigned long long client
    if m.effects.client_of == NULL or m.effects.master_client == 0:
        return False
    client = m.effects.client_of(command)
    if client == m.effects.master_client:
        m.effects.in_stream = True
    elif m.effects.in_stream and is_connected(m.ctx, client):
        m.effects.in_stream = False
    return m.effects.in_stream


cdef bint may_be_streams(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether a command that was handed over may have come with the stream, or be called by one that did. Only
    Redis 7.0 leaves that open, for what another module calls while our own server executes effects.
    """
    cdef int flags = RedisModule_GetContextFlags(ctx)
    if flags & REDISMODULE_CTX_FLAGS_REPLICATED:
        return True
    return (m.effects.client_of == NULL and m.effects.pseudo_master.feeding
            and m.effects.pseudo_master.fed != m.chain.executed + 1 and not flags & REDISMODULE_CTX_FLAGS_LUA
            and not is_connected(ctx, RedisModule_GetClientId(ctx)))


cdef bint executes_streams(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Execute the command in the arguments if it may be the stream's. Returns False if it is a client's.

    Like Redis itself, write it to the append-only file; what another module's command calls is written with that.
    """
    cdef Member *m = the_member()
    cdef bint written = RedisModule_GetContextFlags(ctx) & REDISMODULE_CTX_FLAGS_REPLICATED != 0
    cdef RedisModuleCallReply *reply
    if argc < 2 or not may_be_streams(m, ctx):
        return False
    m.keyspace.own_call = True
    reply = RedisModule_Call(
        ctx, RedisModule_StringPtrLen(argv[1], NULL), "!Ev" if written else "Ev", &argv[2], <size_t>(argc - 2))
    m.keyspace.own_call = False
    if reply == NULL:
        RedisModule_ReplyWithError(ctx, "ERR unknown command, or wrong number of arguments")
        return True
    RedisModule_ReplyWithCallReply(ctx, reply)
    drop_reply(reply)
    return True


cdef bint is_heads_though_no_write(const char *name, size_t length, Rule rule) noexcept nogil:
    """Returns whether the command is to be executed by the head, and Redis does not refuse it at a replica."""
    return rule == RULE_PUBLISH or (length == 7 and begins_with(name, "pfcount", 7))


cdef bint is_clients(Member *m, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Returns whether it is certain that a client has sent the command. The filter sees those of the stream, too.

    Redis 7.0 cannot tell while the server executes the stream, and refuses clients' writes at a replica by itself. For
    clients of Sentinels that is as good, and for those of a cluster it is not.
    """
    cdef unsigned long long client
    if m.effects.client_of == NULL and m.settings.cluster_announce:
        return m.effects.pseudo_master.feeding and m.effects.pseudo_master.fed == m.chain.executed + 1
    if m.effects.master_client == 0 or m.effects.client_of == NULL:
        return False
    client = m.effects.client_of(command)
    return client != m.effects.master_client and client != 0 and client >> 63 == 0


cdef void pause_writes(RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Let CLIENT PAUSE time [ALL] pause writes alone: the connections of members and masters would be paused, too."""
    cdef char mode[NAME_BYTES]
    cdef size_t length = 0
    cdef int count = RedisModule_CommandFilterArgsCount(command)
    if count == 3:
        RedisModule_CommandFilterArgInsert(command, 3, RedisModule_CreateString(NULL, "WRITE", 5))
    elif count == 4 and lower_argument(command, 3, mode, &length) and length == 3 and strncmp(mode, "all", 3) == 0:
        RedisModule_CommandFilterArgReplace(command, 3, RedisModule_CreateString(NULL, "WRITE", 5))


cdef bint redirects(RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Returns whether CLIENT TRACKING ON REDIRECT id, or the like, lets the server write to another client."""
    cdef char word[NAME_BYTES]
    cdef size_t length = 0
    cdef int i
    for i in range(3, RedisModule_CommandFilterArgsCount(command)):
        if lower_argument(command, i, word, &length) and length == 8 and strncmp(word, "redirect", 8) == 0:
            return True
    return False


cdef void ask_for_all_files(const Member *m, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Let WAITAOF local others timeout ask for the tap, which stands for all other members, if it asks for some."""
    cdef long long others
    if (RedisModule_CommandFilterArgsCount(command) == 4
            and RedisModule_StringToLongLong(RedisModule_CommandFilterArgGet(command, 2), &others) == REDISMODULE_OK
            and 1 < others < m.chain.view.count):
        RedisModule_CommandFilterArgReplace(command, 2, RedisModule_CreateString(NULL, "1", 1))


cdef void filter_of_all(
    Member *m, RedisModuleCommandFilterCtx *command, const char *name, size_t length, Rule rule,
) noexcept nogil:
    """Filter one command at a member of a chain of all commands.

    The serving head executes every command that changes data; a ticket is opened before. Redis itself refuses writes at
    the others, whose servers are replicas.
    """
    cdef bint entering = m.effects.tap.entering or m.effects.copied
    m.effects.tap.entering = m.effects.copied = False
    if rule == RULE_CONFIG or rule == RULE_EXECUTES:
        passwords_filter(command)
    if rule == RULE_FOLLOW or rule == RULE_BYPASS:
        hand_over(command, "CHAIN.REFUSED.ALL")
    elif rule == RULE_SYNC:
        if not entering:
            hand_over(command, "CHAIN.REFUSED.ALL")
    elif not m.effects.leads and is_streams(m, command):
        pass
    elif not may_show_data(m) and (rule == RULE_READ or (rule == RULE_WRITE and not m.effects.pseudo_master.feeding)):
        # The stream of effects has writes, and no reads. Redis itself refuses a client's write while it is fed.
        refuse_read(m, command)
    elif rule == RULE_ROLE or rule == RULE_INFO:
        replace_asked(m, command, rule)
    elif m.effects.leads:
        if rule == RULE_PAUSE:
            pause_writes(command)
        if rule == RULE_PAUSE or (rule == RULE_EXECUTES and m.effects.pauses):
            m.effects.calm = 0      # the pause may be over when the pass ends, and what was postponed runs after that
            m.effects.still_paused = False      # another may have ended in this pass
        note_command(m)
        if rule == RULE_WAIT:
            replace_name(command, "CHAIN.WAIT" if who_enters(m) == ENTRANCE_PASSWORD else "CHAIN.WAIT.ANY")
        elif rule != RULE_READ:
            open_ticket(m)
            if rule == RULE_WAITAOF:
                ask_for_all_files(m, command)
    elif rule == RULE_PAUSE and m.chain.me >= 0:
        hand_over(command, "CHAIN.REFUSED.PAUSE")
    elif (rule == RULE_WRITE or rule == RULE_PUBLISH) and is_clients(m, command):
        hand_over(command, "CHAIN.ELSEWHERE")
    elif m.effects.client_of == NULL and is_heads_though_no_write(name, length, rule):
        hand_over(command, "CHAIN.ELSEWHERE")


cdef void filter_command(Member *m, RedisModuleCommandFilterCtx *command) noexcept nogil:
    """Filter one command. Redis calls the command filter for each command, those of scripts and other modules included.
    """
    cdef size_t length
    cdef const char *name = RedisModule_StringPtrLen(RedisModule_CommandFilterArgGet(command, 0), &length)
    cdef Rule rule
    if m.keyspace.own_call:
        return
    m.keyspace.filtered += 1
    if is_ours(name, length):
        if m.chain.log.streams and not m.effects.leads and is_update(name, length):
            hand_over(command, "CHAIN.ELSEWHERE")
        return
    m.clients.may_subscribe = True
    rule = recent_rule(&m.keyspace.recent, m.keyspace.commands, command, name, length)
    if rule >= RULE_EXECUTES:
        m.keyspace.entrance_known = False
    if (rule == RULE_READ or rule == RULE_WRITE) and is_loaded(m):
        return
    if rule == RULE_ACL or rule == RULE_REPLY or (rule == RULE_EXECUTES and m.direct.trust_may_end):
        m.direct.trust_may_end = m.direct.distrusted = True
    if rule == RULE_TRACKING and redirects(command):
        m.direct.redirects = m.direct.distrusted = True
    if rule == RULE_PAUSE:
        m.effects.pauses = True
    if rule == RULE_CLUSTER and m.settings.cluster_announce:
        hand_over(command, "CHAIN.CLUSTER" if who_enters(m) == ENTRANCE_PASSWORD else "CHAIN.CLUSTER.ANY")
        return
    if m.chain.log.streams:
        filter_of_all(m, command, name, length, rule)
        return
    if rule == RULE_SUBSCRIBES or rule == RULE_EXECUTES:
        m.clients.subscribers = True
    if rule == RULE_CONFIG or rule == RULE_EXECUTES:
        passwords_filter(command)
        if the_passwords().rewriting and is_native_replica(m):
            hand_over(command, "CHAIN.REFUSED.REWRITE")
    elif (rule == RULE_WRITE or rule == RULE_BYPASS) and not m.chain.has_history:
        note_unreplicated(m)
    elif rule == RULE_WRITE and m.chain.me < 0 and own_kind(m) == KIND_ALL:
        hand_over(command, "CHAIN.ELSEWHERE")   # restarted, and in no view yet: another member takes the write
    elif rule == RULE_WRITE or rule == RULE_BYPASS or (rule == RULE_FOLLOW and m.chain.has_history):
        hand_over(command, "CHAIN.REFUSED")
    elif rule == RULE_READ and shows_old_data(m):
        refuse_read(m, command)
    elif (rule == RULE_ROLE or rule == RULE_INFO) and (m.chain.has_history or m.disk.marker.found):
        replace_asked(m, command, rule)


cdef int on_refused(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.REFUSED command …: replies for a command that would make copies differ -> ERR | NOPERM"""
    if is_denied(ctx, argv, argc):
        return 0
    return RedisModule_ReplyWithError(
        ctx, "ERR refused on a chain member, whose copies must not differ: write with MEMBER.PUT and MEMBER.DEL")


cdef int on_refused_all(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.REFUSED.ALL command …: replies for a command that the stream of effects does not carry -> ERR | NOPERM"""
    if is_denied(ctx, argv, argc):
        return 0
    return RedisModule_ReplyWithError(
        ctx, "ERR refused on a chain member: the chain alone copies data, and nothing changes or leaves it otherwise")


cdef int on_refused_pause(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.REFUSED.PAUSE CLIENT PAUSE …: replies at a member that is not the head -> ERR | NOPERM"""
    if is_denied(ctx, argv, argc):
        return 0
    return RedisModule_ReplyWithError(
        ctx, "ERR refused on a member that is not the head: it would postpone what the chain sends. Pause the head")


cdef int on_refused_read(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.REFUSED.READ command …: replies for a command that would show old data -> MASTERDOWN | CLUSTERDOWN | NOPERM
    """
    if executes_streams(ctx, argv, argc) or is_denied(ctx, argv, argc):
        return 0
    if the_member().settings.cluster_announce:
        return RedisModule_ReplyWithError(ctx, "CLUSTERDOWN this member is in no chain at present: ask another one")
    return RedisModule_ReplyWithError(
        ctx, "MASTERDOWN this member is in no chain at present, and what it has may be old. Its master takes it in "
        "again after a fault, and with MASTER.ADD. With member.serve-removed-data yes it shows what it has")


cdef int on_refused_rewrite(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.REFUSED.REWRITE CONFIG REWRITE: replies while this server is a replica, for a copy -> ERR | NOPERM"""
    if is_denied(ctx, argv, argc):
        return 0
    return RedisModule_ReplyWithError(
        ctx, "ERR not rewritten: this member is being copied, and the file would have `replicaof` in it: CONFIG "
        "REWRITE again when MASTER.ADD has answered")


# ------------------------------------------------------------------ commands that passed the filter before a change

cdef bint is_held_back(const Member *m, const ServerClient *client) noexcept nogil:
    """Returns whether the client waits in a native command that reads or writes: blocked, or postponed by CLIENT PAUSE.

    Redis 7.2 and later execute such a command without calling the filter again.
    """
    cdef char name[NAME_BYTES]
    cdef size_t length = 0
    cdef Rule rule
    if not client.is_blocked or not lower_name(client.command, strlen(client.command), name, &length):
        return False
    rule = table_find(m.keyspace.commands, name, length)
    return rule == RULE_WRITE or rule == RULE_FOLLOW or rule == RULE_READ or rule == RULE_BYPASS


cdef void end_waiting_commands(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Disconnect the clients whose commands passed the filter before this member's role changed, and would be executed
    after it.
    """
    cdef ClientList list
    cdef ServerClient client
    list_begin(&list, ctx)
    while list_next(&list, &client):
        if client.in_transaction or is_held_back(m, &client):
            close_client(m.ctx, client.id)
    list_end(&list)
