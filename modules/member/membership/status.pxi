# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# What a member tells the master: its state at every poll, and a suspicion as soon as a neighbour's connection is
# dropped.
#
# A master holds two connections to each member. On the first it polls, and each poll carries a lease. On the second
# its CHAIN.WATCH blocks until this member has a suspicion. A member therefore needs no address of a master.

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport strlen

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleString, RedisModule_DbSize, RedisModule_ReplyWithArray, RedisModule_ReplyWithCString,
    RedisModule_ReplyWithError, RedisModule_SelectDb,
)
from modules.core.chain cimport chain_role
from modules.core.client_ports cimport ClientPorts
from modules.core.hex cimport to_hex
from modules.core.log cimport log_epoch_of
from modules.core.messages cimport ACCEPTED, NONSENSE, Verdict
from modules.core.read_lease cimport read_lease_grant
from modules.core.view cimport HISTORY_BYTES, HOST_BYTES, RUN_ID_BYTES
from modules.member.checkpoint.memtable cimport shown_watermark
from modules.member.keyspace cimport caches_trust, may_become_chain
from modules.member.keyspace.serving cimport role_name, serves_in_role
from modules.member.persistence.wakeup cimport wake
from modules.member.replication cimport NUMBER_BYTES, argument_number, link_struggles, proven_peer, reply_verdict
from modules.member.replies cimport (
    OUTCOME_NO_MEMORY, answer_free, answer_value, may_block, on_answered, reply_outcome, tell, wait_with,
    waiter_new,
)
from modules.member.replies.waiting cimport first_waiting
from modules.member.state.checkpoint cimport STORE_FAILED
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member
from modules.member.state.replication cimport Link
from modules.member.state.waiter cimport WAIT_SUSPICION, Waiter
from modules.server.clock cimport boot_ms

cdef enum:
    STATE_FIELDS = 27
    WHY_ROOM = HOST_BYTES + NUMBER_BYTES + ERROR_BYTES
    TROUBLE_BYTES = RUN_ID_BYTES + NUMBER_BYTES + 2


# ----------------------------------------------------------------------------------------------------- state

cdef void state_text(RedisModuleCtx *ctx, const char *name, const char *value) noexcept nogil:
    RedisModule_ReplyWithCString(ctx, name)
    RedisModule_ReplyWithCString(ctx, value)


cdef void state_number(RedisModuleCtx *ctx, const char *name, int64_t value) noexcept nogil:
    cdef char text[NUMBER_BYTES]
    snprintf(text, NUMBER_BYTES, "%lld", <long long>value)
    state_text(ctx, name, text)


cdef int trouble_text(const Member *m, const Link *link, char *out) noexcept nogil:
    """Write `run_id:ms:dropped` of a link that is not ready to `out`, after a blank unless it is the first.

    `ms` is the time since which the link has been down; `dropped` is 1 if the peer's side closed it. Returns the number
    of bytes written: 0 if the link is ready or has no target.
    """
    cdef int64_t since_ms = link.setback_ms if link_struggles(m, link) else link.down_since_ms
    if not link.aimed or since_ms == 0:
        return 0
    return snprintf(out, TROUBLE_BYTES, "%s%s:%lld:%d", b" " if out[-1] else b"", &link.target.run_id[0],
                    <long long>(m.now_ms - since_ms), link.dropped)


cdef void why_text(const Member *m, char *out) noexcept nogil:
    """Write the reason why the first link that is down is down; empty: none."""
    cdef const Link *links[3]
    cdef int i
    links[0], links[1], links[2] = &m.replication.downstream, &m.replication.upstream, &m.replication.head_shortcut
    out[0] = 0
    for i in range(3):
        if links[i].aimed and links[i].error[0] and (links[i].down_since_ms or link_struggles(m, links[i])):
            snprintf(out, WHY_ROOM, "%s:%d: %s", &links[i].target.host[0], links[i].target.port, &links[i].error[0])
            return


cdef void troubles_text(const Member *m, char *out) noexcept nogil:
    """Write one `trouble_text` for each neighbour that this member cannot reach.

    `out` has room for three, and the byte before it is zero.
    """
    cdef int length
    out[0] = 0
    length = trouble_text(m, &m.replication.downstream, out)
    length += trouble_text(m, &m.replication.upstream, &out[length])
    trouble_text(m, &m.replication.head_shortcut, &out[length])


cdef bint lacks_checkpoint(const Member *m) noexcept nogil:
    """Returns whether keys may have been in the checkpoint alone that this server had, and cannot read."""
    return m.disk.unproven != NULL or (m.disk.missing and m.checkpoint.store == STORE_FAILED)


