# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# TAIL.CHECKPOINT, HEAD.FLUSH and LIST.CHECKPOINT, and the orders that members then pass on along the chain
# (docs/protocol.md, "Checkpoint and flush").

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtoull
from libc.string cimport strcmp, strstr

from modules.bindings.redismodule cimport (
    REDISMODULE_ERR, RedisModuleCtx, RedisModuleString, RedisModule_GetBlockedClientPrivateData,
    RedisModule_GetClientId, RedisModule_ReplyWithArray, RedisModule_ReplyWithCString, RedisModule_ReplyWithError,
    RedisModule_ReplyWithStringBuffer, RedisModule_StringPtrLen, RedisModule_StringToLongLong,
)
from modules.core.chain cimport (
    chain_is_tail, chain_judge_epoch, chain_predecessor, chain_serves_reads, chain_successor, chain_takes_writes,
)
from modules.core.checkpoint.record_format cimport get_big_endian, record_key, record_key_room, unescape
from modules.core.messages cimport ACCEPTED, NONSENSE, STRANGER, Verdict
from modules.core.view cimport KIND_ALL, Node
from modules.member.checkpoint cimport (
    Page, buffer_room, keeps_checkpoint, page_free, page_new, page_start, set_cursor, store_retry, trouble,
)
from modules.member.keyspace.kind cimport own_kind
from modules.member.persistence.wakeup cimport wake
from modules.member.replication cimport argument_number, proven_peer, reply_verdict
from modules.member.replies cimport (
    OUTCOME_NO_MEMORY, answer_free, may_block, reply_answer, reply_not_head, reply_not_tail, reply_outcome,
    wait_for_answer, wait_with, waiter_new,
)
from modules.member.state.checkpoint cimport (
    MODE_CHECKPOINT, MODE_CHECKPOINT_FLUSH, MODE_NORMAL, STORE_FAILED, TEXT_BYTES,
)
from modules.member.state.member cimport Member
from modules.member.state.replication cimport Peer
from modules.member.state.waiter cimport WAIT_CHECKPOINT, WAIT_FLUSH, WAIT_WORKER, Waiter
from modules.server.acl cimport may_read_all
from modules.server.redis_calls cimport redis_setting

cdef enum:
    LISTED_AT_ONCE = 100        # keys on a page of LIST.CHECKPOINT
    REPLY_OVERHEAD = 64 * 1024  # what Redis's reply takes in addition to a page's records


cdef const char *mode_name(long long mode) noexcept nogil:
    """Returns the name of a value of member.gcs-mode."""
    if mode == MODE_NORMAL:
        return "normal"
    if mode == MODE_CHECKPOINT:
        return "checkpoint"
    return "checkpoint-flush" if mode == MODE_CHECKPOINT_FLUSH else "flush-unsafe"


cdef bint mode_allows(Member *m, RedisModuleCtx *ctx, bint allowed, const char *modes) noexcept nogil:
    """Returns `allowed`, unless this chain keeps no checkpoints. If not, an error that says why has been replied."""
    cdef char text[TEXT_BYTES]
    if own_kind(m) == KIND_ALL:
        RedisModule_ReplyWithError(
            ctx, "ERR only in a chain of kind put: one that takes any command (member.commands) keeps no checkpoints")
        return False
    if not allowed:
        snprintf(text, TEXT_BYTES, "ERR that needs member.gcs-mode %s, and it is %s here", modes,
                 mode_name(m.settings.gcs_mode))
        RedisModule_ReplyWithError(ctx, text)
    return allowed


cdef bint can_wait(RedisModuleCtx *ctx) noexcept nogil:
    """Returns whether the client can be blocked. If not, an error has been replied."""
    if may_block(ctx):
        return True
    RedisModule_ReplyWithError(ctx, "ERR that would block: not inside MULTI, a script or a module's call")
    return False


# --------------------------------------------------------------------------------------------- TAIL.CHECKPOINT

