# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# The messages that this member sends on its links, and the meaning of the peers' answers.
#
# Messages are built and sent once per pass of the event loop (`event_loop/one_pass.pxi`), and amid a slow script by
# `pass_on_in_script`. Answers arrive in socket callbacks. Redis runs such callbacks inside a slow script or a load,
# too, so an answer may change the chain's state but must never apply an update.

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy, strcmp, strlen, strncmp, strstr

from modules.bindings.hiredis cimport (
    REDIS_REPLY_ARRAY, REDIS_REPLY_ERROR, REDIS_REPLY_INTEGER, REDIS_REPLY_STATUS, REDIS_REPLY_STRING,
    freeReplyObject, redisAppendCommand, redisAppendCommandArgv, redisAppendFormattedCommand, redisReply,
)
from modules.bindings.redismodule cimport (
    REDISMODULE_EVENTLOOP_READABLE, RedisModuleCtx, RedisModuleString, RedisModule_ReplyWithArray,
    RedisModule_ReplyWithCString, RedisModule_ReplyWithError, RedisModule_ReplyWithLongLong,
)
from modules.core.chain cimport chain_position
from modules.core.effect_stream cimport stream_at
from modules.core.hex cimport from_hex, to_hex
from modules.core.invariant cimport INVARIANT
from modules.core.messages cimport (
    ACCEPTED, Ack, BEHIND, Batch, CONFLICT, DIVERGED, GAP, Greeting, NOT_GREETED, NO_MEMORY, OTHER_HISTORY, STALE,
    STRANGER, TOO_FAR_BEHIND, Verdict,
)
from modules.core.replication cimport (
    replication_ack_due, replication_head_ack_due, replication_head_lost, replication_next_batch,
    replication_on_welcome, replication_predecessor_lost, replication_successor_lost, replication_take_ack,
    replication_take_head_ack,
)
from modules.core.view cimport HISTORY_BYTES, View
from modules.member.keyspace.values cimport keep, string_length
from modules.member.persistence.batch_codec cimport (
    BATCH_BYTES, HEADER_BYTES, long_value, pack_batch, packed, packing_over, packing_room,
)
from modules.member.state.member cimport Member, the_member
from modules.member.state.replication cimport LINK_CONNECTING, LINK_IDLE, LINK_PROVING, LINK_READY, LINK_SECURING, Link
from modules.server.proofs cimport SECRET_BYTES

cdef enum:
    IDLE_MS = 500


# -------------------------------------------------------------------------------------- refusing a message

cdef const char *verdict_text(Verdict verdict) noexcept nogil:
    if verdict == OTHER_HISTORY:
        return "ERR that is another chain's history"
    if verdict == CONFLICT:
        return "ERR another view has that epoch already"
    if verdict == STRANGER:
        return "ERR the present view does not expect this from that member"
    if verdict == DIVERGED:
        return "ERR the histories of the two members disagree"
    if verdict == TOO_FAR_BEHIND:
        return "ERR the log no longer reaches back that far"
    if verdict == NO_MEMORY:
        return "ERR out of memory"
    return "ERR no member of a chain says this"


cdef int reply_verdict(Member *m, RedisModuleCtx *ctx, Verdict verdict) noexcept nogil:
    """Reply with the verdict on a refused message of a peer or the master (rule 2). Returns 0.

    STALE carries this member's whole view, BEHIND its epoch; both let the two sides agree on the newest view.
    """
    cdef ViewTexts view
    cdef int i
    if verdict == STALE:
        format_view(m, &view)
        RedisModule_ReplyWithArray(ctx, 1 + view.length)
        RedisModule_ReplyWithCString(ctx, "STALE")
        for i in range(view.length):
            RedisModule_ReplyWithCString(ctx, view.texts[i])
    elif verdict == BEHIND:
        RedisModule_ReplyWithArray(ctx, 2)
        RedisModule_ReplyWithCString(ctx, "BEHIND")
        RedisModule_ReplyWithLongLong(ctx, m.chain.view.epoch)
    elif verdict == TOO_FAR_BEHIND:
        RedisModule_ReplyWithArray(ctx, 1)
        RedisModule_ReplyWithCString(ctx, "TOOFAR")
    elif verdict == GAP or verdict == NOT_GREETED:
        RedisModule_ReplyWithArray(ctx, 1)
        RedisModule_ReplyWithCString(ctx, "REGREET")
    else:
        RedisModule_ReplyWithError(ctx, verdict_text(verdict))
    return 0


# ------------------------------------------------------------------------------------------- small messages

