# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Joining as the new tail. Redis's full synchronisation copies a snapshot; the old tail's log supplies the rest. The
# snapshot contains a position, from which the log continues (docs/protocol.md, "Joining").
#
# In a chain of PUTs the learner is a replica of the old tail until the copy is complete. In a chain of all commands the
# snapshot comes through the learner's own pseudo-master (`effects/copy_relay.pxi`), whose replica the learner stays.

from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport strncmp

from modules.bindings.redismodule cimport (
    REDISMODULE_REPLY_ERROR, RedisModuleCallReply, RedisModule_Call, RedisModule_CallReplyType, RedisModule_Log,
)
from modules.core.chain cimport chain_predecessor
from modules.core.log cimport Entry
from modules.core.membership cimport membership_learn, membership_relearn
from modules.core.messages cimport ACCEPTED, Verdict
from modules.core.outbox cimport outbox_pop_any
from modules.core.view cimport Node, View
from modules.member.checkpoint.memtable cimport take_both
from modules.member.checkpoint cimport Fetch, fetch_begin, fetch_cancel, fetch_free, track_end
from modules.member.clients cimport settle_reads
from modules.member.effects cimport (
    copy_begin, copy_has_begun, copy_is_asked_for, copy_is_over, copy_off, copy_taken, copy_trouble, effects_begin,
    follow_self,
)
from modules.member.keyspace cimport (
    drop_data, end_waiting_commands, lend_credentials, set_redis, settle_redis_settings, take_back_credentials,
)
from modules.member.keyspace.log_entries cimport entry_release
from modules.member.persistence cimport (
    REWRITE_DONE, REWRITE_FAILED, Rewrite, disk_begin_anew, disk_leave_place, disk_rewritten, record,
)
from modules.member.keyspace.another_pass cimport wake_again
from modules.member.replication cimport aim_links, link_aim, take_secret
from modules.member.replies cimport answer_not_head, answer_unknown, settle, settle_waits, tell
from modules.member.replies.waiting cimport first_waiting
from modules.member.state.checkpoint cimport Job, STORE_FAILED, STORE_NONE, STORE_OPEN, STORE_OPENING
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member, the_member
from modules.member.state.membership cimport (
    JOIN_COPIED, JOIN_COPYING, JOIN_ERROR_BYTES, JOIN_FAILED, JOIN_FAILING, JOIN_FETCHING, JOIN_LEAVING,
    JOIN_LOADED, JOIN_NONE, JOIN_SAVING, JOIN_STARTING, JoinPhase,
)
from modules.member.state.replication cimport LINK_READY, Link
from modules.member.state.waiter cimport WAIT_ROOM
from modules.server.redis_calls cimport drop_reply, redis_setting
from modules.server.tls cimport TLS_PATH_BYTES, tls_replicates


cdef enum:
    REACH_MS = 1000             # the time to connect to an old tail that does not answer with an error
    ASK_MS = 10000              # the time in which our own server has to ask its pseudo-master for a copy


cdef bint replicate(Member *m, const char *host, const char *port) noexcept nogil:
    """Run REPLICAOF, which the command filter refuses to clients. Returns False with the reason in `join_error`."""
    cdef RedisModuleCallReply *reply
    cdef bint good
    m.keyspace.own_call = True
    reply = RedisModule_Call(m.ctx, "REPLICAOF", "cc", host, port)
    m.keyspace.own_call = False
    good = reply != NULL and RedisModule_CallReplyType(reply) != REDISMODULE_REPLY_ERROR
    if not good:
        snprintf(m.membership.join_error, JOIN_ERROR_BYTES, "REPLICAOF %s %s was refused", host, port)
    drop_reply(reply)
    return good


cdef bint replicate_no_more(Member *m) noexcept nogil:
    """Stop being a replica of the old tail. Returns False with the reason in `join_error`."""
    cdef bint good = follow_self(m) if m.chain.log.streams else replicate(m, "NO", "ONE")
    take_back_credentials(m)
    return good


cdef void empty_log(Member *m) noexcept nogil:
    """Remove every update from the log. Writers that wait for one of them are told that its outcome is unknown."""
    cdef Entry entry
    while outbox_pop_any(&m.chain, &entry):
        if entry.waiter != NULL:
            answer_unknown(m, entry.waiter)
        entry_release(&m.keyspace.payloads, &entry)


cdef void end_held(Member *m) noexcept nogil:
    """Refuse all held writers: this server is no longer the head."""
    while first_waiting(m, WAIT_ROOM) != NULL:
        tell(m, first_waiting(m, WAIT_ROOM), answer_not_head(m, first_waiting(m, WAIT_ROOM)))


