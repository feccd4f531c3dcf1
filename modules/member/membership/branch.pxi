# cython: language_level=3
# A backup becomes the beginning of another chain: its data gets a history of its own (docs/operations.md, "Restore").
#
# The files of this server stay as they are; the marker says what their history is called now. So a server that ends in
# the middle of this finds, at its next start, either the old history or the new one, and the same data.

from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from modules.bindings.redismodule cimport (
    RedisModuleCtx, RedisModuleString, RedisModule_Call, RedisModule_DbSize, RedisModule_Log,
    RedisModule_ReplyWithError, RedisModule_ReplyWithSimpleString, RedisModule_SelectDb,
)
from modules.core.chain cimport chain_role
from modules.core.durability cimport durability_branch, durability_restore
from modules.core.hex cimport from_hex
from modules.core.messages cimport ROLE_REMOVED
from modules.core.view cimport HISTORY_BYTES
from modules.member.checkpoint cimport store_rename, track_end
from modules.member.keyspace cimport may_become_chain
from modules.member.persistence cimport disk_begin_anew, is_unknown_chains, marker_branch
from modules.member.persistence.wakeup cimport wake
from modules.member.replication cimport Text, argument_text
from modules.member.replies cimport may_block
from modules.member.state.checkpoint cimport STORE_OPEN
from modules.member.state.complaint cimport ERROR_BYTES
from modules.member.state.member cimport Member
from modules.server.position cimport Position, Record
from modules.server.redis_calls cimport drop_reply


cdef bint may_branch(Member *m, char *why) noexcept nogil:
    """Has this server a chain's data, and been in no chain since it was started? False with the reason in `why`."""
    if m.replication.has_secret or chain_role(&m.chain) != ROLE_REMOVED or m.chain.view.epoch != 0:
        snprintf(why, ERROR_BYTES, "this server has been of a chain since it was started: restart it first")
        return False
    if is_unknown_chains(m) or (m.disk.missing and m.disk.unproven == NULL):
        snprintf(why, ERROR_BYTES, "this server has lost its data of a chain: it has none to begin another with")
        return False
    return may_become_chain(m.ctx, why)


cdef int reply_incomplete(Member *m, RedisModuleCtx *ctx) noexcept nogil:
    """How many keys are missing nobody knows: only the checkpoint that is not here could tell."""
    cdef char text[2 * ERROR_BYTES]
    RedisModule_SelectDb(ctx, 0)
    snprintf(text, sizeof(text),
             "ERR this data is incomplete: it has %llu keys, and others had been flushed and were in the checkpoint "
             "alone, which is not here or does not belong to it. Restart this server with that checkpoint, or say "
             "INCOMPLETE to do without these keys", RedisModule_DbSize(ctx))
    return RedisModule_ReplyWithError(ctx, text)


cdef void accept_incomplete(Member *m) noexcept nogil:
    """What was loaded is all there is."""
    cdef Position *position = m.disk.unproven
    m.disk.unproven = NULL
    durability_restore(&m.chain, position.history, position.applied, position.boundaries, position.boundary_count)
    m.disk.missing = False
    free(position)
    track_end(m)


cdef void save_anew(Member *m) noexcept nogil:
    """The files say that keys are missing, and that there is a checkpoint: they are to say so no more."""
    if m.disk.recording:
        disk_begin_anew(m)
        drop_reply(RedisModule_Call(m.ctx, "BGREWRITEAOF", ""))
    else:
        drop_reply(RedisModule_Call(m.ctx, "BGSAVE", "c", b"SCHEDULE"))


cdef bint branch(Member *m, const uint8_t *history) noexcept nogil:
    """False: the marker could not be written, and nothing has changed."""
    cdef const Position *unproven = m.disk.unproven
    if not marker_branch(m, history, m.chain.applied if unproven == NULL else unproven.applied):
        return False
    if unproven != NULL:
        accept_incomplete(m)
        save_anew(m)
    durability_branch(&m.chain, history)
    memset(&m.disk.record, 0, sizeof(Record))
    m.disk.record_due = True
    m.disk.claimed = 0
    if m.checkpoint.tracking and m.checkpoint.store == STORE_OPEN:
        store_rename(&m.checkpoint, history)
    wake(m)
    RedisModule_Log(m.ctx, "notice", "the data up to sn %lld is the beginning of another chain's history",
                    <long long>m.chain.applied)
    return True


cdef int branch_command(Member *m, RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    """CHAIN.BRANCH history [INCOMPLETE] -> OK | ERR

    Whoever may run the command gives a member without a secret its first view, and so its first history too.
    """
    cdef uint8_t history[HISTORY_BYTES]
    cdef char why[ERROR_BYTES + 4]
    cdef Text text
    argument_text(argv[1], &text)
    if not may_block(ctx):
        return RedisModule_ReplyWithError(ctx, "ERR not inside MULTI, a script or a module's call")
    if not from_hex(text.bytes, text.length, history, HISTORY_BYTES):
        return RedisModule_ReplyWithError(ctx, "ERR a history is 32 hexadecimal digits")
    if not may_branch(m, &why[4]):
        memcpy(why, b"ERR ", 4)
        return RedisModule_ReplyWithError(ctx, why)
    if m.disk.unproven != NULL and argc < 3:
        return reply_incomplete(m, ctx)
    if not branch(m, history):
        return RedisModule_ReplyWithError(
            ctx, "ERR this server cannot write the file chain.member.<port> in its folder: see its log")
    return RedisModule_ReplyWithSimpleString(ctx, "OK")