cdef void send_greeting(Member *m, Link *link) noexcept nogil:
    cdef Greeting greeting
    cdef char history[2 * HISTORY_BYTES + 1]
    chain_position(&m.chain, &greeting)
    to_hex(greeting.history, HISTORY_BYTES, history)
    redisAppendCommand(
        link.context, "CHAIN.GREET %lld %s %lld %lld", <long long>greeting.epoch, &history[0],
        <long long>greeting.applied, <long long>greeting.assigned)
    link.greeted_epoch = greeting.epoch


cdef void send_view(Member *m, Link *link) noexcept nogil:
    cdef ViewTexts view
    cdef const char *arguments[1 + VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS]
    cdef size_t lengths[1 + VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS]
    cdef int i
    format_view(m, &view)
    arguments[0] = "CHAIN.ADOPT"
    for i in range(view.length):
        arguments[1 + i] = view.texts[i]
    for i in range(1 + view.length):
        lengths[i] = strlen(arguments[i])
    redisAppendCommandArgv(link.context, 1 + view.length, arguments, lengths)


# ------------------------------------------------------------------------------- batches and acknowledgements

cdef void send_ack(Link *link, const Ack *ack) noexcept nogil:
    cdef char command[HEADER_BYTES]
    redisAppendFormattedCommand(link.context, command, put_ack(command, ack, link.terse))


cdef void send_batch(Member *m, Link *link, const Batch *batch) noexcept nogil:
    """Send a batch, for which there is `packing_room`. A long value is sent in slices from the string that the log
    keeps.

    The message is put together first, because hiredis may enlarge its buffer for each piece that is appended.
    """
    cdef char header[HEADER_BYTES]
    cdef RedisModuleString *value = long_value(m, batch)
    cdef size_t rest = string_length(value) if value != NULL else 0
    cdef size_t length = pack_batch(m, batch)
    cdef size_t front = <size_t>put_batch(header, batch, -1, length + rest, link.terse)
    cdef char *message = packed(m) - front
    memcpy(message, header, front)
    if value == NULL:
        memcpy(&message[front + length], b"\r\n", 2)
        length += 2
    redisAppendFormattedCommand(link.context, message, front + length)
    packing_over(m)
    if value != NULL:
        link.streamed = keep(value)
        link.streamed_to = 0


cdef void append_stream(Member *m, Link *link, int64_t sn, uint64_t count) noexcept nogil:
    """Append bytes of the stream of effects, which lie in one or two pieces in the log's ring."""
    cdef uint64_t run
    cdef const char *place = stream_at(&m.chain.log.stream, sn, &run)
    run = min(run, count)
    redisAppendFormattedCommand(link.context, place, run)
    if count > run:
        redisAppendFormattedCommand(link.context, m.chain.log.stream.ring, count - run)


cdef bint send_part(Member *m, Link *link) noexcept nogil:
    """Append the next part of a long batch. Returns False if the batch is of an earlier handshake."""
    cdef char header[HEADER_BYTES]
    cdef char end[2 + ARGUMENT_BYTES]
    cdef int length = 2
    cdef int64_t sn = link.parted.first + link.parted_to
    cdef int64_t size = min(link.parted.count - link.parted_to, <int64_t>BATCH_BYTES)
    if not m.chain.streaming or link.parted.epoch != m.chain.view.epoch or sn < m.chain.log.first:
        link.parted.count = 0
        return False
    redisAppendFormattedCommand(
        link.context, header, put_batch(header, &link.parted, link.parted_to, <size_t>size, link.terse))
    append_stream(m, link, sn, <uint64_t>size)
    memcpy(end, b"\r\n", 2)
    if ends_with_offset(&link.parted, link.terse):
        length += put_number(&end[2], link.parted_to)
    redisAppendFormattedCommand(link.context, end, length)
    link.parted_to += size
    if link.parted_to == link.parted.count:
        link.parted.count = 0
    return True


# ------------------------------------------------------------------------------------------------- sending

cdef bint link_takes_more(Member *m, Link *link) noexcept nogil:
    """Returns whether a command may be appended to the send buffer.

    Everything before must have been written: a command amid the slices of a long value would become part of the value.
    """
    if link.phase != LINK_READY or not link_flush(m, link, on_link_ready):
        return False
    if link.view_due:
        link.view_due = False
        send_view(m, link)
        return link_flush(m, link, on_link_ready)
    return True