cdef void join_begin(Member *m, const View *view, const unsigned char *secret) noexcept nogil:
    """Begin to join by copy: end what this server was, and answer its blocked clients.

    The copy begins when Redis has sent these answers (`join_step`).
    """
    settle(m)
    disk_leave_place(m)
    record(m)
    m.disk.record_due = False       # the record describes what this server was before
    empty_log(m)
    end_waiting_commands(m, m.ctx)
    settle_redis_settings(m)
    track_end(m)
    membership_learn(&m.chain, view)
    if m.chain.log.streams:
        effects_begin(m)
    take_secret(m, secret)
    m.clients.was_tail = False
    m.keyspace.subscribers_misled = True
    m.membership.snapshot_loaded = False
    m.membership.copied_keys = 0
    m.membership.join_error[0] = 0
    m.membership.join = JOIN_LEAVING
    # A connection that is made during a join asks for the rights that a copy needs. One from before has not asked.
    link_aim(m, &m.replication.upstream, NULL)
    aim_links(m)
    end_held(m)
    settle_waits(m)
    settle_reads(m)


cdef Verdict rejoin(Member *m, const View *view, const unsigned char *secret) noexcept nogil:
    """Begin to join by log: this server's data is a prefix of the chain's history, and the tail sends the rest.

    Returns ACCEPTED, or the reason of the refusal.
    """
    cdef Verdict verdict = membership_relearn(&m.chain, view)
    if verdict != ACCEPTED:
        return verdict
    settle(m)
    disk_leave_place(m)
    settle_redis_settings(m)
    take_secret(m, secret)
    m.clients.was_tail = False
    m.keyspace.subscribers_misled = True
    m.membership.join_error[0] = 0
    m.membership.join = JOIN_SAVING
    m.membership.resumed_joins += 1
    join_save(m)
    aim_links(m)
    RedisModule_Log(m.ctx, "notice", "rejoining: the log from sn %lld on is missing", <long long>m.chain.applied + 1)
    return ACCEPTED


cdef void read_certificates(Member *m) noexcept nogil:
    """Let Redis read its files of TLS again, which may have been renewed. It does so when a setting is set, to whatever
    value. If they cannot be used, it keeps what it had.
    """
    cdef char path[TLS_PATH_BYTES]
    if tls_replicates(m.ctx) and redis_setting(m.ctx, "tls-cert-file", path, sizeof(path)) and path[0]:
        set_redis(m, b"tls-cert-file", path)


cdef void join_copy(Member *m) noexcept nogil:
    """Drop this server's data and let Redis replicate the old tail, without a file in between."""
    cdef const Node *tail = chain_predecessor(&m.chain)
    cdef char port[8]
    snprintf(port, sizeof(port), "%d", tail.port)
    drop_data(m)
    set_redis(m, b"repl-diskless-load", b"on-empty-db")
    m.membership.join = JOIN_COPYING
    disk_begin_anew(m)      # Redis rewrites the append-only file after the copy
    if m.chain.log.streams:
        ask_for_copy(m)
        return
    lend_credentials(m)
    read_certificates(m)
    # REPLICAOF NO ONE gives this server a replication id that the tail has never seen. With an id that both know from
    # earlier, Redis may choose a partial synchronisation, which copies nothing: a module's writes move no offset.
    if (not replicate(m, tail.address, port) or not replicate(m, "NO", "ONE")
            or not replicate(m, tail.address, port)):
        take_back_credentials(m)
        m.membership.join = JOIN_FAILED
        return
    RedisModule_Log(m.ctx, "notice", "joining: copying from %s:%d", &tail.host[0], tail.port)


cdef void ask_for_copy(Member *m) noexcept nogil:
    """Let our own server connect to its pseudo-master anew, and ask for its data.

    REPLICAOF NO ONE comes first, because Redis does not connect anew to the master that it follows already.
    """
    m.disk.missing = True       # what is saved from now on is of no chain, until the copy is complete
    m.membership.copy_since_ms = m.now_ms
    m.effects.pseudo_master.error[0] = 0
    if not replicate(m, "NO", "ONE") or not follow_self(m):
        join_fail(m, "this server cannot become a replica of its own module: see its log")
    else:
        RedisModule_Log(m.ctx, "notice", "joining: copying from %s:%d", &m.replication.upstream.target.host[0],
                        m.replication.upstream.target.port)


