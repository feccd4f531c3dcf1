# cython: language_level=3
"""Commands from the master: views and the steps of a join (docs/protocol.md, "Views" and "Joining")."""

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset

from modules.core.chain cimport (
    chain_feed, chain_fenced, chain_is_tail, chain_pin, chain_role, chain_serves_reads, chain_takes_writes,
    chain_unpin,
)
from modules.core.messages cimport (
    ACCEPTED, ROLE_ALONE, ROLE_HEAD, ROLE_LEARNER, ROLE_MIDDLE, ROLE_REMOVED, ROLE_SINGLETON, ROLE_TAIL, Role,
    Verdict,
)
from modules.core.view cimport HISTORY_BYTES, MAX_MEMBERS, Node, View, view_index
from modules.redismodule cimport (
    RedisModule_DbSize, RedisModule_GetClientId, RedisModule_ReplyWithArray,
    RedisModule_ReplyWithCString, RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong,
    RedisModule_ReplyWithSimpleString, RedisModule_SelectDb, RedisModuleCtx, RedisModuleString,
)
from modules.shell.auth cimport proven_peer, to_hex
from modules.shell.guard cimport guard_chainable, guard_end_transactions, guard_settle_in
from modules.shell.join cimport join_abort, join_begin, join_name
from modules.shell.peers cimport reply_verdict
from modules.shell.receive cimport argument_text
from modules.shell.state cimport ERROR_BYTES, Member, SECRET_BYTES
from modules.shell.views cimport (
    NODE_ARGUMENTS, NUMBER_BYTES, Text, VIEW_ARGUMENTS, adopt, aim_links, parse_node, parse_view,
)
from modules.shell.wakeup cimport wake
from modules.shell.writes cimport may_block