cdef void forward(Member *m) noexcept nogil:
    """Send the updates that the successor or the learner lacks, as long as the socket takes them (rule 9)."""
    cdef Link *link = &m.replication.downstream
    cdef Batch batch
    if not link_takes_more(m, link):
        return
    if link.greeted_epoch != m.chain.view.epoch:
        send_greeting(m, link)
    if m.checkpoint.order_down:
        m.checkpoint.order_down = False
        redisAppendCommand(link.context, "CHAIN.FLUSH %lld %lld", <long long>m.chain.view.epoch,
                           <long long>m.checkpoint.order_most)
    while link_flush(m, link, on_link_ready):
        if not replication_next_batch(&m.chain, BATCH_BYTES, &batch):
            return
        INVARIANT(link.streamed == NULL, "rule 1: a message begins when all of the one before has been written")
        m.replication.batches_sent += 1
        if m.chain.log.streams and batch.bytes > BATCH_BYTES:
            link.parted = batch         # one long effect
            link.parted_to = 0
        elif packing_room(m, &batch):
            send_batch(m, link, &batch)
        else:
            link_fail(m, link, "out of memory")
            return


cdef void acknowledge(Member *m) noexcept nogil:
    """Send the acknowledgements that are due.

    The head's comes first: the predecessor may be told that the head knows only when the head's message has been
    written.
    """
    cdef Ack ack
    if link_takes_more(m, &m.replication.head_shortcut) and replication_head_ack_due(&m.chain):
        replication_take_head_ack(&m.chain, &ack)
        send_ack(&m.replication.head_shortcut, &ack)
        link_flush(m, &m.replication.head_shortcut, on_link_ready)
    if link_takes_more(m, &m.replication.upstream) and replication_ack_due(&m.chain):
        replication_take_ack(&m.chain, &ack)
        send_ack(&m.replication.upstream, &ack)
        link_flush(m, &m.replication.upstream, on_link_ready)
    if m.checkpoint.order_up and link_takes_more(m, &m.replication.upstream):
        m.checkpoint.order_up = False
        redisAppendCommand(m.replication.upstream.context, "CHAIN.CHECKPOINT %lld", <long long>m.chain.view.epoch)
        link_flush(m, &m.replication.upstream, on_link_ready)


cdef void say_idle(Member *m, Link *link) noexcept nogil:
    """Send CHAIN.IDLE every IDLE_MS. Redis's `timeout` closes idle connections, after one second at the earliest."""
    link_tick(m, link)
    if link.phase == LINK_READY and m.now_ms - link.idle_ms >= IDLE_MS and link_takes_more(m, link):
        link.idle_ms = m.now_ms
        redisAppendCommand(link.context, "CHAIN.IDLE")
        link_flush(m, link, on_link_ready)


cdef void pump_idle(Member *m) noexcept nogil:
    """Keep the links from being closed as idle, and their messages cheap. Called once per tick."""
    spare_acks(m)
    take_over_peers(m)
    say_idle(m, &m.replication.downstream)
    say_idle(m, &m.replication.upstream)
    say_idle(m, &m.replication.head_shortcut)


cdef void pump_connecting(Member *m, Link *link) noexcept nogil:
    if not link.aimed or link.phase == LINK_READY or link.retry_ms > m.now_ms:
        return
    if link.phase == LINK_IDLE:
        link_connect(m, link, on_link_ready)
    elif link.phase == LINK_SECURING:
        link_fail(m, link, "TLS: no answer in time: perhaps that is the port without TLS")
    else:
        link_fail(m, link, "no answer in time")


cdef void connect_links(Member *m) noexcept nogil:
    """Begin or give up connecting, for each link whose time has come."""
    pump_connecting(m, &m.replication.downstream)
    pump_connecting(m, &m.replication.upstream)
    pump_connecting(m, &m.replication.head_shortcut)


# -------------------------------------------------------------------------------------------------- answers

cdef bint reply_text(const redisReply *reply, Text *out) noexcept nogil:
    if reply.type != REDIS_REPLY_STRING:
        return False
    out.bytes = reply.str
    out.length = reply.len
    return True


cdef bint reply_number(const redisReply *reply, int64_t *out) noexcept nogil:
    cdef Text text
    if reply.type == REDIS_REPLY_INTEGER:
        out[0] = reply.integer
        return True
    return reply_text(reply, &text) and text_number(&text, out)


cdef bint tagged(const redisReply *reply, const char *tag, size_t elements) noexcept nogil:
    """Returns whether the answer is an array that begins with `tag` and has at least `elements` elements."""
    cdef Text text
    if reply.type != REDIS_REPLY_ARRAY or reply.elements < elements or not reply_text(reply.element[0], &text):
        return False
    return text.length == strlen(tag) and memcmp(text.bytes, tag, text.length) == 0