cdef void copy_step(Member *m) noexcept nogil:
    """Answer our own server with the old tail's snapshot, as soon as it asks."""
    if copy_trouble(m) != NULL:
        join_fail_load(m)
    elif copy_has_begun(m):
        pass
    elif copy_is_asked_for(m):
        if not copy_begin(m):
            join_fail(m, "the old tail's data cannot be copied: out of memory, descriptors or threads")
    elif m.effects.pseudo_master.error[0]:
        join_fail(m, m.effects.pseudo_master.error)
    elif m.now_ms - m.membership.copy_since_ms > ASK_MS:
        join_fail(m, "this server does not connect to its own module for a copy: see its log")


cdef void join_fail(Member *m, const char *why) noexcept nogil:
    """The join has failed because of `why`. `join_step` then ends the replication."""
    snprintf(m.membership.join_error, JOIN_ERROR_BYTES, "%s", why)
    if m.chain.log.streams and m.membership.join == JOIN_COPYING:
        m.disk.missing = True       # some of the data may have been loaded, and its position
    m.membership.join = JOIN_FAILING
    copy_off(m)
    RedisModule_Log(m.ctx, "warning", "joining failed: %s", why)


cdef void join_fail_load(Member *m) noexcept nogil:
    """Redis has given up loading the snapshot."""
    cdef char why[JOIN_ERROR_BYTES]
    if copy_trouble(m) == NULL:
        join_fail(m, "the copy of the old tail's data could not be loaded")
        return
    snprintf(why, sizeof(why), "the copy of the old tail's data was broken off: %s", copy_trouble(m))
    join_fail(m, why)


cdef bint is_under_way(const Member *m) noexcept nogil:
    """Returns whether a copy has begun and is not complete yet."""
    cdef JoinPhase phase = m.membership.join
    return phase != JOIN_NONE and phase != JOIN_SAVING and phase != JOIN_COPIED and phase != JOIN_FAILED


cdef const char *login_remedy(const char *why) noexcept nogil:
    """Returns what an operator can do about an error of the old tail; NULL: the error may be temporary."""
    if strncmp(why, "NOAUTH", 6) == 0 or strncmp(why, "WRONGPASS", 9) == 0:
        return "set member.auth-password (and member.auth-user) at the new member as that one asks for"
    if strncmp(why, "ERR AUTH ", 9) == 0:
        return "that one asks for no password: requirepass is to be the same everywhere, or member.auth-password empty"
    if strncmp(why, "NOPERM", 6) == 0:
        return "give the user of member.auth-user that right there"
    return NULL


cdef bint is_passing(const char *why) noexcept nogil:
    """Returns whether the old tail has answered that it is alive and cannot serve at the moment."""
    return (strncmp(why, "LOADING", 7) == 0 or strncmp(why, "BUSY", 4) == 0
            or strncmp(why, "ERR max number of clients", 25) == 0)


cdef void join_check_link(Member *m) noexcept nogil:
    """Fail a join whose link to the old tail cannot work. Redis's replication would retry for ever."""
    cdef Link *upstream = &m.replication.upstream
    cdef const char *remedy = login_remedy(upstream.error) if upstream.phase != LINK_READY else NULL
    cdef char why[JOIN_ERROR_BYTES]
    if remedy != NULL:
        snprintf(why, JOIN_ERROR_BYTES, "cannot log in at the old tail %.64s:%d (%.80s): %s",
                 &upstream.target.host[0], upstream.target.port, &upstream.error[0], remedy)
        join_fail(m, why)
    elif (m.membership.join == JOIN_STARTING and upstream.error[0] and not is_passing(upstream.error)
            and m.now_ms - upstream.down_since_ms >= REACH_MS):
        snprintf(why, JOIN_ERROR_BYTES, "cannot reach the old tail at %.64s:%d (%.100s)",
                 &upstream.target.address[0], upstream.target.port, &upstream.error[0])
        join_fail(m, why)


cdef void join_on_link_up(Member *m) noexcept nogil:
    """Redis's replication link is up. The copy counts only if a full synchronisation has brought a position."""
    if m.membership.join != JOIN_COPYING:
        return
    if m.membership.snapshot_loaded:
        m.membership.join = JOIN_LOADED
    else:
        join_fail(m, "the old tail's data came without a position: perhaps it runs another version")


cdef void join_save(Member *m) noexcept nogil:
    """Complete the copy when the append-only file, if there is one, contains the copied data too."""
    cdef Rewrite progress
    if m.membership.join != JOIN_SAVING:
        return
    progress = disk_rewritten(m)
    if progress == REWRITE_FAILED:
        join_fail(m, "the append-only file could not be rewritten with the old tail's data: see this server's log")
    elif progress == REWRITE_DONE:
        m.membership.join = JOIN_COPIED
        m.membership.learned_from = m.chain.applied


