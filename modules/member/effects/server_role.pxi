# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The server's role in Redis's replication: a master while it is the serving head, otherwise a replica of its module.
#
# A replica expires and evicts nothing, so only the head's effects change data. The head's offset minus the log's end is
# what the tap has not read yet; a follower's offset says how much of the log its data has.

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtoull
from libc.string cimport strcmp, strncmp

from modules.bindings.atomics cimport publish
from modules.bindings.redismodule cimport (
    REDISMODULE_REPLY_ERROR, RedisModuleCallReply, RedisModule_AvoidReplicaTraffic, RedisModule_Call,
    RedisModule_CallReplyStringPtr, RedisModule_CallReplyType, RedisModule_GetApi, RedisModule_Log,
)
from modules.core.chain cimport chain_executed, chain_fenced
from modules.core.membership cimport membership_continue_alone, membership_lacks_own
from modules.core.replication cimport replication_commit_own
from modules.core.tickets cimport tickets_begin_anew, tickets_close, tickets_init
from modules.member.gate cimport gate_close_clients
from modules.member.keyspace.tickets cimport open_ticket
from modules.member.keyspace.another_pass cimport wake_again
from modules.member.persistence cimport server_offset
from modules.member.state.effects cimport CALM_PASSES, DATABASE_KNOWN
from modules.member.state.member cimport Member, is_native_replica
from modules.server.native_replication cimport follows_another
from modules.server.redis_calls cimport drop_reply, info_field
from modules.server.tls cimport tls_replicates


cdef void effects_init(Member *m) noexcept nogil:
    tickets_init(&m.effects.tickets)
    m.effects.tap.fd = m.effects.pseudo_master.fd = m.effects.pseudo_master.listener = -1
    RedisModule_GetApi("RedisModule_CommandFilterGetClientId", &m.effects.client_of)
    m.effects.offset = -1
    m.effects.database = DATABASE_KNOWN
    m.disk.positioned = m.disk.positioned_epoch = -1
    m.effects.numbers.newest = -1


cdef bint call_replicaof(Member *m, const char *host, const char *port) noexcept nogil:
    cdef RedisModuleCallReply *reply
    cdef bint good
    m.keyspace.own_call = True
    reply = RedisModule_Call(m.ctx, "REPLICAOF", "cc", host, port)
    m.keyspace.own_call = False
    good = reply != NULL and RedisModule_CallReplyType(reply) != REDISMODULE_REPLY_ERROR
    drop_reply(reply)
    m.keyspace.role_touched = False
    return good


cdef bint follow_self(Member *m) noexcept nogil:
    """Make this server a replica of its own module."""
    cdef char port[8]
    if not pseudo_master_listen(m):
        return False
    snprintf(port, sizeof(port), "%d", m.effects.pseudo_master.port)
    return call_replicaof(m, "127.0.0.1", port)


cdef void follow_while_loading(Member *m) noexcept nogil:
    """Redis is about to load its files: a master would drop keys that have expired by its own clock.

    From Redis 7.2 on TLS is configured after modules are loaded. A connection with TLS that is made before that, and is
    not refused, ends the process. Redis connects again by itself.
    """
    cdef char port[8]
    if not tls_replicates(m.ctx):
        follow_self(m)
    elif pseudo_master_bind(m):
        snprintf(port, sizeof(port), "%d", m.effects.pseudo_master.port)
        call_replicaof(m, "127.0.0.1", port)


cdef void let_server_in(Member *m) noexcept nogil:
    """The files are loaded, and TLS is configured."""
    if m.effects.pseudo_master.listener >= 0:
        pseudo_master_listen(m)


cdef void follow_none(Member *m) noexcept nogil:
    """This server is of no chain: its data are its own, and it takes writes."""
    if follows_another(m.ctx):
        call_replicaof(m, "NO", "ONE")


