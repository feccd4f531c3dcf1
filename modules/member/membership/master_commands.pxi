# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Commands of the master: views and the steps of a join (docs/protocol.md, "Views" and "Joining").

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleString, RedisModule_GetClientId, RedisModule_ReplyWithArray,
    RedisModule_ReplyWithCString, RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong,
    RedisModule_ReplyWithSimpleString,
)
from modules.core.chain cimport chain_is_tail, chain_jump
from modules.core.learner cimport learner_feed, learner_pin, learner_pin_from, learner_unpin
from modules.core.membership cimport membership_forget
from modules.core.messages cimport ACCEPTED, NONSENSE, Verdict
from modules.core.view cimport KIND_ALL, MAX_MEMBERS, Node, View, kind_name, same_history, view_index
from modules.member.effects cimport effects_begin
from modules.member.keyspace cimport (
    end_waiting_commands, holds_keys, may_become_chain, reaches_itself, settle_redis_settings,
)
from modules.member.keyspace.kind cimport own_kind
from modules.member.persistence cimport marker_take, record
from modules.member.persistence.wakeup cimport wake
from modules.member.replication cimport (
    NODE_ARGUMENTS, Text, VIEW_ARGUMENTS, adopt, aim_links, argument_number, argument_text, parse_node, parse_view,
    proven_peer, reply_verdict,
)
from modules.member.replies cimport may_block
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.effects cimport DATABASE_UNKNOWN
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_COPIED
from modules.server.proofs cimport SECRET_BYTES