cdef void join_loaded(Member *m) noexcept nogil:
    """Redis's part of the copy is complete. If the old tail has flushed keys, copy its checkpoint next."""
    if m.chain.log.streams:
        copy_taken(m)
        m.membership.join = JOIN_SAVING
    else:
        m.membership.join = JOIN_SAVING if replicate_no_more(m) else JOIN_FAILED
    m.membership.copied_joins += 1
    RedisModule_Log(m.ctx, "notice", "joining: copied up to sn %lld", <long long>m.chain.applied)
    if not m.checkpoint.incomplete:
        track_end(m)        # all data is in memory: this member's checkpoint begins anew
        if m.checkpoint.store == STORE_FAILED:
            m.checkpoint.store = STORE_NONE
    elif m.membership.join == JOIN_SAVING:
        m.membership.fetch = fetch_begin(m, done_fetch)
        if m.membership.fetch != NULL:
            m.membership.join = JOIN_FETCHING
            m.checkpoint.store = STORE_OPENING
        else:
            join_fail(m, "the old tail's checkpoint cannot be copied: out of memory, descriptors or threads")
    join_save(m)


cdef void done_fetch(Job *job) noexcept nogil:
    """Main thread: the copy of the old tail's checkpoint has ended. A cancelled one is only freed."""
    cdef Fetch *fetch = <Fetch *>job
    cdef Member *m = the_member()
    cdef char why[ERROR_BYTES]
    if m.membership.fetch == job:
        m.membership.fetch = NULL
        m.checkpoint.store = STORE_OPEN if fetch.good else STORE_NONE
        if fetch.good:
            m.checkpoint.error[0] = 0
            take_both(&m.checkpoint, fetch.meta.watermark)
            m.membership.join = JOIN_SAVING
            join_save(m)
        else:
            snprintf(why, ERROR_BYTES, "the old tail's checkpoint could not be copied: %.190s", &fetch.caller.error[0])
            join_fail(m, why)
    fetch_free(fetch)


cdef uint64_t fetched_bytes(const Member *m) noexcept nogil:
    """Returns the number of bytes of the old tail's checkpoint that have been copied."""
    return (<const Fetch *>m.membership.fetch).bytes if m.membership.fetch != NULL else 0


cdef void fetch_off(Member *m) noexcept nogil:
    """Cancel the copy of the old tail's checkpoint, if one is running. `done_fetch` frees it when its thread ends."""
    if m.membership.fetch != NULL:
        fetch_cancel(<Fetch *>m.membership.fetch)
        m.membership.fetch = NULL
        m.checkpoint.store = STORE_NONE


cdef void join_step(Member *m) noexcept nogil:
    """Advance the join by one step; called once per pass, before the event loop sleeps.

    Redis sends the answers of unblocked clients after this call, so the copy begins one pass later. Nothing is
    discarded before the old tail has accepted this server's link and its user's rights.
    """
    if m.membership.join == JOIN_LEAVING:
        m.membership.join = JOIN_STARTING
        wake_again(m)
    elif m.membership.join == JOIN_STARTING:
        if m.replication.upstream.phase == LINK_READY and m.replication.upstream.allowed:
            join_copy(m)
        else:
            join_check_link(m)
    elif m.membership.join == JOIN_COPYING:
        join_check_link(m)
        if m.chain.log.streams and m.membership.join == JOIN_COPYING:
            copy_step(m)
    elif m.membership.join == JOIN_LOADED:
        if not m.chain.log.streams or copy_is_over(m):
            join_loaded(m)
    elif m.membership.join == JOIN_FAILING:
        replicate_no_more(m)
        m.membership.join = JOIN_FAILED
        aim_links(m)


cdef void join_abort(Member *m) noexcept nogil:
    """A view has been adopted, or another join begins: end the present join."""
    if m.membership.join == JOIN_COPYING or m.membership.join == JOIN_LOADED or m.membership.join == JOIN_FAILING:
        replicate_no_more(m)
    fetch_off(m)
    copy_off(m)
    m.membership.join = JOIN_NONE


cdef const char *join_name(const Member *m) noexcept nogil:
    """Returns the join's state as CHAIN.STATE and INFO show it; empty: no join."""
    if m.membership.join == JOIN_NONE:
        return ""
    if m.membership.join == JOIN_COPIED:
        return "copied"
    return "failed" if m.membership.join == JOIN_FAILED or m.membership.join == JOIN_FAILING else "copying"
