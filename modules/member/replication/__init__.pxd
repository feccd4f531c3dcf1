# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The functions of modules/member/replication that other rooms call. Each is defined in the file named above it."""

from libc.stdint cimport int64_t

from modules.bindings.redismodule cimport RedisModuleCtx, RedisModuleString
from modules.core.messages cimport Batch, Verdict
from modules.core.view cimport Node, View
from modules.member.state.member cimport Member
from modules.member.state.replication cimport Link, Peer

cdef enum:
    VIEW_ARGUMENTS = 5          # the arguments before the members: history, secret, epoch, kind, count
    PUT_VIEW_ARGUMENTS = 4      # the same without the kind, which is put then
    NODE_ARGUMENTS = 4          # the arguments of each member: host, address, port, run_id
    NUMBER_BYTES = 24


cdef struct Text:
    # One argument of a command, or one element of a peer's answer. `bytes` is not NUL-terminated.
    const char *bytes
    size_t length


# handshake.pxi
cdef extern void prove(
    const Member *m, const char *what, const char *first, const char *second, const char *run_id, char *out,
) noexcept nogil
cdef extern void take_secret(Member *m, const unsigned char *secret) noexcept nogil
cdef extern Peer *find_peer(Member *m, unsigned long long client) noexcept nogil
cdef extern void forget_peer(Member *m, unsigned long long client) noexcept nogil
cdef extern Peer *proven_peer(Member *m, RedisModuleCtx *ctx) noexcept nogil
cdef extern int challenge_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern int prove_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern int allowed_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# link.pxi
cdef extern void links_init(Member *m) noexcept nogil
cdef extern void link_aim(Member *m, Link *link, const Node *target) noexcept nogil
cdef extern bint link_struggles(const Member *m, const Link *link) noexcept nogil
cdef extern bint link_is_free(const Link *link) noexcept nogil

# view_change.pxi
cdef extern bint text_number(const Text *text, int64_t *out) noexcept nogil
cdef extern bint text_copy(const Text *text, char *out, size_t room) noexcept nogil
cdef extern bint parse_node(const Text *texts, Node *out) noexcept nogil
cdef extern bint parse_view(const Text *texts, size_t count, View *out, unsigned char *secret) noexcept nogil
cdef extern void aim_links(Member *m) noexcept nogil
cdef extern Verdict adopt(Member *m, const View *view, const unsigned char *secret) noexcept nogil
cdef extern int reply_view(const Member *m, RedisModuleCtx *ctx) noexcept nogil

# messages.pxi
cdef extern void argument_text(RedisModuleString *argument, Text *out) noexcept nogil
cdef extern bint argument_number(RedisModuleString *argument, int64_t *out) noexcept nogil

# outbound.pxi
cdef extern int reply_verdict(Member *m, RedisModuleCtx *ctx, Verdict verdict) noexcept nogil
cdef extern void forward(Member *m) noexcept nogil
cdef extern void acknowledge(Member *m) noexcept nogil
cdef extern void pump_idle(Member *m) noexcept nogil
cdef extern void connect_links(Member *m) noexcept nogil

# inbound.pxi
cdef extern int greet_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil
cdef extern bint apply_batch(
    Member *m, RedisModuleCtx *ctx, const Batch *batch, int64_t skip, const char *cursor, const char *end,
) noexcept nogil
cdef extern int forward_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil
cdef extern int ack_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil

# direct_peers.pxi
cdef extern void take_messages(Member *m) noexcept nogil