cdef bint entitled(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether the client may give orders. If not, an error has been replied.

    A server without a secret takes orders from any user who may run the command. A server with a secret takes orders
    only from connections that have proved it (rule 2). Entering a chain ends all transactions, so no order can be part
    of a transaction.
    """
    if not may_block(ctx):
        RedisModule_ReplyWithError(ctx, "ERR not inside MULTI, a script or a module's call")
        return False
    return not m.replication.has_secret or proven_peer(m, ctx) != NULL


cdef bint read_view(
    Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc, View *view, unsigned char *secret,
) noexcept nogil:
    """Read the view in the arguments. Returns False if an error has been replied."""
    cdef Text texts[VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS]
    cdef int i
    if argc - 1 <= VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS:
        for i in range(argc - 1):
            argument_text(argv[i + 1], &texts[i])
        memset(view, 0, sizeof(View))
        if parse_view(texts, argc - 1, view, secret):
            return True
    RedisModule_ReplyWithError(
        ctx, "ERR that is not a view: history secret epoch [kind] count, then host address port run_id each")
    return False


cdef bint is_order(
    Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc, View *view, unsigned char *secret,
) noexcept nogil:
    """Returns whether the client may give this server the view in the arguments. If not, an error has been replied."""
    return (entitled(m, ctx) and read_view(m, ctx, argv, argc, view, secret)
            and (m.chain.me >= 0 or (is_of_own_kind(m, ctx, view) and is_reachable(ctx, view))))


cdef bint may_start_over(const Member *m, RedisModuleCtx *ctx, const View *view) noexcept nogil:
    """Returns whether this server was in another chain and has no data of it left, in memory or in a checkpoint."""
    return (m.chain.has_history and m.chain.me < 0 and not m.chain.learner and m.chain.applied < 0
            and not same_history(m.chain.history, view.history) and not holds_keys(ctx)
            and not m.checkpoint.incomplete)


cdef bint is_of_own_kind(const Member *m, RedisModuleCtx *ctx, const View *view) noexcept nogil:
    """Returns whether this server can be in a chain of the view's kind. If not, an error has been replied."""
    cdef char text[ERROR_BYTES]
    if view.kind == own_kind(m):
        return True
    snprintf(text, ERROR_BYTES, "ERR that chain is of kind %s, and this server's member.commands is for one of kind %s",
             kind_name(view.kind), kind_name(own_kind(m)))
    RedisModule_ReplyWithError(ctx, text)
    return False


cdef bint is_reachable(RedisModuleCtx *ctx, const View *view) noexcept nogil:
    """Returns whether this server's own module can reach it, if it has to. If not, an error has been replied."""
    cdef char why[ERROR_BYTES + 4]
    memcpy(why, b"ERR ", 4)
    if view.kind != KIND_ALL or reaches_itself(ctx, &why[4]):
        return True
    RedisModule_ReplyWithError(ctx, why)
    return False


cdef bint take_history(Member *m, RedisModuleCtx *ctx, const View *view) noexcept nogil:
    """Write the view's history to the identity file, before this server holds data of it.

    Otherwise a restarted server could pass for a new one. Returns False if an error has been replied.
    """
    if marker_take(m, view.history, view.kind):
        return True
    RedisModule_ReplyWithError(
        ctx, "ERR this server cannot write the file chain.member.<port> in its folder, without which a restart of it "
        "would pass for a new server: see its log")
    return False


cdef void begin_stream(Member *m) noexcept nogil:
    """This server's data becomes the beginning of a chain of all commands, whose stream begins after it."""
    record(m)           # the log forgets what the append-only file lacks
    m.effects.numbers.newest = m.chain.applied
    m.effects.numbers.count = 0
    empty_log(m)
    chain_jump(&m.chain, -1)
    m.chain.log.boundary_count = 0      # those of PUTs before there was a chain
    effects_begin(m)


cdef int adopt_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.ADOPT view -> [ADOPTED, epoch, applied] | STALE | ERR"""
    cdef View view
    cdef unsigned char secret[SECRET_BYTES]
    cdef char why[ERROR_BYTES + 4]
    cdef Verdict verdict
    if not is_order(m, ctx, argv, argc, &view, secret):
        return 0
    if may_start_over(m, ctx, &view):
        membership_forget(&m.chain)
    if not m.chain.has_history:
        if view_index(&view, m.self.run_id) < 0:
            return RedisModule_ReplyWithError(ctx, "ERR this server is not in that view, and in no chain")
        if not may_become_chain(ctx, &why[4]):
            memcpy(why, b"ERR ", 4)
            return RedisModule_ReplyWithError(ctx, why)
        if not take_history(m, ctx, &view):
            return 0
        end_waiting_commands(m, ctx)
        settle_redis_settings(m)
        if view.kind == KIND_ALL:
            begin_stream(m)
    verdict = adopt(m, &view, secret)
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    join_abort(m)
    record(m)           # the append-only file must name the view before any update of it
    wake(m)
    RedisModule_ReplyWithArray(ctx, 3)
    RedisModule_ReplyWithCString(ctx, "ADOPTED")
    RedisModule_ReplyWithLongLong(ctx, m.chain.view.epoch)
    return RedisModule_ReplyWithLongLong(ctx, m.chain.applied)


# --------------------------------------------------------------------------------------------------- joining

cdef int join_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.JOIN view -> OK | ERR

    Begins a join by copy; this server's own data is dropped when the copy begins.
    """
    cdef View view
    cdef unsigned char secret[SECRET_BYTES]
    if not is_order(m, ctx, argv, argc, &view, secret):
        return 0
    if view_index(&view, m.self.run_id) >= 0:
        return RedisModule_ReplyWithError(ctx, "ERR this server is in that view: it cannot join what it is in")
    if m.chain.me >= 0 and m.chain.view.epoch >= view.epoch:
        return RedisModule_ReplyWithError(ctx, "ERR this server is a member of a chain: remove it there first")
    if not take_history(m, ctx, &view):
        return 0
    join_abort(m)
    join_begin(m, &view, secret)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef int rejoin_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.REJOIN view -> OK | ERR

    Begins a join by log, without a copy.
    """
    cdef View view
    cdef unsigned char secret[SECRET_BYTES]
    cdef Verdict verdict
    if not is_order(m, ctx, argv, argc, &view, secret):
        return 0
    if m.chain.me >= 0:
        return RedisModule_ReplyWithError(ctx, "ERR this server is a member of a chain: remove it there first")
    if m.chain.learner and m.membership.join != JOIN_COPIED:
        return RedisModule_ReplyWithError(ctx, "ERR this server has part of a chain's data only")
    if m.disk.missing:
        return RedisModule_ReplyWithError(ctx, "ERR this server has lost what it had of that chain: it is to be copied")
    if view.kind == KIND_ALL and not m.effects.placed and m.effects.database == DATABASE_UNKNOWN:
        return RedisModule_ReplyWithError(
            ctx, "ERR this server's file does not say in which database the log goes on: it is to be copied")
    if same_history(m.chain.history, view.history) and not take_history(m, ctx, &view):
        return 0
    verdict = rejoin(m, &view, secret)
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef int pin_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.PIN [applied assigned] -> integer: the lowest sn that is kept for a learner | ERR

    The tail keeps its log from that sn on, until CHAIN.UNPIN or the end of this connection. The arguments are the
    learner's position, for a join by log. Without them the log is kept from the present on, for a join by copy.
    """
    cdef int64_t applied
    cdef int64_t assigned
    cdef Verdict verdict
    if proven_peer(m, ctx) == NULL:
        return 0
    if argc == 3:
        if not argument_number(argv[1], &applied) or not argument_number(argv[2], &assigned):
            return reply_verdict(m, ctx, NONSENSE)
        verdict = learner_pin_from(&m.chain, applied, assigned)
        if verdict != ACCEPTED:
            return reply_verdict(m, ctx, verdict)
    elif not learner_pin(&m.chain):
        return RedisModule_ReplyWithError(ctx, "ERR only a tail that is in step can keep its log for a learner")
    m.membership.pin_client = RedisModule_GetClientId(ctx)
    return RedisModule_ReplyWithLongLong(ctx, m.chain.pinned)


cdef int copy_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CHAIN.COPY -> nothing: the next command on this connection is a learner's PSYNC | ERR

    Redis refuses PSYNC on a connection to which an answer is under way, so there is none.
    """
    if proven_peer(m, ctx) == NULL:
        return 0
    if not m.chain.log.streams or not chain_is_tail(&m.chain) or m.membership.pin_client == 0:
        return RedisModule_ReplyWithError(ctx, "ERR no learner copies this member now: a master has not asked for that")
    m.effects.copied = True
    return 0


cdef int feed_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.FEED host address port run_id -> OK | ERR

    The tail sends its updates to the learner from now on.
    """
    cdef Text texts[NODE_ARGUMENTS]
    cdef Node learner
    cdef int i
    if proven_peer(m, ctx) == NULL:
        return 0
    for i in range(NODE_ARGUMENTS):
        argument_text(argv[i + 1], &texts[i])
    memset(&learner, 0, sizeof(Node))
    if not parse_node(texts, &learner) or view_index(&m.chain.view, learner.run_id) >= 0:
        return RedisModule_ReplyWithError(
            ctx, "ERR that is no learner: host address port run_id of a server outside the chain")
    if not learner_feed(&m.chain, &learner):
        return RedisModule_ReplyWithError(
            ctx, "ERR only a tail whose log is pinned feeds a learner; member.join-limit bounds that")
    aim_links(m)
    wake(m)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef int unpin_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CHAIN.UNPIN -> OK | ERR: the tail stops keeping its log for a learner and sending to it."""
    if proven_peer(m, ctx) == NULL:
        return 0
    join_off(m)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef int unjoin_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CHAIN.UNJOIN -> OK | ERR: the master has given up adding this server.

    A copy that is complete stays, so that this server can join by log later.
    """
    if not entitled(m, ctx):
        return 0
    if m.chain.learner and is_under_way(m):
        fetch_off(m)
        join_fail(m, "the master has called it off")
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef void join_off(Member *m) noexcept nogil:
    """Stop feeding the learner: the master has asked for it, or the connection that sent CHAIN.PIN has ended."""
    m.membership.pin_client = 0
    if m.chain.feeding or chain_is_tail(&m.chain):
        learner_unpin(&m.chain)
        aim_links(m)
