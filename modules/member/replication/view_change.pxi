# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Views as arguments of commands, and the adoption of a view (docs/protocol.md, "Views").

from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModule_GetClientId, RedisModule_Log, RedisModule_ReplyWithArray,
    RedisModule_ReplyWithCString, RedisModule_ReplyWithLongLong,
)
from modules.core.chain cimport chain_head_shortcut, chain_is_tail, chain_predecessor, chain_successor
from modules.core.decimal cimport read_decimal
from modules.core.hex cimport from_hex, to_hex
from modules.core.membership cimport membership_adopt
from modules.core.messages cimport ACCEPTED, CONFLICT, Verdict
from modules.core.view cimport (
    ADDRESS_BYTES, HISTORY_BYTES, HOST_BYTES, KIND_PUT, MAX_MEMBERS, Node, RUN_ID_BYTES, View, kind_name, kind_of_name,
)
from modules.member.keyspace.client_ports cimport client_port
from modules.member.persistence cimport disk_take_place
from modules.member.replies cimport settle
from modules.member.state.member cimport Member
from modules.member.state.membership cimport JOIN_FAILED
from modules.server.proofs cimport SECRET_BYTES


cdef bint text_number(const Text *text, int64_t *out) noexcept nogil:
    """Returns False if the text is not a decimal integer; else the integer is in `out`."""
    return read_decimal(text.bytes, text.length, out)


cdef bint text_copy(const Text *text, char *out, size_t room) noexcept nogil:
    """Copy the text to `out`, NUL-terminated.

    Returns False if the text is empty, has `room` bytes or more, or contains NUL, blanks or control characters.
    """
    cdef size_t i
    if text.length == 0 or text.length >= room:
        return False
    for i in range(text.length):
        if <unsigned char>text.bytes[i] <= 32 or text.bytes[i] == 127:
            return False
        out[i] = text.bytes[i]
    out[text.length] = 0
    return True


cdef bint parse_node(const Text *texts, Node *out) noexcept nogil:
    """Returns False if the NODE_ARGUMENTS `texts` do not describe a member; then `out` may be written in part."""
    cdef int64_t port
    cdef unsigned char ignored[20]
    if not text_copy(&texts[0], out.host, HOST_BYTES) or not text_copy(&texts[1], out.address, ADDRESS_BYTES):
        return False
    if not text_number(&texts[2], &port) or port < 1 or port > 65535:
        return False
    out.port = <int>port
    return (from_hex(texts[3].bytes, texts[3].length, ignored, 20)
            and text_copy(&texts[3], out.run_id, RUN_ID_BYTES))


cdef bint parse_kind(const Text *text, int *out) noexcept nogil:
    """Returns False if the text is no kind; then the kind in `out` is put, the one of views that do not tell it."""
    cdef char name[NUMBER_BYTES]
    out[0] = KIND_PUT
    return text_copy(text, name, NUMBER_BYTES) and kind_of_name(name, out)


cdef bint parse_view(const Text *texts, size_t count, View *out, unsigned char *secret) noexcept nogil:
    """Returns False if the `count` texts are not a view; then `out` and `secret` may be written in part."""
    cdef int64_t members
    cdef size_t before_members = VIEW_ARGUMENTS
    cdef int i
    if count <= PUT_VIEW_ARGUMENTS:
        return False
    if not from_hex(texts[0].bytes, texts[0].length, out.history, HISTORY_BYTES):
        return False
    if not from_hex(texts[1].bytes, texts[1].length, secret, SECRET_BYTES):
        return False
    if not text_number(&texts[2], &out.epoch) or out.epoch < 1:
        return False
    if not parse_kind(&texts[3], &out.kind):
        before_members = PUT_VIEW_ARGUMENTS
    if not text_number(&texts[before_members - 1], &members) or members < 1 or members > MAX_MEMBERS:
        return False
    if count != before_members + <size_t>members * NODE_ARGUMENTS:
        return False
    out.count = <int>members
    for i in range(out.count):
        if not parse_node(&texts[before_members + i * NODE_ARGUMENTS], &out.members[i]):
            return False
    return True