cdef inline bint entitled(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Whoever may run the command gives a member without a secret its first view; afterwards only who proves it.

    Entering a chain ends transactions, so it cannot be part of one. False: an error has been replied.
    """
    if not may_block(ctx):
        RedisModule_ReplyWithError(ctx, "ERR not inside MULTI, a script or a module's call")
        return False
    return not m.has_secret or proven_peer(m, ctx) != NULL


cdef inline bint read_view(
    Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc, View *view, unsigned char *secret,
) noexcept nogil:
    """The view in the arguments; False: an error has been replied."""
    cdef Text texts[VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS]
    cdef int i
    if argc - 1 <= VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS:
        for i in range(argc - 1):
            argument_text(argv[i + 1], &texts[i])
        memset(view, 0, sizeof(View))
        if parse_view(texts, argc - 1, view, secret):
            return True
    RedisModule_ReplyWithError(
        ctx, "ERR that is not a view: history secret epoch count, then host address port run_id each")
    return False


cdef inline int adopt_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.ADOPT view -> [ADOPTED, epoch, applied] | STALE | ERR"""
    cdef View view
    cdef unsigned char secret[SECRET_BYTES]
    cdef char why[ERROR_BYTES + 4]
    cdef Verdict verdict
    if not entitled(m, ctx) or not read_view(m, ctx, argv, argc, &view, secret):
        return 0
    if not m.chain.has_history:
        if view_index(&view, m.self.run_id) < 0:
            return RedisModule_ReplyWithError(ctx, "ERR this server is not in that view, and in no chain")
        if not guard_chainable(ctx, &why[4]):
            memcpy(why, b"ERR ", 4)
            return RedisModule_ReplyWithError(ctx, why)
        guard_end_transactions(m, ctx)
        guard_settle_in(m)
    verdict = adopt(m, &view, secret)
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    join_abort(m)
    wake(m)
    RedisModule_ReplyWithArray(ctx, 3)
    RedisModule_ReplyWithCString(ctx, "ADOPTED")
    RedisModule_ReplyWithLongLong(ctx, m.chain.view.epoch)
    return RedisModule_ReplyWithLongLong(ctx, m.chain.applied)


# --------------------------------------------------------------------------------------------------- joining

cdef inline int join_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.JOIN view -> OK | ERR"""
    cdef View view
    cdef unsigned char secret[SECRET_BYTES]
    if not entitled(m, ctx) or not read_view(m, ctx, argv, argc, &view, secret):
        return 0
    if view_index(&view, m.self.run_id) >= 0:
        return RedisModule_ReplyWithError(ctx, "ERR this server is in that view: it cannot join what it is in")
    if m.chain.me >= 0 and m.chain.view.epoch >= view.epoch:
        return RedisModule_ReplyWithError(ctx, "ERR this server is a member of a chain: remove it there first")
    join_abort(m)
    join_begin(m, &view, secret)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef inline int pin_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CHAIN.PIN -> integer | ERR"""
    if proven_peer(m, ctx) == NULL:
        return 0
    if not chain_pin(&m.chain):
        return RedisModule_ReplyWithError(ctx, "ERR only a tail that is in step can keep its log for a learner")
    m.pin_client = RedisModule_GetClientId(ctx)
    return RedisModule_ReplyWithLongLong(ctx, m.chain.pinned)


cdef inline int feed_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.FEED host address port run_id -> OK | ERR"""
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
    if not chain_feed(&m.chain, &learner):
        return RedisModule_ReplyWithError(
            ctx, "ERR only a tail whose log is pinned feeds a learner; member.join-limit bounds that")
    aim_links(m)
    wake(m)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef inline int unpin_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CHAIN.UNPIN -> OK | ERR"""
    if proven_peer(m, ctx) == NULL:
        return 0
    join_off(m)
    return RedisModule_ReplyWithSimpleString(ctx, "OK")


cdef inline void join_off(Member *m) noexcept nogil:
    """Asked for, or the master's connection is gone: nobody is fed any more."""
    m.pin_client = 0
    if m.chain.feeding or chain_is_tail(&m.chain):
        chain_unpin(&m.chain)
        aim_links(m)


# ----------------------------------------------------------------------------------------------------- state

cdef inline const char *role_name(Role role) noexcept nogil:
    if role == ROLE_ALONE:
        return "alone"
    if role == ROLE_REMOVED:
        return "removed"
    if role == ROLE_LEARNER:
        return "learner"
    if role == ROLE_SINGLETON:
        return "singleton"
    if role == ROLE_HEAD:
        return "head"
    return "middle" if role == ROLE_MIDDLE else "tail"


cdef inline bint serves_in_role(const Member *m) noexcept nogil:
    cdef Role role = chain_role(&m.chain)
    if role == ROLE_REMOVED or role == ROLE_LEARNER:
        return False
    if role == ROLE_MIDDLE:
        return m.chain.in_step and not chain_fenced(&m.chain)
    return chain_serves_reads(&m.chain) if role == ROLE_TAIL else chain_takes_writes(&m.chain)


cdef inline void state_text(RedisModuleCtx *ctx, const char *name, const char *value) noexcept nogil:
    RedisModule_ReplyWithCString(ctx, name)
    RedisModule_ReplyWithCString(ctx, value)


cdef inline void state_number(RedisModuleCtx *ctx, const char *name, int64_t value) noexcept nogil:
    cdef char text[NUMBER_BYTES]
    snprintf(text, NUMBER_BYTES, "%lld", <long long>value)
    state_text(ctx, name, text)


cdef inline int state_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CHAIN.STATE -> flat list of names and values"""
    cdef char history[2 * HISTORY_BYTES + 1]
    cdef char unfit[ERROR_BYTES]
    history[0] = unfit[0] = 0
    if m.chain.has_history:
        to_hex(m.chain.history, HISTORY_BYTES, history)
    else:
        guard_chainable(ctx, unfit)
    RedisModule_ReplyWithArray(ctx, 26)
    state_text(ctx, "run_id", m.self.run_id)
    state_text(ctx, "role", role_name(chain_role(&m.chain)))
    state_text(ctx, "history", history)
    state_number(ctx, "epoch", m.chain.view.epoch)
    state_number(ctx, "applied", m.chain.applied)
    state_number(ctx, "committed", m.chain.committed)
    state_number(ctx, "serving", serves_in_role(m))
    state_number(ctx, "streaming", m.chain.streaming)
    RedisModule_SelectDb(ctx, 0)
    state_number(ctx, "keys", <int64_t>RedisModule_DbSize(ctx))
    state_text(ctx, "join", join_name(m))
    state_text(ctx, "join_error", m.join_error)
    state_number(ctx, "pinned", m.chain.pinned)
    state_text(ctx, "unfit", unfit)
    return 0