cdef void on_welcome(Member *m, Link *link, const redisReply *reply) noexcept nogil:
    """The peer has accepted this member's greeting: the handshake with the successor is complete."""
    cdef Greeting welcome
    cdef Text history
    cdef Verdict verdict
    cdef int64_t heeds = 0
    if (not reply_number(reply.element[1], &welcome.epoch) or not reply_text(reply.element[2], &history)
            or not from_hex(history.bytes, history.length, welcome.history, HISTORY_BYTES)
            or not reply_number(reply.element[3], &welcome.applied)
            or not reply_number(reply.element[4], &welcome.assigned)):
        link_fail(m, link, "a welcome that is none")
        return
    welcome.heeds_saved = reply.elements > 5 and reply_number(reply.element[5], &heeds) and heeds != 0
    if link != &m.replication.downstream:
        return
    verdict = replication_on_welcome(&m.chain, &welcome, link.target.run_id)
    if verdict == BEHIND or verdict == STALE:
        return      # the answer to a greeting of an older epoch: the handshake of this epoch is under way
    if verdict != ACCEPTED:
        link_fail(m, link, verdict_text(verdict))
        return
    link.down_since_ms = 0


cdef void on_stale(Member *m, Link *link, const redisReply *reply) noexcept nogil:
    """The peer has refused a message and has answered with its newer view: adopt that view (rule 2)."""
    cdef Text texts[VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS]
    cdef View view
    cdef unsigned char secret[SECRET_BYTES]
    cdef size_t count = reply.elements - 1
    cdef size_t i
    if count > VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS:
        return
    for i in range(count):
        if not reply_text(reply.element[i + 1], &texts[i]):
            return
    if parse_view(texts, count, &view, secret):
        adopt(m, &view, secret)


cdef bint is_about(const redisReply *reply, const char *command) noexcept nogil:
    """Returns whether the answer says that the peer, of an earlier version, does not know the command."""
    return (reply.type == REDIS_REPLY_ERROR and strncmp(reply.str, "ERR unknown command", 19) == 0
            and strstr(reply.str, command) != NULL)


cdef void on_answer(Member *m, Link *link, const redisReply *reply) noexcept nogil:
    if link.phase == LINK_PROVING:
        link_prove(m, link, reply)
    elif tagged(reply, "ALLOWED", 1) or is_about(reply, "CHAIN.ALLOWED"):
        link.allowed = True
    elif is_about(reply, "CHAIN.IDLE"):
        pass
    elif reply.type == REDIS_REPLY_ERROR:
        link_fail(m, link, reply.str)
    elif reply.type == REDIS_REPLY_STATUS:
        link.terse = link.terse or strcmp(reply.str, "OK TERSE") == 0       # the answer to the proof
    elif tagged(reply, "WELCOME", 5):
        on_welcome(m, link, reply)
    elif tagged(reply, "STALE", 1 + PUT_VIEW_ARGUMENTS + NODE_ARGUMENTS):
        on_stale(m, link, reply)
    elif tagged(reply, "BEHIND", 2):
        link.view_due = True
        link.greeted_epoch = -1
        if link == &m.replication.upstream:           # it has refused an acknowledgement, which is sent again
            replication_predecessor_lost(&m.chain)
        elif link == &m.replication.head_shortcut:
            replication_head_lost(&m.chain)
    elif tagged(reply, "TOOFAR", 1):
        link_fail(m, link, "the peer refuses this view: it cannot feed its new successor")
    elif tagged(reply, "REGREET", 1):
        replication_successor_lost(&m.chain)
        link.greeted_epoch = -1


cdef void read_answers(Member *m, Link *link) noexcept nogil:
    cdef redisReply *reply
    if not link_read(m, link):
        return
    while link.context != NULL:     # NULL when an answer has closed the link
        reply = link_next_answer(m, link)
        if reply == NULL:
            return
        on_answer(m, link, reply)
        freeReplyObject(reply)


cdef void on_link_ready(int fd, void *data, int mask) noexcept nogil:
    """Called by the event loop when the link's socket can be read or written."""
    cdef Link *link = <Link *>data
    cdef Member *m = the_member()
    if link.phase == LINK_CONNECTING:
        link_connected(m, link, on_link_ready)
        return
    if link.phase == LINK_SECURING:
        link_shake_hands(m, link, on_link_ready)
        return
    if mask & REDISMODULE_EVENTLOOP_READABLE:
        read_answers(m, link)
    if link.context != NULL:
        link_flush(m, link, on_link_ready)