cdef void place_server(Member *m, int64_t bytes, int64_t offset) noexcept nogil:
    """This server's data has exactly the first `bytes` bytes of the stream, and its own offset is `offset`."""
    m.effects.shift = bytes - offset
    m.effects.selected_at = 0
    m.effects.placed = True
    m.effects.diverged = False
    m.chain.executed = bytes - 1


# ------------------------------------------------------------------------------------------- leading or following

cdef void lead(Member *m) noexcept nogil:
    """This server has all of the log, and becomes a master for Redis."""
    pseudo_master_close(m)
    if not call_replicaof(m, "NO", "ONE"):
        return
    m.chain.log.stream.ahead = 0        # parts of an effect that did not come whole
    # Redis selects the database anew in the stream of a new master. Its offset may differ from that of the replica.
    m.effects.tap.scanner.database = 0
    place_server(m, m.chain.log.end, server_offset(m))
    m.effects.leads = True
    m.effects.calm = 0
    m.effects.still_paused = False
    open_ticket(m)
    wake_again(m)
    RedisModule_Log(m.ctx, "notice", "leading from byte %lld of the chain's effects on", <long long>m.chain.log.end)
    tap_open(m)


cdef void lead_no_more(Member *m) noexcept nogil:
    """Whatever this server has done and the tap has not read is not the chain's: the server has diverged then."""
    note_executed(m)
    tap_close(m)
    m.effects.leads = False
    gate_close_clients(m)
    if not follow_self(m):
        m.effects.diverged = True


cdef void continue_alone(Member *m) noexcept nogil:
    """This former head is the whole chain now, and its data as they are become the chain's."""
    RedisModule_Log(m.ctx, "warning", "this server is the only member, and has executed %lld bytes of effects that its "
                    "log lacks: the chain goes on behind them", <long long>(m.chain.executed - m.chain.applied))
    membership_continue_alone(&m.chain)
    m.effects.diverged = False
    m.disk.record_due = True        # the record of these effects says of which epoch they are


cdef void settle_role(Member *m) noexcept nogil:
    cdef bint wanted = m.chain.me == 0
    if m.effects.leads and not wanted:
        lead_no_more(m)
    elif m.effects.leads:
        if m.effects.tap.fd < 0 and m.effects.tap.retry_ms <= m.now_ms:
            tap_open(m)
    elif membership_lacks_own(&m.chain):
        continue_alone(m)
    elif not follows_another(m.ctx):
        follow_self(m)
    elif m.effects.nameless:
        m.effects.nameless = False
        call_replicaof(m, "NO", "ONE")
        follow_self(m)
    elif m.effects.pseudo_master.fd >= 0 and m.effects.pseudo_master.asked:
        continue_server(m, m.effects.pseudo_master.asked)
    elif (wanted and not chain_fenced(&m.chain) and m.effects.pseudo_master.feeding and m.effects.offset >= 0
            and chain_executed(&m.chain) == m.chain.applied):
        lead(m)


cdef void effects_begin(Member *m) noexcept nogil:
    """This server's own data becomes the beginning of a chain, or it is about to become a copy of one.

    Nothing that was said before is held for a commit.
    """
    m.effects.placed = False
    m.effects.diverged = False
    m.effects.database = DATABASE_KNOWN
    m.chain.executed = -1
    tickets_begin_anew(&m.effects.tickets)


# ------------------------------------------------------------------------------------------------- in each pass

cdef bint only_pings(const Member *m) noexcept nogil:
    """Returns whether data cannot have changed since the last pass: Redis refuses to propagate anything while clients
    are paused. It sends PINGs all the same.

    With `appendfsync always` a PING is not committed before the pause ends, because no position can be recorded. So a
    reply must not wait for that.
    """
    return m.effects.still_paused and RedisModule_AvoidReplicaTraffic()