cdef void order_checkpoint(Member *m) noexcept nogil:
    """Request a checkpoint of this member, and let the order go to the predecessor, which passes it on."""
    if keeps_checkpoint(m):
        m.checkpoint.asked = max(m.checkpoint.asked, m.chain.applied)
        if m.checkpoint.store == STORE_FAILED:
            store_retry(m)
    m.checkpoint.order_up = chain_predecessor(&m.chain) != NULL
    wake(m)


cdef int tail_checkpoint_command(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """TAIL.CHECKPOINT -> integer: the number of sequence numbers that are newly checkpointed | MOVED | ERR

    The reply comes when the checkpoint is on the disk.
    """
    cdef Waiter *waiter
    if not mode_allows(m, ctx, keeps_checkpoint(m), "checkpoint or checkpoint-flush"):
        return 0
    if not m.chain.has_history:
        return RedisModule_ReplyWithError(ctx, "ERR a checkpoint is a chain's: MASTER.ADD makes this server one")
    if not chain_is_tail(&m.chain) or not chain_serves_reads(&m.chain):
        return reply_not_tail(m, ctx)
    if not can_wait(ctx):
        return 0
    waiter = waiter_new(WAIT_CHECKPOINT)
    if waiter == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    waiter.sn = m.chain.applied
    waiter.epoch = m.checkpoint.watermark
    order_checkpoint(m)
    return wait_for_answer(m, ctx, waiter)


# -------------------------------------------------------------------------------------------------- HEAD.FLUSH

cdef void order_flush(Member *m, int64_t most) noexcept nogil:
    """Let the order to flush up to `most` keys go to the successor, which passes it on."""
    m.checkpoint.order_down = chain_successor(&m.chain) != NULL
    m.checkpoint.order_most = most
    wake(m)


cdef int head_flush_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """HEAD.FLUSH [max] -> integer: the number of keys that have left this member's memory | MOVED | ERR"""
    cdef long long most = INT64_MAX
    cdef Waiter *waiter
    cdef void *failed
    if not mode_allows(m, ctx, m.settings.gcs_mode >= MODE_CHECKPOINT_FLUSH, "checkpoint-flush or flush-unsafe"):
        return 0
    if argc > 1 and (RedisModule_StringToLongLong(argv[1], &most) == REDISMODULE_ERR or most < 1):
        return RedisModule_ReplyWithError(ctx, "ERR max is not a number of keys: an integer from 1")
    if not chain_takes_writes(&m.chain):
        return reply_not_head(m, ctx)
    if m.checkpoint.error[0]:
        failed = trouble(m, "nothing is flushed while checkpoints fail")
        reply_answer(ctx, failed)
        answer_free(ctx, failed)
        return 0
    if not can_wait(ctx):
        return 0
    waiter = waiter_new(WAIT_FLUSH)
    if waiter == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    waiter.sn = most
    order_flush(m, most)
    return wait_for_answer(m, ctx, waiter)


# --------------------------------------------------------------------------------------------- LIST.CHECKPOINT

cdef void reply_listed(RedisModuleCtx *ctx, Page *page) noexcept nogil:
    """Reply with the second element of a page: [key, value, …].

    The reader has checked that the records are complete. The keys are unescaped in place.
    """
    cdef char *at = page.records.bytes
    cdef size_t key_bytes
    cdef size_t value_bytes
    cdef size_t length
    cdef uint64_t _
    RedisModule_ReplyWithArray(ctx, 2 * <long>page.count)
    for _ in range(page.count):
        key_bytes = get_big_endian(at, 4)
        value_bytes = get_big_endian(&at[4], 4)
        length = 0
        unescape(&at[8], key_bytes, &at[8], &length)
        RedisModule_ReplyWithStringBuffer(ctx, &at[8], length)
        RedisModule_ReplyWithStringBuffer(ctx, &at[8 + key_bytes + 1], value_bytes - 1)
        at += 8 + key_bytes + value_bytes


cdef void reply_cursor(RedisModuleCtx *ctx, Page *page) noexcept nogil:
    """Reply with the first element of a page: 0 after the last page, else `>` and the key that comes next."""
    cdef size_t length = 0
    if not page.cursor.length or not unescape(page.cursor.bytes, page.cursor.length, &page.cursor.bytes[1], &length):
        RedisModule_ReplyWithCString(ctx, "0")
        return
    page.cursor.bytes[0] = c">"
    RedisModule_ReplyWithStringBuffer(ctx, page.cursor.bytes, length + 1)


cdef int reply_page_error(RedisModuleCtx *ctx, const Page *page) noexcept nogil:
    cdef char text[TEXT_BYTES + 16]
    snprintf(text, sizeof(text), "ERR %s", &page.error[0])
    return RedisModule_ReplyWithError(ctx, text)


cdef void free_page(RedisModuleCtx *ctx, void *page) noexcept nogil:
    page_free(<Page *>page)


cdef int on_listed_page(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    cdef Page *page = <Page *>RedisModule_GetBlockedClientPrivateData(ctx)
    if page == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    if not page.good:
        return reply_page_error(ctx, page)
    RedisModule_ReplyWithArray(ctx, 2)
    reply_cursor(ctx, page)
    reply_listed(ctx, page)
    return 0


cdef bint take_cursor(Page *page, RedisModuleString *argument) noexcept nogil:
    """Read a cursor: 0, or `>` and a key. Returns False if it is neither, or memory ran out."""
    cdef size_t length
    cdef const char *text = RedisModule_StringPtrLen(argument, &length)
    if length == 1 and text[0] == c"0":
        return True
    if length == 0 or text[0] != c">" or not buffer_room(&page.cursor, record_key_room(length)):
        return False
    page.cursor.length = record_key(page.cursor.bytes, text + 1, length - 1, INT64_MAX // 2)
    return True


cdef int list_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """LIST.CHECKPOINT [cursor] -> [cursor, [key, value, …]] | ERR

    The first cursor is 0. The cursor 0 in a reply means that this page is the last.
    """
    cdef Page *page
    if not may_read_all(ctx, "list.checkpoint"):
        return 0
    if not mode_allows(m, ctx, keeps_checkpoint(m) or m.checkpoint.tracking, "checkpoint or checkpoint-flush"):
        return 0
    if not can_wait(ctx):
        return 0
    page = page_new(&m.checkpoint, 0, LISTED_AT_ONCE) if m.checkpoint.reader.running else NULL
    if page == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    if argc > 1 and not take_cursor(page, argv[1]):
        page_free(page)
        return RedisModule_ReplyWithError(ctx, "ERR that is no cursor: 0, or what the page before gave")
    return ask_page(m, ctx, page, on_listed_page)


cdef int ask_page(
    Member *m, RedisModuleCtx *ctx, Page *page,
    int (*on_page)(RedisModuleCtx *, RedisModuleString **, int) noexcept nogil,
) noexcept nogil:
    """Block the client until a worker has read the page; `on_page` replies. Takes over the page. Returns 0."""
    cdef Waiter *waiter = waiter_new(WAIT_WORKER)
    if waiter == NULL:
        page_free(page)
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    wait_with(m, ctx, waiter, on_page, free_page)
    page_start(&m.checkpoint, page, waiter)
    return 0


# ---------------------------------------------------------------------------------------- orders of other members

cdef Verdict judge_order(Member *m, int64_t epoch, const Peer *peer, const Node *sender) noexcept nogil:
    """Returns ACCEPTED if an order is of this epoch and comes from the neighbour `sender` (NULL: there is none)."""
    cdef Verdict verdict = chain_judge_epoch(&m.chain, epoch)
    if verdict != ACCEPTED:
        return verdict
    return ACCEPTED if sender != NULL and strcmp(sender.run_id, peer.run_id) == 0 else STRANGER


cdef int on_page(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    cdef const Page *page = <Page *>RedisModule_GetBlockedClientPrivateData(ctx)
    if page == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    if not page.good:
        return reply_page_error(ctx, page)
    if not may_be_sent(ctx, page.records.length):
        return RedisModule_ReplyWithError(
            ctx, "ERR a page of the checkpoint is longer than client-output-buffer-limit normal of this server lets "
            "through: raise that, or set it to 0 0 0")
    RedisModule_ReplyWithArray(ctx, 2)
    RedisModule_ReplyWithStringBuffer(ctx, page.cursor.bytes, page.cursor.length)
    return RedisModule_ReplyWithStringBuffer(ctx, page.records.bytes, page.records.length)


cdef bint may_be_sent(RedisModuleCtx *ctx, size_t length) noexcept nogil:
    """Returns whether a reply of `length` bytes is within this server's client-output-buffer-limit.

    Redis closes the connection of a client that exceeds the limit, without an error reply.
    """
    cdef char limits[256]
    cdef const char *normal
    cdef unsigned long long most
    if not redis_setting(ctx, "client-output-buffer-limit", limits, sizeof(limits)):
        return True
    normal = strstr(limits, "normal ")
    most = strtoull(normal + 7, NULL, 10) if normal != NULL else 0
    return most == 0 or length + REPLY_OVERHEAD < most


cdef int chain_page_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.PAGE epoch cursor -> [cursor, records] | STALE | BEHIND | ERR"""
    cdef int64_t epoch
    cdef size_t length
    cdef const char *cursor = RedisModule_StringPtrLen(argv[2], &length)
    cdef Verdict verdict
    cdef Page *page
    if proven_peer(m, ctx) == NULL:
        return 0
    if not argument_number(argv[1], &epoch):
        return reply_verdict(m, ctx, NONSENSE)
    verdict = chain_judge_epoch(&m.chain, epoch)
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    if not m.checkpoint.tracking or not m.checkpoint.reader.running or not may_block(ctx):
        return RedisModule_ReplyWithError(ctx, "ERR there is no checkpoint here")
    page = page_new(&m.checkpoint, RedisModule_GetClientId(ctx), INT64_MAX)
    if page != NULL and not set_cursor(page, cursor, length):
        page_free(page)
        page = NULL
    if page == NULL:
        return reply_outcome(ctx, OUTCOME_NO_MEMORY)
    return ask_page(m, ctx, page, on_page)


cdef int chain_checkpoint_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.CHECKPOINT epoch -> nothing | STALE | BEHIND | ERR"""
    cdef int64_t epoch
    cdef Verdict verdict
    cdef Peer *peer = proven_peer(m, ctx)
    if peer == NULL:
        return 0
    if not argument_number(argv[1], &epoch):
        return reply_verdict(m, ctx, NONSENSE)
    verdict = judge_order(m, epoch, peer, chain_successor(&m.chain))
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    order_checkpoint(m)
    return 0


cdef int chain_flush_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv) noexcept nogil:
    """CHAIN.FLUSH epoch max -> nothing | STALE | BEHIND | ERR"""
    cdef int64_t epoch
    cdef int64_t most
    cdef Verdict verdict
    cdef Peer *peer = proven_peer(m, ctx)
    if peer == NULL:
        return 0
    if not argument_number(argv[1], &epoch) or not argument_number(argv[2], &most) or most < 1:
        return reply_verdict(m, ctx, NONSENSE)
    verdict = judge_order(m, epoch, peer, chain_predecessor(&m.chain))
    if verdict != ACCEPTED:
        return reply_verdict(m, ctx, verdict)
    m.checkpoint.flush_asked = max(m.checkpoint.flush_asked, most)
    order_flush(m, most)
    return 0