cdef void reply_state(Member *m, RedisModuleCtx *ctx, bint with_traits) noexcept nogil:
    """Reply with this member's state, and with the traits of its server if they are wanted."""
    cdef char history[2 * HISTORY_BYTES + 1]
    cdef char unfit[ERROR_BYTES]
    cdef char why[WHY_ROOM]
    cdef char troubles[3 * TROUBLE_BYTES + 2]
    cdef const ClientPorts *second = own_second_port(m, ctx)
    why_text(m, why)
    history[0] = unfit[0] = troubles[0] = 0
    troubles_text(m, &troubles[1])
    if m.chain.has_history:
        to_hex(m.chain.history, HISTORY_BYTES, history)
    else:
        may_become_chain(ctx, unfit)
    RedisModule_ReplyWithArray(ctx, 2 * (STATE_FIELDS + (TRAIT_FIELDS if with_traits else 0)))
    state_text(ctx, "run_id", m.self.run_id)
    state_text(ctx, "role", role_name(chain_role(&m.chain)))
    state_text(ctx, "history", history)
    state_number(ctx, "epoch", m.chain.view.epoch)
    state_number(ctx, "applied", m.chain.applied)
    state_number(ctx, "assigned", log_epoch_of(&m.chain.log, m.chain.applied))
    state_number(ctx, "committed", m.chain.committed)
    state_number(ctx, "serving", serves_in_role(m))
    state_number(ctx, "streaming", m.chain.streaming)
    RedisModule_SelectDb(ctx, 0)
    state_number(ctx, "keys", <int64_t>RedisModule_DbSize(ctx))
    state_text(ctx, "join", join_name(m))
    state_text(ctx, "join_error", m.membership.join_error)
    state_number(ctx, "pinned", m.chain.pinned)
    state_text(ctx, "unfit", unfit)
    state_text(ctx, "unreached", &troubles[1])
    state_text(ctx, "unreached_why", why)
    state_number(ctx, "stamp", boot_ms())
    state_number(ctx, "record_epoch", m.disk.record.epoch)
    state_text(ctx, "record_run_id", m.disk.record.run_id)
    state_number(ctx, "record_durable", m.disk.record.durable)
    state_number(ctx, "checkpointed", shown_watermark(&m.checkpoint))
    state_number(ctx, "lifeline", m.lifelines.port)
    state_number(ctx, "timeout", 1000 * m.settings.heartbeat_timeout if m.settings.heartbeat_timeout_given else 0)
    state_number(ctx, "longest_lease", m.chain.longest_lease_ms)
    state_number(ctx, "plain_port", second.plain)
    state_number(ctx, "tls_port", second.tls)
    state_number(ctx, "lacks_checkpoint", lacks_checkpoint(m))
    if with_traits:
        reply_traits(m, ctx)


cdef int state_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CHAIN.STATE -> flat list of names and values | LOADING, while the server is loading its data"""
    if not m.disk.started:
        return RedisModule_ReplyWithError(ctx, "LOADING this server is loading its data")
    reply_state(m, ctx, True)
    return 0


# ------------------------------------------------------------------------------------------- poll and watch

cdef int poll_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.POLL epoch stamp length_ms [run_id plain tls …] -> as CHAIN.STATE, without the traits of the server | ERR

    Grants a lease of `length_ms` from `stamp` on. `stamp` is a time of this member's own clock, from an earlier state.
    A poll of another epoch grants no lease, and is answered all the same. The ports that it tells are of processes, and
    count in any epoch.
    """
    cdef int64_t epoch
    cdef int64_t stamp
    cdef int64_t length
    cdef Verdict verdict
    if proven_peer(m, ctx) == NULL:
        return 0
    if (not argument_number(argv[1], &epoch) or not argument_number(argv[2], &stamp)
            or not argument_number(argv[3], &length) or not learn_ports(m, &argv[4], argc - 4)):
        return reply_verdict(m, ctx, NONSENSE)
    verdict = read_lease_grant(&m.chain, epoch, stamp, length, boot_ms())
    if verdict == NONSENSE:
        return reply_verdict(m, ctx, verdict)
    if m.effects.diverged and m.chain.me >= 0:
        # As a member that hangs: it is taken out of the chain, and copied when it comes back.
        return RedisModule_ReplyWithError(ctx, "ERR this server's data is not the chain's: see its log")
    if verdict == ACCEPTED:
        caches_trust(m)
    wake(m)
    reply_state(m, ctx, False)
    return 0


cdef int on_suspicion(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """Reply [SUSPECT, unreached]: the neighbours that this member has lost."""
    RedisModule_ReplyWithArray(ctx, 2)
    RedisModule_ReplyWithCString(ctx, "SUSPECT")
    return on_answered(ctx, argv, argc)


cdef int watch_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """CHAIN.WATCH -> [SUSPECT, unreached] | ERR

    The reply comes as soon as a neighbour's connection is dropped.
    """
    cdef Waiter *watch
    if proven_peer(m, ctx) == NULL:
        return 0
    if not may_block(ctx):
        return RedisModule_ReplyWithError(ctx, "ERR not inside MULTI, a script or a module's call")
    watch = waiter_new(WAIT_SUSPICION)
    if watch == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    if m.replication.suspicious:
        wake(m)
    wait_with(m, ctx, watch, on_suspicion, answer_free)
    return 0


cdef void settle_watches(Member *m) noexcept nogil:
    """Answer every CHAIN.WATCH with this member's suspicion; called before the event loop sleeps.

    Without a watching master the suspicion is kept for the next CHAIN.WATCH.
    """
    cdef char troubles[3 * TROUBLE_BYTES + 2]
    if first_waiting(m, WAIT_SUSPICION) == NULL:
        return
    m.replication.suspicious = False
    troubles[0] = 0
    troubles_text(m, &troubles[1])
    while first_waiting(m, WAIT_SUSPICION) != NULL:
        tell(m, first_waiting(m, WAIT_SUSPICION), answer_value(&troubles[1], strlen(&troubles[1])))