cdef bint has_executed_all(const Member *m) noexcept nogil:
    """Returns whether this server, a follower, has executed all that it was given: its data stay as they are."""
    return (m.effects.pseudo_master.feeding and m.effects.pseudo_master.fed == m.chain.executed + 1
            and m.effects.offset >= m.effects.selected_at)


cdef void note_executed(Member *m) noexcept nogil:
    """Learn from Redis how far this server's data is."""
    cdef int64_t offset
    if has_executed_all(m):
        return
    offset = server_offset(m)
    if offset < 0 or not m.effects.placed:
        m.effects.offset = -1
        return
    if m.effects.leads and offset != m.effects.offset and not only_pings(m):
        open_ticket(m)          # what no filter saw: a timer of another module, an expiry
    m.effects.offset = offset
    # The server has not counted the SELECT yet with which its connection began.
    m.chain.executed = max(m.chain.executed, offset + m.effects.shift - 1)
    if not only_pings(m):
        m.effects.changed = m.chain.executed


cdef void note_master(Member *m) noexcept nogil:
    """Learn which client of our own server its pseudo-master is, as soon as the two are connected."""
    cdef RedisModuleCallReply *reply
    cdef const char *line
    cdef size_t length
    if m.effects.master_client != 0 or m.effects.offset < 0 or m.effects.leads:
        return
    reply = RedisModule_Call(m.ctx, "CLIENT", "ccc", b"LIST", b"TYPE", b"master")
    line = RedisModule_CallReplyStringPtr(reply, &length) if reply != NULL else NULL
    if line != NULL and length > 3 and strncmp(line, "id=", 3) == 0:
        m.effects.master_client = strtoull(line + 3, NULL, 10)
    drop_reply(reply)


cdef void end_pause(Member *m) noexcept nogil:
    """A pause of clients postpones the stream of effects, too, at a member that does not lead. It was begun when this
    server led, or was in no chain.
    """
    if m.chain.me >= 0 or m.chain.learner:
        drop_reply(RedisModule_Call(m.ctx, "CLIENT", "c", b"UNPAUSE"))


cdef bint callbacks_follow(Member *m) noexcept nogil:
    """Returns whether callbacks of other modules may change data before the event loop sleeps, and reply: Redis 7.0
    lets a module reply to a client that it had blocked after the event in which tickets are closed, and no filter sees
    that. Later servers do it before the event.
    """
    cdef char blocked[24]
    return (m.effects.client_of == NULL and not m.keyspace.alone
            and info_field(m.ctx, "clients", "blocked_clients", blocked, sizeof(blocked))
            and strcmp(blocked, "0") != 0)


cdef void close_ticket(Member *m) noexcept nogil:
    """The effects of this pass are known.

    What was postponed by a pause of clients may run when no filter sees it again: until the next passes are over. So
    the next ticket is opened at once. It is closed in another pass, if there is a reply that waits for that.
    """
    cdef bint paused = RedisModule_AvoidReplicaTraffic()
    cdef int64_t ajar = 0
    m.effects.calm = 0 if paused else min(m.effects.calm + 1, CALM_PASSES)
    m.effects.still_paused = paused
    if not m.effects.leads:
        if paused:
            end_pause(m)
        return
    tickets_close(&m.effects.tickets, m.effects.changed)
    if m.effects.calm < CALM_PASSES:
        open_ticket(m)
        if m.effects.stirred or not paused:
            wake_again(m)
    elif callbacks_follow(m):
        ajar = 1
        open_ticket(m)
    publish(&m.gate.shared.ajar, ajar)
    m.effects.stirred = False


cdef void effects_step(Member *m) noexcept nogil:
    """Called once per pass, before anything is settled, forwarded or acknowledged."""
    if not m.chain.log.streams or is_native_replica(m):
        return
    m.effects.in_stream = False     # what a timer or a thread of another module calls came with nothing
    note_executed(m)
    note_master(m)
    close_ticket(m)
    settle_role(m)
    m.chain.has_clients = serves_clients(m)
    replication_commit_own(&m.chain)
