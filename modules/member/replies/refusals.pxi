# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Errors for clients that ask the wrong member: where to go, or that no member can serve them at present.
#
# The text depends on the view. A blocked client gets the text of the moment when its outcome is decided.

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleString, RedisModule_Free, RedisModule_GetClientId, RedisModule_GetCommandKeys,
    RedisModule_ReplyWithError, RedisModule_StringPtrLen,
)
from modules.core.key_slot cimport key_slot
from modules.core.view cimport HOST_BYTES, Node
from modules.member.keyspace.client_ports cimport client_port
from modules.member.state.member cimport Member
from modules.member.state.waiter cimport Waiter

cdef enum:
    REFUSAL_BYTES = HOST_BYTES + 256


cdef const char *moved_to(const Member *m, uint64_t asker, const Node *node, char *out) noexcept nogil:
    return moved_slot_to(m, asker, 0, node, out)


cdef const char *moved_slot_to(
    const Member *m, uint64_t asker, int slot, const Node *node, char *out,
) noexcept nogil:
    snprintf(out, REFUSAL_BYTES, "MOVED %d %s:%d", slot, &node.host[0], client_port(m, asker, node))
    return out


# --------------------------------------------------------------------------------------------------- the texts
# `out` has room for REFUSAL_BYTES. `asker` is the client that is told.

cdef const char *not_head(const Member *m, uint64_t asker, char *out) noexcept nogil:
    """Returns the error for a write at a member that is not the head, or does not lead yet."""
    if m.chain.log.streams and m.chain.me == 0:
        return "TRYAGAIN this member is about to be the head: it has yet to execute what its log has"
    if m.chain.me > 0 or m.chain.learner:
        return moved_to(m, asker, &m.chain.view.members[0], out)
    return (
        "ERR this member is in no chain at present: nothing was written. Its master takes it in again after a fault, "
        "and with MASTER.ADD; its file chain.member.<port> says more")


cdef const char *not_head_to_wait(const Member *m, uint64_t asker, char *out) noexcept nogil:
    """Returns the error for a MEMBER.WAIT at a member that is not the head. An update with a sequence number is never
    said to have failed (rule 6).
    """
    if m.chain.me > 0 or m.chain.learner:
        return moved_to(m, asker, &m.chain.view.members[0], out)
    return "UNKNOWN this member is the head no more: whether that update survives is not known here"


cdef const char *not_tail(const Member *m, uint64_t asker, char *out) noexcept nogil:
    """Returns the error for a READ at a member that is not the tail, or a tail that may not answer."""
    if m.chain.learner or 0 <= m.chain.me < m.chain.view.count - 1:
        return moved_to(m, asker, &m.chain.view.members[m.chain.view.count - 1], out)
    if m.chain.me >= 0:
        return (
            "ERR this tail may not answer now: it holds no lease, or is not in step, and not all members answer; "
            "or what it would show is not on all disks yet")
    return (
        "ERR this member is in no chain at present: it answers no READ. Its master takes it in again after a fault, "
        "and with MASTER.ADD; its file chain.member.<port> says more")


# ------------------------------------------------------------- replies to new clients, and answers of blocked ones

cdef int reply_not_head(const Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Reply the error for a write at a member that is not the head."""
    cdef char text[REFUSAL_BYTES]
    return RedisModule_ReplyWithError(ctx, not_head(m, RedisModule_GetClientId(ctx), text))


cdef bint names_head(const Member *m) noexcept nogil:
    """Returns whether clients are sent to the head of this member's view. A member that was removed knows the view
    without it, and sends clients of a cluster there: some of them look nowhere else.
    """
    if m.chain.me < 0 and m.settings.cluster_announce and m.chain.view.count:
        return True
    return m.chain.me > 0 or m.chain.learner


cdef int reply_elsewhere(
    const Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc,
) noexcept nogil:
    """Reply the error for a command that another member is to execute; `argv` is the whole command."""
    cdef char text[REFUSAL_BYTES]
    cdef const char *key
    cdef size_t length
    cdef int count = 0
    cdef int *keys = RedisModule_GetCommandKeys(ctx, argv, argc, &count)
    cdef int slot = 0
    if count:
        key = RedisModule_StringPtrLen(argv[keys[0]], &length)
        slot = key_slot(key, length)
    RedisModule_Free(keys)
    if not names_head(m):
        return reply_not_head(m, ctx)
    return RedisModule_ReplyWithError(
        ctx, moved_slot_to(m, RedisModule_GetClientId(ctx), slot, &m.chain.view.members[0], text))


cdef int reply_not_head_to_wait(const Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Reply the error for a MEMBER.WAIT at a member that is not the head."""
    cdef char text[REFUSAL_BYTES]
    return RedisModule_ReplyWithError(ctx, not_head_to_wait(m, RedisModule_GetClientId(ctx), text))


cdef int reply_not_tail(const Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Reply the error for a READ at a member that is not the tail, or may not answer."""
    cdef char text[REFUSAL_BYTES]
    return RedisModule_ReplyWithError(ctx, not_tail(m, RedisModule_GetClientId(ctx), text))


cdef void *answer_not_head(const Member *m, const Waiter *waiter) noexcept nogil:
    """Returns the error for a writer that was blocked at a head which is the head no longer."""
    cdef char text[REFUSAL_BYTES]
    return answer_error(not_head(m, waiter.asker, text))


cdef void *answer_not_head_to_wait(const Member *m, const Waiter *waiter) noexcept nogil:
    cdef char text[REFUSAL_BYTES]
    return answer_error(not_head_to_wait(m, waiter.asker, text))


cdef void *answer_not_tail(const Member *m, const Waiter *waiter) noexcept nogil:
    """Returns the error for a READ that was blocked at a tail which may not answer any longer."""
    cdef char text[REFUSAL_BYTES]
    return answer_error(not_tail(m, waiter.asker, text))