cdef struct ViewTexts:
    # This member's view as arguments. `texts` point into the other fields and into the view itself.
    char history[2 * HISTORY_BYTES + 1]
    char secret[2 * SECRET_BYTES + 1]
    char epoch[NUMBER_BYTES]
    char count[NUMBER_BYTES]
    char ports[MAX_MEMBERS][8]
    const char *texts[VIEW_ARGUMENTS + MAX_MEMBERS * NODE_ARGUMENTS]
    int length


cdef void format_view(const Member *m, ViewTexts *out) noexcept nogil:
    cdef const View *view = &m.chain.view
    cdef const Node *node
    cdef int i
    to_hex(view.history, HISTORY_BYTES, out.history)
    to_hex(m.replication.secret, SECRET_BYTES, out.secret)
    snprintf(out.epoch, NUMBER_BYTES, "%lld", <long long>view.epoch)
    snprintf(out.count, NUMBER_BYTES, "%d", view.count)
    out.texts[0], out.texts[1], out.texts[2] = out.history, out.secret, out.epoch
    out.length = 3
    if view.kind != KIND_PUT:       # a member of an earlier version knows no kinds, and is in a chain of kind put
        out.texts[out.length] = kind_name(view.kind)
        out.length += 1
    out.texts[out.length] = out.count
    out.length += 1
    for i in range(view.count):
        node = &view.members[i]
        snprintf(out.ports[i], 8, "%d", node.port)
        out.texts[out.length] = node.host
        out.texts[out.length + 1] = node.address
        out.texts[out.length + 2] = out.ports[i]
        out.texts[out.length + 3] = node.run_id
        out.length += NODE_ARGUMENTS


# -------------------------------------------------------------------------------------- a view takes effect

cdef void aim_links(Member *m) noexcept nogil:
    """Set each link's target by the view. A link whose target stays keeps its connection; its handshake is repeated."""
    link_aim(m, &m.replication.downstream, chain_successor(&m.chain))
    link_aim(m, &m.replication.upstream, chain_predecessor(&m.chain) if m.membership.join != JOIN_FAILED else NULL)
    link_aim(m, &m.replication.head_shortcut, chain_head_shortcut(&m.chain))


cdef Verdict adopt(Member *m, const View *view, const unsigned char *secret) noexcept nogil:
    """Take over a view whose sender the caller has authenticated. A chain's secret never changes.

    Returns ACCEPTED if the view is in place, now or since before; else the reason of the refusal.
    """
    cdef int64_t before = m.chain.view.epoch
    cdef bint was_tail = not m.chain.has_history or chain_is_tail(&m.chain)
    cdef Verdict verdict
    if m.replication.has_secret and memcmp(m.replication.secret, secret, SECRET_BYTES) != 0:
        return CONFLICT
    verdict = membership_adopt(&m.chain, view, m.self.run_id)
    if verdict != ACCEPTED or m.chain.view.epoch == before:
        return verdict
    take_secret(m, secret)
    m.clients.was_tail = m.chain.me >= 0 and (m.clients.was_tail or was_tail)
    m.keyspace.subscribers_misled = m.chain.me < 0
    disk_take_place(m)
    aim_links(m)
    settle(m)
    log_view(m)
    return ACCEPTED


cdef void log_view(Member *m) noexcept nogil:
    cdef char place[48]
    if m.chain.me < 0:
        snprintf(place, sizeof(place), "removed, members left: %d", m.chain.view.count)
    else:
        snprintf(place, sizeof(place), "member %d of %d", m.chain.me + 1, m.chain.view.count)
    RedisModule_Log(m.ctx, "notice", "view %lld adopted: %s; applied %lld, committed %lld",
                    <long long>m.chain.view.epoch, &place[0], <long long>m.chain.applied, <long long>m.chain.committed)


cdef int reply_view(const Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """Reply with the epoch and then with host:port of each member for this client, head first. Returns 0."""
    cdef char text[HOST_BYTES + 16]
    cdef const Node *node
    cdef int port
    cdef int i
    RedisModule_ReplyWithArray(ctx, 1 + m.chain.view.count)
    RedisModule_ReplyWithLongLong(ctx, m.chain.view.epoch)
    for i in range(m.chain.view.count):
        node = &m.chain.view.members[i]
        port = client_port(m, RedisModule_GetClientId(ctx), node)
        snprintf(text, sizeof(text), "%s:%d", &node.host[0], port)
        RedisModule_ReplyWithCString(ctx, text)
    return 0
